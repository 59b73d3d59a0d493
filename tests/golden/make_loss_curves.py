#!/usr/bin/env python3
"""Ten training steps of small models in PyTorch, in double precision: the golden values of src/nn/golden_test.cc.

    python3 tests/golden/make_loss_curves.py > tests/golden/loss_curves.json        (Debian: python3-torch, python3-numpy)

Written from the papers and from transformers' documentation of each family, apart from the C++: autograd does the backward pass and
torch.optim.AdamW the update. Weights and tokens come from a formula that both sides compute, so that no binary file is needed:
value i of tensor NAME is u(mix64(fnv1a(NAME) + i)), u in [-1, 1), times a scale, plus 1 for norms.
"""
import json
import math

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
STEPS, B, T = 10, 3, 20
MASK = 0xFFFFFFFFFFFFFFFF

COMMON = dict(vocab_size=61, n_layer=2, n_ff=40, max_positions=32, norm_eps=1e-5, rope_theta=10000.0)
MODELS = {
    "gpt2": dict(COMMON, family="gpt2", n_embd=32, n_head=4, n_kv_head=4, head_dim=8, tied=True),
    "llama": dict(COMMON, family="llama", n_embd=24, n_head=4, n_kv_head=1, head_dim=8, tied=False),
    "qwen2": dict(COMMON, family="qwen2", n_embd=32, n_head=4, n_kv_head=2, head_dim=8, tied=True),
    "qwen3": dict(COMMON, family="qwen3", n_embd=24, n_head=4, n_kv_head=2, head_dim=16, tied=True),
}
LR, BETAS, EPS, DECAY, CLIP = 3e-3, (0.9, 0.95), 1e-8, 0.1, 1.0


def fnv1a(name):
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = ((h ^ c) * 0x100000001B3) & MASK
    return h


def mix64(x):
    x = (x + np.uint64(0x9E3779B97F4A7C15))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hashes(name, n):
    with np.errstate(over="ignore"):
        return mix64(np.uint64(fnv1a(name)) + np.arange(n, dtype=np.uint64))


