#!/usr/bin/env python3
"""Logits of small models of every family by `transformers`: the golden values of src/formats/family_logits_test.cc.

    python3 -m venv v && v/bin/pip install torch transformers==4.51.3       (and another one with transformers 5)
    v/bin/python tests/golden/make_family_logits.py tests/golden/family_logits.json

Replaces what the file holds of the same version of transformers and keeps the rest: versions spell their config.json differently.
No weights are committed: value i of tensor NAME in model.safetensors is u(mix64(fnv1a(NAME) + i)) * 0.25, u in [-1, 1) of 24 bits,
plus 1 for norms but Gemma's; twice that for embeddings. Tokens are fnv1a("token I") mod V. Everything is float32.
"""
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

MASK = 0xFFFFFFFFFFFFFFFF
V, T, ROWS = 64, 40, [0, 9, 22, 39]


def fnv1a(name):
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = ((h ^ c) * 0x100000001B3) & MASK
    return h


def mix64(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def values(name, shape, gemma):
    with np.errstate(over="ignore"):
        h = mix64(np.uint64(fnv1a(name)) + np.arange(int(np.prod(shape)), dtype=np.uint64))
    u = (h >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
    norm = name.endswith(".weight") and ("norm" in name or "ln_" in name)
    embedding = "embed_tokens" in name or ".wte." in name or ".wpe." in name
    scaled = u * (0.5 if embedding else 0.25) + (1.0 if norm and not gemma else 0.0)
    return torch.from_numpy(scaled.astype(np.float32)).reshape(shape)


def configs():
    t = transformers
    sizes = dict(vocab_size=V, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
                 max_position_embeddings=64, bos_token_id=1, eos_token_id=2)
    llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
    # transformers rounds sqrt(hidden_size) to bfloat16 with weights of bfloat16 only; 8 needs no rounding.
    gemma = dict(sizes, hidden_size=64, num_hidden_layers=7, head_dim=16, sliding_window=8, query_pre_attn_scalar=24,
                 rope_scaling=dict(rope_type="linear", factor=4.0))
    return {
        "gpt2": t.GPT2Config(vocab_size=V, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2),
        "llama2": t.LlamaConfig(**sizes, rope_theta=10000.0, tie_word_embeddings=False),
        "llama3": t.LlamaConfig(**dict(sizes, hidden_size=64, num_key_value_heads=1), rope_theta=10000.0, rope_scaling=llama3,
                                tie_word_embeddings=True),
        "smollm2": t.LlamaConfig(**dict(sizes, hidden_size=72, num_attention_heads=9, num_key_value_heads=3), rope_theta=100000.0,
                                 rms_norm_eps=1e-5, tie_word_embeddings=True),
        "qwen2": t.Qwen2Config(**sizes, rope_theta=1000000.0, tie_word_embeddings=True),
        "r1_distill_qwen": t.Qwen2Config(**sizes, rope_theta=10000.0, tie_word_embeddings=False),
        "qwen3": t.Qwen3Config(**sizes, head_dim=16, rope_theta=1000000.0, tie_word_embeddings=True),
        # Layers 0 to 4 and 6 see 8 of the 40 tokens.
        "gemma3": t.Gemma3TextConfig(**gemma),
    }


def logits_of(name, config):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(directory)
        tensors = load_file(directory / "model.safetensors")
        filled = {n: values(n, t.shape, name.startswith("gemma")) for n, t in tensors.items()}
        save_file(filled, directory / "model.safetensors", metadata={"format": "pt"})
        model = transformers.AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float32, attn_implementation="eager").eval()
        tokens = [fnv1a(f"token {i}") % V for i in range(T)]
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0]
        return dict(model=name, config=json.loads((directory / "config.json").read_text()), tensors=len(filled),
                    parameters=sum(t.numel() for t in filled.values()), tokens=tokens, rows=ROWS,
                    logits=[[float(f"{x:.7g}") for x in logits[r].tolist()] for r in ROWS])


def main():
    path = pathlib.Path(sys.argv[1])
    version = transformers.__version__
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[version] = [logits_of(name, config) for name, config in configs().items()]
    lines = [f'{json.dumps(v)}: [\n' + ",\n".join(json.dumps(entry) for entry in kept[v]) + "\n]" for v in sorted(kept)]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
