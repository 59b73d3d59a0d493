#!/usr/bin/env python3
"""Opens models that tumbler saved with `transformers`, lets tumbler open models that `transformers` saved, compares logits.

The latter also with each key of config.json null or left out, wherever `transformers` opens that with all weights used.

    python3 -m venv v && v/bin/pip install torch==2.6.0 transformers==4.51.3
    cmake --build --preset release --target formats_test
    v/bin/python tests/golden/transformers_parity.py build/release/formats_test

Not part of ./test, which needs no Python packages. Every weight is f32; logits must agree to 1e-4.
Also with torch 2.15 and transformers 5.23.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-4


def run_tests(binary, root, name):
    result = subprocess.run([binary, f"--gtest_filter=TransformersParity.{name}"], env={**os.environ, "TUMBLER_PARITY_DIR": str(root)},
                            capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stdout + result.stderr)


def logits_of(model, tokens):
    with torch.no_grad():
        return model(tokens.long()[None]).logits[0]


def read_ours(root):
    for directory in sorted((root / "ours").iterdir()):
        model, info = transformers.AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float32, output_loading_info=True,
                                                                        attn_implementation="eager")
        missing = [k for k in info["missing_keys"] if not k.endswith("lm_head.weight")] + list(info["unexpected_keys"])
        expected = load_file(directory / "expected.safetensors")
        difference = (logits_of(model.eval(), expected["tokens"]) - expected["logits"]).abs().max().item()
        print(f"ours   {directory.name:14} {type(model).__name__:20} largest difference {difference:.1e}")
        if missing or not difference <= TOLERANCE:
            sys.exit(f"{directory}: difference {difference}, keys {missing}")


def write_theirs(root):
    sizes = dict(vocab_size=31, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=40,
                 max_position_embeddings=64)
    configs = {
        "gpt2": transformers.GPT2Config(vocab_size=31, n_embd=32, n_layer=2, n_head=4, n_positions=64),
        "llama": transformers.LlamaConfig(**sizes, rope_theta=500000.0, tie_word_embeddings=False),
        "llama_bias": transformers.LlamaConfig(**sizes, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
        "qwen2": transformers.Qwen2Config(**sizes, tie_word_embeddings=True),
        "qwen3": transformers.Qwen3Config(**sizes, head_dim=16, tie_word_embeddings=True),
        "gemma3": transformers.Gemma3TextConfig(**dict(sizes, hidden_size=64, num_hidden_layers=7), head_dim=16, sliding_window=9,
                                                  query_pre_attn_scalar=16),
    }
    for name, config in configs.items():
        torch.manual_seed(len(name))
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.2)
        tokens = torch.randint(0, 31, (50,), dtype=torch.int32)
        directory = root / "theirs" / name
        model.save_pretrained(directory)
        save_file({"tokens": tokens, "logits": logits_of(model, tokens).contiguous()}, directory / "expected.safetensors")
        print(f"theirs {name:14} opened with {write_variants(directory, tokens)} keys null or left out")


# What need not be said of a model that was saved with it.
OTHER_KEYS = ["head_dim", "layer_types", "mlp_bias", "rope_parameters", "rope_scaling", "rope_theta", "sliding_window"]


def write_variants(directory, tokens):
    written = 0
    config = json.loads((directory / "config.json").read_text())
    for key in sorted({*config, *OTHER_KEYS} - {"architectures", "model_type"}):
        for how, changed in (("null", {**config, key: None}), ("absent", {k: v for k, v in config.items() if k != key})):
            variant = directory.with_name(f"{directory.name}-{key}-{how}")
            variant.mkdir()
            (variant / "config.json").write_text(json.dumps(changed))
            (variant / "model.safetensors").write_bytes((directory / "model.safetensors").read_bytes())
            try:
                model, info = transformers.AutoModelForCausalLM.from_pretrained(
                    variant, torch_dtype=torch.float32, output_loading_info=True, attn_implementation="eager")
                # With null for true transformers 4 leaves scores unscaled; that is refused here.
                head = "lm_head.weight" if model.config.tie_word_embeddings else None
                usable = not set(info["missing_keys"]) - {head} and not info["unexpected_keys"] and key != "scale_attn_weights"
                logits = logits_of(model.eval(), tokens)
            except Exception:
                usable = False
            if usable:
                save_file({"tokens": tokens, "logits": logits.contiguous()}, variant / "expected.safetensors")
                written += 1
            else:
                shutil.rmtree(variant)
    return written


def main():
    transformers.logging.set_verbosity_error()
    binary = sys.argv[1]
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        run_tests(binary, root, "Writes")
        read_ours(root)
        write_theirs(root)
        run_tests(binary, root, "Reads")
        print(f"theirs {len(list((root / 'theirs').iterdir()))} directories: within {TOLERANCE}")


main()
