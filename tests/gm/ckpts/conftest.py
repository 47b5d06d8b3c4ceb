"""What tests of checkpoints share: a model and its folder."""

import pytest

from gemma.gm.ckpts import save_model


@pytest.fixture
def tiny(tiny_model):
    return tiny_model("gemma3_gqa_stretched")


@pytest.fixture
def folder(tiny, tmp_path):
    """A Hugging Face folder with one file of weights."""
    save_model(tmp_path / "model", tiny.model, tiny.params)
    return tmp_path / "model"
