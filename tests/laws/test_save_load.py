"""Saved and loaded = identity: the same config and the same bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma.gm.weights import flatten


@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000], ids=["single", "sharded"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_saved_and_loaded_is_identity(tiny, dtype, max_shard_bytes, tmp_path):
    params = jax.tree.map(lambda w: w.astype(dtype), tiny.params)
    folder = tmp_path / "model"
    gm.ckpts.save_model(folder, tiny.model, params, max_shard_bytes=max_shard_bytes)
    num_files = len(list(folder.glob("*.safetensors")))
    assert (num_files > 1) == (max_shard_bytes == 20_000)

    model, loaded = gm.ckpts.load_model(folder, dtype=jnp.dtype(dtype))
    assert model.config == tiny.model.config
    assert jax.tree.structure(loaded) == jax.tree.structure(dict(params))
    for path, weight in flatten(loaded).items():
        assert weight.dtype == dtype
        np.testing.assert_array_equal(weight, flatten(params)[path], err_msg=path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_file_widens_without_loss(tiny_model, dtype, tmp_path):
    tiny = tiny_model("gemma3_mqa")
    gm.ckpts.save_model(tmp_path / "m", tiny.model, tiny.params, dtype=jnp.dtype(dtype))
    loaded = gm.ckpts.load_params(tmp_path / "m", dtype=jnp.float32)
    for path, weight in flatten(loaded).items():
        expected = flatten(tiny.params)[path].astype(dtype).astype(jnp.float32)
        np.testing.assert_array_equal(weight, expected, err_msg=path)


def test_others_may_read_what_is_saved(tiny_model, tmp_path):
    """As far as the rights of new files go."""
    tiny = tiny_model("gemma1_mqa")
    gm.ckpts.save_model(tmp_path / "m", tiny.model, tiny.params)
    (tmp_path / "new").touch()
    expected = (tmp_path / "new").stat().st_mode
    assert {f.stat().st_mode for f in (tmp_path / "m").iterdir()} == {expected}


def test_saved_twice_is_the_same(tiny_model, tmp_path):
    """What was loaded, saved again, gives the same files."""
    tiny = tiny_model("gemma2_gqa")
    gm.ckpts.save_model(tmp_path / "a", tiny.model, tiny.params)
    gm.ckpts.save_model(tmp_path / "b", *gm.ckpts.load_model(tmp_path / "a"))
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["config.json", "model.safetensors"]
    for name in names:
        first = (tmp_path / "a" / name).read_bytes()
        assert (tmp_path / "b" / name).read_bytes() == first


@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000], ids=["single", "sharded"])
def test_saved_weight_by_weight_is_saved_whole(tiny, max_shard_bytes, tmp_path):
    """The same files, without the params ever being in memory."""
    options = {"dtype": jnp.float32, "max_shard_bytes": max_shard_bytes}
    gm.ckpts.save_model(tmp_path / "a", tiny.model, tiny.params, **options)
    checkpoint = gm.ckpts.open_checkpoint(tmp_path / "a")

    def read(ours):
        return checkpoint.read_weight(ours, np.float32)

    gm.ckpts.save_weights(tmp_path / "b", tiny.model, read, **options)
    for file in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("dtype", ["int8", "as-stored"])
def test_weights_that_are_read_one_by_one_are_not_packed(tiny_model, dtype, tmp_path):
    model = tiny_model("gemma3_mqa").model
    with pytest.raises(ValueError, match="pass a float dtype"):
        gm.ckpts.save_weights(tmp_path / "m", model, np.zeros, dtype=dtype)
    assert not (tmp_path / "m").exists()
