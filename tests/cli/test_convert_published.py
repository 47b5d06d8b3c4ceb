"""Each replica of a published repository in the other formats, and the same there."""

import jax
import numpy as np
import pytest
from published import SOME, make_replica

from gemma import gm
from gemma.cli.conversion import Format, compare, write_model

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SOME)
def test_replicas_in_other_formats(name, tmp_path):
    """The same config and the same weights, so the same logits."""
    folder = make_replica(name, tmp_path / "replica")
    for kind in Format:
        # GGUF files hold the image token of published models only, and this is another.
        text_only = kind is Format.GGUF
        source = gm.ckpts.open_checkpoint(folder, text_only=text_only)
        expected = source.read_params(dtype="float32")
        path = tmp_path / f"made.{kind.value}"
        shard = {"max_shard_bytes": 10**9, "progress": None}
        write_model(source, path, kind, "float32", **shard)
        made = gm.ckpts.open_checkpoint(path)
        assert compare(source, made, kind, "float32", None) == len(source.names)
        assert made.config == source.config
        found = made.read_params(dtype="float32")
        jax.tree.map(_assert_same, found, expected)
        assert stops(made) == stops(source), kind


def _assert_same(found, expected):
    # GGUF files hold norms plus one, rounded.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)


def stops(checkpoint):
    """Returns where answers end."""
    ids = gm.text.Tokenizer.from_path(checkpoint.path).stop_ids
    # The id that <end_of_turn> has in published models, which configs of multimodal
    # models are written with; here it is some other token.
    return set(ids) - {106}