def uniform(name, n):
    # 24 bits, so that float32 holds each value exactly
    return (hashes(name, n) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


class Model:
    def __init__(self, c):
        self.c = c
        C, F, D = c["n_embd"], c["n_ff"], c["head_dim"]
        self.gpt2 = c["family"] == "gpt2"
        qkv = (c["n_head"] + 2 * c["n_kv_head"]) * D
        self.w = {}
        self.add("embedding", (c["vocab_size"], C), 0.5)
        if self.gpt2:
            self.add("positions", (c["max_positions"], C), 0.25)
        for l in range(c["n_layer"]):
            p = f"layers.{l}."
            self.norm_weights(p + "attn_norm")
            self.add(p + "qkv", (qkv, C), 0.25)
            if c["family"] in ("gpt2", "qwen2"):
                self.add(p + "qkv_bias", (qkv,), 0.125)
            if c["family"] == "qwen3":
                self.add(p + "q_norm", (D,), 0.125, 1.0)
                self.add(p + "k_norm", (D,), 0.125, 1.0)
            self.add(p + "out", (C, c["n_head"] * D), 0.25)
            self.norm_weights(p + "mlp_norm")
            self.add(p + "up", (F if self.gpt2 else 2 * F, C), 0.25)
            self.add(p + "down", (C, F), 0.25)
            if self.gpt2:
                self.add(p + "out_bias", (C,), 0.125)
                self.add(p + "up_bias", (F,), 0.125)
                self.add(p + "down_bias", (C,), 0.125)
        self.norm_weights("final_norm")
        if not c["tied"]:
            self.add("head", (c["vocab_size"], C), 0.25)

    def add(self, name, shape, scale, offset=0.0):
        values = uniform(name, math.prod(shape)) * scale + offset
        values = values.astype(np.float32).astype(np.float64)
        self.w[name] = torch.tensor(values.reshape(shape), requires_grad=True)

    def norm_weights(self, name):
        self.add(name, (self.c["n_embd"],), 0.125, 1.0)
        if self.gpt2:
            self.add(name + "_bias", (self.c["n_embd"],), 0.125)

    def norm(self, x, name):
        if self.gpt2:
            return torch.nn.functional.layer_norm(x, x.shape[-1:], self.w[name], self.w[name + "_bias"], self.c["norm_eps"])
        return self.rms(x, self.w[name])

    def rms(self, x, weight):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.c["norm_eps"]) * weight

    def linear(self, x, name):
        return torch.nn.functional.linear(x, self.w[name], self.w.get(name + "_bias"))

    def rope(self, x, positions):  # x (B, heads, T, D)
        D = self.c["head_dim"]
        frequencies = self.c["rope_theta"] ** (-torch.arange(0, D, 2) / D)
        angles = positions[:, None, :, None] * frequencies
        angles = torch.cat([angles, angles], -1)
        turned = torch.cat([-x[..., D // 2:], x[..., :D // 2]], -1)
        return x * angles.cos() + turned * angles.sin()

    def attention(self, x, p, positions, mask):
        c, (b, t, _) = self.c, x.shape
        H, KV, D = c["n_head"], c["n_kv_head"], c["head_dim"]
        q, k, v = self.linear(x, p + "qkv").split([H * D, KV * D, KV * D], -1)
        q, k, v = (y.view(b, t, -1, D).transpose(1, 2) for y in (q, k, v))
        if p + "q_norm" in self.w:
            q, k = self.rms(q, self.w[p + "q_norm"]), self.rms(k, self.w[p + "k_norm"])
        if not self.gpt2:
            q, k = self.rope(q, positions), self.rope(k, positions)
        k, v = (y.repeat_interleave(H // KV, 1) for y in (k, v))
        scores = (q @ k.transpose(-1, -2) / math.sqrt(D)).masked_fill(~mask[:, None], -math.inf)
        return self.linear((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, H * D), p + "out")

    def mlp(self, x, p):
        up = self.linear(x, p + "up")
        if self.gpt2:
            act = 0.5 * up * (1 + torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
        else:
            gate, up = up.chunk(2, -1)
            act = torch.nn.functional.silu(gate) * up
        return self.linear(act, p + "down")

    def loss(self, batch):
        tokens, targets, weights, first_key, positions = batch
        x = self.w["embedding"][tokens]
        if self.gpt2:
            x = x + self.w["positions"][positions.long()]
        keys = torch.arange(T)
        mask = (keys[None, None, :] <= keys[None, :, None]) & (keys[None, None, :] >= first_key[:, :, None])
        for l in range(self.c["n_layer"]):
            p = f"layers.{l}."
            x = x + self.attention(self.norm(x, p + "attn_norm"), p, positions, mask)
            x = x + self.mlp(self.norm(x, p + "mlp_norm"), p)
        logits = self.norm(x, "final_norm") @ self.w["embedding" if self.c["tied"] else "head"].T
        losses = torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), reduction="none")
        return (losses * weights.view(-1)).sum()


def make_batch(step, vocab):
    n = B * T
    draw = lambda what: torch.tensor((hashes(f"{what} {step}", n) % np.uint64(vocab)).astype(np.int64).reshape(B, T))
    t = torch.arange(T).expand(B, T)
    second = t >= 12  # two documents in each row
    keep = (hashes(f"weight {step}", n) % np.uint64(4) != 0).astype(np.float64)
    weights = torch.tensor((keep / keep.sum()).reshape(B, T))
    return draw("token"), draw("target"), weights, torch.where(second, 12, 0), torch.where(second, t - 12, t).double()


def train(c):
    model = Model(c)
    decayed = [w for w in model.w.items() if w[1].dim() == 2 and w[0] not in ("embedding", "positions", "head")]
    groups = [{"params": [w for _, w in decayed], "weight_decay": DECAY},
              {"params": [w for name, w in model.w.items() if name not in dict(decayed)], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)
    losses, norms = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = model.loss(make_batch(step, c["vocab_size"]))
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(list(model.w.values()), CLIP).item())
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, (step + 1) / 3)
        optimizer.step()
        losses.append(loss.item())
    return dict(config=c, losses=losses, gradient_norms=norms)


settings = dict(steps=STEPS, B=B, T=T, lr=LR, beta1=BETAS[0], beta2=BETAS[1], eps=EPS, weight_decay=DECAY, clip=CLIP, warmup=3)
print(json.dumps(dict(settings=settings, models={name: train(c) for name, c in MODELS.items()}), indent=1))
