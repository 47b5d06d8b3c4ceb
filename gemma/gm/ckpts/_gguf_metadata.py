"""A config and a tokenizer as the metadata of GGUF files.

Reference: the keys that the converter of llama.cpp writes for gemma, gemma2 and gemma3,
and for the eyes of Gemma 3. What they cannot say, such as a pattern of layers, readers
take from the family.
"""

import dataclasses
import enum
from typing import Any, Protocol

import numpy as np

from gemma.gm.ckpts._added_tokens import num_held
from gemma.gm.ckpts._names_gguf import LONG_CONTEXT, config_from_metadata
from gemma.gm.ckpts._names_vision import vision_from_metadata
from gemma.gm.ckpts._strings import Strings
from gemma.gm.nn import AttentionType, LayerConfig, RopeConfig, TransformerConfig
from gemma.gm.vision import VisionConfig

# Kinds of pieces, as sentencepiece and GGUF number them.
_USER_DEFINED, _UNUSED = 4, 5
_UNUSED_SCORE = -1000.0
# How tokenizer files write a space inside a piece.
_SPACE = "▁"


class Vocabulary(Protocol):
    """What is asked of a vocabulary; see `gm.text`."""

    @property
    def pieces(self) -> Strings:
        """Text of each token."""
        ...

    @property
    def scores(self) -> np.ndarray:
        """Rank of each piece."""
        ...

    @property
    def kinds(self) -> np.ndarray:
        """What each piece is for."""
        ...

    @property
    def bos_id(self) -> int:
        """Token that begins a text."""
        ...

    @property
    def eos_id(self) -> int:
        """Token that ends a text."""
        ...

    @property
    def pad_id(self) -> int:
        """Token that fills a batch."""
        ...

    @property
    def unk_id(self) -> int:
        """Token of what has no other."""
        ...


def config_metadata(config: TransformerConfig) -> dict[str, Any]:
    """Returns keys and values that state a config, the eyes left out.

    Raises:
      ValueError: They cannot; the message says what readers would take instead.
    """
    metadata = {
        "general.architecture": config.family,
        **{f"{config.family}.{key}": v for key, v in _config_keys(config).items()},
    }
    stated = metadata | {"tokenizer.ggml.tokens": range(config.vocab_size)}
    read = config_from_metadata(_as_stored(stated), "The GGUF file to write")
    # Whether there is a head of its own, readers see by its tensor.
    text = dataclasses.replace(config, vision=None, has_head=False)
    _require_same(text, read, "the model")
    for i, (layer, taken) in enumerate(zip(text.layers, read.layers, strict=True)):
        _require_same(layer, taken, f"layer {i}")
    return metadata


def vision_metadata(config: TransformerConfig) -> dict[str, Any]:
    """Returns keys and values of the file with the eyes of a model that has some.

    Raises:
      ValueError: The eyes are not as such files describe them.
    """
    assert config.vision is not None
    metadata = _vision_keys(config.vision, config.embed_dim)
    read = vision_from_metadata(_as_stored(metadata), "The mmproj file to write")
    _require_same(config.vision, read, "the eyes")
    return metadata


def tokenizer_metadata(vocabulary: Vocabulary, vocab_size: int) -> dict[str, Any]:
    """Returns keys and values that state a vocabulary.

    Readers take the number of tokens for that of the embedding's rows. So rows without
    a text get names such as "[PAD262145]", of a kind that never matches text, and
    tokens that were added without a row are left out, as llama.cpp's converter does.

    Args:
      vocabulary: The vocabulary.
      vocab_size: Rows of the embedding.

    Raises:
      ValueError: There are more tokens than rows, and not only some added ones.
    """
    count = num_held(vocabulary.kinds, vocab_size)
    more, kinds = vocab_size - count, vocabulary.kinds[:count].tolist()
    pieces = [*map(_stored_piece, range(count), vocabulary.pieces, kinds)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": pieces + [_pad(count + i) for i in range(more)],
        "tokenizer.ggml.scores": vocabulary.scores[:count].tolist()
        + [_UNUSED_SCORE] * more,
        "tokenizer.ggml.token_type": kinds + [_UNUSED] * more,
        "tokenizer.ggml.bos_token_id": vocabulary.bos_id,
        "tokenizer.ggml.eos_token_id": vocabulary.eos_id,
        "tokenizer.ggml.unknown_token_id": vocabulary.unk_id,
        "tokenizer.ggml.padding_token_id": vocabulary.pad_id,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
    }


