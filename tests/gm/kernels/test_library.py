"""What happens where the kernels were not built."""

import jax.numpy as jnp
import pytest

from gemma import gm
from gemma.gm import kernels


@pytest.fixture
def without_kernels(monkeypatch):
    monkeypatch.setattr(kernels, "available", lambda: False)


def test_weights_are_float32_without_kernels(without_kernels):
    assert gm.ckpts.default_dtype() == jnp.float32


def test_one_line_says_that_kernels_are_missing(without_kernels, tmp_path):
    """Before anything is read: the folder here holds nothing."""
    with (
        pytest.warns(UserWarning, match="without its C\\+\\+ kernels.*five times"),
        pytest.raises(gm.ckpts.CheckpointError),
    ):
        gm.text.Sampler.from_pretrained(tmp_path)


def test_nothing_is_said_where_they_would_not_be_used(without_kernels, tmp_path):
    with pytest.raises(gm.ckpts.CheckpointError):
        gm.text.Sampler.from_pretrained(tmp_path, dtype=jnp.float32)


@pytest.mark.parametrize("dtype", ["int8", "nf4", gm.ckpts.AS_STORED])
def test_packed_weights_are_slow_without_kernels(without_kernels, tmp_path, dtype):
    with (
        pytest.warns(UserWarning, match=f"so {dtype} weights run ten times slower"),
        pytest.raises(gm.ckpts.CheckpointError),
    ):
        gm.text.Sampler.from_pretrained(tmp_path, dtype=dtype)
