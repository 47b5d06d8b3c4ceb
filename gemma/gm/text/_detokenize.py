"""Text that grows token by token."""

from gemma.gm.text._tokenizer import Tokenizer


class StreamingDecoder:
    """Turns ids that arrive one by one into text, whole characters only.

    All that `push` and `finish` return, joined, is what `Tokenizer.decode` returns
    for all the ids. Byte tokens wait for the end of their run, because one bad byte
    changes the text of the whole run.

    Example:
      ```python
      decoder = StreamingDecoder(tokenizer)
      for token_id in ids:
          print(decoder.push(token_id), end="", flush=True)
      print(decoder.finish())
      ```
    """

    def __init__(self, tokenizer: Tokenizer, skip_control_tokens: bool = True):
        self._tokenizer = tokenizer
        self._skip_control_tokens = skip_control_tokens
        self._held_ids: list[int] = []

    def push(self, token_id: int) -> str:
        """Returns the text that one more token makes certain; it may be none."""
        if self._skip_control_tokens and self._tokenizer.is_control(token_id):
            return ""  # and the run of bytes goes on, as it does in decode
        run_goes_on = self._tokenizer.is_byte(token_id)
        self._held_ids.append(token_id)
        return "" if run_goes_on else self.finish()

    def finish(self) -> str:
        """Returns the text still held back."""
        text = self._tokenizer.decode(self._held_ids)
        self._held_ids = []
        return text
