"""Prompts in, texts out."""

import functools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gemma.gm.ckpts import Progress
from gemma.gm.dialog import format_for
from gemma.gm.kernels import Screen
from gemma.gm.nn import Transformer
from gemma.gm.text._cache_pool import CachePool
from gemma.gm.text._compilation import (
    PREFILL_CHUNK_LENGTH,
    chunk_lengths,
    default_cache_length,
    enable_compilation_cache,
)
from gemma.gm.text._decode import MAX_STEPS, MAX_STOP_IDS, Choice, Decoded
from gemma.gm.text._generation import Generation, GrowingRow, Piece, TokenLogprobs
from gemma.gm.text._loading import load, tokenizer_beside
from gemma.gm.text._prefill import prefill
from gemma.gm.text._programs import Programs, traced_programs
from gemma.gm.text._prompts import Prompt, as_batch, encode_prompt
from gemma.gm.text._reading import Reading, read_ahead
from gemma.gm.text._sampling import (
    Sampling,
    SamplingArrays,
    logprobs_of,
    needs_few,
    stack,
)
from gemma.gm.text._screen import head_screen
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.typing import Cache, DType, Params

_logprobs_of = jax.jit(logprobs_of, static_argnames="num_top")


class Sampler:
    """Generates text from prompts, one or a batch.

    Rows do not influence one another: each gets the tokens that it would get alone.
    No answer changes another, and threads may share a sampler.

    Example:
      ```python
      sampler = gm.text.Sampler.from_pretrained()
      sampler.sample("The capital of France is", max_new_tokens=16)
      ```
    """

    def __init__(
        self,
        *,
        model: Transformer,
        params: Params,
        tokenizer: Tokenizer | None = None,
        cache_length: int | None = None,
        prefill_chunk_length: int = PREFILL_CHUNK_LENGTH,
    ):
        """Makes a sampler.

        Args:
          model: The model.
          params: Its params.
          tokenizer: By default the one that lies beside the model's checkpoint.
          cache_length: The most tokens of a prompt and its answer together. By default
            4,096, or what the model was trained for if that is less.
          prefill_chunk_length: Tokens of a prompt that go through the model at once.

        Raises:
          ValueError: No tokenizer, or one that the model's embedding is too small for.
        """
        _check_count("cache_length", cache_length, at_least=1)
        enable_compilation_cache()
        self.model = model
        self.params = params
        self.tokenizer = tokenizer or tokenizer_beside(model)
        self.cache_length = cache_length or default_cache_length(model.config)
        self.prefill_chunk_length = prefill_chunk_length
        self._format = format_for(model.config.family)
        if self.tokenizer.vocab_size > model.config.vocab_size:
            raise ValueError(
                f"The tokenizer has {self.tokenizer.vocab_size:,} tokens but the "
                f"model's embedding has {model.config.vocab_size:,} rows: they do not "
                "belong together."
            )
        self._stop_ids = np.full(MAX_STOP_IDS, -1, np.int32)
        some_ids = self.tokenizer.stop_ids[:MAX_STOP_IDS]
        self._stop_ids[: len(some_ids)] = some_ids
        self._caches = CachePool(model.cache_dtype(params))
        self._programs: Programs | None = None

    @functools.cached_property
    def _screen(self) -> Screen | None:
        return head_screen(self.params)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | Reading | None = None,
        *,
        dtype: DType | None = None,
        cache_length: int | None = None,
        progress: Progress | None = None,
    ) -> "Sampler":
        """Loads a model and its tokenizer, and makes the programs for one prompt.

        Args:
          name: A Hugging Face folder or GGUF file, the name of a published model, or
            None for the embedded Gemma 3 270M; see `gm.hub.resolve`. Or what
            `read_ahead` has returned for one of these.
          dtype: Dtype of the weights, or "int8", "int4", "nf4" or "as-stored"; see
            `gm.ckpts.Checkpoint.read_params`.
          cache_length: The most tokens of a prompt and its answer together.
          progress: Called with the bytes of weights made so far and in all.
        """
        _check_count("cache_length", cache_length, at_least=1)
        if not isinstance(name, Reading):
            name = read_ahead(name, dtype=dtype)
        loaded = load(name, dtype=dtype, cache_length=cache_length, progress=progress)
        sampler = cls(
            model=loaded.model,
            params=loaded.params,
            tokenizer=loaded.tokenizer,
            cache_length=loaded.cache_length,
        )
        sampler._programs, sampler._screen = loaded.programs, loaded.screen
        return sampler

    def sample(
        self, prompt: Prompt | Sequence[Prompt], **options: Any
    ) -> str | list[str]:
        """Returns the text of each answer; a str for one prompt, a list for a batch.

        Args:
          prompt: A prompt or a sequence of them.
          **options: See `stream`, and `echo` of `generate`.
        """
        result = self.generate(prompt, **options)
        if isinstance(result, Generation):
            return result.text
        return [generation.text for generation in result]

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        *,
        echo: bool = False,
        **options: Any,
    ) -> Generation | list[Generation]:
        """Returns text, tokens and the reason why it ended, for each prompt.

        Args:
          prompt: A prompt or a sequence of them.
          echo: Whether the text begins with the prompt's.
          **options: See `stream`.
        """
        prompts, is_single = as_batch(prompt)
        encoded = self._encode(prompts)
        pieces: list[list[Piece]] = [[] for _ in encoded]
        for piece in self.stream(encoded, **options):
            pieces[piece.row].append(piece)
        results = [
            _gather(
                ids, row, self.tokenizer.decode(ids, skip_control_tokens=True) * echo
            )
            for ids, row in zip(encoded, pieces, strict=True)
        ]
        return results[0] if is_single else results

    def stream(
        self,
        prompt: Prompt | Sequence[Prompt],
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling | Sequence[Sampling] | None = None,
        seed: int | Sequence[int] | None = None,
        stop: Sequence[str] = (),
        forbidden_tokens: Sequence[str | int] = (),
        num_logprobs: int | None = None,
    ) -> Iterator[Piece]:
        """Yields each token as it is made.

        Args:
          prompt: A prompt or a sequence of them: text, token ids or a conversation.
            Text gets a `<bos>` in front if it has none.
          max_new_tokens: The most tokens of an answer; by default as many as the cache
            has room for.
          sampling: How tokens are drawn, for all rows or for each; greedy by default.
          seed: One for all, or one a row. With one for all, row i uses `seed + i`.
            By default a random one.
          stop: Strings that end an answer, besides the model's own ending tokens.
          forbidden_tokens: Ids, or strings of a single token, that are never drawn.
          num_logprobs: Also give the log-probability of each token, and of so many of
            the most probable ones, under the model: before temperature and cuts,
            forbidden tokens left out.

        Raises:
          ValueError: An option is out of range, or a prompt does not fit the cache.
            Raised by this call, before the first token.
        """
        prompts = self._encode(as_batch(prompt)[0])
        _check_count("max_new_tokens", max_new_tokens, at_least=1)
        vocab_size = self.model.config.vocab_size
        _check_count("num_logprobs", num_logprobs, at_least=0, at_most=vocab_size)
        _check_list("stop", stop)
        _check_list("forbidden_tokens", forbidden_tokens)
        rows = [
            GrowingRow(
                i,
                self.tokenizer,
                stop=stop,
                max_new_tokens=self._room(prompt_ids, max_new_tokens),
            )
            for i, prompt_ids in enumerate(prompts)
        ]
        arrays = stack(
            _each(sampling or Sampling(), len(rows)), _seeds(seed, len(rows))
        )
        bias = self._bias(forbidden_tokens)
        # Separate, so that what is wrong is said by this call and not by the first next().
        return self._run(prompts, rows, arrays, bias, num_logprobs)

    def _run(
        self,
        prompts: list[list[int]],
        rows: list[GrowingRow],
        sampling: SamplingArrays,
        bias: jax.Array,
        num_logprobs: int | None,
    ) -> Iterator[Piece]:
        """Yields pieces until every row has ended."""
        if not rows:
            return
        with_logits = num_logprobs is not None
        programs = self._programs_for(len(rows), with_logits)
        screen = self._screen if needs_few(sampling).all() else None
        choice = Choice(sampling, bias, screen)

        def decode(
            cache: Cache, last: Any, stop_ids: np.ndarray, num_steps: int
        ) -> Decoded:
            active = np.array([row.finish_reason is None for row in rows])
            limit = np.int32(num_steps)
            return programs.decode_steps(
                self.params, cache, last, active, choice, stop_ids, limit
            )

        cache = self._caches.take(len(rows), programs.init_cache)
        cache = prefill(self.params, cache, prompts, feed=programs.feed_chunk)
        last = np.array([prompt[-1] for prompt in prompts], np.int32)
        # A token of the prompt ends nothing.
        decoded = decode(cache, last, np.full_like(self._stop_ids, -1), 1)
        room = max(row.room for row in rows) - 1
        while True:
            made = decoded
            if room > 0:
                # Dispatched before the host looks at the tokens made: the device never
                # waits for the host. At an early end, the last steps are for nothing.
                num_steps = min(room, 1 if with_logits else MAX_STEPS)
                decoded = decode(made.cache, made.last, self._stop_ids, num_steps)
                room -= num_steps
            for tokens in np.asarray(made.tokens)[: int(made.num_steps)]:
                yield from _push(rows, tokens, made, num_logprobs)
            if all(row.finish_reason is not None for row in rows):
                self._caches.give(len(rows), decoded.cache)
                return

    def _programs_for(self, num_rows: int, with_logits: bool) -> Programs:
        if self._programs is not None and num_rows == 1 and not with_logits:
            return self._programs
        return traced_programs(
            self.model,
            batch_size=num_rows,
            cache_length=self.cache_length,
            dtype=jnp.dtype(self.model.cache_dtype(self.params)),
            chunk_lengths=chunk_lengths(self.prefill_chunk_length),
            with_logits=with_logits,
        )

    def _encode(self, prompts: list[Prompt]) -> list[list[int]]:
        return [encode_prompt(p, self.tokenizer, self._format) for p in prompts]

    def _room(self, prompt: list[int], max_new_tokens: int | None) -> int:
        """Returns how many tokens may follow a prompt; refuses one that has no room."""
        room = self.cache_length - len(prompt)
        if room < 1:
            raise ValueError(
                f"Prompt has {len(prompt):,} tokens but the cache holds "
                f"{self.cache_length:,} with the answer. Pass a larger cache_length or "
                "shorten the prompt."
            )
        return room if max_new_tokens is None else min(room, max_new_tokens)

    def _bias(self, forbidden_tokens: Sequence[str | int]) -> jax.Array:
        """Returns what is added to the logits: -inf for what must not come."""
        vocab_size = self.model.config.vocab_size
        bias = np.zeros(vocab_size, np.float32)
        # Rows of the embedding beyond the vocabulary have no text.
        bias[self.tokenizer.vocab_size :] = -np.inf
        for token in forbidden_tokens:
            token_id = self.tokenizer.id(token) if isinstance(token, str) else token
            if not 0 <= token_id < self.tokenizer.vocab_size:
                raise ValueError(
                    f"Forbidden token {token_id} is outside the vocabulary of "
                    f"{self.tokenizer.vocab_size:,} tokens."
                )
            bias[token_id] = -np.inf
        # Not jnp.asarray, which would compile a program for it.
        return jax.device_put(bias)


