#!/usr/bin/env python3
"""Trains GPT-2's or Qwen3's shape with PyTorch on the CPU and prints tokens per second, to set beside `tumbler bench train`.

  python3 bench/peers/torch_train.py --shape gpt2-124m --dtype bf16 [--compile] [--batch 4] [--time 1024] [--steps 5]

Run it right before or after `tumbler bench train` with the same shape on the same machine; only the ratio means something.
The model is written as a PyTorch user would: nn.Linear, scaled_dot_product_attention where this PyTorch has it, fused AdamW where it has it.
"""
import argparse
import json
import math
import os
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPES = {
    "gpt2-124m": dict(kind="gpt2", vocab=50257, width=768, layers=12, heads=12, kv_heads=12, ff=3072, batch=4, time=1024),
    "quickstart": dict(kind="qwen3", vocab=8192, width=256, layers=4, heads=4, kv_heads=2, ff=704, batch=8, time=256),
}


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * self.weight.to(x.dtype)


def attend(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.size(-1))
    mask = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(mask, float("-inf")).softmax(-1) @ v


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        w, d = c["width"], c["width"] // c["heads"]
        gpt2 = c["kind"] == "gpt2"
        self.norm1 = nn.LayerNorm(w) if gpt2 else RMSNorm(w)
        self.norm2 = nn.LayerNorm(w) if gpt2 else RMSNorm(w)
        self.qkv = nn.Linear(w, (c["heads"] + 2 * c["kv_heads"]) * d, bias=gpt2)
        self.out = nn.Linear(w, w, bias=gpt2)
        self.up = nn.Linear(w, c["ff"] if gpt2 else 2 * c["ff"], bias=gpt2)
        self.down = nn.Linear(c["ff"], w, bias=gpt2)
        if not gpt2:
            self.q_norm, self.k_norm = RMSNorm(d), RMSNorm(d)

    def forward(self, x, rope):
        c = self.c
        B, T, w = x.shape
        d = w // c["heads"]
        q, k, v = self.qkv(self.norm1(x)).split([c["heads"] * d, c["kv_heads"] * d, c["kv_heads"] * d], -1)
        q = q.view(B, T, c["heads"], d)
        k = k.view(B, T, c["kv_heads"], d)
        v = v.view(B, T, c["kv_heads"], d).transpose(1, 2)
        if c["kind"] == "qwen3":
            cos, sin = rope
            rotate = lambda t: torch.cat([-t[..., d // 2:], t[..., : d // 2]], -1)
            q, k = self.q_norm(q), self.k_norm(k)
            q, k = q * cos + rotate(q) * sin, k * cos + rotate(k) * sin
        q, k = q.transpose(1, 2), k.transpose(1, 2)
        if c["kv_heads"] != c["heads"]:
            k = k.repeat_interleave(c["heads"] // c["kv_heads"], 1)
            v = v.repeat_interleave(c["heads"] // c["kv_heads"], 1)
        x = x + self.out(attend(q, k.to(q.dtype), v.to(q.dtype)).transpose(1, 2).reshape(B, T, w))
        h = self.up(self.norm2(x))
        if c["kind"] == "gpt2":
            h = F.gelu(h, approximate="tanh")
        else:
            gate, up = h.chunk(2, -1)
            h = F.silu(gate) * up
        return x + self.down(h)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.wte = nn.Embedding(c["vocab"], c["width"])
        self.wpe = nn.Embedding(c["time"], c["width"]) if c["kind"] == "gpt2" else None
        self.blocks = nn.ModuleList([Block(c) for _ in range(c["layers"])])
        self.norm = nn.LayerNorm(c["width"]) if c["kind"] == "gpt2" else RMSNorm(c["width"])
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, targets):
        c = self.c
        T = tokens.shape[1]
        x = self.wte(tokens)
        rope = None
        if self.wpe is not None:
            x = x + self.wpe(torch.arange(T))
        else:
            d = c["width"] // c["heads"]
            angle = torch.outer(torch.arange(T).float(), 1e6 ** (-torch.arange(0, d, 2).float() / d))
            angle = torch.cat([angle, angle], -1)[None, :, None, :]
            rope = (angle.cos().to(x.dtype), angle.sin().to(x.dtype))
        for block in self.blocks:
            x = block(x, rope)
        logits = F.linear(self.norm(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.size(-1)).float(), targets.reshape(-1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-124m")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--time", type=int)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    c = dict(SHAPES[options.shape])
    c["batch"] = options.batch or c["batch"]
    c["time"] = options.time or c["time"]
    model = Model(c)
    run = torch.compile(model) if options.compile else model
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    except (TypeError, RuntimeError):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    tokens = torch.randint(c["vocab"], (c["batch"], c["time"] + 1))
    seconds = []
    for _ in range(options.steps + 1):  # the first one warms up (and compiles)
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = run(tokens[:, :-1], tokens[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    rate = c["batch"] * c["time"] / statistics.median(seconds[1:])
    best = c["batch"] * c["time"] / min(seconds[1:])
    print(json.dumps({"bench": "train", "peer": f"torch {torch.__version__}", "config": {**c, "dtype": options.dtype, "compile": options.compile},
                      "threads": options.threads, "unit": "tok/s", "median": round(rate, 1), "best": round(best, 1), "runs": options.steps,
                      "loss": round(float(loss), 4)}))


if __name__ == "__main__":
    main()
