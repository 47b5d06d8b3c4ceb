"""Text in, text out: tokenizers, sampling, and streams of whole characters."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.text._detokenize import StreamingDecoder
from gemma.gm.text._generation import FinishReason, Generation, Piece, TokenLogprobs
from gemma.gm.text._prompts import Prompt
from gemma.gm.text._reading import Reading, read_ahead
from gemma.gm.text._stop import StopStrings
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text._vocabulary import PieceKind, Vocabulary

if TYPE_CHECKING:
    from gemma.gm.text._sampler import Sampler
    from gemma.gm.text._sampling import Sampling

__getattr__ = lazily(__name__, {"Sampler": "_sampler", "Sampling": "_sampling"})

__all__ = [
    "FinishReason",
    "Generation",
    "Piece",
    "PieceKind",
    "Prompt",
    "Reading",
    "Sampler",
    "Sampling",
    "StopStrings",
    "StreamingDecoder",
    "TokenLogprobs",
    "Tokenizer",
    "Vocabulary",
    "read_ahead",
]
