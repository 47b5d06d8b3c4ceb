"""What stands in for a tokenizer where there is none."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from gemma.gm.text._tokenizer import Tokenizer

_MISSING = "There is no tokenizer: pass token ids instead of text, or tokenizer=."


class TokenIds(Tokenizer):
    """A tokenizer of which only the ids are known: tokens that have no text.

    With it a `Sampler` takes token ids and returns token ids.

    Example:
      ```python
      sampler = gm.text.Sampler(
          model=model, params=params, tokenizer=gm.text.TokenIds(50, stop_ids=[1])
      )
      sampler.generate([2, 7, 9], max_new_tokens=4).token_ids
      ```
    """

    def __init__(self, vocab_size: int, *, stop_ids: Iterable[int] = ()):
        """Makes one.

        Args:
          vocab_size: How many ids there are.
          stop_ids: The tokens after which a model has nothing more to say.
        """
        self._vocab_size, self._stop_ids = vocab_size, tuple(stop_ids)
        self.chat_template = None

    def __reduce__(self) -> tuple[Any, ...]:
        make = functools.partial(TokenIds, stop_ids=self._stop_ids)
        return make, (self._vocab_size,)

    def __repr__(self) -> str:
        return f"TokenIds({self.vocab_size})"

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return self._vocab_size

    def num_held(self, num_rows: int) -> int:
        """Returns how many ids there are, which must be rows of the embedding."""
        if self.vocab_size > num_rows:
            raise ValueError(
                f"There are {self.vocab_size:,} token ids but the model's embedding has "
                f"{num_rows:,} rows."
            )
        return self.vocab_size

    @property
    def vocabulary(self) -> NoReturn:  # pyright: ignore
        """Unknown: raises ValueError, as all that asks for text does."""
        raise ValueError(_MISSING)

    @property
    def control_tokens(self) -> Mapping[str, int]:  # pyright: ignore
        """None is known by name."""
        return {}

    def encode(self, text: str | Sequence[str], **options: Any) -> NoReturn:
        """Raises ValueError."""
        raise ValueError(_MISSING)

    def id(self, piece: str) -> NoReturn:
        """Raises ValueError."""
        raise ValueError(_MISSING)

    def decode(self, ids: Any, *, skip_control_tokens: bool = False) -> str:
        """Returns no text."""
        return ""

    def is_control(self, token_id: int) -> bool:
        """Returns True: tokens that have no text are control tokens."""
        return True
