"""What can be wrong with a directory of Orbax: each is said with the name of an array."""

import jax
import numpy as np
import pytest

pytest.importorskip("orbax.checkpoint")

import sys

from orbax_trees import flat_tree, nested_tree, write_orbax

from gemma.gm.ckpts import (
    CheckpointError,
    load_model,
    load_params,
    open_checkpoint,
    save_orbax,
)

Q = "transformer/layer_1/attn/q_einsum"


@pytest.fixture
def tiny(tiny_model):
    return tiny_model("gemma3_gqa_stretched")


@pytest.fixture
def flat(tiny):
    return flat_tree(nested_tree(tiny.params, tiny.model.config))


@pytest.fixture
def folder(flat, tmp_path):
    """A directory with a folder for each array."""
    write_orbax(tmp_path / "m", flat, ocdbt=False)
    return tmp_path / "m"


@pytest.fixture
def database(flat, tmp_path):
    """A directory with one database."""
    write_orbax(tmp_path / "m", flat)
    return tmp_path / "m"


def refused(path, match: str) -> None:
    """Loads, and expects one line of error that hides where it came from."""
    with pytest.raises(CheckpointError, match=match) as caught:
        load_params(path)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "\n" not in str(caught.value)
    assert "tensorstore/" not in str(caught.value)


def test_missing_array(flat, tmp_path):
    del flat[Q]
    write_orbax(tmp_path / "m", flat)
    refused(
        tmp_path / "m",
        f"m lacks array '{Q}/w', which a gemma3 of 3 layers needs",
    )


def test_missing_layer(flat, tmp_path):
    flat = {name: x for name, x in flat.items() if "layer_1/" not in name}
    write_orbax(tmp_path / "m", flat)
    refused(tmp_path / "m", "m lacks array 'transformer/layer_1/attn/q_einsum/w'")


def test_missing_first_layer(flat, tmp_path):
    flat = {name: x for name, x in flat.items() if "layer_0/" not in name}
    write_orbax(tmp_path / "m", flat)
    refused(
        tmp_path / "m", "m lacks array 'transformer/layer_0/attn/attn_vec_einsum/w'"
    )


def test_unknown_array(flat, tmp_path):
    write_orbax(tmp_path / "m", flat | {"transformer/layer_1/laurel": flat[Q]})
    refused(
        tmp_path / "m",
        "m holds array 'transformer/layer_1/laurel/w', which is no part of a gemma3",
    )


def test_half_of_an_adapter(flat, tmp_path):
    write_orbax(tmp_path / "m", flat | {f"{Q}/_LoRAEinsum_0/lora": {"a": np.ones(3)}})
    refused(tmp_path / "m", "_LoRAEinsum_0/lora/a', but not the other one and the wei")


def test_an_unknown_array(flat, tmp_path):
    write_orbax(tmp_path / "m", flat | {f"{Q}/_Prefix_0": {"a": np.ones(3)}})
    refused(tmp_path / "m", "_Prefix_0/a', which is no part")


def test_wrong_shape(flat, tmp_path):
    write_orbax(tmp_path / "m", flat | {Q: {"w": np.zeros((4, 24, 8), np.float32)}})
    refused(
        tmp_path / "m",
        rf"Array '{Q}/w' in .*m has shape \(4, 24, 8\); a gemma3 of 3 layers needs "
        r"\(4, 24, 16\)",
    )


def test_integers(flat, tmp_path):
    write_orbax(tmp_path / "m", flat | {Q: {"w": np.zeros((4, 24, 16), np.int8)}})
    refused(tmp_path / "m", f"Array '{Q}/w' in .*m is of int8; floats can be read")


def test_truncated_array(folder):
    path = folder / f"{Q}.w" / "0.0.0"
    path.write_bytes(path.read_bytes()[:-7])
    refused(folder, f"Array '{Q}/w' in .*m cannot be read: ")


def test_deleted_array(folder):
    """Its numbers are gone, and zeros would be no error to the format."""
    (folder / f"{Q}.w" / "0.0.0").unlink()
    refused(folder, f"Array '{Q}/w' in .*m cannot be read: .* is missing")


def test_array_with_a_damaged_description(folder):
    (folder / f"{Q}.w" / ".zarray").write_text("{")
    refused(folder, f"Array '{Q}/w' in .*m cannot be opened: ")


def test_truncated_database(database):
    path = database / "manifest.ocdbt"
    path.write_bytes(path.read_bytes()[:9])
    refused(database, "m is damaged: DATA_LOSS")


def test_database_without_its_data(database):
    for path in database.glob("ocdbt.process_0/d/*"):
        path.unlink()
    refused(database, r"Array '.*' in .*m cannot be read: |m is damaged: ")


def test_truncated_data_of_a_database(database):
    for path in database.glob("ocdbt.process_0/d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(database, r"Array '.*' in .*m cannot be (read|opened): |m is damaged: ")


@pytest.mark.parametrize("content", ["{", "[]", '"x"'])
def test_damaged_metadata(folder, content):
    (folder / "_METADATA").write_text(content)
    refused(folder, "_METADATA is damaged: ")


def test_config_that_is_not_json(folder):
    (folder / "config.json").write_text("{")
    refused(folder, r"config\.json is not JSON")


def test_config_of_something_else(folder):
    (folder / "config.json").write_text("[1]")
    refused(folder, r"config\.json does not hold a JSON object")


def test_directory_that_lost_its_arrays(folder):
    metadata = (folder / "_METADATA").read_bytes()
    empty = folder.parent / "empty"
    empty.mkdir()
    (empty / "_METADATA").write_bytes(metadata)
    refused(empty, "empty is no whole Orbax checkpoint: it holds no array")


def test_checkpoint_of_another_library(tmp_path):
    write_orbax(tmp_path / "m", {"dense": {"kernel": np.ones((2, 2))}})
    refused(tmp_path / "m", "m holds no Gemma: array 'embedder/input_embedding'")


def test_empty_directory(tmp_path):
    (tmp_path / "m").mkdir()
    refused(tmp_path / "m", "m is not a checkpoint")


def test_directory_of_other_files(tmp_path):
    (tmp_path / "m" / "default").mkdir(parents=True)
    (tmp_path / "m" / "notes.txt").write_text("x")
    refused(tmp_path / "m", "m is not a checkpoint")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_model(tmp_path / "m")


def test_numbers_that_cannot_be_packed_are_named(flat, tmp_path):
    write_orbax(tmp_path / "m", flat | {Q: {"w": np.full((4, 24, 16), np.nan)}})
    with pytest.raises(ValueError, match=rf"'{Q}/w' in .*m holds NaN"):
        load_params(tmp_path / "m", dtype="int8")


def test_reading_without_the_packages(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "gemma.gm.ckpts._orbax_arrays", raising=False)
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(ImportError, match=r"pip install 'gemma-jax\[orbax\]'"):
        open_checkpoint(folder)


def test_writing_without_the_packages(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"pip install 'gemma-jax\[orbax\]'"):
        save_orbax(
            tmp_path / "m", tiny.model, lambda ours: jax.numpy.zeros(1), dtype="float32"
        )
    assert list(tmp_path.iterdir()) == []
