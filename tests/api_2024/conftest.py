"""Tiny models as the API of 2024 has them."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
import sentencepiece

from gemma import gm
from gemma import params as params_lib
from gemma.transformer import Transformer, TransformerConfig

TOKENIZER = Path(__file__).parent.parent / "data" / "tiny_tokenizer.model"
CACHE_SIZE = 16


@dataclasses.dataclass(frozen=True)
class Old:
    """A model of 2024, its tree, and the same of ours."""

    transformer: Transformer
    tree: dict[str, Any]
    ours: Any

    def apply(self, tokens, positions, cache, mask):
        """Applies the model of 2024."""
        variables = {"params": self.tree}
        return self.transformer.apply(variables, tokens, positions, cache, mask)


def make_old(tiny) -> Old:
    """Returns a tiny model as 2024 has it."""
    config = TransformerConfig.of(tiny.model.config, CACHE_SIZE)
    return Old(
        Transformer(config), gm.ckpts.to_deepmind(tiny.params, tiny.model.config), tiny
    )


@pytest.fixture
def old(tiny) -> Old:
    """Each tiny model in turn."""
    return make_old(tiny)


@pytest.fixture
def gemma1(tiny_model) -> Old:
    return make_old(tiny_model("gemma1_mqa"))


@pytest.fixture(scope="session")
def vocab_path() -> Path:
    return TOKENIZER


@pytest.fixture(scope="session")
def vocab() -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    processor.Load(str(TOKENIZER))
    return processor


@pytest.fixture(scope="session")
def flat_checkpoint(tiny_model, tmp_path_factory) -> Path:
    """A tiny Gemma 1 as Google published its own: flat, bfloat16, by Orbax."""
    ocp = pytest.importorskip("orbax.checkpoint")
    tiny = tiny_model("gemma1_mqa")
    tree = {"transformer": gm.ckpts.to_deepmind(tiny.params, tiny.model.config)}
    flat = {
        path: {name: leaf.astype(jnp.bfloat16) for name, leaf in leaves.items()}
        for path, leaves in params_lib.flatten_and_remap_params(tree).items()
    }
    path = tmp_path_factory.mktemp("kaggle") / "2b-it"
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path, flat)
    return path
