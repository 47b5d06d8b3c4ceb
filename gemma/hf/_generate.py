"""`generate`: arrays of ids in, arrays of ids out, over `gm.text.Sampler`."""

import inspect
import math
import time
from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm import text
from gemma.gm._numbers import check_count, check_number
from gemma.gm.typing import Params
from gemma.hf._arrays import is_torch, to_jax, to_torch
from gemma.hf._dynamic_cache import DynamicCache
from gemma.hf._generation_config import GenerationConfig
from gemma.hf._host_generation import Callbacks, HostRun, arrays_like
from gemma.hf._host_inputs import read_host_inputs
from gemma.hf._model import PreTrainedModel
from gemma.hf._outputs import GenerateOutput
from gemma.hf._prompts import Prompt, PromptArrays
from gemma.hf._ranges import require_rows
from gemma.hf._seeds import next_seed
from gemma.hf._streamers import BaseStreamer
from gemma.hf._tokenizer import GemmaTokenizer

# Caches have such lengths, doubled until they do: programs are compiled for each.
_CACHE_LENGTH = 512


class GenerationMixin(PreTrainedModel):
    """A model that writes on.

    Attributes:
      generation_config: How, unless a call says otherwise.
    """

    generation_config: GenerationConfig
    _samplers: tuple[Params, dict[tuple[int, int], text.Sampler]] | None = None

    def generate(
        self,
        inputs: Any = None,
        generation_config: GenerationConfig | None = None,
        *,
        input_ids: Any = None,
        attention_mask: Any = None,
        pixel_values: Any = None,
        token_type_ids: Any = None,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        prefix_allowed_tokens_fn: Any = None,
        assistant_model: PreTrainedModel | None = None,
        past_key_values: DynamicCache | None = None,
        cache: DynamicCache | None = None,
        inputs_embeds: Any = None,
        tokenizer: GemmaTokenizer | text.Tokenizer | None = None,
        streamer: BaseStreamer | None = None,
        params: Params | None = None,
        prng_key: jax.Array | int | None = None,
        **options: Any,
    ) -> Any:
        """Returns prompts with their answers, a row each, filled up with padding.

        A prompt gets the answer that it would get alone, wherever its padding is.

        Args:
          inputs: Ids of the prompts, [B, L]; or what a tokenizer or processor returned.
          generation_config: Instead of the model's.
          input_ids: The same as `inputs`.
          attention_mask: 0 for padding. By default the tokens `pad_token_id` are padding,
            unless that token ends answers too.
          pixel_values: The images of all prompts, in the order of their soft tokens, as
            a processor makes them of images of 8 bits; for models that see.
          token_type_ids: What the ids say already: 1 for soft tokens, 0 for others.
          logits_processor: Functions of the ids so far, [B, L], and the scores of the
            next token, [B, V], that return scores. They get arrays of the kind that the
            ids are: torch's, JAX's or numpy's.
          stopping_criteria: Functions of the same that return whether rows end.
          prefix_allowed_tokens_fn: A function of a prompt's number and its ids, which
            returns the tokens that may follow.
          assistant_model: A smaller model of the same tokenizer: it writes ahead, and
            several tokens are read at once. What comes is the same.
          past_key_values: A `DynamicCache` that has the first columns of the prompts, or
            is empty; what is read and written is added to it.
          cache: The same; transformers calls it so from 5.24 on.
          inputs_embeds: Vectors of the prompts, [B, L, D]. Without ids beside them the
            answers alone are returned.
          tokenizer: For `stop_strings`.
          streamer: Gets the ids of a single prompt, and of each token.
          params: Instead of the model's.
          prng_key: Seed of the draws. By default they follow `set_seed`.
          **options: Fields of `GenerationConfig`.

        Raises:
          TypeError: An option of transformers that has no equal here, or the ids are
            no whole numbers.
          ValueError: An option is out of range, or there are images and the model has no
            eyes, or not as many as there are soft tokens for.
        """
        given = PromptArrays(input_ids, attention_mask, pixel_values, token_type_ids)
        if isinstance(inputs, Mapping | UserDict):
            given = given.over(inputs)
        elif inputs is not None:
            given = given._replace(input_ids=inputs)
        config = (generation_config or self.generation_config).changed(options)
        if self._returns_dict:
            config = config.changed({"return_dict_in_generate": True})
        callbacks = Callbacks(
            logits_processor,
            stopping_criteria,
            prefix_allowed_tokens_fn,
            past_key_values if cache is None else cache,
            inputs_embeds,
            assistant_model,
        )
        call = _Call(config, tokenizer, streamer, params, prng_key)
        is_mixed = _mix_control_tokens(tokenizer, config.stop_words)
        if config.needs_host or not callbacks.are_none or is_mixed:
            return self._generate_on_host(given, callbacks, call)
        if given.input_ids is None:
            raise ValueError("There is no prompt: pass input_ids.")
        prompts = given.read(self.transformer.config, config.padding_id)
        ids = np.asarray(to_jax(given.input_ids))
        has_images = given.pixel_values is not None
        require_rows(ids, self.transformer, has_images=has_images)
        call.put_prompt(ids)
        answers = self._answer(prompts, ids.shape[1], call)
        if streamer is not None:
            streamer.end()
        sequences = _join(ids, answers, config)
        found = to_torch(sequences) if is_torch(given.input_ids) else sequences
        return GenerateOutput(found) if config.return_dict_in_generate else found

    def _generate_on_host(
        self, given: PromptArrays, callbacks: Callbacks, call: "_Call"
    ) -> Any:
        """Returns what `generate` does, each token chosen on the host."""
        example = given.input_ids
        if example is None:
            example = callbacks.inputs_embeds
        run = HostRun(
            self,
            self._params_or(call.params),
            call.config,
            callbacks,
            arrays_like(example),
            _tokenizer(call.tokenizer) if call.config.stop_strings else None,
        )
        inputs = read_host_inputs(
            given, callbacks, self.transformer.config, call.config.padding_id
        )
        call.put_prompt(inputs.ids)
        put = call.streamer.put if call.streamer is not None else None
        answers, past = run.answer(inputs, call.seed, put)
        if call.streamer is not None:
            call.streamer.end()
        found = answers.output(callbacks.past_key_values or past)
        found = to_torch(found) if is_torch(example) else found
        as_dict = call.config.return_dict_in_generate
        return found if as_dict else found.sequences

    _returns_dict = False

    def _answer(
        self, prompts: Sequence[Prompt], prompt_length: int, call: "_Call"
    ) -> list[list[int]]:
        """Returns the tokens of each answer, those of one prompt after one another."""
        config = call.config
        room = config.room_after(prompt_length)
        rows = [p for p in prompts for _ in range(config.num_return_sequences)]
        longest = max((len(prompt.token_ids) for prompt in prompts), default=0)
        stop = config.stop_words
        names = _control_tokens(call.tokenizer, stop)
        sampler = self._sampler(
            self._params_or(call.params),
            longest + room,
            _tokenizer(call.tokenizer).vocabulary if stop else None,
        )
        limit = check_number(
            "max_time", _infinite_if_none(config.max_time), at_least=0,
            may_be_infinite=True,
        )  # fmt: skip
        stream = sampler.stream(
            [row.token_ids for row in rows],
            images=[row.images for row in rows],
            max_new_tokens=room,
            sampling=config.sampling,
            rng=next_seed() if call.prng_key is None else call.prng_key,
            stop=[string for string in stop if string not in names],
            stop_tokens=[*config.stop_ids, *names.values()],
            forbidden_tokens=config.forbidden_ids,
        )
        answers: list[list[int]] = [[] for _ in rows]
        end = time.monotonic() + limit
        for piece in stream:
            answers[piece.row].append(piece.token_id)
            if call.streamer is not None:
                call.streamer.put(np.array([piece.token_id]))
            if time.monotonic() > end and all(answers):
                stream.close()
                break
        return answers

    def _sampler(
        self, params: Params, length: int, vocabulary: text.Vocabulary | None
    ) -> text.Sampler:
        """Returns a sampler whose cache has room for so many tokens.

        It does not ask what the tokens say, unless strings may end an answer.
        """
        cache_length = _CACHE_LENGTH
        while cache_length < length:
            cache_length *= 2
        if self._samplers is None or self._samplers[0] is not params:
            self._samplers = params, {}
        known, key = self._samplers[1], (cache_length, id(vocabulary))
        if key not in known:
            # The config states the ends of an answer, and the tokenizer none.
            tokenizer = (
                text.TokenIds(self.transformer.config.vocab_size)
                if vocabulary is None
                else text.Tokenizer(vocabulary, stop_ids=())
            )
            known[key] = text.Sampler(
                model=self.transformer,
                params=params,
                tokenizer=tokenizer,
                cache_length=cache_length,
            )
        return known[key]


