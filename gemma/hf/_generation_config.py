"""How `generate` goes on: lengths, ends, and how tokens are drawn."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma.gm import ckpts, text
from gemma.hf._config import PretrainedConfig
from gemma.hf._hub_options import HubOptions

GENERATION_CONFIG = "generation_config.json"
# What is always so, and may be said.
_ALWAYS = {
    "use_cache": (True, None),
    "num_beams": (1, None),
    "num_beam_groups": (1, None),
    "output_scores": (False, None),
    "output_logits": (False, None),
    "output_attentions": (False, None),
    "output_hidden_states": (False, None),
    "typical_p": (1.0, None),
    "no_repeat_ngram_size": (0, None),
    "min_length": (0, None),
    "min_new_tokens": (0, None),
    "early_stopping": (False, None),
    "assistant_model": (None,),
    "synced_gpus": (False, None),
}
# What may be said of draws where nothing is drawn.
_NEUTRAL = {"temperature": 1.0}
_DRAWING = ("temperature", "top_k", "top_p", "min_p")


@dataclasses.dataclass(kw_only=True)
class GenerationConfig:
    """The fields of transformers' config of that name that can be honoured.

    Attributes:
      max_length: The most tokens of prompt and answer together, padding counted. By
        default answers have up to 20 tokens.
      max_new_tokens: The most tokens of an answer; comes before `max_length`.
      do_sample: Whether tokens are drawn; if not, the most probable one is taken.
      temperature: See `gm.text.Sampling`; so are the next four.
      top_k: See `temperature`; 0 or None for all tokens.
      top_p: See `temperature`.
      min_p: See `temperature`.
      repetition_penalty: See `temperature`.
      num_return_sequences: Answers to each prompt.
      bos_token_id: The token that begins a text.
      eos_token_id: The token, or the tokens, that end an answer.
      pad_token_id: What fills answers up.
      stop_strings: Strings that end an answer; `generate` needs the tokenizer then.
      suppress_tokens: Tokens that never come.
      bad_words_ids: The same, as lists of one token each.
      return_dict_in_generate: Whether a `GenerateOutput` is returned.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = None
    repetition_penalty: float | None = 1.0
    num_return_sequences: int = 1
    bos_token_id: int | None = None
    eos_token_id: int | Sequence[int] | None = None
    pad_token_id: int | None = None
    stop_strings: str | Sequence[str] | None = None
    suppress_tokens: Sequence[int] | None = None
    bad_words_ids: Sequence[Sequence[int]] | None = None
    return_dict_in_generate: bool = False

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name: str | Path, **changes: Any
    ) -> "GenerationConfig":
        """Returns what the generation_config.json of a checkpoint says.

        Fields that it has for other programs, such as the kind of a cache, are left out.

        Args:
          pretrained_model_name: See `gm.hub.resolve`.
          **changes: Fields instead of those.

        Raises:
          FileNotFoundError: There is no such file.
          ValueError: It holds no JSON object, or asks for what there is not, such as
            beams.
        """
        files, changes = HubOptions.take(changes)
        folder = files.resolve(pretrained_model_name)
        path = folder / (changes.pop("config_file_name", None) or GENERATION_CONFIG)
        try:
            stated = json.loads(path.read_text(encoding="utf-8"))
            known = {n: stated[n] for n in vars(cls()) if n in stated}
            others = {n: stated[n] for n in _ALWAYS if n in stated}
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} holds no JSON object: {error}") from None
        try:
            found = cls(**known).changed(others)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return found.changed(changes)

    @classmethod
    def from_model_config(cls, config: PretrainedConfig) -> "GenerationConfig":
        """Returns the ids that a config states, and the defaults of the rest."""
        names = "bos_token_id", "eos_token_id", "pad_token_id"
        return cls(**{name: getattr(config, name) for name in names})

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Writes a generation_config.json into a folder."""
        ckpts.write_json(Path(save_directory) / GENERATION_CONFIG, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields that are not as by default."""
        default = GenerationConfig()
        return {n: v for n, v in vars(self).items() if v != getattr(default, n)}

    def changed(self, changes: Mapping[str, Any]) -> "GenerationConfig":
        """Returns a config with other values in some fields.

        Raises:
          TypeError: There is no such field.
          ValueError: A field of transformers can have one value only; or temperature
            and the like are set, and nothing is drawn.
        """
        fields = {n: v for n, v in changes.items() if n not in _ALWAYS}
        for name in changes.keys() & _ALWAYS.keys():
            if changes[name] not in _ALWAYS[name]:
                raise ValueError(
                    f"{name}={changes[name]!r} is not possible; it may be "
                    f"{_ALWAYS[name][0]!r}. gm.text.Sampler has more ways to draw."
                )
        if unknown := fields.keys() - vars(self).keys():
            raise TypeError(f"generate has no {', '.join(map(repr, sorted(unknown)))}.")
        new = dataclasses.replace(self, **fields)
        if not new.do_sample:
            default = GenerationConfig()
            for name in fields.keys() & set(_DRAWING):
                if fields[name] not in (
                    None,
                    _NEUTRAL.get(name, getattr(default, name)),
                ):
                    raise ValueError(
                        f"{name}={fields[name]!r} changes nothing unless tokens are "
                        "drawn: pass do_sample=True."
                    )
        return new

    def over(self, other: "GenerationConfig") -> "GenerationConfig":
        """Returns this config, with another's ids where it states none."""
        ids = "bos_token_id", "eos_token_id", "pad_token_id"
        missing = {n: getattr(other, n) for n in ids if getattr(self, n) is None}
        return dataclasses.replace(self, **missing)

    @property
    def sampling(self) -> text.Sampling:
        """How tokens are drawn, as `gm.text` has it."""
        penalty = 1.0 if self.repetition_penalty is None else self.repetition_penalty
        if not self.do_sample:
            return text.Sampling(repetition_penalty=penalty)
        return text.Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=self.top_k or None,
            top_p=1.0 if self.top_p is None else self.top_p,
            min_p=self.min_p or 0.0,
            repetition_penalty=penalty,
        )

    @property
    def stop_ids(self) -> list[int]:
        """The tokens that end an answer."""
        ids = self.eos_token_id
        if ids is None:
            return []
        return [ids] if isinstance(ids, int) else list(ids)

    @property
    def padding_id(self) -> int | None:
        """The token that is padding of a prompt without a mask, if one is for sure."""
        return None if self.pad_token_id in self.stop_ids else self.pad_token_id

    @property
    def forbidden_ids(self) -> list[int]:
        """The tokens that never come."""
        words = self.bad_words_ids or ()
        if long := [word for word in words if len(word) != 1]:
            raise ValueError(
                f"bad_words_ids has {list(long[0])}; words of one token can be "
                "forbidden."
            )
        return [*(self.suppress_tokens or ()), *(word[0] for word in words)]

    def room_after(self, prompt_length: int) -> int:
        """Returns how many tokens an answer may have.

        Args:
          prompt_length: Tokens of the prompt, padding counted.

        Raises:
          ValueError: None may come.
        """
        if self.max_new_tokens is not None:
            room, name = self.max_new_tokens, "max_new_tokens"
        elif self.max_length is None:
            return 20
        else:
            room, name = self.max_length - prompt_length, "max_length"
        if room < 1:
            raise ValueError(
                f"{name} is {getattr(self, name)} and the prompt has {prompt_length} "
                "tokens: there is no room for an answer. Raise it."
            )
        return room
