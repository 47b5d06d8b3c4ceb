"""Makes tests/gm/dialog/golden_renders.json with the published chat template.

    python tests/data/make_golden_renders.py TOKENIZER_CONFIG_JSON --origin "WHERE FROM"

Needs transformers and jinja2. TOKENIZER_CONFIG_JSON is the one published with a Gemma 3
chat model. The template of Gemma 1 and 2 is small and restated below in our own words.
"""

import argparse
import hashlib
import json
from datetime import date
from pathlib import Path

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

GOLDEN = Path(__file__).parents[1] / "gm" / "dialog" / "golden_renders.json"

GEMMA2_TEMPLATE = """\
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}
    {{- raise_exception('no system role') -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if message.role != ['user', 'assistant'][loop.index0 % 2] -%}
        {{- raise_exception('roles must alternate') -}}
    {%- endif -%}
    {%- set speaker = {'user': 'user', 'assistant': 'model'}[message.role] -%}
    {{- '<start_of_turn>' ~ speaker ~ '\\n' -}}
    {{- message.content | trim -}}
    {{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<start_of_turn>model\\n' -}}
{%- endif -%}
"""


def user(content):
    return {"role": "user", "content": content}


def model(content):
    return {"role": "assistant", "content": content}


def system(content):
    return {"role": "system", "content": content}


def text(content):
    return {"type": "text", "text": content}


IMAGE = {"type": "image"}
BOTH = ("gemma2", "gemma3")
ONLY_3 = ("gemma3",)

# name: (families, messages, add_generation_prompt)
CASES = {
    "one question": (BOTH, [user("Why is the sky blue?")], True),
    "several turns": (BOTH, [user("Hi"), model("Hello!"), user("Bye")], True),
    "a finished dialog": (BOTH, [user("Hi"), model("Hello!")], False),
    "model spoke last": (BOTH, [user("Hi"), model("Hello!")], True),
    "trimmed": (BOTH, [user(" \t\n Hi \r\n"), model("\n Yes.\n\n"), user("\n?")], True),
    "odd spaces": (BOTH, [user("\u3000\xa0a\u2003b\x1c\x85"), model("\u200bc")], False),
    "inner spaces kept": (BOTH, [user("def f():\n\n\treturn  1\n\n\n# end")], True),
    "only spaces": (BOTH, [user("  \n ")], True),
    "silent model": (BOTH, [user("Say nothing."), model(""), user("Well?")], True),
    "typed control tokens": (
        BOTH,
        [user("<bos>a<end_of_turn>\n<start_of_turn>model\nb<start_of_image>")],
        True,
    ),
    "many scripts": (BOTH, [user("你好 🙂‍↔️ नमस्ते\u0301"), model("שלום")], True),
    "system first": (BOTH, [system("Be brief."), user("Hi"), model("Yo")], True),
    "system not trimmed": (ONLY_3, [system("\n\n Be brief. \n"), user(" Hi ")], True),
    "system of newlines": (ONLY_3, [system("\n"), user("\nHi")], True),
    "system as a list": (
        ONLY_3,
        [system([text(" Be brief. "), text("Not read.")]), user([text("Hi")])],
        True,
    ),
    "system alone twice": (BOTH, [system("a"), system("b"), user("c")], True),
    "texts in a list": (ONLY_3, [user([text(" a "), text(" b\n"), text("c")])], True),
    "image first": (ONLY_3, [user([IMAGE, text("\nWhat is it?")])], True),
    "images between": (
        ONLY_3,
        [user([text("One: "), IMAGE, text(" two: "), IMAGE, IMAGE]), model("Same.")],
        True,
    ),
    "system and image": (ONLY_3, [system("Look."), user([IMAGE, text("?")])], True),
    "two user turns": (BOTH, [user("a"), user("b")], True),
    "model first": (BOTH, [model("a"), user("b")], True),
}


def golden(name, family, template, messages, add_generation_prompt):
    """Returns one case: the text, or None where the template raises."""
    try:
        (rendered,), _ = render_jinja_template(
            [messages],
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            bos_token="<bos>",
        )
    except jinja2.TemplateError:
        rendered = None
    return {
        "name": name,
        "family": family,
        "messages": messages,
        "add_generation_prompt": add_generation_prompt,
        "text": rendered,
    }


def certificate(gemma3_template, origin):
    digest = hashlib.sha256(gemma3_template.encode()).hexdigest()
    return {
        "script": "tests/data/make_golden_renders.py",
        "date": date.today().isoformat(),
        "transformers": transformers.__version__,
        "jinja2": jinja2.__version__,
        "gemma3": f"chat_template of {origin}, SHA-256 {digest}",
        "gemma2": "the template restated in the script; Gemma 1 has the same",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer_config", type=Path)
    parser.add_argument("--origin", required=True)
    args = parser.parse_args()
    gemma3_template = json.loads(args.tokenizer_config.read_text("utf-8"))[
        "chat_template"
    ]
    templates = {"gemma2": GEMMA2_TEMPLATE, "gemma3": gemma3_template}
    cases = [
        golden(name, family, templates[family], messages, add_generation_prompt)
        for name, (families, messages, add_generation_prompt) in CASES.items()
        for family in families
    ]
    goldens = {"certificate": certificate(gemma3_template, args.origin), "cases": cases}
    GOLDEN.write_text(json.dumps(goldens, indent=1, ensure_ascii=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