# What `generate` takes beside fields of `GenerationConfig`.
ARGUMENTS = tuple(inspect.signature(GenerationMixin.generate).parameters)[1:-1]


class _Call(NamedTuple):
    """What one call of `generate` was told beside prompts."""

    config: GenerationConfig
    tokenizer: GemmaTokenizer | text.Tokenizer | None
    streamer: BaseStreamer | None
    params: Params | None
    prng_key: jax.Array | int | None

    @property
    def seed(self) -> int:
        """The seed of draws on the host."""
        key = self.prng_key
        if key is None:
            return next_seed()
        if isinstance(key, int):
            return (
                check_count("prng_key", key, at_least=-(2**63), at_most=2**64 - 1)
                % 2**64
            )
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            key = jax.random.key_data(key)
        return int.from_bytes(np.asarray(key, np.uint32).tobytes(), "little")

    def put_prompt(self, ids: np.ndarray) -> None:
        """Hands a prompt to the streamer."""
        if self.streamer is None:
            return
        if len(ids) * self.config.num_return_sequences > 1 or self.config.searches:
            raise ValueError("A streamer follows one answer: pass one prompt.")
        self.streamer.put(ids)


def _tokenizer(tokenizer: GemmaTokenizer | text.Tokenizer | None) -> text.Tokenizer:
    if tokenizer is None:
        raise ValueError("stop_strings need the tokenizer: pass tokenizer=.")
    if isinstance(tokenizer, GemmaTokenizer):
        return tokenizer.tokenizer
    return tokenizer


