"""Arguments of `generate` that need the host become a request, and its answers.

Axes: B prompts, R rows (an answer each), L length.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm._numbers import check_count, check_number
from gemma.gm.text import StreamingDecoder
from gemma.gm.typing import Params
from gemma.hf import _logits_processors as processors
from gemma.hf._arrays import is_torch, to_jax, to_torch
from gemma.hf._beam_search import BeamSettings, search_beams
from gemma.hf._dynamic_cache import DynamicCache
from gemma.hf._foresight import Assistant, PromptLookup
from gemma.hf._generation_config import GenerationConfig
from gemma.hf._host_inputs import (
    Callbacks,
    HostInputs,
    as_list,
    moved_right,
    num_columns,
)
from gemma.hf._host_loop import HostAnswers, HostRequest, choose_on_host
from gemma.hf._model import PreTrainedModel
from gemma.hf._score_rules import draw_rules, score_rules
from gemma.hf._steps import AheadSteps, CachedSteps, Steps, WholeSteps

_NUM_ASSISTANT_TOKENS = 20


class HostRun(NamedTuple):
    """A model that answers on the host.

    Attributes:
      model: The model.
      params: Its params.
      config: How it goes on.
      callbacks: What the caller handed over.
      show: Makes arrays for callbacks of the kind that the caller uses.
      words: Decodes answers where strings may end them; else None.
    """

    model: PreTrainedModel
    params: Params
    config: GenerationConfig
    callbacks: Callbacks
    show: Callable[[np.ndarray], Any]
    words: Any

    def answer(
        self,
        given: HostInputs,
        seed: int,
        put: Callable[[np.ndarray], None] | None,
    ) -> tuple[HostAnswers, DynamicCache | None]:
        """Returns answers, and the cache that they left.

        Raises:
          ValueError: Options do not go together, or a row has no token left.
        """
        config = self.config
        self._check(given)
        past = self.callbacks.past_key_values
        past = DynamicCache() if past is None else past
        num_before = num_columns(given, self.callbacks)
        room = config.room_after(num_before)
        steps = self._steps(past, given, room)
        logits = steps.prefill(self._arguments(given, past.get_seq_length()))
        ids, length = given.ids, given.ids.shape[1]
        if not config.searches:
            rows = np.repeat(np.arange(len(ids)), config.num_return_sequences)
            if len(rows) > len(ids):
                steps.select(rows)
            ids, logits = ids[rows], logits[rows]
        request = self._request(given, room, num_before, seed, put)
        if config.searches:
            found = search_beams(steps, logits, ids, request, _beams(config))
        else:
            found = choose_on_host(steps, logits, ids, request)
        assert found.ids.shape[1] >= length
        return found, past if isinstance(steps, CachedSteps) else None

    def _check(self, given: HostInputs) -> None:
        config, callbacks = self.config, self.callbacks
        if config.use_cache is False:
            for name in ("past_key_values", "inputs_embeds", "assistant_model"):
                if getattr(callbacks, name) is not None:
                    raise ValueError(f"{name} needs use_cache=True.")
        if not self._looks_ahead:
            return
        num_rows = len(given.ids) * config.num_return_sequences
        if num_rows > 1 or config.searches:
            raise ValueError(
                "assistant_model and prompt_lookup_num_tokens go with one prompt and one "
                f"answer; found {num_rows} and num_beams={config.num_beams}."
            )
        others = callbacks.past_key_values, callbacks.inputs_embeds, given.pixel_values
        if any(one is not None for one in others):
            raise ValueError(
                "assistant_model and prompt_lookup_num_tokens go with input_ids alone: "
                "leave past_key_values, inputs_embeds and pixel_values out."
            )

    @property
    def _looks_ahead(self) -> bool:
        return (
            self.callbacks.assistant_model is not None
            or self.config.prompt_lookup_num_tokens is not None
        )

    def _steps(self, past: DynamicCache, given: HostInputs, room: int) -> Steps:
        if self._looks_ahead:
            return self._steps_ahead(given.ids.shape[1] + room)
        if self.config.use_cache is False:
            return WholeSteps(self.model, self.params)
        return CachedSteps(self.model, self.params, past)

    def _steps_ahead(self, max_length: int) -> Steps:
        config, assistant = self.config, self.callbacks.assistant_model
        if assistant is None:
            number = check_count(
                "prompt_lookup_num_tokens", config.prompt_lookup_num_tokens, at_least=1
            )
            ngram = config.max_matching_ngram_size
            ngram = check_count(
                "max_matching_ngram_size", 2 if ngram is None else ngram, at_least=1
            )
            foresee = PromptLookup(number, ngram)
        else:
            if (theirs := assistant.config.get_text_config().vocab_size) != (
                ours := self.model.config.get_text_config().vocab_size
            ):
                raise ValueError(
                    f"The assistant has {theirs} tokens and the model {ours}; they need "
                    "the same tokenizer."
                )
            number = config.num_assistant_tokens or _NUM_ASSISTANT_TOKENS
            number = check_count("num_assistant_tokens", number, at_least=1)
            foresee = Assistant(assistant, assistant.params, number, max_length)
        return AheadSteps(
            self.model, self.params, foresee, num_ahead=number, max_length=max_length
        )

    def _arguments(self, given: HostInputs, num_read: int) -> dict[str, Any]:
        """Returns the arguments of the first pass."""
        embeddings = to_jax(self.callbacks.inputs_embeds)
        length = given.ids.shape[1] if embeddings is None else embeddings.shape[1]
        if num_read >= length:
            raise ValueError(
                f"past_key_values has {num_read} columns and the prompt {length}: pass "
                "the whole text, with at least one token that the cache does not have."
            )
        mask = jnp.asarray(given.mask[:, num_read:].astype(np.int32))
        found: dict[str, Any] = {"attention_mask": mask}
        if embeddings is not None:
            found["inputs_embeds"] = embeddings[:, num_read:]
        elif num_read:
            found["input_ids"] = jnp.asarray(given.ids[:, num_read:], jnp.int32)
        else:
            ids, mask = moved_right(given.ids, given.mask)
            found["input_ids"] = jnp.asarray(ids, jnp.int32)
            found["attention_mask"] = jnp.asarray(mask.astype(np.int32))
        if given.pixel_values is not None:
            found["pixel_values"] = given.pixel_values
        return found

    def _request(
        self,
        given: HostInputs,
        room: int,
        num_before: int,
        seed: int,
        put: Callable[[np.ndarray], None] | None,
    ) -> HostRequest:
        config = self.config
        pad = config.pad_token_id
        if pad is None:
            pad = next(iter(config.stop_ids), 0)
        return HostRequest(
            room=room,
            stop_ids=config.stop_ids,
            pad_id=pad,
            processors=self._processors(given, room, num_before),
            criteria=self._criteria(given.ids.shape[1]),
            draws=np.random.default_rng(seed) if config.do_sample else None,
            keeps_scores=bool(config.output_scores and config.return_dict_in_generate),
            keeps_logits=bool(config.output_logits and config.return_dict_in_generate),
            put=put,
        )

    def _processors(
        self, given: HostInputs, room: int, num_before: int
    ) -> list[processors.Processor]:
        config, find = self.config, self.callbacks.prefix_allowed_tokens_fn
        length = given.ids.shape[1]
        allowed = None
        if find is not None:
            allowed = processors.allow_only(find, config.num_beams or 1, self.show)
        rules = score_rules(
            config,
            prompt_length=length,
            num_hidden=num_before - length,
            room=room,
            is_real=given.mask if length else None,
            allowed=allowed,
        )
        theirs = [
            _called(function, self.show)
            for function in as_list(self.callbacks.logits_processor)
        ]
        return [*rules, *theirs, *draw_rules(config)]

    def _criteria(self, prompt_length: int) -> list[Callable[[np.ndarray, Any], Any]]:
        found = [
            _called_to_end(theirs, self.show)
            for theirs in as_list(self.callbacks.stopping_criteria)
        ]
        if self.config.max_time is not None:
            end = time.monotonic() + self.config.max_time
            found.append(lambda ids, scores: time.monotonic() > end)
        if self.config.stop_strings:
            strings = self.config.stop_words
            found.append(_stop_at(strings, self.words, prompt_length))
        return found


def _beams(config: GenerationConfig) -> BeamSettings:
    N = check_count("num_beams", config.num_beams, at_least=1)
    if config.num_return_sequences > N:
        raise ValueError(
            f"num_return_sequences is {config.num_return_sequences}, and num_beams {N}; "
            "a search returns at most as many answers as it has beams."
        )
    if config.do_sample:
        raise ValueError(
            "num_beams with do_sample=True is not possible: draw with num_beams=1, or "
            "search with do_sample=False."
        )
    early = config.early_stopping
    if early not in (None, False, True, "never"):
        raise ValueError(
            f"early_stopping is {early!r}; it must be True, False or 'never'."
        )
    penalty = 1.0 if config.length_penalty is None else config.length_penalty
    return BeamSettings(
        num_beams=N,
        num_returned=config.num_return_sequences,
        length_penalty=check_number("length_penalty", penalty),
        early_stopping=early or False,
    )


def _called(theirs: Callable[..., Any], show: Callable) -> processors.Processor:
    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        found = np.array(to_jax(theirs(show(ids), show(scores))), np.float32)
        if found.shape != scores.shape:
            raise ValueError(
                f"A logits_processor returned scores of shape {found.shape}; "
                f"{scores.shape} is needed."
            )
        return found

    return process


def _called_to_end(
    theirs: Callable[..., Any], show: Callable
) -> Callable[[np.ndarray, Any], Any]:
    def ends(ids: np.ndarray, scores: Any) -> np.ndarray:
        shown = None if scores is None else tuple(map(show, scores))
        return np.asarray(to_jax(theirs(show(ids), shown)))

    return ends


def _stop_at(
    strings: tuple[str, ...], words: Any, prompt_length: int
) -> Callable[[np.ndarray, Any], Any]:
    """Returns whether the last token of a row completes one of some strings."""
    # A token has a byte or more, so an earlier one is in none of them.
    longest = max(len(string.encode()) for string in strings)

    def ends(ids: np.ndarray, scores: Any) -> np.ndarray:
        begin = max(prompt_length, ids.shape[1] - longest)
        return np.array([_is_in(strings, words, row[begin:].tolist()) for row in ids])

    return ends


def _is_in(strings: tuple[str, ...], words: Any, ids: list[int]) -> bool:
    decoder = StreamingDecoder(words, False)
    text = "".join(decoder.push(token) for token in ids) + decoder.finish()
    return any(string in text for string in strings)


def arrays_like(example: Any) -> Callable[[np.ndarray], Any]:
    """Returns what makes arrays of the kind that an example is: torch's, JAX's, numpy's."""

    def show(array: np.ndarray) -> Any:
        if is_torch(example):
            return to_torch(jnp.asarray(array))
        if isinstance(example, jax.Array):
            return jnp.asarray(array)
        return array.copy()

    return show
