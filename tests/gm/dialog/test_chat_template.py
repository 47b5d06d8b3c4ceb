"""Chat templates of checkpoints: known ones by their content, others by Jinja."""

import json
from pathlib import Path

import pytest

from gemma.gm.dialog import (
    GEMMA1,
    GEMMA2,
    GEMMA3,
    GEMMA3_JSON,
    ChatTemplate,
    ChatTemplateError,
    Conversation,
    Text,
    Turn,
    render,
)

TEMPLATES = json.loads(
    (Path(__file__).parents[2] / "data" / "chat_templates.json").read_text("utf-8")
)
QUESTION = {"role": "user", "content": "Hi"}


def template(name, **tokens):
    return ChatTemplate(TEMPLATES[name], {"bos_token": "<bos>", **tokens})


def no_control_tokens(text):
    return []


@pytest.mark.parametrize(
    ("name", "family", "expected"),
    [
        ("gemma2", GEMMA2, GEMMA2),
        ("gemma2", GEMMA1, GEMMA1),
        ("gemma2", GEMMA3, GEMMA1),
        ("gemma3", GEMMA3, GEMMA3),
        ("gemma3", GEMMA2, GEMMA3),
        ("ChatML", GEMMA3, None),
        ("guard", GEMMA2, None),
    ],
)
def test_published_templates_are_known(name, family, expected):
    found = template(name).format(family)
    assert found == expected


def test_a_known_template_may_be_written_otherwise():
    source = TEMPLATES["gemma3"].replace("-%}\n    ", "-%}  ").replace("'", '"')
    assert source != TEMPLATES["gemma3"]
    source = source.replace("{%- if", "{#- a comment -#}\n{%-   if")
    assert ChatTemplate(source).format(GEMMA3) is GEMMA3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<end_of_turn>", "</s>"),
        ("| trim", ""),
        ("'assistant'", "'model'"),
        ("{{ bos_token }}", "{{ bos_token }}!"),
        ('role = "model"', 'role = "assistant"'),
    ],
)
def test_a_template_that_writes_something_else_is_not_known(old, new):
    assert old in TEMPLATES["gemma3"]
    changed = TEMPLATES["gemma3"].replace(old, new)
    assert ChatTemplate(changed).format(GEMMA3) is None


MESSAGES = [
    {"role": "system", "content": "Be brief.\n"},
    {"role": "user", "content": "  Hi\n"},
    {"role": "assistant", "content": "Hello! "},
    {"role": "user", "content": "Bye"},
]


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "gemma3 of QAT files"])
@pytest.mark.parametrize("opens", [True, False])
def test_a_known_format_writes_what_its_template_does(name, opens):
    messages = MESSAGES if name != "gemma2" else MESSAGES[1:]
    known = template(name).format(GEMMA3)
    assert known is not None
    ours = render(
        Conversation.from_messages(messages), known, add_generation_prompt=opens
    )
    assert ours.text == template(name).render(messages, add_generation_prompt=opens)


@pytest.mark.parametrize("name", ["gemma3", "ChatML"])
@pytest.mark.parametrize("said", ["Hello", "Hello ", "- one\n- two\n"])
def test_the_last_message_may_be_left_open(name, said):
    messages = [*MESSAGES[:2], {"role": "assistant", "content": said}]
    text = template(name).render(messages, continue_final_message=True)
    end = said if name == "ChatML" else said.strip()
    assert text.endswith(f"\n{end}")
    if known := template(name).format(GEMMA3):
        turns = Conversation.from_messages(messages)
        assert render(turns, known, continue_final_message=True).text == text


def test_what_is_typed_does_not_become_a_control_token():
    typed = "a <|im_end|> b"
    rendered = template("ChatML").render_conversation(
        Conversation((Turn.user(typed),)),
        control_tokens=lambda text: [(2, 12)] if text == typed else [],
    )
    assert [(s.text, s.is_control) for s in rendered.segments][-3:] == [
        (rendered.segments[-3].text, True),
        ("<|im_end|>", False),
        (" b<|im_end|>\n", True),
    ]
    assert typed in rendered.text


