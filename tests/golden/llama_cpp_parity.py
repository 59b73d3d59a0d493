#!/usr/bin/env python3
"""Opens GGUF files that tumbler wrote, of every family and type, with llama.cpp: the same logits, the same greedy tokens?

    python3 -m venv v && v/bin/pip install llama-cpp-python numpy
    cmake --build --preset release --target formats_test
    v/bin/python tests/golden/llama_cpp_parity.py build/release/formats_test

Not part of ./test, which needs no Python packages; ends at once, with a message, where they are not there. Both sides read the same
packed weights, but llama.cpp rounds activations to 8 bits (f16 for f16 weights): logits differ by about a hundredth of their size, and
so may a greedy token whose lead is smaller than that. Fails where logits differ by more than 5 %, or where the first greedy token that
differs led by more than the largest difference of a logit.
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


def load_file(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    types = {"F32": np.float32, "I64": np.int64}
    return {name: np.frombuffer(data[8 + size :][slice(*info["data_offsets"])], types[info["dtype"]]).reshape(info["shape"])
            for name, info in json.loads(data[8 : 8 + size]).items() if name != "__metadata__"}


def compare(path):
    expected = load_file(path.with_suffix(".safetensors"))
    tokens, greedy, logits = expected["tokens"].tolist(), expected["greedy"].tolist(), expected["logits"]
    model = Llama(str(path), n_ctx=128, n_threads=1, n_threads_batch=1, n_gpu_layers=0, logits_all=True, verbose=False)
    model.eval(tokens)
    got = np.array(model.scores[: len(tokens)])
    difference = np.abs(got - logits).max()
    relative = float(np.sqrt(((got - logits) ** 2).mean() / (logits**2).mean()))
    agreed, lead = 0, 0.0
    for token in greedy:
        row = np.array(model.scores[model.n_tokens - 1])
        if int(row.argmax()) != token:
            lead = float(row.max() - row[token])
            break
        agreed += 1
        model.eval([token])
    same = int((got.argmax(1) == logits.argmax(1)).sum())
    print(f"{path.stem:20} logits differ by {100 * relative:5.2f} %, {same} of {len(tokens)} largest the same, "
          f"{agreed} of {len(greedy)} greedy tokens" + (f", then behind by {lead:.3f}" if lead else ""), flush=True)
    return relative <= 0.05 and lead <= 2 * difference


def main():
    with tempfile.TemporaryDirectory() as directory:
        result = subprocess.run([sys.argv[1], "--gtest_filter=LlamaCppParity.Writes"], env={**os.environ, "TUMBLER_PARITY_DIR": directory},
                                capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(result.stdout + result.stderr)
        files = sorted(pathlib.Path(directory).glob("*.gguf"))
        wrong = [p.stem for p in files if not compare(p)]
        if wrong or not files:
            sys.exit(f"differ: {' '.join(wrong)}")


main()
