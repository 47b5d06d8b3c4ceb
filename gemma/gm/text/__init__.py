"""Text in, text out: tokenizers, sampling, and streams of whole characters."""

from gemma.gm.text._detokenize import StreamingDecoder
from gemma.gm.text._generation import FinishReason, Generation, Piece, TokenLogprobs
from gemma.gm.text._prompts import Prompt
from gemma.gm.text._sampler import Sampler
from gemma.gm.text._sampling import Sampling
from gemma.gm.text._stop import StopStrings
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text._vocabulary import PieceKind, Vocabulary

__all__ = [
    "FinishReason",
    "Generation",
    "Piece",
    "PieceKind",
    "Prompt",
    "Sampler",
    "Sampling",
    "StopStrings",
    "StreamingDecoder",
    "TokenLogprobs",
    "Tokenizer",
    "Vocabulary",
]
