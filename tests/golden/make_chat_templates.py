"""Golden renderings of chat templates: pip install jinja2==3.1.*

Renders chat_templates/*.jinja, which are written for this test with the constructs that published chat templates use, with jinja2 in the
environment that `transformers` sets up (apply_chat_template), and small snippets of the language besides. Run by hand:

    python3 make_chat_templates.py > chat_templates.json
"""
import datetime
import json
import pathlib

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2024, 7, 26, 13, 5, 9)


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def to_json(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
    env.filters["tojson"] = to_json
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(source, variables):
    """The text, or None where the template refuses or is faulty."""
    try:
        return environment().from_string(source).render(**variables)
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather at a place, now \u2013 \"as is\".", "parameters": {"type": "object", "properties": {
    "place": {"type": "string", "description": "A town, e.g. Zürich"}, "unit": {"type": "string", "enum": ["C", "F"]}, "days": {"type": "array", "items": {"type": "integer"}}},
    "required": ["place"]}, "return": {"type": "number"}}}
ADD = {"type": "function", "function": {"name": "add", "description": "a + b", "parameters": {"type": "object", "properties": {"a": {"type": ["number", "null"]}, "b": {"type": "float"}}}}}


def call(name, arguments, id="call_0001"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


SYSTEM = {"role": "system", "content": "  You know stones.\n"}
CONVERSATIONS = {
    "one": [user("Hello")],
    "system": [SYSTEM, user(" What is a tumbler? \n")],
    "turns": [SYSTEM, user("石は回る?"), assistant(" はい。 "), user("<|im_end|>{{ 7 * 7 }}{% raw %}\n<think>😀"), assistant("It's \"quoted\" \\ and\ttabbed"), user("bye")],
    "answered": [user("1+1?"), assistant("<think>\nAdd.\n</think>\n\n2"), user("and 2+2?"), assistant("<think>\nAgain.\n</think>\n\n4")],
    "reasoning": [user("why?"), assistant("Because.", reasoning_content="\nhmm\n"), user("sure?"), assistant("Yes.", reasoning_content="let me see")],
    "tool": [user("Weather in Zürich?"), assistant(None, tool_calls=[call("get_weather", {"place": "Zürich", "days": [1, 2.5, True, None], "x": {"y": "é\u2028</a>&'"}})]),
             {"role": "tool", "name": "get_weather", "content": "21.5", "tool_call_id": "call_0001"}, assistant("It is 21.5 °C."), user("Thanks")],
    "two_tools": [SYSTEM, user("Both"), assistant("", tool_calls=[call("add", {"a": 1, "b": 1e20}), call("add", {"a": -0.5, "b": 1e-7}, "call_0002")]),
                  {"role": "tool", "content": "1e20", "tool_call_id": "call_0001"}, {"role": "tool", "content": "-0.5", "tool_call_id": "call_0002"}],
    "text_arguments": [user("Sum"), assistant(None, tool_calls=[call("add", '{"a": 1}'), call("add", '{"b": 2}')]), {"role": "tool", "content": "3", "tool_call_id": "call_0001"}],
    "parts": [{"role": "system", "content": [{"type": "text", "text": "Be kind."}]}, user([{"type": "image"}, {"type": "text", "text": " What is this? "}])],
    "wrong_order": [user("a"), user("b")],
    "stop": [user("a\nb\n\nc"), assistant("d"), user("stop here"), assistant("e")],
    "empty": [],
}
SETTINGS = [
    {},
    {"add_generation_prompt": False},
    {"tools": [WEATHER, ADD]},
    {"tools": [WEATHER], "tools_in_user_message": False, "enable_thinking": False, "date_string": "1 Jan 2025"},
    {"builtin_tools": ["brave_search", "code_interpreter", "add"], "bos_token": ""},
]

SNIPPETS = json.loads((pathlib.Path(__file__).parent / "chat_templates" / "snippets.json").read_text())
VARIABLES = {"none_value": None, "yes": True, "no": False, "n": 7, "x": 2.5, "s": "  Hello, Wörld! \n", "empty": "", "words": ["pear", "Apple", "fig", "apple"], "numbers": [3, 1, 2, 10],
             "people": [{"name": "Ann", "age": 31, "tags": ["a", "b"]}, {"name": "bob", "age": 22}, {"name": "Cy", "age": 31, "tags": []}],
             "d": {"b": 1, "a": [1, {"k": "v"}], "C": None}, "items_key": {"items": 1, "keys": 2}}


def main():
    folder = pathlib.Path(__file__).parent / "chat_templates"
    templates = {path.stem: path.read_text() for path in sorted(folder.glob("*.jinja"))}
    cases = []
    for name, source in templates.items():
        for conversation, messages in CONVERSATIONS.items():
            for i, settings in enumerate(SETTINGS):
                variables = {"tools": None, "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", **settings}
                variables = {k: v for k, v in variables.items() if v != ""}
                cases.append({"template": name, "conversation": conversation, "setting": i, "text": render(source, {"messages": messages, **variables})})
    snippets = [{"template": s, "text": render(s, VARIABLES)} for s in SNIPPETS]
    out = {"conversations": CONVERSATIONS, "settings": SETTINGS, "cases": cases, "variables": VARIABLES, "snippets": snippets}
    print(json.dumps(out, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
