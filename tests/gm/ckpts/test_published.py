"""What is published loads, stops where its files say, and takes a conversation."""

import pytest
from published import (
    END_OF_TURN,
    FOREIGN,
    PUBLISHED,
    READ,
    ROWS,
    SOME,
    make_replica,
    replica_config,
    template_of,
)

from gemma import gm

STOPS = {"google/functiongemma-270m-it": {50}}
# What a template asks for beside the messages.
VARIABLES = {"guard": {"guideline": "no lies"}}


def test_there_are_enough():
    assert len(READ) >= 24


@pytest.mark.parametrize("name", READ)
def test_folders_load_and_take_a_conversation(name, tmp_path):
    folder = make_replica(name, tmp_path / "replica")
    model, params = gm.ckpts.load_model(folder, dtype="float32")
    chat = gm.text.ChatSampler(
        model=model,
        params=params,
        cache_length=64,
        chat_template_kwargs=VARIABLES.get(template_of(name)),
    )
    tokenizer = chat.sampler.tokenizer
    assert set(tokenizer.stop_ids) == {1, END_OF_TURN} | STOPS.get(name, set())
    assert model.config.vocab_size in (ROWS, ROWS + 64)
    turn = gm.dialog.Turn.user("the rain")
    question = gm.dialog.Conversation((turn,))
    if template_of(name) == "translation":  # which asks for two languages
        with pytest.raises(ValueError, match="refuses this conversation: Give one"):
            chat.sampler.encode(question)
        return
    ids = chat.sampler.encode(question)
    assert ids[0] == tokenizer.bos_id
    assert ids.count(tokenizer.id("<start_of_turn>")) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_a_turn_with_each(name, tmp_path):
    folder = make_replica(name, tmp_path / "replica")
    chat = gm.text.ChatSampler.from_pretrained(
        folder,
        cache_length=128,
        dtype="float32",
        chat_template_kwargs=VARIABLES.get(template_of(name)),
    )
    if template_of(name) == "translation":
        answer = chat.sampler.generate("the rain", max_new_tokens=4)
        assert 1 <= len(answer.token_ids) <= 4
        return
    pieces = list(chat.stream("the rain", max_new_tokens=4))
    assert 1 <= len(pieces) <= 4
    answer = chat.conversation.turns[-1]
    assert answer.role is gm.dialog.Role.MODEL
    assert chat.last_state is not None


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in READ])
def test_foreign_folders_say_what_they_are(name, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    gm.ckpts.write_json(folder / "config.json", replica_config(name))
    (folder / "model.safetensors").write_bytes(b"")
    message = next(text for start, text in FOREIGN.items() if name.startswith(start))
    with pytest.raises(gm.ckpts.CheckpointError, match=message):
        gm.ckpts.open_checkpoint(folder)


def test_shieldgemma_2_is_a_gemma_3(tmp_path):
    stated = replica_config("google/gemma-3-4b-it")
    gemma3 = gm.ckpts.config_from_json(stated, "config.json")
    shield = gm.ckpts.config_from_json(
        stated | {"model_type": "shieldgemma2"}, "config.json"
    )
    assert shield == gemma3
    assert shield.vision is not None
