#!/usr/bin/env python3
"""Makes quants.json: what other programs make of the same blocks and the same weights.

    python3 -m venv v && v/bin/pip install gguf==0.19.0
    v/bin/python tests/golden/make_quants.py tests/golden/quants.json [libggml-base.so]

unpack  random bytes as blocks → their values by gguf's numpy code, which must agree to the bit
pack    weights → blocks by the same code, to the bit
errors  weights → super-blocks by ggml itself (gguf has no such code): sum of squared errors over sum of squares;
        only with a path to ggml's library, otherwise what the file had is kept
Floats are little-endian f32, everything in hex.
"""
import ctypes
import json
import pathlib
import sys

import gguf
import numpy as np

Type = gguf.GGMLQuantizationType
TYPES = [Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q4_K, Type.Q5_K, Type.Q6_K]
SCALES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2],
          Type.Q6_K: [208]}
SUPER = [Type.Q4_K, Type.Q5_K, Type.Q6_K]


def random_blocks(rng, kind):
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, size=(3 if size > 32 else 8, size), dtype=np.uint8)
    if kind == Type.F16:  # no NaN, whose bits have no one right answer
        blocks = rng.normal(size=(40,)).astype(np.float16)
        blocks[:8] = [0.0, -0.0, np.inf, -np.inf, 6e-8, -6e-5, 65504, 2**-14]
        return blocks.view(np.uint8).reshape(-1, 2)
    if kind == Type.BF16:
        return (rng.normal(size=(40,)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1, 2)
    for at in SCALES[kind]:
        scale = (rng.normal(size=len(blocks)) * 10.0 ** rng.uniform(-6, 1, size=len(blocks))).astype(np.float16)
        blocks[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return blocks


def weights(rng, n):
    """Blocks of 32 of many kinds: normal, heavy-tailed, one-sided, tiny, zero, equal, half-way values."""
    x = rng.normal(size=(n // 32, 32))
    x[1::8] = rng.standard_t(2, size=x[1::8].shape)
    x[2::8] = np.abs(x[2::8]) + 1
    x[3::8] *= 1e-6
    x[4::16] = 0
    x[12::16] = -0.375
    x[5::8] = rng.integers(-9, 10, size=x[5::8].shape) / 2
    x[6::8] *= 0.02
    return x.astype(np.float32)


def relative_error(x, y):
    return float(np.sum((x.astype(np.float64) - y) ** 2) / np.sum(x.astype(np.float64) ** 2))


def ggml_errors(library, x):
    lib = ctypes.CDLL(library)
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64,
                                        ctypes.c_void_p]
    errors = {}
    for kind in SUPER:
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        out = np.zeros(x.size // elements * size, dtype=np.uint8)
        flat = np.ascontiguousarray(x.reshape(-1))
        lib.ggml_quantize_chunk(int(kind), flat.ctypes.data, out.ctypes.data, 0, 1, flat.size, None)
        errors[kind.name.lower()] = relative_error(flat, gguf.quants.dequantize(out, kind).reshape(-1))
    return errors


def main():
    path = pathlib.Path(sys.argv[1])
    rng = np.random.default_rng(7)
    out = {"unpack": {}, "pack": {}, "errors": json.loads(path.read_text()).get("errors", {}) if path.exists() else {}}
    for kind in TYPES:
        blocks = random_blocks(rng, kind)
        values = gguf.quants.dequantize(blocks.reshape(-1), kind).astype("<f4")
        out["unpack"][kind.name.lower()] = {"blocks": blocks.tobytes().hex(), "values": values.tobytes().hex()}
    x = weights(rng, 1024)
    out["weights"] = x.astype("<f4").tobytes().hex()
    for kind in TYPES:
        if kind not in SUPER:
            out["pack"][kind.name.lower()] = gguf.quants.quantize(x.reshape(-1), kind).tobytes().hex()
    gauss = np.random.default_rng(8).normal(size=4096).astype(np.float32) * np.float32(0.05)
    out["gauss"] = gauss.astype("<f4").tobytes().hex()
    if len(sys.argv) > 2:
        out["errors"] = ggml_errors(sys.argv[2], gauss)
    path.write_text(json.dumps(out, indent=1) + "\n")


main()
