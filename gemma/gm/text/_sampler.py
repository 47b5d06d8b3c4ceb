"""Prompts in, texts out."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma.gm._numbers import check_count, check_optional_count
from gemma.gm.ckpts import Progress
from gemma.gm.dialog import Format, format_for
from gemma.gm.kernels import Screen
from gemma.gm.nn import Transformer, fit_to_params, with_automatic_axes
from gemma.gm.text._answer_defaults import AnswerDefaults, either
from gemma.gm.text._answers import gather_all, iterate_texts, prompt_texts
from gemma.gm.text._cache_pool import CachePool
from gemma.gm.text._compilation import (
    PREFILL_CHUNK_LENGTH,
    REWIND_LENGTH,
    Lengths,
    chunk_lengths,
    default_cache_length,
    enable_compilation_cache,
)
from gemma.gm.text._custom_sampling import AnySampling
from gemma.gm.text._generation import Generation, growing_rows, texts_of, tokens_of
from gemma.gm.text._loading import load, tokenizer_beside
from gemma.gm.text._options import (
    check_cache_length,
    check_list,
    chosen_sampling,
    each_constraint,
    each_row,
    make_choice,
    room_for,
    token_ids,
)
from gemma.gm.text._pictures import as_sources
from gemma.gm.text._programs import Programs, programs_for
from gemma.gm.text._prompts import EncodedPrompt, Prompt, PromptEncoder, as_batch
from gemma.gm.text._reading import Reading, read_ahead
from gemma.gm.text._screen import head_screen
from gemma.gm.text._seeds import Rng, row_seeds
from gemma.gm.text._special_tokens import image_token_ids
from gemma.gm.text._state import SamplerOutput, State
from gemma.gm.text._stream import STEPS_A_CALL, Questions, Runtime, Stream
from gemma.gm.text._tokenizer import Tokenizer
from gemma.gm.text.constraints import Constraint
from gemma.gm.typing import DType, Params

if TYPE_CHECKING:
    from gemma.gm.text.constraints import Grammars


class Sampler(AnswerDefaults):
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
        sampling: AnySampling | None = None,
        forbidden_tokens: Sequence[str | int] | None = None,
        stop_tokens: Sequence[str | int] | None = None,
        cache_length: int | None = None,
        max_out_length: int | None = None,
        pad_length: int | Sequence[int] | None = None,
        prefill_chunk_length: int = PREFILL_CHUNK_LENGTH,
        rewind_length: int = REWIND_LENGTH,
        pan_and_scan: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ):
        """Makes a sampler.

        Args:
          model: The model; `model` is the one that the params have the sizes of.
          params: Its params.
          tokenizer: By default the one beside the checkpoint, else that of the family:
            see `hub.family_tokenizer`.
          sampling: How tokens are chosen where a call does not say; greedy by default.
          forbidden_tokens: Tokens that are never chosen, by id or text; see `stream`.
          stop_tokens: Ids, or strings of a single token, that end an answer too.
          cache_length: The most tokens of a prompt and its answer together. By default
            4,096, or what the model was trained for if that is less.
          max_out_length: The most tokens of an answer; by default what the cache holds.
          pad_length: Has no effect: prompts go through the model in chunks.
          prefill_chunk_length: Tokens of a prompt that go through the model at once.
          rewind_length: How many tokens of a state can be taken back without computing
            those before them again, 8 or more: so many may be made before it is seen
            that an answer has ended.
          pan_and_scan: Whether long images come with crops: see `vision.pan_and_scan`.
          chat_template_kwargs: Variables of the checkpoint's own chat template.

        Raises:
          ValueError: The params or the tokenizer are not the model's; or there are
            variables of a chat template, and none that is not published.
        """
        super().__init__(
            sampling=sampling,
            forbidden_tokens=forbidden_tokens,
            stop_tokens=stop_tokens,
            max_out_length=max_out_length,
            pad_length=pad_length,
        )
        cache_length = check_cache_length(cache_length)
        chunk = check_count("prefill_chunk_length", prefill_chunk_length, at_least=1)
        rewind = check_count("rewind_length", rewind_length, at_least=2 * STEPS_A_CALL)
        enable_compilation_cache()
        self.model = model = fit_to_params(model, params)
        self.params = with_automatic_axes(params)
        self.tokenizer = tokenizer or tokenizer_beside(model, params)
        self._lengths = Lengths(
            cache=cache_length or default_cache_length(model.config),
            chunks=chunk_lengths(chunk, model.config),
            rewind=rewind,
        )
        self._encoder = PromptEncoder.of(
            self.tokenizer,
            format_for(model.config.family),
            model.config.vision,
            num_rows=model.config.vocab_size,
            pan_and_scan=pan_and_scan,
            template_variables=chat_template_kwargs,
        )
        self._image_tokens = image_token_ids(
            self.tokenizer.control_tokens, model.config
        )
        self._caches = CachePool(model.cache_dtype(params))
        self._programs: dict[int, Programs] = {}  # by rows, kept on disk

    @property
    def format(self) -> Format:
        """How the family writes conversations down."""
        return self._encoder.format

    @property
    def cache_length(self) -> int:
        """The most tokens of a prompt and its answer together."""
        return self._lengths.cache

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
        **options: Any,
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
          **options: Of the constructor: `pan_and_scan`, `chat_template_kwargs`.
        """
        cache_length = check_cache_length(cache_length)
        if not isinstance(name, Reading):
            name = read_ahead(name, dtype=dtype)
        loaded = load(name, dtype=dtype, cache_length=cache_length, progress=progress)
        sampler = cls(
            model=loaded.model,
            params=loaded.params,
            tokenizer=loaded.tokenizer,
            cache_length=loaded.cache_length,
            **options,
        )
        sampler._programs[1], sampler._screen = loaded.programs, loaded.screen
        return sampler

    def encode(self, prompt: Prompt) -> list[int]:
        """Returns the token ids of a prompt, as the model reads it."""
        return self._encoder.encode(prompt).token_ids

    def sample(
        self,
        prompt: Prompt | Sequence[Prompt],
        *,
        stream: bool = False,
        return_state: bool = False,
        **options: Any,
    ) -> str | list[str] | SamplerOutput | Iterator[str] | Iterator[list[str]]:
        """Returns the text of each answer; a str for one prompt, a list for a batch.

        Args:
          prompt: A prompt or a sequence of them.
          stream: Return an iterator over the text instead, as it is made; over lists,
            a text a row, for a batch.
          return_state: Return a `SamplerOutput`, to go on from.
          **options: See `stream`, and `echo` of `generate`.
        """
        if stream:
            return self._stream_text(prompt, return_state, options)
        results, state = self._collect(prompt, return_state, options)
        text = texts_of(results)
        return SamplerOutput(text, state, tokens_of(results)) if return_state else text

    def generate(
        self, prompt: Prompt | Sequence[Prompt], **options: Any
    ) -> Generation | list[Generation]:
        """Returns text, tokens and the reason why it ended, for each prompt.

        Args:
          prompt: A prompt or a sequence of them.
          **options: See `stream`; and `echo`: whether the text begins with the
            prompt's.
        """
        return self._collect(prompt, False, options)[0]

    def stream(
        self,
        prompt: Prompt | Sequence[Prompt],
        *,
        images: Any = None,
        max_new_tokens: int | None = None,
        sampling: AnySampling | None = None,
        rng: Rng | None = None,
        stop: Sequence[str] = (),
        stop_tokens: Sequence[str | int] | None = None,
        forbidden_tokens: Sequence[str | int] | None = None,
        constraint: Constraint | Sequence[Constraint | None] | None = None,
        schema: Mapping[str, Any] | str | bool | None = None,
        num_logprobs: int | None = None,
        last_state: State | None = None,
        return_state: bool = False,
        progress: Progress | None = None,
    ) -> Stream:
        """Returns an iterator over the tokens as they are made.

        Args:
          prompt: A prompt or a sequence of them: text, token ids or a conversation.
            Text gets a `<bos>` in front if it has none.
          images: For the placeholders of a text, `<start_of_image>` for Gemma 3: one,
            several, or an array [N, H, W, C]; for a batch a list with an entry a
            prompt. See `vision.read_image` for what an image may be. Those of a
            conversation are in it.
          max_new_tokens: The most tokens of an answer; by default `max_out_length`.
          sampling: How tokens are chosen, for all rows or for each; "model" for what the
            checkpoint's files recommend; or one object with `get_next_tokens`, see
            `SamplingMethod`. By default the constructor's.
          rng: Seed of the draws: a number or key for all, or one a row. With one for
            all, row i uses `rng + i`. By default a random one.
          stop: Strings that end an answer, besides the model's own ending tokens.
          stop_tokens: As those of the constructor, in place of them.
          forbidden_tokens: Ids, or strings of a single token, that are never chosen; in
            place of the constructor's. Gemma 3 never makes the tokens of images.
          constraint: What the text of each answer, or of all, must match; see
            `Constraint`. It always does: an answer that would grow too long is led
            to its end in time.
          schema: A JSON schema that all answers match: short for
            `constraint=Constraint.json_schema(schema)`.
          num_logprobs: Also give the log-probability of each token, and of so many of
            the most probable ones, under the model: before penalties, temperature,
            cuts and constraints, and of forbidden tokens too.
          last_state: Go on from here. Text and token ids follow its tokens; of a
            conversation, which is whole, what the state holds is not computed again.
          return_state: Whether the iterator's `state` will be asked for.
          progress: Called with the tokens of the prompts read so far and in all.

        Raises:
          ValueError: An option is out of range, a prompt does not fit the cache, or
            nothing of that length matches a constraint. Raised by this call, before the
            first token.
          ImportError: A constraint was given, and llguidance is not installed.
        """
        prompts = self._encode(prompt, images, last_state)
        limit = self.answer_limit(max_new_tokens)
        chosen = chosen_sampling(either(sampling, self.sampling), self.model.checkpoint)
        ends: Sequence[str | int] = either(stop_tokens, self.stop_tokens)
        forbidden: Sequence[str | int] = either(forbidden_tokens, self.forbidden_tokens)
        vocab_size = self.model.config.vocab_size
        num_logprobs = check_optional_count(
            "num_logprobs", num_logprobs, at_least=0, at_most=vocab_size
        )
        check_list("stop", stop)
        stop_ids = {
            *self.tokenizer.stop_ids,
            *token_ids("stop_tokens", ends, self.tokenizer, vocab_size),
        }
        rooms = [room_for(len(p.token_ids), limit, self.cache_length) for p in prompts]
        matchers = [
            asked and self._grammars.start(asked, max_tokens=room)
            for asked, room in each_constraint(
                constraint, schema, [*stop, *ends], rooms
            )
        ]
        rows = growing_rows(
            [encoded.token_ids for encoded in prompts],
            rooms,
            matchers,
            self.tokenizer,
            stop=stop,
            stop_ids=stop_ids,
        )
        with_logits, known = num_logprobs is not None, self.tokenizer.vocab_size
        choice = make_choice(
            each_row(chosen, len(rows)),
            row_seeds(rng, len(rows)) if rows else [],
            tokenizer=self.tokenizer,
            vocab_size=vocab_size,
            forbidden_tokens=forbidden,
            never=self._image_tokens,
            screen=None if with_logits else self._screen,
        )
        asked = Questions(
            *(rows, prompts, choice, frozenset(stop_ids)),
            *(num_logprobs, known, last_state, progress),
        )
        traced = choice.custom is not None
        runtime = self._runtime(len(rows), with_logits=with_logits, traced=traced)
        return Stream(runtime, asked, keeps_state=return_state)

    def _collect(
        self,
        prompt: Prompt | Sequence[Prompt],
        return_state: bool,
        options: dict[str, Any],
    ) -> tuple[Generation | list[Generation], State | None]:
        """Returns the whole answers, and the state if it is wanted."""
        echo = options.pop("echo", False)
        stream = self.stream(prompt, return_state=return_state, **options)
        begins = prompt_texts(stream, self.tokenizer, echo=echo)
        results = gather_all(stream, begins)
        state = stream.state if return_state else None
        return results[0] if as_batch(prompt)[1] else results, state

    def _stream_text(
        self,
        prompt: Prompt | Sequence[Prompt],
        return_state: bool,
        options: dict[str, Any],
    ) -> Iterator[str] | Iterator[list[str]]:
        """Returns an iterator over texts; what is wrong is said by this call."""
        if return_state:
            raise ValueError(
                "sample(stream=True) yields text only. For the state too, use "
                "Sampler.stream(..., return_state=True)."
            )
        echo = options.pop("echo", False)
        pieces = self.stream(prompt, **options)
        begins = prompt_texts(pieces, self.tokenizer, echo=echo)
        return iterate_texts(pieces, begins, is_single=as_batch(prompt)[1])

    def _runtime(
        self, num_rows: int, *, with_logits: bool, traced: bool = False
    ) -> Runtime:
        programs = programs_for(
            num_rows,
            {} if traced else self._programs,
            self.model,
            self.params,
            self._lengths,
            with_logits=with_logits,
        )
        made_for = self.model, self.params, programs, self._caches
        return Runtime(*made_for, self.cache_length)

    def _encode(
        self,
        prompt: Prompt | Sequence[Prompt],
        images: Any,
        last_state: State | None,
    ) -> list[EncodedPrompt]:
        prompts, is_single = as_batch(prompt)
        before: Sequence[EncodedPrompt | None] = [None] * len(prompts)
        if last_state is not None:
            last_state.check_fits(len(prompts), self.params, self.cache_length)
            before = last_state.prompts
        sources = as_sources(images, len(prompts), is_single=is_single)
        return [
            self._encoder.encode(one, its_images, before=known)
            for one, its_images, known in zip(prompts, sources, before, strict=True)
        ]

    @functools.cached_property
    def _grammars(self) -> "Grammars":
        from gemma.gm.text.constraints import Grammars

        return Grammars(self.tokenizer, vocab_size=self.model.config.vocab_size)