def _stored_piece(token_id: int, piece: str, kind: int) -> str:
    """Returns a piece as GGUF files hold it: runs of spaces as they look in text."""
    if not piece:
        return _pad(token_id)
    return piece.replace(_SPACE, " ") if kind == _USER_DEFINED else piece


def _pad(token_id: int) -> str:
    return f"[PAD{token_id}]"


def _config_keys(config: TransformerConfig) -> dict[str, Any]:
    layer = config.layers[0]
    rope = _global_rope(config)
    keys = {
        "context_length": config.max_positions,
        "embedding_length": config.embed_dim,
        "block_count": config.num_layers,
        "feed_forward_length": layer.hidden_dim,
        "attention.head_count": layer.num_heads,
        "attention.head_count_kv": layer.num_kv_heads,
        "attention.key_length": layer.head_dim,
        "attention.value_length": layer.head_dim,
        "attention.layer_norm_rms_epsilon": layer.norm_eps,
        "rope.freq_base": rope.theta,
    }
    if config.family != "gemma":
        keys["attention.sliding_window"] = layer.window
    if layer.attn_softcap is not None:
        keys["attn_logit_softcapping"] = float(layer.attn_softcap)
    if config.final_softcap is not None:
        keys["final_logit_softcapping"] = float(config.final_softcap)
    if rope.factor != 1.0:
        keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": rope.factor}
    elif config.family == "gemma3" and config.max_positions >= LONG_CONTEXT:
        # Readers take a scaling that is not stated for 8, where the context is long.
        keys["rope.scaling.type"] = "none"
    return keys


def _global_rope(config: TransformerConfig) -> RopeConfig:
    """Returns the rotary positions of global layers, which the keys are about."""
    ropes = (x.rope for x in config.layers if x.attention_type is AttentionType.GLOBAL)
    is_gemma3 = config.family == "gemma3"
    # A Gemma 3 too short for a global layer is given what readers take without a key.
    return next(ropes, RopeConfig(theta=1e6) if is_gemma3 else config.layers[0].rope)


def _vision_keys(vision: VisionConfig, text_dim: int) -> dict[str, Any]:
    sizes = {
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "embedding_length": vision.embed_dim,
        "feed_forward_length": vision.hidden_dim,
        "block_count": vision.num_layers,
        "attention.head_count": vision.num_heads,
        "projection_dim": text_dim,
        "attention.layer_norm_epsilon": vision.norm_eps,
        # Of each colour, 0 to 1 becomes -1 to 1.
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    return {
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "gemma3",
        "clip.use_gelu": True,
        **{f"clip.vision.{key}": size for key, size in sizes.items()},
    }


def _as_stored(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns what readers find: floats have 32 bits."""
    return {
        key: float(np.float32(value)) if isinstance(value, float) else value
        for key, value in metadata.items()
    }


def _require_same(
    found: TransformerConfig | LayerConfig | VisionConfig, taken: Any, whose: str
) -> None:
    """Refuses a value that a reader of the metadata would not get."""
    for field in dataclasses.fields(found):
        value, read = getattr(found, field.name), getattr(taken, field.name)
        if field.name != "layers" and value != read:
            raise ValueError(
                f"A GGUF file cannot state the {field.name} of {whose}, "
                f"{_words(value)}: programs that read the file take {_words(read)}. "
                "Write a Hugging Face folder instead."
            )


def _words(value: object) -> str:
    return str(value.value if isinstance(value, enum.Enum) else value)
