"""How `generate` goes on: lengths, ends, and how tokens are drawn."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma.gm import ckpts, text
from gemma.gm._numbers import check_optional_count
from gemma.hf._arrays import plain, whole_numbers
from gemma.hf._config import PretrainedConfig
from gemma.hf._fixed_options import take_fixed
from gemma.hf._generation_fixed import FIXED
from gemma.hf._hub_options import HubOptions

GENERATION_CONFIG = "generation_config.json"
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
      bad_words_ids: Lists of tokens that never come one after another.
      sequence_bias: Such lists as tuples, with what is added to the score of the last.
      begin_suppress_tokens: Tokens that no answer begins with.
      forced_eos_token_id: What the last token is of an answer that has all its room.
      min_length: The fewest tokens of prompt and answer together.
      min_new_tokens: The fewest tokens of an answer.
      no_repeat_ngram_size: So many tokens in a row never come a second time.
      renormalize_logits: Whether scores become log-probabilities.
      max_time: Seconds after which answers end.
      num_beams: How many answers a search keeps; then the next two count.
      length_penalty: See `BeamSettings`.
      early_stopping: See `BeamSettings`.
      use_cache: False to read the whole text again for each token.
      prompt_lookup_num_tokens: So many tokens are read at once that stood in the prompt
        after the same ones; what comes is the same.
      max_matching_ngram_size: The most tokens that must be the same, 2 by default.
      num_assistant_tokens: How many an `assistant_model` writes at once, 20 by default.
      output_scores: Whether scores are returned; needs the next but one.
      output_logits: Whether logits are; the same.
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
    sequence_bias: Any = None
    begin_suppress_tokens: Sequence[int] | None = None
    forced_eos_token_id: int | Sequence[int] | None = None
    min_length: int | None = None
    min_new_tokens: int | None = None
    no_repeat_ngram_size: int | None = None
    renormalize_logits: bool | None = None
    max_time: float | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    early_stopping: bool | str | None = None
    use_cache: bool | None = None
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    num_assistant_tokens: int | None = None
    output_scores: bool | None = None
    output_logits: bool | None = None
    return_dict_in_generate: bool | None = None

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
            stated = json.loads(path.read_text(encoding="utf-8-sig"))
            known = {n: stated[n] for n in vars(cls()) if n in stated}
            others = {n: stated[n] for n in FIXED if n in stated}
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} holds no JSON object: {error}") from None
        try:
            found = cls(**known).changed(others)
        except (TypeError, ValueError) as error:
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

    def update_file(self, path: Path, before: Mapping[str, Any]) -> None:
        """Writes a file anew, with the fields that were changed; the rest of it stays.

        Args:
          path: A generation_config.json, which may not be there yet.
          before: What `to_dict` returned when the file was read.
        """
        now, stated = self.to_dict(), ckpts.read_json_object(path, is_optional=True)
        before = before if path.exists() else {}
        for name in now.keys() | before.keys():
            if name not in now:
                stated.pop(name, None)
            elif now[name] != before.get(name):
                stated[name] = now[name]
        ckpts.write_json(path, stated)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields that are not as by default."""
        default = GenerationConfig()
        stated = {n: plain(value) for n, value in vars(self).items()}
        return {n: v for n, v in stated.items() if v != getattr(default, n)}

    def changed(self, changes: Mapping[str, Any]) -> "GenerationConfig":
        """Returns a config with other values in some fields.

        Raises:
          TypeError: There is no such field, or it is one of transformers that can have
            one value only.
          ValueError: Temperature and the like are set, and nothing is drawn.
        """
        fields = take_fixed(changes, FIXED)
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
        return whole_numbers(self.eos_token_id, "eos_token_id")

    @property
    def stop_words(self) -> tuple[str, ...]:
        """The strings that end an answer."""
        stop = self.stop_strings or ()
        return (stop,) if isinstance(stop, str) else tuple(stop)

    @property
    def padding_id(self) -> int | None:
        """The token that is padding of a prompt without a mask, if one is for sure."""
        pad = self.fill_id
        return None if pad in self.stop_ids else pad

    @property
    def fill_id(self) -> int | None:
        """The token that fills answers up, if one is stated."""
        return next(iter(whole_numbers(self.pad_token_id, "pad_token_id")), None)

    @property
    def forbidden_ids(self) -> list[int]:
        """The tokens that never come, as far as single tokens say so."""
        stated = () if self.bad_words_ids is None else self.bad_words_ids
        words = [whole_numbers(word, "bad_words_ids") for word in stated]
        suppressed = whole_numbers(self.suppress_tokens, "suppress_tokens")
        return [*suppressed, *(word[0] for word in words if len(word) == 1)]

    @property
    def searches(self) -> bool:
        """Whether answers are searched for with beams."""
        return self.num_beams not in (None, 1)

    @property
    def needs_host(self) -> bool:
        """Whether each token is chosen on the host."""
        words = self.bad_words_ids or ()
        return (
            self.searches
            or self.use_cache is False
            or any(len(word) != 1 for word in words)
            or bool(self.min_length or self.min_new_tokens or self.no_repeat_ngram_size)
            or bool(self.begin_suppress_tokens or self.renormalize_logits)
            or self.sequence_bias is not None
            or self.forced_eos_token_id is not None
            or self.prompt_lookup_num_tokens is not None
            or bool(
                self.return_dict_in_generate
                and (self.output_scores or self.output_logits)
            )
        )

    def room_after(self, prompt_length: int) -> int:
        """Returns how many tokens an answer may have.

        Args:
          prompt_length: Tokens of the prompt, padding counted.

        Raises:
          ValueError: None may come.
        """
        check_optional_count("max_new_tokens", self.max_new_tokens, at_least=1)
        check_optional_count("max_length", self.max_length, at_least=1)
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
