"""The special tokens of a tokenizer, as transformers asks for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from gemma.gm.text import Tokenizer


class SpecialTokens:
    """What begins and ends a text, and fills a batch.

    `bos_token`, `eos_token`, `unk_token`, `pad_token`, `mask_token`, and the same with
    `_id`, can be read and set: `tokenizer.pad_token = tokenizer.eos_token`. So can those
    that a checkpoint names besides, such as `image_token`.

    Attributes:
      tokenizer: The `gm.text.Tokenizer` that has them.
      extra_special_tokens: Those that a checkpoint lists without a part.
      add_bos_token: Whether texts begin with the first.
      add_eos_token: Whether texts end with the second.
    """

    tokenizer: Tokenizer
    extra_special_tokens: list[str]
    add_bos_token: bool
    add_eos_token: bool

    def __init__(self, tokenizer: Tokenizer):
        """Takes the parts as the vocabulary states them."""
        self.tokenizer = tokenizer
        self.extra_special_tokens = []
        self._special: dict[str, int | None] = {
            "bos_token": tokenizer.bos_id,
            "eos_token": tokenizer.eos_id,
            "unk_token": tokenizer.unk_id,
            "pad_token": tokenizer.pad_id,
            "mask_token": tokenizer.control_tokens.get("<mask>"),
        }

    def __getattr__(self, name: str) -> Any:
        token = name.removesuffix("_id")
        # Whoever unpickles asks before there are any.
        special = self.__dict__.get("_special", {})
        if token not in special:
            raise AttributeError(f"{type(self).__name__} has no {name!r}.")
        token_id = special[token]
        if token_id is None or name != token:
            return token_id
        return self.tokenizer.piece(token_id)

    def __setattr__(self, name: str, value: Any) -> None:
        token = name.removesuffix("_id")
        if token not in self.__dict__.get("_special", {}):
            object.__setattr__(self, name, value)
            return
        if name == token and value is not None:
            value = self.tokenizer.id(value)
        self._special[token] = value

    def set_special_tokens(self, stated: Mapping[str, Any]) -> None:
        """Takes the parts that a tokenizer_config.json gives to tokens.

        What the vocabulary has no control token for is passed over.

        Args:
          stated: What it says: names of tokens, or objects that have them as "content".
            Extra ones have parts, or are a list; transformers 4 called that
            "additional_special_tokens".
        """
        parts = {name: v for name, v in stated.items() if name.endswith("_token")}
        extra = stated.get("extra_special_tokens")
        extra = extra or stated.get("additional_special_tokens") or ()
        if isinstance(extra, Mapping):
            parts, extra = {**parts, **extra}, ()
        known = self.tokenizer.control_tokens
        for name, token in parts.items():
            if (content := _content(token)) in known:
                self._special[name] = known[content]
        contents = map(_content, extra)
        self.extra_special_tokens = [token for token in contents if token in known]

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special tokens by their part."""
        return {
            name: self.tokenizer.piece(token_id)
            for name, token_id in self._special.items()
            if token_id is not None
        }

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens: those that have a part, then the extra ones."""
        named = self.special_tokens_map.values()
        return list(dict.fromkeys([*named, *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        return [self.tokenizer.id(token) for token in self.all_special_tokens]

    def update_post_processor(self) -> None:
        """Does nothing: `add_bos_token` and `add_eos_token` are looked at in each call."""

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Returns 1 for special tokens and 0 for others.

        Args:
          token_ids_0: The ids of a text.
          token_ids_1: Those of a second one.
          already_has_special_tokens: Whether they are in the ids. If not, the mask is of
            the ids that would have them.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise ValueError(
                    "token_ids_1 goes with already_has_special_tokens=False: ids that "
                    "have special tokens are one list."
                )
            special = set(self.all_special_ids)
            return [int(i in special) for i in token_ids_0]
        second = () if token_ids_1 is None else (token_ids_1,)
        return self._join((token_ids_0, *second), add_special_tokens=True)[2]

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Returns ids with the special tokens."""
        second = () if token_ids_1 is None else (token_ids_1,)
        return self._join((token_ids_0, *second), add_special_tokens=True)[0]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Returns 0 for the first text and 1 for the second, special tokens counted."""
        second = () if token_ids_1 is None else (token_ids_1,)
        return self._join((token_ids_0, *second), add_special_tokens=True)[1]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Returns how many special tokens a text gets, or a pair."""
        return (1 + pair) * (int(self.add_bos_token) + int(self.add_eos_token))

    def _join(
        self, parts: Sequence[Sequence[int]], add_special_tokens: bool
    ) -> tuple[list[int], list[int], list[int]]:
        """Returns ids, which text each is of, and which were added."""
        ids: list[int] = []
        types: list[int] = []
        added: list[int] = []
        bos = [self.bos_token_id] * (self.add_bos_token and add_special_tokens)
        eos = [self.eos_token_id] * (self.add_eos_token and add_special_tokens)
        for i, part in enumerate(parts):
            row = [*bos, *part, *eos]
            ids += row
            types += [i] * len(row)
            added += [1] * len(bos) + [0] * len(part) + [1] * len(eos)
        return ids, types, added


def _content(token: Any) -> str:
    """Returns the text of a token as a tokenizer_config.json states it; "" of others."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else ""
