"""`apply_chat_template` against transformers, with the templates of checkpoints."""

import json
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")

from gemma import hf  # noqa: E402

pytestmark = pytest.mark.parity

DATA = Path(__file__).parents[1] / "data"
TEMPLATES = json.loads((DATA / "chat_templates.json").read_text("utf-8"))
SYSTEM = {"role": "system", "content": " Be brief.\n"}
QUESTION = {"role": "user", "content": " Hi <end_of_turn>\n"}
ANSWER = {"role": "assistant", "content": "Hello! \n"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}],
}
RESULT = {"role": "tool", "name": "f", "content": '{"a": "é<b>"}'}
TOOL = {"type": "function", "function": {"name": "f", "description": "Does <it>."}}
ITEM = {"type": "text", "text": "Ja", "source_lang_code": "de"}
TRANSLATE = {"role": "user", "content": [ITEM | {"target_lang_code": "en"}]}
CONVERSATIONS = {
    "question": [QUESTION],
    "system": [SYSTEM, QUESTION],
    "dialog": [QUESTION, ANSWER, QUESTION],
    "answer": [QUESTION, ANSWER],
    "answer in items": [
        QUESTION,
        {"role": "assistant", "content": [{"type": "text", "text": "A "}]},
    ],
    "out of order": [ANSWER, QUESTION],
    "developer": [{"role": "developer", "content": "Call."}, QUESTION],
    "calls": [QUESTION, CALL, RESULT],
    "translation": [TRANSLATE],
    "empty": [],
}


@pytest.fixture(scope="module")
def pair():
    file = DATA / "tiny_tokenizer.json"
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(file), pad_token="<pad>", **tokens
    )
    return theirs, hf.GemmaTokenizer(tokenizer_file=file)


def outcome(tokenizer, messages, **options):
    """The text, or that there is none."""
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except Exception:
        return "error"


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"add_generation_prompt": True},
        {"continue_final_message": True},
        {"continue_final_message": True, "add_generation_prompt": True},
    ],
    ids=lambda options: ", ".join(options) or "closed",
)
def test_templates(pair, template, conversation, options):
    messages = CONVERSATIONS[conversation]
    ours = pair[1]
    for tokenizer in pair:
        tokenizer.chat_template = TEMPLATES[template]
    expected, found = (outcome(t, messages, **options) for t in pair)
    if "[{'type'" in expected and found != expected:
        # Theirs writes the list as Python does; ours the text in it, or an error.
        assert "'type'" not in found
        return
    if template.startswith("gemma") and conversation in ("translation", "calls"):
        # Theirs leaves out what the template does not read; ours says so.
        assert found == "error"
        return
    assert found == expected
    passed = outcome(ours, messages, chat_template=TEMPLATES[template], **options)
    assert passed == expected


@pytest.mark.parametrize(
    ("template", "variables"),
    [
        ("functions", {"tools": [TOOL]}),
        ("guard", {"guideline": "no lies"}),
    ],
)
def test_variables(pair, template, variables):
    ours = pair[1]
    texts = [
        outcome(t, [QUESTION], chat_template=TEMPLATES[template], **variables)
        for t in pair
    ]
    assert texts[0] == texts[1] != "error"
    assert texts[0] != outcome(ours, [QUESTION], chat_template=TEMPLATES[template])


def test_ids_of_a_foreign_template(pair):
    for tokenizer in pair:
        tokenizer.chat_template = TEMPLATES["ChatML"]
        tokenizer.padding_side = "left"
    theirs, ours = (
        tokenizer.apply_chat_template(
            [[QUESTION], [SYSTEM, QUESTION, ANSWER]], padding=True
        )
        for tokenizer in pair
    )
    assert theirs["input_ids"] == ours["input_ids"]


def test_several_templates_by_name(pair):
    for tokenizer in pair:
        tokenizer.chat_template = {"default": "D", "tool_use": "T{{ tools }}"}
    for options in ({}, {"tools": [TOOL]}, {"chat_template": "tool_use"}):
        theirs, ours = (outcome(t, [QUESTION], **options) for t in pair)
        assert ours == theirs != "error"
