"""Hugging Face folders: shards, names, and everything that can be wrong with them."""

import json
import pickle
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gemma.gm.ckpts import (
    CheckpointError,
    load_config,
    load_model,
    open_checkpoint,
    save_model,
)
from gemma.gm.weights import flatten

INDEX = "model.safetensors.index.json"


def assert_same_params(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for path, weight in flatten(found).items():
        np.testing.assert_array_equal(weight, flatten(expected)[path], err_msg=path)


@pytest.fixture
def shards(tiny, tmp_path):
    """A folder with several files and an index."""
    path = tmp_path / "model"
    save_model(path, tiny.model, tiny.params, max_shard_bytes=20_000)
    return path


def change(folder, edit) -> None:
    """Rewrites model.safetensors with other tensors."""
    path = folder / "model.safetensors"
    save_file(edit(load_file(path)), path)


def change_json(path, edit) -> None:
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))


def test_shards_hold_each_tensor_once(shards, tiny):
    files = sorted(shards.glob("*.safetensors"))
    names = [name for file in files for name in load_file(file)]
    assert len(names) == len(set(names)) == len(flatten(tiny.params))
    index = json.loads((shards / INDEX).read_text())
    assert sorted(set(index["weight_map"].values())) == [file.name for file in files]
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    num_bytes = sum(weight.nbytes for weight in flatten(tiny.params).values())
    assert index["metadata"]["total_size"] == num_bytes
    for file in files:
        tensors = load_file(file)
        taken = sum(values.nbytes for values in tensors.values())
        assert taken <= 20_000 or len(tensors) == 1


def test_shards_without_an_index_are_read(shards, tiny):
    (shards / INDEX).unlink()
    assert_same_params(load_model(shards)[1], tiny.params)


def test_file_in_a_folder_stands_for_the_folder(folder, tiny):
    model, params = load_model(folder / "model.safetensors")
    assert model.config == tiny.model.config
    assert_same_params(params, tiny.params)


def test_missing_shard_is_named(shards):
    missing = sorted(shards.glob("*.safetensors"))[1]
    missing.unlink()
    with pytest.raises(CheckpointError, match=f"{INDEX} names {missing.name}, which"):
        load_model(shards)


def test_index_that_names_another_file(shards):
    index = json.loads((shards / INDEX).read_text())["weight_map"]
    change_json(
        shards / INDEX,
        lambda i: {
            "weight_map": i["weight_map"] | {"extra": index["model.norm.weight"]}
        },
    )
    message = f"says that {index['model.norm.weight']} holds tensor 'extra'"
    with pytest.raises(CheckpointError, match=message):
        load_model(shards)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1}}']
)
def test_index_that_is_none(shards, content):
    (shards / INDEX).write_text(content)
    with pytest.raises(CheckpointError, match=INDEX):
        load_model(shards)


def test_index_does_not_lead_out_of_the_folder(shards):
    """A downloaded index must not choose which of the user's files are opened."""
    file = next(shards.glob("*.safetensors"))
    shutil.copy(file, shards.parent / "stray.safetensors")
    stray = dict.fromkeys(load_file(file), "../stray.safetensors")
    change_json(shards / INDEX, lambda i: {"weight_map": i["weight_map"] | stray})
    with pytest.raises(
        CheckpointError, match=r"names \.\./stray\.safetensors, which is"
    ):
        load_model(shards)


@pytest.mark.parametrize("length", [0, 4, 8, 100, -1])
def test_truncated_file_is_named(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="truncated or not a safetensors"):
        load_model(folder)


def test_pickle_is_refused_and_not_opened(folder):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is a pickle"):
        load_model(folder)


def test_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors file\.$"):
        load_model(folder)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint at"):
        load_model(tmp_path / "absent")
    with pytest.raises(CheckpointError, match=r"no config.json and no \.gguf file"):
        load_model(tmp_path)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_model(tmp_path / "x.txt")


NAME = "model.layers.1.self_attn.q_norm.weight"


