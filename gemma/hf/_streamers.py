"""Text of an answer while it is made."""

import queue
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from gemma.gm.text import StreamingDecoder
from gemma.hf._tokenizer import GemmaTokenizer


class BaseStreamer:
    """What `generate(streamer=...)` hands tokens to, as they come."""

    def put(self, value: Any) -> None:
        """Takes the ids of the prompt, and then of each token."""
        raise NotImplementedError

    def end(self) -> None:
        """Takes note that nothing more comes."""
        raise NotImplementedError


class TextStreamer(BaseStreamer):
    """Prints the answer to one prompt, whole characters at a time."""

    def __init__(
        self,
        tokenizer: GemmaTokenizer,
        skip_prompt: bool = False,
        skip_special_tokens: bool = False,
    ):
        """Makes a streamer for one call of `generate`.

        Args:
          tokenizer: The tokenizer.
          skip_prompt: Whether to leave the prompt out.
          skip_special_tokens: Whether to leave control tokens out.
        """
        self._decoder = StreamingDecoder(tokenizer.tokenizer, skip_special_tokens)
        self._skips_next = skip_prompt

    def put(self, value: Any) -> None:
        """Takes ids of one row."""
        ids = np.asarray(value).reshape(-1)
        if np.ndim(value) > 1 and len(value) > 1:
            raise ValueError(
                f"A streamer follows one answer; there are {len(value)} prompts."
            )
        if self._skips_next:
            self._skips_next = False
            return
        self.on_finalized_text("".join(self._decoder.push(int(i)) for i in ids))

    def end(self) -> None:
        """Prints what was held back, and ends the line."""
        self.on_finalized_text(self._decoder.finish(), stream_end=True)
        self._skips_next = False

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Does something with text that is certain: prints it."""
        sys.stdout.write(f"{text}\n" if stream_end else text)
        sys.stdout.flush()


class TextIteratorStreamer(TextStreamer):
    """Yields the text instead; `generate` runs in another thread."""

    def __init__(
        self,
        tokenizer: GemmaTokenizer,
        skip_prompt: bool = False,
        timeout: float | None = None,
        skip_special_tokens: bool = False,
    ):
        """Makes a streamer for one call of `generate`.

        Args:
          tokenizer: The tokenizer.
          skip_prompt: Whether to leave the prompt out.
          timeout: The most seconds to wait for text; then `queue.Empty` is raised.
          skip_special_tokens: Whether to leave control tokens out.
        """
        super().__init__(tokenizer, skip_prompt, skip_special_tokens)
        self._texts: queue.Queue[str | None] = queue.Queue()
        self._timeout = timeout

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Hands text to whoever iterates."""
        if text:
            self._texts.put(text)
        if stream_end:
            self._texts.put(None)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = self._texts.get(timeout=self._timeout)
        if text is None:
            raise StopIteration
        return text
