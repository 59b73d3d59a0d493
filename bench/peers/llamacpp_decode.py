#!/usr/bin/env python3
"""llama.cpp on the shapes of `tumbler bench decode|prefill`, through the low-level calls of llama-cpp-python (PyPI,
built on the machine, so for its own processor). Prints one JSON line a figure: the median of --runs.

    python3 -m venv peer && peer/bin/pip install llama-cpp-python
    peer/bin/python bench/peers/llamacpp_decode.py model.gguf --threads 2
"""

import argparse
import ctypes
import json
import random
import statistics
import time

import llama_cpp as llama


def open_context(model, threads, sequences, context):
    params = llama.llama_context_default_params()
    params.n_ctx = context * sequences
    params.n_batch = params.n_ubatch = max(512, sequences)
    params.n_seq_max = sequences
    params.n_threads = params.n_threads_batch = threads
    params.type_k = params.type_v = llama.GGML_TYPE_F16
    return llama.llama_init_from_model(model, params)


def decode(context, pieces):
    """pieces: (sequence, first position, tokens); logits of each piece's last token."""
    batch = llama.llama_batch_init(sum(len(p[2]) for p in pieces), 0, 1)
    at = 0
    for sequence, first, tokens in pieces:
        for i, token in enumerate(tokens):
            batch.token[at], batch.pos[at] = token, first + i
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
            batch.logits[at] = i + 1 == len(tokens)
            at += 1
    batch.n_tokens = at
    assert llama.llama_decode(context, batch) == 0
    llama.llama_batch_free(batch)


def argmax(context, row, vocabulary):
    logits = llama.llama_get_logits_ith(context, row)
    return max(range(0, vocabulary, 997), key=lambda i: logits[i])  # any token does: what is timed is decoding


def report(figure, runs, **config):
    print(json.dumps({"bench": figure, **config, "value": statistics.median(runs), "best": max(runs), "unit": "tok/s"}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=512)
    flags = parser.parse_args()
    silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    params = llama.llama_model_default_params()
    model = llama.llama_model_load_from_file(flags.model.encode(), params)
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    rng = random.Random(1)
    tokens = lambda n: [rng.randrange(vocabulary) for _ in range(n)]

    context = open_context(model, flags.threads, 1, flags.tokens + 64)
    memory = llama.llama_get_memory(context)
    runs = []
    for run in range(flags.runs + 1):
        llama.llama_memory_clear(memory, True)
        prompt = tokens(flags.tokens)
        start = time.perf_counter()
        decode(context, [(0, 0, prompt)])
        argmax(context, -1, vocabulary)
        if run > 0:
            runs.append(flags.tokens / (time.perf_counter() - start))
    report("prefill", runs, tokens=flags.tokens)
    llama.llama_free(context)

    for sequences in (1, flags.sequences):
        steps = 32
        context = open_context(model, flags.threads, sequences, 16 + steps * (flags.runs + 2))
        for s in range(sequences):
            decode(context, [(s, 0, tokens(16))])
        position, runs = 16, []
        for run in range(flags.runs + 1):
            start = time.perf_counter()
            for _ in range(steps):
                decode(context, [(s, position, [rng.randrange(vocabulary)]) for s in range(sequences)])
                argmax(context, -1, vocabulary)
                position += 1
            if run > 0:
                runs.append(steps * sequences / (time.perf_counter() - start))
        report("decode", runs, sequences=sequences)
        llama.llama_free(context)


main()
