#!/usr/bin/env python3
"""Precision, recall and F1 of `tumbler data extract` on pages with snippets that must and must not be in the text.

usage: tools/extract_eval.py DATA_DIR [--binary build/release/tumbler] [--peers] [--misses N]

DATA_DIR holds evaldata.json ({url: {"file", "with": [...], "without": [...]}}) and pages.tar.gz with html/FILE. A snippet of
"with" that is in the text is a true positive, one of "without" that is in it a false positive, summed over all pages.
--peers also runs trafilatura (precision mode, no comments) and resiliparse, if this Python has them, on the same pages.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import tarfile
import tempfile
import time


def pages(data, folder):
    with tarfile.open(data / "pages.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    found = {path.name: path for path in pathlib.Path(folder).rglob("*") if path.is_file()}
    items = json.loads((data / "evaldata.json").read_text())
    return [(found[item["file"]], item) for item in items.values() if item["file"] in found]


def decode(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def scores(texts, items):
    true_positive = false_positive = false_negative = 0
    per_page = []
    for text, (path, item) in zip(texts, items):
        missing = [s for s in item["with"] if s not in text]
        wrong = [s for s in item["without"] if s in text]
        true_positive += len(item["with"]) - len(missing)
        false_negative += len(missing)
        false_positive += len(wrong)
        per_page.append((len(missing) + len(wrong), path.name, missing, wrong))
    precision = true_positive / max(true_positive + false_positive, 1)
    recall = true_positive / max(true_positive + false_negative, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return precision, recall, f1, per_page


def run_tumbler(binary, folder, items, flags):
    utf8 = pathlib.Path(folder) / "utf8"
    utf8.mkdir(exist_ok=True)
    names = []
    for i, (path, _) in enumerate(items):
        name = utf8 / f"{i}.html"
        name.write_text(decode(path.read_bytes()))
        names.append(str(name))
    lines = subprocess.run([binary, "data", "extract", "--json", *flags, *names], check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in lines.split("\n") if line]
    reasons = collections.Counter(row["reason"] for row in rows if "reason" in row)
    if reasons:
        print("no text:", dict(reasons))
    return [row.get("text", "") for row in rows], sum(row["ms"] for row in rows) / 1000


def run_peer(extract, items):
    texts, spent = [], 0.0
    for path, _ in items:
        html = decode(path.read_bytes())
        start = time.perf_counter()
        try:
            text = extract(html)
        except Exception as error:  # a peer's crash on a page counts as no text
            print(f"  {path.name}: {type(error).__name__}")
            text = ""
        spent += time.perf_counter() - start
        texts.append(text or "")
    return texts, spent


def report(name, texts, spent, items):
    precision, recall, f1, per_page = scores(texts, items)
    print(f"{name:26} P {precision:.4f}  R {recall:.4f}  F1 {f1:.4f}  {len(items) / spent:8.1f} pages/s  {sum(map(len, texts))} chars")
    return per_page


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--binary", default="build/release/tumbler")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--recall", action="store_true", help="run tumbler with --recall too")
    parser.add_argument("--misses", type=int, default=0, help="print this many pages with the most errors")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        items = pages(arguments.data, folder)
        per_page = report("tumbler", *run_tumbler(arguments.binary, folder, items, []), items)
        if arguments.recall:
            report("tumbler --recall", *run_tumbler(arguments.binary, folder, items, ["--recall"]), items)
        if arguments.peers:
            import trafilatura
            from resiliparse.extract.html2text import extract_plain_text
            report("trafilatura precision", *run_peer(lambda h: trafilatura.extract(h, favor_precision=True, include_comments=False), items), items)
            report("trafilatura fast precision", *run_peer(lambda h: trafilatura.extract(h, favor_precision=True, include_comments=False, fast=True), items), items)
            report("resiliparse main content", *run_peer(lambda h: extract_plain_text(h, main_content=True), items), items)
    per_page.sort(reverse=True, key=lambda row: row[0])
    for errors, name, missing, wrong in per_page[: arguments.misses]:
        print(f"{errors} {name}\n    missing {missing}\n    wrong   {wrong}")


if __name__ == "__main__":
    main()
