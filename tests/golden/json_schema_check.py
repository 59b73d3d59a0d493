"""Random JSON schemas, answers that the server was held to by them, and what jsonschema says of these: pip install jsonschema==4.* rfc3339-validator

    tumbler serve --model M --port 8080
    python3 json_schema_check.py http://127.0.0.1:8080 300
"""
import json
import random
import sys
import urllib.request

import jsonschema


def number(r):
    schema = {"type": r.choice(["integer", "number"])}
    if r.random() < 0.5:
        low = r.randint(-1000, 1000)
        schema["minimum"] = low
        if r.random() < 0.7:
            schema["maximum"] = low + r.randint(0, 500)
    return schema


def string(r):
    kind = r.random()
    if kind < 0.2:
        return {"type": "string", "pattern": r.choice([r"^[a-z]{2,5}$", r"^\d{3}-\d{2}$", r"^(red|green) [0-9]+$", r"^[^x]*$"])}
    if kind < 0.3:
        return {"type": "string", "format": r.choice(["date", "time", "uuid", "date-time"])}
    schema = {"type": "string", "maxLength": r.randint(1, 12)}
    if r.random() < 0.5:
        schema["minLength"] = r.randint(0, schema["maxLength"])
    return schema


def array(r, depth):
    schema = {"type": "array", "items": make(r, depth + 1), "maxItems": r.randint(0, 4)}
    if r.random() < 0.5:
        schema["minItems"] = r.randint(0, schema["maxItems"])
    if r.random() < 0.2:
        schema["prefixItems"] = [make(r, depth + 1)]
        schema["maxItems"] += 1
    return schema


def object_(r, depth):
    names = r.sample(["name", "age", "a b", "é", "tags", 'q"q', "x", "list"], r.randint(0, 4))
    schema = {"type": "object", "properties": {n: make(r, depth + 1) for n in names}}
    schema["required"] = [n for n in names if r.random() < 0.6]
    schema["additionalProperties"] = False if r.random() < 0.7 else make(r, 3)
    return schema


def make(r, depth=0):
    kinds = [number, string, lambda r: {"type": "boolean"}, lambda r: {"type": "null"}, lambda r: {"enum": r.sample([1, "a", None, 2.5, "b\n", True], 3)},
             lambda r: {"const": r.choice([7, "c", [1, 2], {"k": "v"}])}]
    if depth < 3:
        kinds += [lambda r: array(r, depth), lambda r: object_(r, depth), lambda r: object_(r, depth),
                  lambda r: {"anyOf": [make(r, depth + 1) for _ in range(r.randint(1, 3))]}]
    return r.choice(kinds)(r)


def ask(url, body):
    request = urllib.request.Request(url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def main():
    url, count = sys.argv[1], int(sys.argv[2])
    r = random.Random(1)
    whole = cut = refused = 0
    for i in range(count):
        schema = make(r)
        reply = ask(url, {"prompt": "JSON: ", "json_schema": schema, "max_tokens": 300, "n": 4, "seed": i, "temperature": 1})
        if "error" in reply:
            refused += 1
            print("refused:", json.dumps(schema), reply["error"]["message"])
            continue
        for choice in reply["choices"]:
            if choice["finish_reason"] != "stop":
                cut += 1
                continue
            jsonschema.validate(json.loads(choice["text"]), schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
            whole += 1
    print(f"{count} schemas: {whole} texts valid, {cut} cut by max_tokens, {refused} schemas refused")


main()
