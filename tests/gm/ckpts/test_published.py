"""What is published loads, stops where its files say, and takes a conversation."""

import pytest
from published import END_OF_TURN, PUBLISHED, ROWS, make_replica, replica_config

from gemma import gm

# By the program that wrote them.
FOREIGN = {
    "awq/": "quantized by 'awq'",
    "gptq/": "quantized by 'gptq'",
    "mlx-community/": "quantized by MLX",
    "neuralmagic/": "quantized by 'compressed-tensors'",
    "unsloth/gemma-3-1b-it-bnb-4bit": "quantized by 'bitsandbytes'",
}
READ = [name for name in PUBLISHED if not name.startswith(tuple(FOREIGN))]
STOPS = {"google/functiongemma-270m-it": {50}}


def test_there_are_enough():
    assert len(READ) >= 24


@pytest.mark.parametrize("name", READ)
def test_folders_load_and_take_a_conversation(name, tmp_path):
    folder = make_replica(name, tmp_path / "replica")
    model, params = gm.ckpts.load_model(folder, dtype="float32")
    chat = gm.text.ChatSampler(model=model, params=params, cache_length=64)
    tokenizer = chat.sampler.tokenizer
    assert set(tokenizer.stop_ids) == {1, END_OF_TURN} | STOPS.get(name, set())
    assert model.config.vocab_size in (ROWS, ROWS + 64)
    turn = gm.dialog.Turn.user("the rain")
    ids = chat.sampler.encode(gm.dialog.Conversation((turn,)))
    assert ids[:2] == [tokenizer.bos_id, tokenizer.id("<start_of_turn>")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["google/gemma-3-1b-it", "google/functiongemma-270m-it"]
)
def test_the_ones_that_were_refused_answer(name, tmp_path):
    folder = make_replica(name, tmp_path / "replica")
    sampler = gm.text.Sampler.from_pretrained(folder, cache_length=64)
    answer = sampler.generate("the rain", max_new_tokens=4)
    assert 1 <= len(answer.token_ids) <= 4


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
