"""The vocabulary of a tokenizer, and the three kinds of file that state one."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError
from jaxtyping import Float32, UInt8
from sentencepiece import sentencepiece_model_pb2 as model_pb2

from gemma.gm.ckpts import (
    IS_LFS_POINTER,
    Strings,
    find_gguf,
    gguf_pieces,
    is_lfs_pointer,
    read_gguf_metadata,
    settled_kinds,
)

# The class is made at import, where pyright cannot see it.
ModelProto = model_pb2.ModelProto  # pyright: ignore[reportAttributeAccessIssue]

# How sentencepiece and tokenizer.json write a space inside a piece.
SPACE = "▁"

_BYTE_NAME = re.compile(r"<0x[0-9A-F]{2}>")


class PieceKind(IntEnum):
    """What a piece is for; the numbers are sentencepiece's, and GGUF's."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Vocabulary:
    """States the pieces of a BPE tokenizer with byte fallback; V of them.

    Attributes:
      pieces: Text of each token, by id, spaces written as "▁". An id that no token
        has holds "" of kind UNUSED.
      scores: Rank of each piece: of two possible merges the higher goes first.
      kinds: What each piece is for, a `PieceKind`. Control tokens never match inside
        plain text, user-defined pieces match before anything is merged.
      bos_id: Token that begins a text.
      eos_id: Token that ends a text.
      pad_id: Token that fills a batch.
      unk_id: Token of kind UNKNOWN; byte fallback leaves it nothing to stand for.
    """

    pieces: Strings = field(repr=False)
    scores: Float32[np.ndarray, "V"] = field(repr=False)
    kinds: UInt8[np.ndarray, "V"] = field(repr=False)
    bos_id: int
    eos_id: int
    pad_id: int
    unk_id: int

    def __post_init__(self):
        lengths = len(self.pieces), len(self.scores), len(self.kinds)
        if len(set(lengths)) > 1:
            raise ValueError(
                "A vocabulary needs one score and one kind for each piece; found "
                "{} pieces, {} scores, {} kinds.".format(*lengths)
            )
        for name in ("bos_id", "eos_id", "pad_id", "unk_id"):
            if not 0 <= getattr(self, name) < len(self.pieces):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, which is none of the "
                    f"{len(self.pieces):,} pieces of the vocabulary."
                )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return (
            self.pieces == other.pieces
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.kinds, other.kinds)
            and self._special_ids() == other._special_ids()
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def _special_ids(self) -> tuple[int, int, int, int]:
        return self.bos_id, self.eos_id, self.pad_id, self.unk_id

    def ids_of(self, kind: PieceKind) -> list[int]:
        """Returns the tokens of a kind."""
        return np.flatnonzero(self.kinds == kind).tolist()


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Reads the vocabulary of a tokenizer file, or of the one in a directory.

    Args:
      path: A `.model`, `.json` or `.gguf` file, or a directory. In a directory
        tokenizer.json comes before tokenizer.model: it is slower to read, but tokens
        added after training (`<image_soft_token>`) are in it alone.

    Raises:
      FileNotFoundError: There is no tokenizer at `path`.
      ValueError: The file is damaged, or its tokenizer is not like Gemma's.
    """
    path = _tokenizer_file(Path(path))
    if is_lfs_pointer(path):
        raise ValueError(f"{path} {IS_LFS_POINTER}")
    match path.suffix:
        case ".json":
            return from_json_file(path)
        case ".model":
            return from_model_file(path)
        case ".gguf":
            return from_gguf_metadata(read_gguf_metadata(path))
        case _:
            raise ValueError(
                f"{path} is not a tokenizer: expected a .model, .json or .gguf file."
            )


def _tokenizer_file(path: Path) -> Path:
    """Returns the file that `path` is or holds."""
    if not path.exists():
        raise FileNotFoundError(f"No tokenizer at {path}: there is no such file.")
    if not path.is_dir():
        return path
    folders = [path, *_folders_of_archives(path)]
    for folder in folders:
        for name in ("tokenizer.json", "tokenizer.model"):
            if (folder / name).is_file():
                return folder / name
    ggufs = sorted(path.glob("*.gguf"))
    # Beside one model may be its mmproj file, and a model may have several parts.
    gguf = ggufs[0] if len(ggufs) == 1 else find_gguf(path)
    if gguf is not None:
        return gguf
    raise FileNotFoundError(
        f"No tokenizer in {path}: looked for tokenizer.json, tokenizer.model and a "
        f"single .gguf file, and found {len(ggufs)} .gguf files."
    )


def _folders_of_archives(path: Path) -> list[Path]:
    """Returns where DeepMind's archives have the tokenizer: beside Orbax's directory."""
    marks = "_METADATA", "manifest.ocdbt", "checkpoint"
    return [path.parent] if any((path / mark).exists() for mark in marks) else []


def from_model_file(path: str | Path) -> Vocabulary:
    """Reads a sentencepiece model, `tokenizer.model`."""
    model = ModelProto()
    try:
        model.ParseFromString(Path(path).read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path} is damaged, or no sentencepiece model.") from error
    if not model.pieces:
        raise ValueError(f"{path} is no sentencepiece model: it states no pieces.")
    trainer = model.trainer_spec
    model_type = trainer.ModelType.Name(trainer.model_type)
    _require_byte_bpe(path, model_type, trainer.byte_fallback)
    pieces = _without_stand_ins(model.pieces)
    return _vocabulary(
        Strings.of(piece.piece for piece in pieces),
        [piece.score for piece in pieces],
        [piece.type for piece in pieces],
        bos_id=trainer.bos_id,
        eos_id=trainer.eos_id,
        pad_id=trainer.pad_id,
        unk_id=trainer.unk_id,
    )


def _without_stand_ins(pieces: Sequence[Any]) -> Sequence[Any]:
    """Leaves out the bytes at the end that `Tokenizer.model_bytes` has put there.

    Sentencepiece insists on them, and no text needs them: their characters are pieces.
    """
    end, texts = len(pieces), {piece.piece for piece in pieces}
    while end > 0 and pieces[end - 1].type == PieceKind.BYTE:
        byte = int(pieces[end - 1].piece[3:5], 16)
        if byte >= 0x80 or chr(byte) not in texts:
            break
        end -= 1
    return pieces[:end]


def from_json_file(path: str | Path) -> Vocabulary:
    """Reads a Hugging Face `tokenizer.json`."""
    try:
        state = json.loads(Path(path).read_bytes())
        model, added = state["model"], state["added_tokens"]
        model_type, ids, merges = model["type"], model["vocab"], model.get("merges")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or no Hugging Face tokenizer: {error}"
        ) from error
    _require_byte_bpe(path, model_type, model.get("byte_fallback", False))
    ids = ids | {_added_piece(token): token["id"] for token in added}
    pieces = _by_id(ids)
    return _vocabulary(
        Strings.of(pieces),
        _merge_scores(pieces, merges),
        _json_kinds(pieces, added),
        **_special_ids(pieces, stated={}),
    )


def from_gguf_metadata(metadata: Mapping[str, object]) -> Vocabulary:
    """Returns the vocabulary that the metadata of a GGUF file states."""
    ggml: dict[str, Any] = {
        key.removeprefix("tokenizer.ggml."): value
        for key, value in metadata.items()
        if key.startswith("tokenizer.ggml.")
    }
    _require_gguf_tokenizer(ggml)
    kinds, pieces = np.asarray(ggml["token_type"]), ggml["tokens"]
    pieces = gguf_pieces(pieces, kinds)
    # Gemma 4 states merges.
    has_merges = "merges" in ggml
    scores = _merge_scores(pieces, ggml["merges"]) if has_merges else ggml["scores"]
    return _vocabulary(pieces, scores, kinds, **_special_ids(pieces, stated=ggml))


def _require_byte_bpe(path: str | Path, model_type: str, byte_fallback: bool) -> None:
    if model_type != "BPE" or not byte_fallback:
        found = model_type if byte_fallback else f"{model_type} without byte fallback"
        raise ValueError(
            f"{path} holds a {found} tokenizer; Gemma's are BPE with byte fallback."
        )


def _require_gguf_tokenizer(ggml: Mapping[str, Any]) -> None:
    model = ggml.get("model", "llama")
    if model not in ("llama", "gemma4"):
        raise ValueError(
            f"The GGUF file holds a {model!r} tokenizer; Gemma's are 'llama' "
            "(BPE with scores) or 'gemma4' (BPE with merges)."
        )
    needed = "tokens", "token_type", "merges" if model == "gemma4" else "scores"
    if missing := [key for key in needed if key not in ggml]:
        raise ValueError(
            "The GGUF file holds no whole tokenizer: its metadata lacks "
            + ", ".join(f"tokenizer.ggml.{key}" for key in missing)
            + "."
        )
    lengths = {key: len(ggml[key]) for key in ("tokens", "token_type")}
    if len(set(lengths.values())) > 1 or not isinstance(ggml["tokens"], Strings):
        raise ValueError(
            "The GGUF file holds no whole tokenizer: it states {tokens:,} tokens and "
            "the types of {token_type:,}.".format(**lengths)
        )


def _vocabulary(
    pieces: Strings,
    scores: npt.ArrayLike,
    kinds: npt.ArrayLike,
    *,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    unk_id: int,
) -> Vocabulary:
    """Returns the vocabulary, with the family's control tokens known as such."""
    unknown = set(np.unique(kinds).tolist()).difference(PieceKind)
    if unknown:
        raise ValueError(f"The vocabulary has pieces of unknown kinds {unknown}.")
    return Vocabulary(
        pieces=pieces,
        scores=np.asarray(scores, np.float32),
        kinds=settled_kinds(pieces, kinds, unk_id),
        bos_id=bos_id,
        eos_id=eos_id,
        pad_id=pad_id,
        unk_id=unk_id,
    )


