import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.dialog import (
    Conversation,
    Image,
    Role,
    Text,
    Turn,
    load_conversation,
    save_conversation,
)

PNG = b"\x89PNG\r\n\x1a\n..."

# Text draws no halves of surrogate pairs: they are refused, see below.
odd = st.sampled_from(
    ["", "\n", "\r\n", "\x00", "👩‍🚀", "\ufeff", "<end_of_turn>", "\u2028"]
)
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | odd).map("".join)
sources = st.none() | texts | texts.map("https://a.b/{}".format)
parts = st.builds(Text, texts) | st.builds(Image, sources)


def is_said(turn_parts):
    return any(part != Text("") for part in turn_parts)


@st.composite
def turns(draw):
    role = draw(st.sampled_from(Role))
    content = st.lists(parts, max_size=3).map(tuple)
    return Turn(role, draw(content if role is Role.MODEL else content.filter(is_said)))


conversations = st.lists(turns(), max_size=4).map(tuple).map(Conversation)


@given(conversations)
def test_messages_are_read_back(conversation):
    assert Conversation.from_messages(conversation.to_messages()) == conversation


@given(conversations)
def test_file_is_read_back(tmp_path_factory, conversation):
    path = tmp_path_factory.mktemp("chat") / "chat.json"
    save_conversation(conversation, path)
    assert load_conversation(path) == conversation


def test_messages_are_those_of_other_programs():
    conversation = (
        Conversation()
        + Turn.system("Be brief.")
        + Turn.user("See:", Image("a.png"), Image("https://a.b/c.png"), Image())
        + Turn.model("")
    )
    assert conversation.to_messages() == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See:"},
                {"type": "image", "image": "a.png"},
                {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}},
                {"type": "image"},
            ],
        },
        {"role": "assistant", "content": ""},
    ]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_bytes_of_an_image_become_a_url(content, media_type):
    (message,) = (Conversation() + Turn.user(Image(content))).to_messages()
    url = message["content"][0]["image_url"]["url"]
    assert url.startswith(f"data:{media_type};base64,")


def test_path_of_an_image_is_written_as_it_is():
    (message,) = (Conversation() + Turn.user(Image(Path("a/b.png")))).to_messages()
    assert message["content"] == [{"type": "image", "image": str(Path("a/b.png"))}]


@pytest.mark.parametrize("source", [b"no image", 7, [[0]]])
def test_image_in_another_form_needs_a_function(source):
    conversation = Conversation() + Turn.user("a") + Turn.model(Image(source))
    with pytest.raises(TypeError, match=r"messages\[1\].*pass encode_image"):
        conversation.to_messages()
    messages = conversation.to_messages(encode_image=lambda found: f"{found}.png")
    assert messages[1]["content"] == [{"type": "image", "image": f"{source}.png"}]


def test_function_that_names_an_image_returns_a_string():
    conversation = Conversation() + Turn.user(Image(7))
    with pytest.raises(TypeError, match="encode_image returned bytes; a str"):
        conversation.to_messages(encode_image=lambda found: PNG)


def test_file_holds_what_people_can_read(tmp_path):
    path = tmp_path / "new folder" / "chat.json"
    save_conversation(Conversation() + Turn.user("Où? 🗺"), path)
    assert "Où? 🗺" in path.read_text(encoding="utf-8")
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["messages"]


def test_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "chat.json"
    old = Conversation() + Turn.user("old")
    save_conversation(old, path)
    with pytest.raises(TypeError, match="encode_image"):
        save_conversation(Conversation() + Turn.user(Image(7)), path)
    assert load_conversation(path) == old
    assert os.listdir(tmp_path) == ["chat.json"]


def test_unfinished_file_is_removed(tmp_path):
    (tmp_path / "chat.json").mkdir()
    with pytest.raises(OSError, match=r"chat\.json"):
        save_conversation(Conversation() + Turn.user("a"), tmp_path / "chat.json")
    assert os.listdir(tmp_path) == ["chat.json"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has other rights")
def test_rights_of_the_old_file_are_kept(tmp_path):
    path = tmp_path / "chat.json"
    path.touch(mode=0o600)
    save_conversation(Conversation() + Turn.user("a"), path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_link_stays_a_link(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "chat.json")
    save_conversation(Conversation() + Turn.user("a"), tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "chat.json").exists()


@pytest.mark.parametrize(
    "turn", [Turn.user("a\ud800"), Turn.user(Image("caf\udce9.png"))]
)
def test_half_of_a_surrogate_pair_is_refused(tmp_path, turn):
    conversation = Conversation() + Turn.user("a") + turn
    with pytest.raises(ValueError, match=r"messages\[1\] holds '\\ud.*surrogate"):
        save_conversation(conversation, tmp_path / "chat.json")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not JSON"),
        (b'{"messages": [}', r"is not JSON: .*line 1 column 15"),
        (b"\xff\xfe{", "is not text in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", r"holds a list; a conversation is \{\"messages\""),
        (b'{"turns": []}', "holds an object with the keys 'turns'"),
        (b'{"messages": {}}', "holds an object with the keys 'messages'"),
        (b'{"messages": [], "tools": [1]}', "has 'tools', which is not supported"),
        (b'{"messages": ["hi"]}', r"messages\[0\] is str; a message is a dict"),
        (
            b'{"messages": [{"role": "robot", "content": ""}]}',
            r"messages\[0\].*'robot'",
        ),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "surrogate"),
    ],
)
def test_file_that_is_no_conversation_is_named(tmp_path, content, says):
    path = tmp_path / "chat.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"chat.json.*{says}"):
        load_conversation(path)


def test_file_of_an_editor_that_marks_its_beginning(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text('\ufeff{"messages": []}', encoding="utf-8")
    assert load_conversation(path) == Conversation()
