"""A vocabulary as a sentencepiece model, which does the merges."""

import numpy as np
from sentencepiece import SentencePieceProcessor

from gemma.gm.kernels import copy_strings
from gemma.gm.text._vocabulary import ModelProto, PieceKind, Vocabulary

# Text reaches the merges as it is, but for its spaces.
_NORMALIZER_SPEC = {
    "name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "escape_whitespaces": True,
}


def serialize(vocabulary: Vocabulary) -> bytes:
    """Returns a sentencepiece model that does no more than the merges."""
    rest = ModelProto(
        trainer_spec=_trainer_spec(vocabulary), normalizer_spec=_NORMALIZER_SPEC
    )
    for name in _absent_bytes(vocabulary):
        rest.pieces.add(piece=name, type=PieceKind.BYTE)
    # One message after the other is one message with the fields of both.
    return _serialize_pieces(vocabulary) + rest.SerializeToString()


# A piece in the wire format of protobuf, up to its text: tags, and numbers in as many
# bytes as they may need.
_PIECE = np.dtype(
    [
        ("piece_tag", "u1"), ("piece_size", "u1", 4), ("score_tag", "u1"),
        ("score", "<f4"), ("type_tag", "u1"), ("type", "u1"), ("text_tag", "u1"),
        ("text_size", "u1", 4),
    ]
)  # fmt: skip
_TAGS = {"piece_tag": 0x0A, "score_tag": 0x15, "type_tag": 0x18, "text_tag": 0x0A}


def _serialize_pieces(vocabulary: Vocabulary) -> bytes:
    """Does what `ModelProto` does, ten times faster: 262,144 calls take 0.2 s."""
    empty = np.flatnonzero(vocabulary.pieces.num_bytes == 0).tolist()
    # Sentencepiece wants a name for every id. No text holds a raw space for it.
    texts = vocabulary.pieces.replaced({i: f"no piece {i}" for i in empty})
    heads = np.zeros(len(texts), _PIECE)
    for tag, value in _TAGS.items():
        heads[tag] = value
    heads["score"], heads["type"] = vocabulary.scores, vocabulary.kinds
    heads["text_size"] = _varints(texts.num_bytes)
    after_size = _PIECE.itemsize - _PIECE.fields["score_tag"][1]  # pyright: ignore
    heads["piece_size"] = _varints(texts.num_bytes + after_size)
    ends = np.cumsum(texts.num_bytes + _PIECE.itemsize)
    out = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    text_places = ends - texts.num_bytes
    texts.copy_to(out, text_places)
    head_ends = np.arange(1, len(heads) + 1) * _PIECE.itemsize
    all_heads = heads.view(np.uint8), head_ends - _PIECE.itemsize, head_ends
    copy_strings(*all_heads, out, text_places - _PIECE.itemsize)
    return out.tobytes()


def _varints(numbers: np.ndarray) -> np.ndarray:
    """Returns numbers below 2**28 as protobuf writes them, in four bytes each."""
    shifts = np.arange(0, 28, 7, dtype=np.int32)
    sevens = (numbers.astype(np.int32)[:, None] >> shifts).astype(np.uint8) & 0x7F
    return sevens | np.array([0x80, 0x80, 0x80, 0], np.uint8)


def build_processor(vocabulary: Vocabulary) -> SentencePieceProcessor:
    """Returns sentencepiece's tokenizer of a vocabulary; raises ValueError."""
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(serialize(vocabulary))
    except RuntimeError as error:
        raise ValueError(f"Sentencepiece refuses the vocabulary: {error}") from error
    return processor


def _trainer_spec(vocabulary: Vocabulary) -> dict[str, object]:
    ids = {
        "unk": vocabulary.unk_id,
        "bos": vocabulary.bos_id,
        "eos": vocabulary.eos_id,
        "pad": vocabulary.pad_id,
    }
    return {
        "model_type": "BPE",
        "byte_fallback": True,
        **{f"{part}_id": token_id for part, token_id in ids.items()},
        # Programs ask sentencepiece, which looks for names and not for ids.
        **{f"{part}_piece": vocabulary.pieces[i] for part, i in ids.items() if i >= 0},
    }


def _absent_bytes(vocabulary: Vocabulary) -> list[str]:
    """Returns the names of the byte pieces that the vocabulary can do without.

    Sentencepiece insists on all 256. The tokenizer.json of Gemma 1 has a plain tab
    for <0x09>, so that the byte is never needed, and gets an id that never occurs.
    """
    stated = {vocabulary.pieces[i] for i in vocabulary.ids_of(PieceKind.BYTE)}
    absent = [byte for byte in range(256) if f"<0x{byte:02X}>" not in stated]
    for byte in absent:
        if byte >= 0x80 or chr(byte) not in vocabulary.pieces:
            raise ValueError(
                f"The vocabulary has no piece <0x{byte:02X}>, which byte fallback "
                "needs, nor its character."
            )
    return [f"<0x{byte:02X}>" for byte in absent]
