import operator

import pytest

from gemma.gm.dialog import Conversation, Image, Role, Text, Turn


def test_messages_and_turns_give_the_same_conversation():
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yo"},
    ]
    turns = Conversation() + Turn.system("Be brief.") + Turn.user("Hi")
    assert Conversation.from_messages(messages) == turns + Turn.model("Yo")


def test_assistant_and_model_mean_the_same():
    assert Role("assistant") is Role("model") is Role.MODEL


@pytest.mark.parametrize(
    ("item", "source"),
    [
        ({"type": "image"}, None),
        ({"type": "image", "image": 7}, 7),
        ({"type": "image", "url": "https://a.b/c.png"}, "https://a.b/c.png"),
        ({"type": "image", "path": "c.png"}, "c.png"),
        ({"type": "image_url", "image_url": {"url": "data:,"}}, "data:,"),
    ],
)
def test_image_items_keep_their_source(item, source):
    content = [item, {"type": "text", "text": "?"}]
    conversation = Conversation.from_messages([{"role": "user", "content": content}])
    assert conversation.turns[0].parts == (Image(source), Text("?"))


def test_turn_takes_strings_and_parts_in_order():
    turn = Turn.user("a", Image("c.png"), Text("b"))
    assert turn.parts == (Text("a"), Image("c.png"), Text("b"))
    assert turn.text == "ab"


def test_model_may_say_nothing():
    assert Turn.model("").text == ""


def test_adding_leaves_the_first_conversation_alone():
    start = Conversation() + Turn.user("a")
    longer = start + Turn.model("b")
    assert (len(start.turns), len(longer.turns)) == (1, 2)


def test_keys_that_other_programs_leave_empty_are_fine():
    message = {"role": "assistant", "content": "a", "tool_calls": None, "audio": []}
    assert Conversation.from_messages([message]).turns == (Turn.model("a"),)


@pytest.mark.parametrize(
    ("message", "error", "says"),
    [
        ({"role": "robot", "content": "a"}, ValueError, "Unknown role 'robot'. Use"),
        ({"role": ["user"], "content": "a"}, ValueError, r"Unknown role \['user'\]"),
        ({"role": "user"}, ValueError, "no 'content'"),
        ({"content": "a"}, ValueError, "no 'role'"),
        ({"role": "user", "content": ""}, ValueError, "user turn is empty"),
        ({"role": "user", "content": []}, ValueError, "user turn is empty"),
        ({"role": "user", "content": None}, TypeError, "not NoneType"),
        ({"role": "user", "content": ["a"]}, TypeError, "is a dict, not str"),
        ({"role": "user", "content": [{"type": "video"}]}, ValueError, "'video'"),
        (
            {"role": "user", "content": [{"type": "text", "text": 1}]},
            TypeError,
            "a str, not int",
        ),
        ({"role": "assistant", "content": None}, TypeError, "not NoneType"),
        ("hi", TypeError, "is str; a message is a dict"),
    ],
)
def test_bad_message_is_named(message, error, says):
    good = {"role": "user", "content": "a"}
    with pytest.raises(error, match=rf"messages\[1\].*{says}"):
        Conversation.from_messages([good, message])


@pytest.mark.parametrize("messages", ["hi", {"role": "user", "content": "a"}])
def test_one_message_is_not_a_list(messages):
    with pytest.raises(TypeError, match="Messages are a list of dicts"):
        Conversation.from_messages(messages)


@pytest.mark.parametrize(
    ("make", "arguments", "says"),
    [
        (Turn, ("user", (Text("a"),)), "Turn.role is a Role, not str"),
        (Turn, (Role.USER, "a"), "tuple of Text and Image, not str"),
        (Turn.user, (["a"],), "Text or Image, not list"),
        (Conversation, ([Turn.user("a")],), "tuple of Turn, not list"),
        (Conversation, (("a",),), "holds Turns, not str"),
        (operator.add, (Conversation(), "a"), "unsupported operand"),
    ],
)
def test_wrong_types_are_named(make, arguments, says):
    with pytest.raises(TypeError, match=says):
        make(*arguments)