def _added_piece(token: Mapping[str, Any]) -> str:
    """Returns an added token as a piece; one of text is found among pieces."""
    is_text = not token["special"] and token.get("normalized")
    return token["content"].replace(" ", SPACE) if is_text else token["content"]


def _by_id(ids: Mapping[str, int]) -> list[str]:
    """Returns the pieces in the order of their ids, "" where there is none."""
    pieces = [""] * (max(ids.values()) + 1)
    for piece, token_id in ids.items():
        pieces[token_id] = piece
    return pieces


def _json_kinds(pieces: list[str], added: Iterable[Mapping]) -> list[PieceKind]:
    """Returns the kind of each piece, of which the file says only what was added."""
    kinds = [PieceKind.NORMAL if piece else PieceKind.UNUSED for piece in pieces]
    for token_id, piece in enumerate(pieces):
        if _BYTE_NAME.fullmatch(piece):
            kinds[token_id] = PieceKind.BYTE
    for token in added:
        special = token["special"]
        kinds[token["id"]] = PieceKind.CONTROL if special else PieceKind.USER_DEFINED
    return kinds


def _merge_scores(
    pieces: Iterable[str], merges: Iterable[str | Sequence[str]]
) -> list[float]:
    """Returns minus the rank of the first merge that makes each piece.

    One score a piece says as much as the merges do, since Gemma's files hold every
    merge of a piece that there is, and the merges of one piece side by side.
    """
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        ranks.setdefault(left + right, rank)
    return [-float(ranks.get(piece, len(ranks))) for piece in pieces]


def _special_ids(pieces: Sequence[str], stated: Mapping[str, Any]) -> dict[str, int]:
    """Returns the ids in `stated`, under GGUF's keys, or else those of Gemma's names."""
    names = {"bos": "<bos>", "eos": "<eos>", "padding": "<pad>", "unknown": "<unk>"}
    ids = {}
    for key, name in names.items():
        if (stated_id := stated.get(f"{key}_token_id")) is not None:
            ids[key] = int(stated_id)
        elif name in pieces:
            ids[key] = pieces.index(name)
        else:
            raise ValueError(f"The vocabulary has no {name} token.")
    return {
        "bos_id": ids["bos"],
        "eos_id": ids["eos"],
        "pad_id": ids["padding"],
        "unk_id": ids["unknown"],
    }