def _push(
    rows: list[GrowingRow],
    tokens: np.ndarray,
    decoded: Decoded,
    num_logprobs: int | None,
) -> Iterator[Piece]:
    """Hands each row that goes on its token of one step."""
    logprobs: list[TokenLogprobs | None] = [None] * len(rows)
    if num_logprobs is not None:
        logprobs = _host_logprobs(decoded, num_logprobs)
    for row, token_id, logprob in zip(rows, tokens, logprobs, strict=True):
        if row.finish_reason is None:
            yield row.push(int(token_id), logprob)


def _host_logprobs(decoded: Decoded, num_top: int) -> list[TokenLogprobs | None]:
    found = jax.device_get(_logprobs_of(decoded.logits, decoded.last, num_top=num_top))
    return [
        TokenLogprobs(
            float(chosen), tuple(zip(ids.tolist(), top.tolist(), strict=True))
        )
        for chosen, ids, top in zip(*found, strict=True)
    ]


def _gather(prompt_ids: list[int], pieces: list[Piece], prefix: str) -> Generation:
    logprobs = tuple(p.logprobs for p in pieces if p.logprobs is not None)
    finish_reason = pieces[-1].finish_reason
    assert finish_reason is not None
    return Generation(
        text=prefix + "".join(piece.text for piece in pieces),
        prompt_ids=tuple(prompt_ids),
        token_ids=tuple(piece.token_id for piece in pieces),
        finish_reason=finish_reason,
        logprobs=logprobs or None,
    )


