"""Split GGUF files are read whole, whichever part is named."""

import os
import re
import shutil

import gguf
import jax
import numpy as np
import pytest
from conftest import TOKENIZER
from gguf_files import MODELS, split, their_tensors, write

from gemma import gm
from gemma.gm.ckpts import CheckpointError, GgufFile, load_model, open_checkpoint
from gemma.gm.nn import Transformer
from gemma.gm.weights import flatten

CONFIG = MODELS["gemma3"]
TYPES = {"blk.1.ffn_up.weight": gguf.GGMLQuantizationType.Q8_0}


@pytest.fixture(scope="module")
def tensors(random_params):
    return their_tensors(random_params(Transformer(CONFIG), jax.random.key(3)))


@pytest.fixture
def whole(tensors, tmp_path):
    return write(tmp_path / "m.gguf", CONFIG, tensors, types=TYPES)


@pytest.mark.parametrize("small_first", [False, True])
def test_parts_hold_what_the_whole_file_held(whole, small_first):
    model, expected = load_model(whole, dtype=np.float32)
    paths = split(whole, 40, small_first=small_first)
    assert len(paths) == 3 + small_first
    for path in (*paths, whole.parent):
        found_model, found = load_model(path, dtype=np.float32)
        assert found_model.config == model.config
        assert found_model.checkpoint == paths[0]
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_parts_stay_packed_and_say_where_a_tensor_is(whole):
    expected = GgufFile(whole)
    paths = split(whole, 40)
    file = GgufFile(paths[-1])
    assert file.files == paths
    assert {file.file_of(name) for name in file.shapes} == set(paths)
    file.read_ahead()
    (name,) = TYPES
    assert (file.read_packed(name) == expected.read_packed(name)).all()
    assert open_checkpoint(file).tensors is file


@pytest.mark.slow
def test_answers_are_those_of_the_whole_file(tiny_model, tmp_path):
    tiny = tiny_model("gemma3_mqa")
    weights = {name: np.asarray(w) for name, w in flatten(tiny.params).items()}
    tokenizer = gm.text.Tokenizer.from_path(TOKENIZER)
    path = tmp_path / "m.gguf"
    gm.ckpts.save_gguf(path, tiny.model, weights.__getitem__, tokenizer=tokenizer)
    prompt, options = "The capital", {"max_new_tokens": 8, "num_logprobs": 2}

    def answer(path):
        sampler = gm.text.Sampler.from_pretrained(path, cache_length=64)
        return sampler.generate(prompt, **options)

    expected = answer(path)
    paths = split(path, 12)
    assert answer(paths[1]) == expected
    assert answer(tmp_path) == expected
    assert gm.text.Tokenizer.from_path(tmp_path).encode(prompt) == tokenizer.encode(
        prompt
    )
    gm.ckpts.save_model(tmp_path / "folder", *load_model(tmp_path))
    assert (tmp_path / "folder" / "tokenizer.json").exists()


def test_mmproj_lies_beside_parts(whole):
    paths = split(whole, 60)
    shutil.copy(paths[0], whole.with_name("mmproj-model.gguf"))
    found = open_checkpoint(whole.parent, text_only=True)
    assert found.tensors.files == paths


def test_a_folder_of_two_split_models_is_not_guessed(whole):
    for path in split(whole, 60):
        shutil.copy(path, path.with_name(f"other-{path.name}"))
    with pytest.raises(CheckpointError, match=r"\.gguf files: name one"):
        open_checkpoint(whole.parent)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_missing_part_is_named(whole, lost):
    paths = split(whole, 40)
    paths[lost].unlink()
    message = rf"lacks {re.escape(paths[lost].name)}: .* one of 3 parts of a model"
    for path in (paths[lost - 1], whole.parent):
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(path)


def test_many_missing_parts_are_counted(whole):
    paths = split(whole, 10)
    for path in paths[:-1]:
        path.unlink()
    with pytest.raises(CheckpointError, match=r"m-00003-of-\d+\.gguf and \d more: "):
        load_model(paths[-1])


def test_a_part_under_another_name_says_which_it_needs(whole):
    path = split(whole, 40)[1]
    path = path.rename(path.with_name("second.gguf"))
    with pytest.raises(CheckpointError, match=r"must end in -00002-of-00003\.gguf"):
        open_checkpoint(path)


def test_links_to_parts_lie_where_they_are_named(whole, tmp_path):
    """As in the cache of Hugging Face's client."""
    (tmp_path / "snapshot").mkdir()
    paths = split(whole, 40)
    links = [tmp_path / "snapshot" / path.name for path in paths]
    for i, path in enumerate(paths):
        os.symlink(path.rename(path.with_name(f"blob{i}")), links[i])
    assert open_checkpoint(links[1]).tensors.files == links


def test_a_part_of_another_model_is_refused(whole, tensors, tmp_path):
    paths = split(whole, 40)
    (tmp_path / "other").mkdir()
    others = split(write(tmp_path / "other" / "m.gguf", CONFIG, tensors), 30)
    shutil.copy(others[1], paths[1])
    with pytest.raises(CheckpointError, match=r"does not state that it is part 2 of 3"):
        open_checkpoint(paths[0])


def test_a_part_that_stands_for_another_is_refused(whole):
    paths = split(whole, 40)
    shutil.copy(paths[2], paths[1])
    with pytest.raises(CheckpointError, match=r"part 2 of 3: split\.no is 2, .* 3\."):
        open_checkpoint(paths[0])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split.count": 2}, "split.count is 2 and split.no, .* is None"),
        ({"split.count": 2, "split.no": 2}, "split.count is 2 and split.no, .* is 2"),
        ({"split.count": -3}, "split.count is -3"),
        ({"split.count": 70_000, "split.no": 1}, "split.count is 70000"),
        ({"split.count": "two"}, "split.count is 'two'"),
        ({"split.count": 3, "split.no": 1}, r"is part 2 of 3 .*end in -00002-of-00003"),
    ],
)
def test_keys_that_cannot_be_are_refused(tmp_path, keys, message):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gemma3")
    for key, value in keys.items():
        is_number = isinstance(value, int)
        kind = gguf.GGUFValueType.INT32 if is_number else gguf.GGUFValueType.STRING
        writer.add_key_value(key, value, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=message):
        GgufFile(tmp_path / "m.gguf")


def test_tensors_must_be_as_many_as_stated(whole):
    total = len(GgufFile(whole).tensors)
    paths = split(whole, 40)
    data = paths[0].read_bytes()
    place = data.index(b"split.tensors.count") + len(b"split.tensors.count") + 4
    assert data[place : place + 4] == total.to_bytes(4, "little")
    more = (total + 1).to_bytes(4, "little")
    paths[0].write_bytes(data[:place] + more + data[place + 4 :])
    with pytest.raises(CheckpointError, match=rf"hold {total} .* state {total + 1}"):
        open_checkpoint(paths[0])


def test_two_parts_may_not_hold_the_same_tensor(whole):
    paths = split(whole, 40)
    names = (b"blk.6.ffn_down.weight", b"blk.0.ffn_down.weight")
    data = paths[-1].read_bytes()
    assert names[0] in data
    paths[-1].write_bytes(data.replace(*names))
    with pytest.raises(
        CheckpointError, match=r"hold tensor 'blk\.0\.ffn_down\.weight'"
    ):
        open_checkpoint(paths[0])
