"""The tokenizers of Gemma 2 and Gemma 3 by name, as in DeepMind's library."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from gemma.gm import hub
from gemma.gm.text._special_tokens import NUM_CUSTOM
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text._vocabulary import SPACE, PieceKind, Vocabulary


class _FamilyTokenizer(Tokenizer):
    """The tokenizer of a family, with names of one's own for unused tokens.

    Attributes:
      VERSION: The number of the family.
      path: The file it was read from.
      custom_tokens: The names, by the number of the unused token.
    """

    VERSION: ClassVar[int]
    _family: ClassVar[str]
    path: Path
    custom_tokens: Mapping[int, str]

    def __init__(
        self,
        path: str | Path | None = None,
        custom_tokens: Mapping[int, str] | None = None,
    ):
        """Reads the tokenizer.

        Args:
          path: A tokenizer.json, .model or .gguf file, or a directory with one. By
            default the one that `gm.hub.family_tokenizer` finds.
          custom_tokens: Names for tokens that the model does not use, by their number,
            0 to 98: `{0: "<my_tag>"}` renames `<unused0>`. In texts these names are
            always single tokens.

        Raises:
          FileNotFoundError: There is no tokenizer.
          ValueError: A number is out of range, or a name is a token already.
        """
        self.path = hub.family_tokenizer(self._family) if path is None else Path(path)
        self.custom_tokens = dict(custom_tokens or {})
        read = Tokenizer.from_path(self.path)
        vocabulary = _renamed(read, self.custom_tokens)
        super().__init__(vocabulary, stop_ids=read.stop_ids)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"path": self.path, "custom_tokens": self.custom_tokens}
        return (*super().__reduce__(), state)


class Gemma2Tokenizer(_FamilyTokenizer):
    """The tokenizer of Gemma 1 and 2, of 256,000 tokens.

    Example:
      ```python
      tokenizer = gm.text.Gemma2Tokenizer("tokenizer.model")
      tokenizer.special_tokens.START_OF_TURN  # 106
      ```
    """

    VERSION = 2
    _family = "gemma2"


class Gemma3Tokenizer(_FamilyTokenizer):
    """The tokenizer of Gemma 3, of 262,144 tokens.

    Example:
      ```python
      tokenizer = gm.text.Gemma3Tokenizer(custom_tokens={0: "<my_tag>"})
      tokenizer.encode("<my_tag>")  # [6]
      ```
    """

    VERSION = 3
    _family = "gemma3"


_BY_VERSION = {"2": Gemma2Tokenizer, "3": Gemma3Tokenizer}


def tokenizer_of_version(version: int | str) -> Tokenizer:
    """Returns the tokenizer of a family; see `Tokenizer.from_version`."""
    if str(version) not in _BY_VERSION:
        raise ValueError(
            f"There is no tokenizer of version {version!r} here: 2 (Gemma 1 and 2) and "
            "3 (Gemma 3) are. Others are read with gm.text.Tokenizer.from_path."
        )
    return _BY_VERSION[str(version)]()


def _renamed(tokenizer: Tokenizer, names: Mapping[int, str]) -> Vocabulary:
    """Returns the vocabulary with names of one's own for unused tokens."""
    vocabulary = tokenizer.vocabulary
    pieces, kinds = {}, vocabulary.kinds.copy()
    for number, name in names.items():
        token_id = tokenizer.control_tokens.get(f"<unused{number}>")
        if not 0 <= number < NUM_CUSTOM or token_id is None:
            raise ValueError(
                f"custom_tokens has {number}, for {name!r}; 0 to {NUM_CUSTOM - 1} can "
                "be renamed."
            )
        if name in tokenizer.tokens or name in pieces.values() or not name:
            raise ValueError(
                f"custom_tokens has {name!r} for <unused{number}>, which is a token "
                "already."
            )
        pieces[token_id] = name.replace(" ", SPACE)
        # Texts may hold the names, and answers show them.
        kinds[token_id] = PieceKind.USER_DEFINED
    if not pieces:
        return vocabulary
    return dataclasses.replace(
        vocabulary, pieces=vocabulary.pieces.replaced(pieces), kinds=kinds
    )