def test_missing_tensor_is_named(folder):
    change(folder, lambda tensors: {k: v for k, v in tensors.items() if k != NAME})
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    assert str(caught.value) == (
        f"{folder} lacks tensor '{NAME}', which a gemma3 of 3 layers needs."
    )


def test_unknown_tensor_is_named(folder):
    change(folder, lambda t: t | {"model.layers.3.extra": t[NAME]})
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    assert str(caught.value) == (
        f"{folder / 'model.safetensors'} holds tensor 'model.layers.3.extra', which "
        "is no part of a gemma3 of 3 layers."
    )


@pytest.mark.parametrize(
    ("name", "edit", "found"),
    [
        (NAME, lambda w: w[:-1], "(15,)"),
        ("model.norm.weight", lambda w: w[None], "(1, 24)"),
        ("model.layers.0.mlp.up_proj.weight", np.transpose, "(24, 40)"),
        (
            "model.layers.0.self_attn.q_proj.weight",
            lambda w: w.reshape(4, 16, 24),
            "(4, 16, 24)",
        ),
    ],
)
def test_tensor_of_another_shape_is_named(folder, name, edit, found):
    def cut(tensors):
        return tensors | {name: np.ascontiguousarray(edit(tensors[name]))}

    change(folder, cut)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    beginning = f"Tensor '{name}' in {folder / 'model.safetensors'} has shape {found};"
    assert str(caught.value).startswith(beginning)


@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model."])
def test_text_side_of_a_multimodal_checkpoint(folder, tiny, prefix):
    """In the spellings of transformers 5 and 4; the eyes are passed over."""
    text = json.loads((folder / "config.json").read_text())
    whole = {"model_type": "gemma3", "text_config": text}
    whole |= {"vision_config": {}, "mm_tokens_per_image": 49}
    (folder / "config.json").write_text(json.dumps(whole))
    eyes = "model." if prefix.startswith("model.") else ""
    extra = {
        f"{eyes}vision_tower.vision_model.post_layernorm.weight": np.ones(3, "f4"),
        f"{eyes}multi_modal_projector.mm_soft_emb_norm.weight": np.ones(3, "f4"),
    }
    change(
        folder,
        lambda tensors: (
            {
                prefix + name.removeprefix("model."): values
                for name, values in tensors.items()
            }
            | extra
        ),
    )
    checkpoint = open_checkpoint(folder, text_only=True)
    assert checkpoint.config == tiny.model.config
    assert_same_params(checkpoint.read_params(), tiny.params)
    with pytest.raises(CheckpointError, match="lacks tensor 'vision_tower"):
        load_model(folder)


@pytest.mark.parametrize(
    "name", ["lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"]
)
def test_known_extras_are_passed_over(folder, tiny, name):
    """The tied head written out, and buffers of old versions."""
    embedding = "model.embed_tokens.weight"
    change(folder, lambda tensors: tensors | {name: tensors[embedding]})
    assert_same_params(load_model(folder)[1], tiny.params)


def test_a_head_of_another_shape_is_refused(folder):
    def cut(tensors):
        return tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"][:3]}

    change(folder, cut)
    with pytest.raises(CheckpointError, match=r"'lm_head.weight' .* shape"):
        load_model(folder)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_dtype_can_be_chosen(folder, tiny, dtype):
    params = load_model(folder, dtype=dtype)[1]
    expected = jax.tree.map(lambda w: w.astype(dtype), tiny.params)
    assert_same_params(params, expected)
    assert {w.dtype for w in flatten(params).values()} == {jnp.dtype(dtype)}


def test_weights_outlive_the_folder(folder, tiny):
    """Arrays do not look into files that may go."""
    params = load_model(folder)[1]
    (folder / "model.safetensors").write_bytes(b"\xff" * 1_000_000)
    shutil.rmtree(folder)
    assert_same_params(params, tiny.params)


def test_config_needs_no_weights(folder, tiny):
    assert load_config(folder) == tiny.model.config