def _control_tokens(
    tokenizer: GemmaTokenizer | text.Tokenizer | None, strings: Sequence[str]
) -> dict[str, int]:
    """Returns the ids of those strings that are control tokens."""
    if not strings:
        return {}
    known = _tokenizer(tokenizer).control_tokens
    return {string: known[string] for string in strings if string in known}


def _mix_control_tokens(
    tokenizer: GemmaTokenizer | text.Tokenizer | None, strings: Sequence[str]
) -> bool:
    """Returns whether a string has a control token and more, which is no text."""
    if not any("<" in string for string in strings):
        return False
    known = _tokenizer(tokenizer).control_tokens
    return any(
        name in string for string in strings if string not in known for name in known
    )


def _infinite_if_none(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _join(
    ids: np.ndarray, answers: Sequence[Sequence[int]], config: GenerationConfig
) -> jax.Array:
    """Returns prompts and answers, filled up to the longest answer."""
    pad = config.fill_id
    if pad is None:
        pad = config.stop_ids[0] if config.stop_ids else 0
    length = max(map(len, answers), default=0)
    filled = [[*answer, *[pad] * (length - len(answer))] for answer in answers]
    rows = np.repeat(ids, config.num_return_sequences, axis=0)
    new = np.array(filled, np.int32).reshape(len(rows), length)
    return jnp.asarray(np.concatenate([rows.astype(np.int32), new], axis=1))