def _check_count(
    name: str, value: int | None, *, at_least: int, at_most: int | None = None
) -> None:
    if value is None:
        return
    if value < at_least:
        raise ValueError(f"{name} is {value}; it must be {at_least} or more.")
    if at_most is not None and value > at_most:
        raise ValueError(f"{name} is {value}; it must be {at_most:,} or less.")


def _check_list(name: str, strings: Sequence[str | int]) -> None:
    """Refuses a single string, which would be taken for a list of its letters."""
    if isinstance(strings, str):
        raise TypeError(f"{name} is a string; pass a list: {name}=[{strings!r}].")


def _each(sampling: Sampling | Sequence[Sampling], num_rows: int) -> Sequence[Sampling]:
    if isinstance(sampling, Sampling):
        return [sampling] * num_rows
    if len(sampling) != num_rows:
        raise ValueError(f"There are {num_rows} prompts and {len(sampling)} samplings.")
    return sampling


def _seeds(seed: int | Sequence[int] | None, num_rows: int) -> Sequence[int]:
    if seed is None:
        seed = random.getrandbits(32)
    if isinstance(seed, int | np.integer):
        return [int(seed) + row for row in range(num_rows)]
    if len(seed) != num_rows:
        raise ValueError(f"There are {num_rows} prompts and {len(seed)} seeds.")
    return seed
