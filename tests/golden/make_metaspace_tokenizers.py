"""Golden ids and texts for SentencePiece-style tokenizer.json files of other implementations: pip install tokenizers==0.23.* sentencepiece==0.2.*

Trains small vocabularies on the text of make_tokenizers.py, gives them the bytes, normalizers, pre-tokenizers and decoders that the
families' published files have, and writes each file with the ids and the decoded text that the library gives. Run by hand:

    python3 make_metaspace_tokenizers.py > metaspace_tokenizers.json
"""
import io
import json

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_tokenizers import TEXT

HARD = [
    "", " ", "  ", "a", "\n", " a", "  a\n\n b  ", "The tumbler", "don't DON'T", "x\r\n\ty \n \n z\n  ", "1234567 12 ½Ⅷ٣", "e\u0301 é \u0301abc",
    "石は中文字 한국어 العربية हिन्दी ไทย", "😀👩\u200d🔬🇨🇭", "\u00a0x\u3000 y\u2028z", "▁ ▁▁stone ▁", "<s>stones<s>  go</s> in", "stones   go\t3 4 \ufffd",
    "<0x0A> <0x41>", "QQQQ ZZZ", "stones stones stonesstones    stones", "<tag>stone <tag> <h1>s</h1>", "<unk> Ж<unk>", "nightnightnight aaaaaaaaaaaaa",
]
METASPACE = "▁"


def bpe_vocabulary(pre_tokenizer, bytes_too):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=420, show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    names = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if bytes_too else []) + ["<h1>", "</h1>"]
    vocab = {name: i for i, name in enumerate(names)}
    # A few characters fewer: they fall back.
    for token in model["vocab"]:
        if token not in "Q日ग":
            vocab[token] = len(vocab)
    merges = [tuple(merge) for merge in model["merges"] if all(t in vocab for t in merge)]
    return vocab, merges


def bpe(pre_tokenizer, byte_fallback=True, fuse_unk=True):
    vocab, merges = bpe_vocabulary(pre_tokenizer, byte_fallback)
    return Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=fuse_unk, byte_fallback=byte_fallback))


def unigram(pre_tokenizer, byte_fallback):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.UnigramTrainer(vocab_size=300, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator([TEXT], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab = [(t, round(s, 6)) for t, s in model["vocab"] if t not in "Q日ग"] + [("<h1>", -3.0), ("</h1>", -3.0)]
    if byte_fallback:
        vocab += [(f"<0x{b:02X}>", 0.0) for b in range(256)]
    return Tokenizer(models.Unigram(vocab, 0, byte_fallback))


def fallback_decoder(strip):
    steps = [decoders.Replace(METASPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if strip else []))


def with_parts(tokenizer, normalizer, pre_tokenizer, decoder, bos):
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in ("<h1>", "</h1>")])
    tokenizer.add_tokens([AddedToken("<tag>", lstrip=True, rstrip=True, special=False, normalized=False)])
    if bos:
        s = tokenizer.token_to_id("<s>")
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", s)])
    return tokenizer


def families():
    space = normalizers.Replace(" ", METASPACE)
    always = pre_tokenizers.Metaspace(METASPACE, "always", True)
    first = pre_tokenizers.Metaspace(METASPACE, "first", False)
    never = pre_tokenizers.Metaspace(METASPACE, "never", False)
    gemma_split = pre_tokenizers.Split(" ", "merged_with_previous")
    whole = pre_tokenizers.Metaspace(METASPACE, "never", False)
    return {
        "llama2": with_parts(bpe(always), normalizers.Sequence([normalizers.Prepend(METASPACE), space]), None, fallback_decoder(True), True),
        "llama2_metaspace": with_parts(bpe(always), None, first, fallback_decoder(True), True),
        "gemma": with_parts(bpe(whole), space, gemma_split, fallback_decoder(False), True),  # tokens of several words
        "bpe_without_bytes": with_parts(bpe(always, False), None, always, decoders.Metaspace(METASPACE, "always", True), False),
        "bpe_unk_each": with_parts(bpe(always, False, False), None, never, decoders.Metaspace(METASPACE, "never", False), False),
        "unigram": with_parts(unigram(always, False), None, always, decoders.Metaspace(METASPACE, "always", True), False),
        "unigram_bytes": with_parts(unigram(always, True), normalizers.Sequence([normalizers.NFC()]), first, fallback_decoder(True), True),
    }


def sentence_piece(kind, vocab_size):
    """A model of SentencePiece's own, as GGUF files have it: pieces, types, scores."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line.replace("Q", "").replace("日", "") for line in TEXT.split("\n")), model_writer=model, model_type=kind,
        vocab_size=vocab_size, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, character_coverage=1.0, minloglevel=2)
    p = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    type_of = lambda i: 2 if p.is_unknown(i) else 3 if p.is_control(i) else 6 if p.is_byte(i) else 1
    n = p.get_piece_size()
    # Others' programs begin anew behind a token that a user defines: texts without such.
    ids = [p.encode(text) for text in HARD]
    return {"pieces": [p.id_to_piece(i) for i in range(n)], "types": [type_of(i) for i in range(n)], "scores": [p.get_score(i) for i in range(n)],
            "texts": HARD, "ids": ids, "decoded": [p.decode(i) for i in ids]}


def main():
    out = {}
    for name, tokenizer in families().items():
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in HARD]
        out[name] = {
            "tokenizer.json": json.loads(tokenizer.to_str()),
            "ids": ids,
            "decoded": [tokenizer.decode(i, skip_special_tokens=False) for i in ids],
            "decoded_without_special": [tokenizer.decode(i, skip_special_tokens=True) for i in ids],
            "prefix": tokenizer.encode("a").ids[: -len(tokenizer.encode("a", add_special_tokens=False).ids)],
        }
    print(json.dumps({"texts": HARD, "families": out, "sentencepiece": sentence_piece("bpe", 500),
                      "sentencepiece_unigram": sentence_piece("unigram", 430)}, ensure_ascii=True, separators=(",", ":")))


if __name__ == "__main__":
    main()
