"""Golden ids for tokenizer.json files that another implementation made: pip install tokenizers==0.23.*

Trains one small tokenizer a family on the text below, with the pre-tokenizer, normalizer and added tokens that the family's published
files have, and writes each file with the ids that the library gives for some hard text. Run by hand:

    python3 make_tokenizers.py > tokenizers.json
"""
import json

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

TEXT = """The tumbler turns rough stones into smooth ones. It doesn't hurry: stones go in, and after 14 days of coarse grit, 10 days of
medium grit and 7 days of fine grit they've become round. Weigh the stones (in grams) first; you'll want to know that 1,250 g became 980 g.
def tumble(stones, days=14):\n    for day in range(days):\n        stones = [stone.smoothed() for stone in stones]\n    return stones\n
Die Trommel dreht sich Tag und Nacht; die Steine werden langsam rund und glänzend. Les pierres tournent toute la journée et toute la nuit.
Камни вращаются день и ночь. 石は昼も夜も回り続けます。石头日夜旋转。 돌은 밤낮으로 돌아간다. पत्थर दिन-रात घूमते हैं।
"""
HARD = [
    "", " ", "a", "\n", "  a\n\n b  ", "don't DON'T 'llama we'Ve", "x\r\n\ty \n \n z\n  ", "1234567 12 ½Ⅷ٣", "e\u0301 é \u0301abc \u0301ABC", "HTMLParser fooBAR's ǅx",
    "!!!\n\n //\n/ a/b", "石は中文字 한국어 العربية हिन्दी ไทย", "😀👩\u200d🔬🇨🇭", "\u00a0x\u3000 y\u2028z", "<|endoftext|>stone<|endoftext|>  <tag> ", "smooth   stones\tgo 3 4",
]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
HEAD, TAIL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def by_case(suffix, numbers):
    lead = r"[^\r\n\p{L}\p{N}]?"
    rest = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return f"{lead}{HEAD}*{TAIL}+{suffix}|{lead}{HEAD}+{TAIL}*{suffix}|{numbers}" + rest


def byte_level(use_regex, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


def split(regex):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), byte_level(False)])


FAMILIES = {
    "gpt2": (byte_level(True), False),
    "gpt2_prefix_space": (byte_level(True, True), False),
    "smollm2": (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)]), False),
    "llama3": (split(LLAMA3), False),
    "qwen2": (split(QWEN2), True),
    "qwen35": (split(QWEN35), True),
    "o200k": (split(by_case(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}")), False),
    "tekken": (split(by_case("", r"\p{N}")), False),
}


def make(pre_tokenizer, nfc):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    tokenizer.add_tokens([AddedToken("<tag>", lstrip=True, rstrip=True, special=False, normalized=False)])
    return tokenizer


def main():
    families = {}
    for i, (name, (pre_tokenizer, nfc)) in enumerate(FAMILIES.items()):
        tokenizer = make(pre_tokenizer, nfc)
        file = json.loads(tokenizer.to_str())
        if i % 2 == 0:  # the older spelling of merges
            file["model"]["merges"] = [" ".join(merge) for merge in file["model"]["merges"]]
        families[name] = {"tokenizer.json": file, "ids": [tokenizer.encode(text, add_special_tokens=False).ids for text in HARD]}
    print(json.dumps({"texts": HARD, "train_text": TEXT, "families": families}, ensure_ascii=True, separators=(",", ":")))


if __name__ == "__main__":
    main()
