"""Text in, text out: tokenizers, sampling, and streams of whole characters."""

from typing import TYPE_CHECKING

from gemma.gm._lazy import lazily
from gemma.gm.text._detokenize import StreamingDecoder
from gemma.gm.text._family_tokenizers import Gemma2Tokenizer, Gemma3Tokenizer
from gemma.gm.text._fill_in_middle import (
    fill_in_middle_prompt,
    fill_in_middle_stops,
)
from gemma.gm.text._generation import FinishReason, Generation, Piece, TokenLogprobs
from gemma.gm.text._prompts import Prompt
from gemma.gm.text._reading import Reading, read_ahead
from gemma.gm.text._sampling import (
    Greedy,
    MinP,
    RandomSampling,
    Sampling,
    TopkSampling,
    TopPSampling,
)
from gemma.gm.text._stop import StopStrings
from gemma.gm.text._token_ids import TokenIds
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text._vocabulary import PieceKind, Vocabulary
from gemma.gm.text.constraints import Constraint, ConstraintError

if TYPE_CHECKING:
    from gemma.gm.text._chat_sampler import ChatSampler
    from gemma.gm.text._custom_sampling import SamplingMethod
    from gemma.gm.text._sampler import Sampler
    from gemma.gm.text._state import SamplerOutput, State
    from gemma.gm.text._stream import Stream
    from gemma.gm.text._tool_sampler import ToolRoundsError, ToolSampler

__getattr__ = lazily(
    __name__,
    {
        "ChatSampler": "_chat_sampler",
        "Sampler": "_sampler",
        "SamplerOutput": "_state",
        "SamplingMethod": "_custom_sampling",
        "State": "_state",
        "Stream": "_stream",
        "ToolRoundsError": "_tool_sampler",
        "ToolSampler": "_tool_sampler",
    },
)

__all__ = [
    "ChatSampler",
    "Constraint",
    "ConstraintError",
    "FinishReason",
    "Gemma2Tokenizer",
    "Gemma3Tokenizer",
    "Generation",
    "Greedy",
    "MinP",
    "Piece",
    "PieceKind",
    "Prompt",
    "RandomSampling",
    "Reading",
    "Sampler",
    "SamplerOutput",
    "Sampling",
    "SamplingMethod",
    "State",
    "StopStrings",
    "Stream",
    "StreamingDecoder",
    "TokenIds",
    "TokenLogprobs",
    "Tokenizer",
    "ToolRoundsError",
    "ToolSampler",
    "TopPSampling",
    "TopkSampling",
    "Vocabulary",
    "fill_in_middle_prompt",
    "fill_in_middle_stops",
    "read_ahead",
]