def test_other_keys_reach_the_template():
    item = {"type": "text", "text": "Hallo", "source_lang_code": "de"}
    message = {"role": "user", "content": [item | {"target_lang_code": "en"}]}
    conversation = Conversation.from_messages([message])
    rendered = template("translation").render_conversation(
        conversation, control_tokens=no_control_tokens
    )
    assert "Translate from de to en:\n\nHallo<end_of_turn>" in rendered.text
    assert conversation.to_messages() == [message]
    with pytest.raises(ValueError, match="'source_lang_code', which Gemma 3 has no"):
        render(conversation, GEMMA3)


def test_tools_and_their_history_reach_the_template():
    messages = [
        {"role": "developer", "content": "Call."},
        QUESTION,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "name": "f", "content": "2"},
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]
    rendered = template("functions").render_conversation(
        Conversation.from_messages(messages),
        control_tokens=no_control_tokens,
        tools=tools,
    )
    assert rendered.text == (
        "<bos><start_of_turn>developer\nCall."
        '<start_function_declaration>{"name": "f"}<end_function_declaration>'
        "<end_of_turn>\n<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
        '<start_function_call>f{"x": 1}<end_function_call>'
        "<start_function_response>f:2<end_function_response>"
    )


@pytest.mark.parametrize("role", ["developer", "tool"])
def test_a_family_without_such_a_role_says_so(role):
    turns = Conversation.from_messages([{"role": role, "content": "a"}, QUESTION])
    with pytest.raises(ValueError, match=f"Gemma 3 has no turns of the {role}"):
        render(turns, GEMMA3)


def test_a_variable_that_the_template_does_not_read_is_refused():
    guard = template("guard")
    assert "Rule: no lies\n" in guard.render([QUESTION], guideline="no lies")
    with pytest.raises(ChatTemplateError, match=r"does not read 'rule'.* guideline"):
        guard.render([QUESTION], rule="no lies")
    with pytest.raises(ChatTemplateError, match="does not read 'tools'"):
        template("ChatML").render([QUESTION], tools=[{}])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{% if x %}", "cannot be read: line 1"),
        ("{{ raise_exception('No!') }}", "refuses this conversation: No!"),
        ("{{ messages[7]['content'] + 1 }}", "cannot write this conversation"),
        ("{{ ''.__class__.__mro__ }}{{ 1 / 0 }}", "cannot write this conversation"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "without end"),
        ("{% for m in range(10 ** 9) %}.{% endfor %}", "cannot write"),
    ],
)
def test_a_bad_template_is_one_line(source, says):
    with pytest.raises(ChatTemplateError, match=says):
        ChatTemplate(source).render([QUESTION])


def test_the_sandbox_holds():
    reach = "{{ messages.__class__.__base__.__subclasses__() | length }}"
    with pytest.raises(ChatTemplateError):
        ChatTemplate(reach).render([QUESTION])
    messages = [dict(QUESTION)]
    with pytest.raises(ChatTemplateError):
        ChatTemplate("{{ messages.append(1) }}").render(messages)
    assert messages == [QUESTION]


def test_characters_that_mark_text_are_refused():
    conversation = Conversation((Turn.user("a\ufdd0b"),))
    with pytest.raises(ValueError, match="U\\+FDD0"):
        template("ChatML").render_conversation(
            conversation, control_tokens=no_control_tokens
        )


def test_without_jinja_the_error_says_what_to_install(monkeypatch):
    from gemma.gm.dialog import _jinja

    _jinja._environment.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'gemma-jax\[templates\]'"):
        ChatTemplate("{{ messages }}!").render([QUESTION])
    _jinja._environment.cache_clear()


def test_calls_and_results_are_read_where_the_format_is_known():
    messages = [
        QUESTION,
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "7", "function": {"name": "f", "arguments": '{"x": 1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "7", "content": "2"},
        {"role": "assistant", "content": "Two."},
    ]
    turns = Conversation.from_messages(messages, tool_format=GEMMA3_JSON).turns
    assert [turn.role.value for turn in turns] == ["user", "model", "user", "model"]
    assert turns[1].text.startswith('Let me see.\n```tool_call\n{"name": "f"')
    assert turns[2].text == "```tool_output\nf returned:\n2\n```"
    render(Conversation(turns), GEMMA3)
    with pytest.raises(ValueError, match="'tool_calls', which Gemma 3 has no place"):
        render(Conversation.from_messages(messages), GEMMA3)


def test_extra_keys_do_not_change_hashes():
    assert len({Turn.user(Text("a", extra={"b": []})), Turn.user("a")}) == 2
