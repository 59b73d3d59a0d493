#!/usr/bin/env python3
"""Opens GGUF files that tumbler wrote, of every family and type, with llama.cpp: the same logits, the same greedy tokens?

    python3 -m venv v && v/bin/pip install llama-cpp-python numpy
    cmake --build --preset release --target formats_test
    v/bin/python tests/golden/llama_cpp_parity.py build/release/formats_test [family ...]

Not part of ./test, which needs no Python packages; ends at once, with a message, where they are not there. On packed weights both sides
round the inputs of products, each in its own way, so that tokens with almost equal logits may change places. What is exact is compared
with what is exact: each file's values are also there as f32, where llama.cpp rounds nothing but, in GPT-2's and Gemma's activation, a
table of f16. Of each file a line says

    f32      largest difference of a logit between our f32 pass and llama.cpp's, over the root mean square of logits
    ours     root mean square, over the same, of what rounding inputs changes in our logits
    theirs   and in llama.cpp's
    greedy   how many of our 24 greedy tokens on packed weights are llama.cpp's too; of the first that is not, the lead that
             the f32 pass gives our token before theirs, over the same

Fails where f32 differs by more than 1e-4 (more with a table), where rounding changes our logits more than 1.5 times as much as theirs
(and more than 1e-4), or where greedy tokens part by more than four times what both roundings add up to.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from llama_cpp import Llama
except ImportError as error:
    print(f"skipped: {error}; pip install llama-cpp-python numpy")
    sys.exit(0)

FAMILIES = ["gpt2", "llama", "llama_untied", "llama_bias", "qwen2", "qwen3", "gemma3", "gemma3_sharp"]
# With a table of f16 for the activation; "sharp" attention magnifies what it changes.
F32_BARS = {"gpt2": 4e-3, "gemma3": 4e-3, "gemma3_sharp": 4e-2}
GENERATED = 24
F32 = 0  # ggml's number of the type


def load_file(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    types = {"F32": np.float32, "I64": np.int64}
    return {name: np.frombuffer(data[8 + size :][slice(*info["data_offsets"])], types[info["dtype"]]).reshape(info["shape"])
            for name, info in json.loads(data[8 : 8 + size]).items() if name != "__metadata__"}


def logits_of(path, tokens):
    model = Llama(str(path), n_ctx=128, n_threads=1, n_threads_batch=1, n_gpu_layers=0, logits_all=True, verbose=False,
                  type_k=F32, type_v=F32)
    model.eval(tokens)
    return np.array(model.scores[: len(tokens)])


def rms(x):
    return float(np.sqrt((x.astype(np.float64) ** 2).mean()))


def compare(family, path):
    ours = load_file(path.with_suffix(".safetensors"))
    tokens, exact, rounded = ours["tokens"].tolist(), ours["exact"], ours["rounded"]
    their_exact = logits_of(path.with_name(path.stem + "-f32.gguf"), tokens)
    their_rounded = logits_of(path, tokens)
    size = rms(exact)
    f32 = float(np.abs(their_exact - exact).max()) / size
    our_rounding, their_rounding = rms(rounded - exact) / size, rms(their_rounded - their_exact) / size
    agreed, lead = 0, 0.0
    for at in range(len(tokens) - GENERATED - 1, len(tokens) - 1):
        mine, other = tokens[at + 1], int(their_rounded[at].argmax())
        if mine != other:
            lead = float(exact[at, mine] - exact[at, other]) / size
            break
        agreed += 1
    print(f"{family:13} {path.stem:5} f32 {f32:.1e}  ours {our_rounding:.1e}  theirs {their_rounding:.1e}  greedy {agreed:2}"
          + (f", then a lead of {lead:+.1e}" if agreed < GENERATED else ""), flush=True)
    return (f32 <= F32_BARS.get(family, 1e-4) and our_rounding <= max(1.5 * their_rounding, 1e-4)
            and abs(lead) <= 4 * (our_rounding + their_rounding))


def main():
    wrong = []
    for family in sys.argv[2:] or FAMILIES:
        with tempfile.TemporaryDirectory() as directory:
            environment = {**os.environ, "TUMBLER_PARITY_DIR": directory, "TUMBLER_PARITY_FAMILY": family}
            result = subprocess.run([sys.argv[1], "--gtest_filter=LlamaCppParity.Writes"], env=environment, capture_output=True, text=True)
            if result.returncode != 0:
                sys.exit(result.stdout + result.stderr)
            files = sorted(p for p in pathlib.Path(directory).glob("*.gguf") if not p.stem.endswith("-f32"))
            if not files:
                sys.exit(f"{family}: nothing was written")
            wrong += [f"{family} {p.stem}" for p in files if not compare(family, p)]
    if wrong:
        sys.exit(f"differ: {', '.join(wrong)}")


main()
