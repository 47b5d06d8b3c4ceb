"""`generate`: arrays of ids in, arrays of ids out, over `gm.text.Sampler`."""

import inspect
from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm import text
from gemma.gm.typing import Params
from gemma.hf._arrays import is_torch, to_jax, to_torch
from gemma.hf._generation_config import GenerationConfig
from gemma.hf._model import PreTrainedModel
from gemma.hf._outputs import GenerateOutput
from gemma.hf._prompts import Prompt, PromptArrays
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
        if given.input_ids is None:
            raise ValueError("There is no prompt: pass input_ids.")
        config = (generation_config or self.generation_config).changed(options)
        prompts = given.read(self.transformer.config, config.padding_id)
        ids = np.asarray(to_jax(given.input_ids))
        if streamer is not None:
            if len(prompts) * config.num_return_sequences > 1:
                raise ValueError("A streamer follows one answer: pass one prompt.")
            streamer.put(ids)
        answers = self._answer(
            prompts, ids.shape[1], config, tokenizer, streamer, params, prng_key
        )
        if streamer is not None:
            streamer.end()
        sequences = _join(ids, answers, config)
        found = to_torch(sequences) if is_torch(given.input_ids) else sequences
        as_dict = config.return_dict_in_generate or self._returns_dict
        return GenerateOutput(found) if as_dict else found

    _returns_dict = False

    def _answer(
        self,
        prompts: Sequence[Prompt],
        prompt_length: int,
        config: GenerationConfig,
        tokenizer: GemmaTokenizer | text.Tokenizer | None,
        streamer: BaseStreamer | None,
        params: Params | None,
        prng_key: jax.Array | int | None,
    ) -> list[list[int]]:
        """Returns the tokens of each answer, those of one prompt after one another."""
        room = config.room_after(prompt_length)
        rows = [p for p in prompts for _ in range(config.num_return_sequences)]
        longest = max((len(prompt.token_ids) for prompt in prompts), default=0)
        stop = config.stop_strings or ()
        sampler = self._sampler(
            self._params_or(params),
            longest + room,
            _vocabulary(tokenizer) if stop else None,
        )
        stream = sampler.stream(
            [row.token_ids for row in rows],
            images=[row.images for row in rows],
            max_new_tokens=room,
            sampling=config.sampling,
            rng=next_seed() if prng_key is None else prng_key,
            stop=[stop] if isinstance(stop, str) else list(stop),
            stop_tokens=config.stop_ids,
            forbidden_tokens=config.forbidden_ids,
        )
        answers: list[list[int]] = [[] for _ in rows]
        for piece in stream:
            answers[piece.row].append(piece.token_id)
            if streamer is not None:
                streamer.put(np.array([piece.token_id]))
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


def _vocabulary(tokenizer: GemmaTokenizer | text.Tokenizer | None) -> text.Vocabulary:
    if tokenizer is None:
        raise ValueError("stop_strings need the tokenizer: pass tokenizer=.")
    if isinstance(tokenizer, GemmaTokenizer):
        tokenizer = tokenizer.tokenizer
    return tokenizer.vocabulary


def _join(
    ids: np.ndarray, answers: Sequence[Sequence[int]], config: GenerationConfig
) -> jax.Array:
    """Returns prompts and answers, filled up to the longest answer."""
    pad = config.pad_token_id
    if pad is None:
        pad = config.stop_ids[0] if config.stop_ids else 0
    length = max(map(len, answers), default=0)
    filled = [[*answer, *[pad] * (length - len(answer))] for answer in answers]
    rows = np.repeat(ids, config.num_return_sequences, axis=0)
    new = np.array(filled, np.int32).reshape(len(rows), length)
    return jnp.asarray(np.concatenate([rows.astype(np.int32), new], axis=1))
