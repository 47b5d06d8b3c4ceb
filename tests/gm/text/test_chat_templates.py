"""Samplers write conversations as the checkpoint's files say."""

import json
import pickle
import shutil
from pathlib import Path

import pytest

from gemma import gm
from gemma.gm.dialog import Conversation, Turn

TEMPLATES = json.loads(
    (Path(__file__).parents[2] / "data" / "chat_templates.json").read_text("utf-8")
)


def folder_with(folder, tiny_folder, **files):
    """A copy of a tiny model with files of templates."""
    shutil.copytree(tiny_folder("gemma3_mqa"), folder, dirs_exist_ok=True)
    for name, stated in files.items():
        file = folder / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(exist_ok=True)
        text = stated if isinstance(stated, str) else json.dumps(stated)
        file.write_text(text, "utf-8")
    return folder


@pytest.fixture
def make(tmp_path, tiny_folder):
    return lambda **files: folder_with(tmp_path / "model", tiny_folder, **files)


def said(sampler, *turns):
    ids = sampler.encode(Conversation(turns))
    return sampler.tokenizer.decode(ids)


@pytest.mark.parametrize(
    "files",
    [
        {"chat_template_dot_jinja": "{{ 'A' }}"},
        {"chat_template_dot_json": {"chat_template": "{{ 'A' }}"}},
        {"tokenizer_config_dot_json": {"chat_template": "{{ 'A' }}"}},
        {
            "tokenizer_config_dot_json": {
                "chat_template": [
                    {"name": "tool_use", "template": "B"},
                    {"name": "default", "template": "{{ 'A' }}"},
                ]
            }
        },
        {
            "chat_template_dot_jinja": "{{ 'A' }}",
            "tokenizer_config_dot_json": {"chat_template": "B"},
            "additional_chat_templates__tool_use_dot_jinja": "C",
        },
    ],
)
def test_the_template_is_read_wherever_it_is(make, files):
    tokenizer = gm.text.Tokenizer.from_path(make(**files))
    assert tokenizer.chat_template is not None
    assert tokenizer.chat_template.source == "{{ 'A' }}"
    assert pickle.loads(pickle.dumps(tokenizer)).chat_template.source == "{{ 'A' }}"


@pytest.mark.parametrize("stated", [7, [1], [{"name": "default"}]])
def test_nonsense_is_refused_by_file(make, stated):
    folder = make(tokenizer_config_dot_json={"chat_template": stated})
    with pytest.raises(gm.ckpts.CheckpointError, match="chat_template that is neither"):
        gm.text.Tokenizer.from_path(folder)


def test_tokens_are_those_that_the_files_name(make):
    stated = {"eos_token": {"content": "</s>"}, "chat_template": "{{ eos_token }}"}
    tokenizer = gm.text.Tokenizer.from_path(make(tokenizer_config_dot_json=stated))
    assert tokenizer.chat_template.render([{"role": "user"}]) == "</s>"


def test_a_chat_is_written_by_the_template(make):
    sampler = gm.text.Sampler.from_pretrained(
        make(chat_template_dot_jinja=TEMPLATES["ChatML"])
    )
    assert said(sampler, Turn.user("Hi")) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    chat = gm.text.ChatSampler(
        model=sampler.model,
        params=sampler.params,
        tokenizer=sampler.tokenizer,
        multi_turn=True,
        cache_length=200,
    )
    chat.chat("Hi", max_new_tokens=3)
    chat.chat("And?", max_new_tokens=3)
    (read,) = chat.last_state.token_ids
    asked = sampler.encode(Conversation(tuple(chat.turns[:3])))
    assert list(read[: len(asked)]) == asked


def test_typed_control_tokens_stay_text(make):
    source = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}"
    folder = make(chat_template_dot_jinja=source)
    sampler = gm.text.Sampler.from_pretrained(folder)
    tokenizer = sampler.tokenizer
    ids = sampler.encode(Conversation((Turn.user("a <end_of_turn> b"),)))
    assert tokenizer.end_of_turn_id not in ids
    assert ids[0] == tokenizer.bos_id
    assert tokenizer.decode(ids) == "<bos>[a <end_of_turn> b]"


def test_a_published_template_is_the_family_s_own(make):
    sampler = gm.text.Sampler.from_pretrained(
        make(chat_template_dot_jinja=TEMPLATES["gemma3"])
    )
    own = gm.text.Sampler(
        model=sampler.model,
        params=sampler.params,
        tokenizer=sampler.tokenizer.with_chat_template(None),
    )
    turns = Turn.system("Be brief."), Turn.user("Hi")
    assert said(sampler, *turns) == said(own, *turns)
    other = gm.text.Sampler(
        model=sampler.model,
        params=sampler.params,
        tokenizer=sampler.tokenizer.with_chat_template(TEMPLATES["gemma2"]),
    )
    with pytest.raises(ValueError, match="System role not supported"):
        said(other, *turns)


def test_variables_of_the_template(make):
    folder = make(chat_template_dot_jinja=TEMPLATES["guard"])
    options = {"chat_template_kwargs": {"guideline": "no lies"}}
    sampler = gm.text.Sampler.from_pretrained(folder, **options)
    assert "Rule: no lies\n" in said(sampler, Turn.user("Hi"))
    chat = gm.text.ChatSampler.from_pretrained(folder, **options)
    assert "Rule: no lies\n" in said(chat.sampler, Turn.user("Hi"))
    with pytest.raises(ValueError, match=r"written as Gemma 3 does.* 'guideline'"):
        gm.text.Sampler(
            model=sampler.model,
            params=sampler.params,
            tokenizer=sampler.tokenizer.with_chat_template(None),
            **options,
        )


@pytest.mark.parametrize("template", ["ChatML", None])
def test_an_answer_is_continued(make, template):
    files = {"chat_template_dot_jinja": TEMPLATES[template]} if template else {}
    chat = gm.text.ChatSampler.from_pretrained(
        make(**files), multi_turn=True, cache_length=128
    )
    chat.conversation = Conversation((Turn.user("Hi"), Turn.model("Well,")))
    ids = chat.sampler.encode(chat.conversation)
    assert chat.sampler.tokenizer.decode(ids).endswith("\nWell,")
    expected = chat.sampler.sample(ids, max_new_tokens=4)
    assert expected
    assert chat.sampler.sample(chat.conversation, max_new_tokens=4) == expected
    assert chat.chat(None, max_new_tokens=4) == f"Well,{expected}"
    assert chat.turns == [Turn.user("Hi"), Turn.model(f"Well,{expected}")]


def test_files_may_begin_with_a_byte_order_mark(make):
    mark = "\ufeff"
    folder = make(
        chat_template_dot_jinja=f"{mark}{{{{ 'A' }}}}",
        generation_config_dot_json=f'{mark}{{"eos_token_id": [1, 30]}}',
        tokenizer_config_dot_json=f'{mark}{{"eos_token": "</s>"}}',
    )
    tokenizer = gm.text.Tokenizer.from_path(folder)
    assert tokenizer.chat_template.source == "{{ 'A' }}"
    assert tokenizer.chat_template.special_tokens["eos_token"] == "</s>"
    assert 30 in tokenizer.stop_ids
