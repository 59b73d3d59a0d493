"""Expected verdicts of the text filters, from an independent implementation: datatrove.

usage: filters.py 2024|0.10 IN.jsonl OUT.jsonl
       filters.py inputs OUT.jsonl            the small inputs of filters_inputs.jsonl, written here

2024 wants datatrove==0.2.0 with nltk==3.9.1, 0.10 wants datatrove==0.10.1 with spacy; NLTK_DATA holds punkt_tab.
IN has {"text"} a line, OUT one object a line: what each filter says of the text by itself ("" = kept).
"""
import hashlib
import json
import random
import sys


def verdict(filter_, text):
    from datatrove.data import Document
    doc = Document(text=text, id="0")
    try:
        got = filter_.filter(doc)
    except ZeroDivisionError:
        return "error", text
    ok, reason = got if isinstance(got, tuple) else (got, "dropped")
    return ("" if ok else reason), doc.text


def run(recipe, source, target):
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter, C4QualityFilter
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.utils.text import simplify_text
    if recipe == "2024":
        from nltk.tokenize import word_tokenize
        from nltk import sent_tokenize
        from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
        signer = MinhashDedupSignature("/tmp/unused-signatures", MinhashConfig(use_64bit_hashes=True))
        sentences = sent_tokenize
    else:
        from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
        from datatrove.utils.hashing import HashConfig
        from datatrove.utils.text import split_into_words as word_tokenize, split_into_sentences as sentences
        signer = MinhashDedupSignature("/tmp/unused-signatures", MinhashConfig(hash_config=HashConfig(hash_fc="sha1", precision=64)))
    repetition, quality = GopherRepetitionFilter(), GopherQualityFilter()
    c4, fineweb, pii = C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter(None), PIIFormatter()
    with open(source) as lines, open(target, "w") as out:
        for line in lines:
            text = json.loads(line)["text"]
            words = word_tokenize(text)
            c4_reason, c4_text = verdict(c4, text)
            shingles = signer.get_shingles(text)
            signature = [h for bucket in signer.get_signature(shingles) for h in bucket] if shingles.size else []
            result = {
                "gopher_repetition": verdict(repetition, text)[0], "gopher_quality": verdict(quality, text)[0],
                "c4": c4_reason, "c4_sha1": "" if c4_reason else hashlib.sha1(c4_text.encode()).hexdigest(),
                "fineweb_quality": verdict(fineweb, text)[0],
                "words": len(words), "words_sha1": hashlib.sha1(" ".join(words).encode()).hexdigest(),
                "sentences": sum(len(sentences(l.strip())) for l in text.splitlines() if l.strip()),
                "pii_changed": pii.format(text) != text,
                "normalised_sha1": hashlib.sha1(simplify_text(text).encode()).hexdigest(),
                "minhash": "%016x" % (sum(int(h) for h in signature) % 2**64) if signature else "",
            }
            out.write(json.dumps(result) + "\n")


WORDS = ("the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were when we there can "
         "an your which their said if do will each about how up out them then she many some so these would other into has more her two like him "
         "see time could no make than first been its who now people my made over did down only way find use may water long little very after").split()


def sentence(rng, low=4, high=16):
    words = [rng.choice(WORDS) for _ in range(rng.randint(low, high))]
    words[0] = words[0].capitalize()
    if rng.random() < .2:
        words.insert(rng.randrange(len(words)), rng.choice(["3.5", "1,000", "(maybe)", '"so"', "don't", "well-known", "U.S.", "Mr. Hill", "café", "e.g.", "they'll"]))
    return " ".join(words) + rng.choice([".", ".", ".", "!", "?", "", "...", "…", '."'])


def prose(rng, paragraphs):
    return "\n".join(" ".join(sentence(rng) for _ in range(rng.randint(1, 6))) for _ in range(paragraphs))


def inputs(target):
    rng = random.Random(2)
    texts = ["one", "one two three", "." * 300, "a" * 5000, "\n\n\n", "- item\n" * 60, "#tag " * 80]
    for i in range(40):
        texts.append(prose(rng, 1 + i % 8))
    for share in range(0, 12):  # repeated lines, words and paragraphs near the thresholds
        lines = prose(rng, 12).split("\n")
        texts.append("\n".join(lines + lines[:share]))
        texts.append("\n\n".join(lines + lines[:share]))
        texts.append(prose(rng, 3) + " " + "of the " * (share * 4))
        texts.append(" ".join(sentence(rng) for _ in range(12)) + " " + " ".join(["one two three four five six seven eight nine ten."] * share))
    for n in range(44, 56):  # words near fifty
        texts.append(" ".join(["the", "river"] * 25)[:0] + " ".join(rng.choice(WORDS) for _ in range(n)) + ".")
    for share in range(0, 11):  # bullets, ellipses, short lines, punctuated lines, figures
        texts.append("\n".join(("- " if k < share else "") + sentence(rng, 5, 9) for k in range(10)))
        texts.append("\n".join(sentence(rng, 5, 9).rstrip('.!?…"') + ("..." if k < share else ".") for k in range(10)))
        texts.append("\n".join(sentence(rng, 2, 3) if k < share else sentence(rng, 9, 12) for k in range(10)))
        texts.append("\n".join(sentence(rng, 9, 12).rstrip('.!?…"') + ("." if k < share else "") for k in range(10)))
        texts.append(" ".join(rng.choice(WORDS) if k % 10 >= share else str(rng.randint(1, 9999)) for k in range(100)))
    for extra in ["Lorem ipsum dolor sit amet today.", "if (a) { b }", "Please enable JavaScript to see this page.", "Read our Privacy Policy now please.",
                  "As he said[12] and she wrote[edit] it[citation needed] down[].", "x" * 1001 + " is a word", "Write to Jane.Doe@Example.com or joe@mail.test-site.org now.",
                  "The server 8.8.8.8 and 10.0.0.1 and 192.168.1.1 and 1.1.1.1 answered."]:
        texts.append(prose(rng, 5) + "\n" + extra + "\n" + prose(rng, 4))
    with open(target, "w") as out:
        for text in texts:
            out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    inputs(sys.argv[2]) if sys.argv[1] == "inputs" else run(*sys.argv[1:])
