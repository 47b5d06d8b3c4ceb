"""What the pages speak of: checkpoints of their names, all tiny, and some files."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from gemma import gm
from gemma import params as params_lib

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
TOKENIZER = TESTS / "data" / "tiny_tokenizer.model"
SERVER = TESTS / "gm" / "tools" / "mcp_server.py"
VOCAB_SIZE = 480
# Widths of 32, so that every block type of a GGUF file fits.
SIZES = {
    "num_layers": 2, "embed_dim": 32, "hidden_dim": 64, "num_heads": 2,
    "num_kv_heads": 1, "head_dim": 32, "vocab_size": VOCAB_SIZE,
}  # fmt: skip
EYES = gm.vision.VisionConfig(
    image_size=28, patch_size=7, embed_dim=16, hidden_dim=24, num_layers=2, num_heads=2,
    tokens_per_image=4, soft_token=VOCAB_SIZE,
)  # fmt: skip


def save_folder(folder: Path, config: gm.nn.TransformerConfig) -> None:
    """Writes a Hugging Face folder with a tokenizer."""
    model = gm.nn.Transformer(config)
    params = model.init(jax.random.key(0))
    files = {"tokenizer.model": TOKENIZER.read_bytes()}
    gm.ckpts.save_model(folder, model, params, files=files)


def save_gguf(path: Path, folder: Path) -> None:
    """Writes the model of a folder as a GGUF file."""
    source = gm.ckpts.open_checkpoint(folder)
    gm.ckpts.save_gguf(
        path,
        source.model,
        lambda name: source.read_weight(name, np.float32),
        tokenizer=gm.text.Tokenizer.from_path(folder),
    )


def save_orbax_2024(path: Path) -> None:
    """Writes a Gemma 1 as Google published its own: flat, by Orbax."""
    config = gm.nn.gemma1_config(**SIZES)
    params = gm.nn.Transformer(config).init(jax.random.key(0))
    tree = {"transformer": gm.ckpts.to_deepmind(params, config)}
    params_lib.format_and_save_params(tree, path)


def save_orbax(path: Path, folder: Path) -> None:
    """Writes the model of a folder as DeepMind's library does."""
    source = gm.ckpts.open_checkpoint(folder)
    gm.ckpts.save_orbax(
        path,
        source.model,
        lambda name: source.read_weight(name, jnp.float32),
        dtype=jnp.float32,
    )


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> Path:
    """A folder with what the pages name: what is on disk comes before the network."""
    pytest.importorskip("orbax.checkpoint")
    made = tmp_path_factory.mktemp("pages")
    chat = made / "gemma-3-1b-it"
    save_folder(chat, gm.nn.gemma3_config(window=8, **SIZES))
    shutil.copytree(chat, made / "gemma-3-270m")
    seeing = SIZES | {"vocab_size": VOCAB_SIZE + 8}
    save_folder(made / "gemma-3-4b-it", gm.nn.gemma3_config(vision=EYES, **seeing))
    save_gguf(made / "gemma-3-1b-it.gguf", chat)
    save_orbax(made / "gemma3-1b-it", chat)
    save_orbax_2024(made / "2b-it")
    shutil.copy(TOKENIZER, made / "tokenizer.model")
    shutil.copy(SERVER, made / "server.py")
    for name in ("a.png", "b.jpg"):
        PIL.Image.new("RGB", (40, 30), "red").save(made / name)
    (made / "examples").symlink_to(ROOT / "examples")
    return made


@pytest.fixture
def desk(checkpoints, tmp_path, monkeypatch) -> Path:
    """A folder in which a reader sits: the checkpoints are there, and all is tried."""
    for path in checkpoints.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
