"""The sampler of the API of 2024: greedy text from strings.

As of the releases of February to October 2024; what is new is in `gemma.gm.text`.

Example:
  ```python
  sampler = Sampler(transformer=transformer, vocab=vocab, params=params["transformer"])
  sampler(["The capital of France is"], total_generation_steps=20).text
  ```
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from sentencepiece import SentencePieceProcessor

from gemma.gm import ckpts, nn, text
from gemma.gm._lazy import lazily
from gemma.gm._numbers import check_count
from gemma.gm.typing import DType, Params
from gemma.transformer import Transformer, TransformerConfig

__getattr__ = lazily(__name__)


@dataclasses.dataclass(frozen=True)
class SamplerOutput:
    """What a `Sampler` returns, an entry for each input.

    Attributes:
      text: The answers; with `echo` after their prompts.
      tokens: The tokens of the same, the `<eos>` that ended an answer included.
    """

    text: list[str]
    tokens: list[list[int]]
    _read_logits: Callable[[], list[np.ndarray]] = dataclasses.field(repr=False)

    @functools.cached_property
    def logits(self) -> list[np.ndarray]:
        """Logits [tokens, V] of each answer, in float32; empty if not asked for.

        Row i are those that token i was chosen by, -inf for forbidden tokens; zeros for
        the `<bos>`, which nothing chose. They take 1 MB a token, so they are computed
        when they are first looked at, by one pass over the whole text.
        """
        return self._read_logits()


class Sampler:
    """Answers strings, greedily. Keeps params and programs; answers do not change it.

    Attributes:
      transformer: The model.
      vocab: The tokenizer.
      params: The tree of 2024, as it was passed.
    """

    def __init__(
        self,
        transformer: Transformer,
        vocab: SentencePieceProcessor | text.Tokenizer,
        params: Params,
        dtype: DType | None = None,
    ):
        """Makes a sampler.

        Args:
          transformer: The model.
          vocab: The tokenizer.
          params: `params["transformer"]` of what `load_and_format_params` returns.
          dtype: Dtype of activations and cache; by default what
            `gm.nn.Transformer` chooses for params of their dtype.

        Raises:
          ValueError: The params are not those of the model.
        """
        self.transformer, self.vocab, self.params = transformer, vocab, params
        config = transformer.config.gm
        ckpts.check_deepmind(params, config)
        self._model = nn.Transformer(config, dtype=dtype)
        # Arrays of the host become ours there: the device gets what it needs and no more.
        self._params = jax.tree.map(jnp.asarray, ckpts.from_deepmind(params, config))
        self._tokenizer = _only_eos(vocab)
        self._samplers: dict[int, text.Sampler] = {}

    @property
    def transformer_config(self) -> TransformerConfig:
        """The sizes of the model."""
        return self.transformer.config

    @property
    def dtype(self) -> DType:
        """Dtype of the activations."""
        return self._model.activation_dtype(self._params)

    def __call__(
        self,
        input_strings: Sequence[str],
        total_generation_steps: int,
        echo: bool = False,
        return_logits: bool = True,
        forbidden_tokens: Sequence[str | int] | None = None,
    ) -> SamplerOutput:
        """Returns the most probable continuation of each string.

        `<bos>` goes in front of each. An answer ends with `<eos>`, and with nothing
        else. A string gets the answer that it would get alone. The cache has the
        columns of the config, or as many times that as prompt and answer need.

        Args:
          input_strings: The prompts.
          total_generation_steps: The most tokens of an answer.
          echo: Whether text, tokens and logits begin with the prompt's.
          return_logits: Whether logits may be asked for.
          forbidden_tokens: Ids, or strings of a single token, that are never chosen.

        Raises:
          TypeError: `input_strings` is one string.
          ValueError: An option is out of range.
        """
        if isinstance(input_strings, str):
            raise TypeError(
                f"input_strings is one string; pass a list: [{input_strings!r}]."
            )
        total_generation_steps = check_count(
            "total_generation_steps", total_generation_steps, at_least=1
        )
        prompts = [self.tokenize(string) for string in input_strings]
        length = total_generation_steps + max(map(len, prompts), default=0)
        forbidden = self._ids_of(forbidden_tokens or ())
        answers = self._sampler(length).generate(
            prompts,
            max_new_tokens=total_generation_steps,
            forbidden_tokens=forbidden,
        )
        assert isinstance(answers, list)
        whole = [list(a.prompt_ids + a.token_ids) for a in answers]
        begins = [0 if echo else len(a.prompt_ids) for a in answers]
        tokens = [ids[begin:] for ids, begin in zip(whole, begins, strict=True)]
        steps = length if echo else total_generation_steps
        read_logits = functools.partial(
            self._read_logits, whole, begins, length, steps, forbidden
        )
        return SamplerOutput(
            text=[self._text_of(ids) for ids in tokens],
            tokens=tokens,
            _read_logits=read_logits if return_logits else list,
        )

    def tokenize(self, input_string: str) -> list[int]:
        """Returns the tokens of a prompt, with `<bos>`."""
        if isinstance(self.vocab, text.Tokenizer):
            return self.vocab.encode(input_string, add_bos=True)
        return [self._tokenizer.bos_id, *self.vocab.EncodeAsIds(input_string)]

    def _text_of(self, ids: list[int]) -> str:
        if isinstance(self.vocab, text.Tokenizer):
            return self.vocab.decode(ids, skip_control_tokens=True)
        return self.vocab.DecodeIds(ids)

    def _ids_of(self, tokens: Sequence[str | int]) -> list[int]:
        if isinstance(tokens, str):
            raise TypeError(
                f"forbidden_tokens is one string; pass a list: [{tokens!r}]."
            )
        return [
            self._tokenizer.id(token) if isinstance(token, str) else token
            for token in tokens
        ]

    def _sampler(self, length: int) -> text.Sampler:
        """Returns the sampler of `gm` whose cache has room for so many tokens."""
        columns = self.transformer.config.max_cache_length
        cache_length = columns * -(-length // columns)
        if cache_length not in self._samplers:
            self._samplers[cache_length] = text.Sampler(
                model=self._model,
                params=self._params,
                tokenizer=self._tokenizer,
                cache_length=cache_length,
            )
        return self._samplers[cache_length]

    def _read_logits(
        self,
        whole: list[list[int]],
        begins: list[int],
        length: int,
        steps: int,
        forbidden: list[int],
    ) -> list[np.ndarray]:
        """Returns the logits of the tokens of each row from `begins` on.

        Rows have `length` tokens at most, of which `steps` are looked at: the shapes of
        the program, which is compiled once for them.
        """
        found = []
        for ids, begin in zip(whole, begins, strict=True):
            padded = np.zeros([1, length], np.int32)
            padded[0, : len(ids)] = ids
            # A token was chosen by the logits after the one before it.
            first = max(begin - 1, 0)
            chosen_by = _logits(self._model, self._params, padded, first, steps)
            rows = np.array(chosen_by[: len(ids) - 1 - first])
            rows[:, forbidden] = -np.inf
            is_begin = np.zeros([int(begin == 0), rows.shape[1]], np.float32)
            found.append(np.concatenate([is_begin, rows]))
        return found


def _only_eos(vocab: SentencePieceProcessor | text.Tokenizer) -> text.Tokenizer:
    """Returns a tokenizer whose `<eos>` is all that ends an answer, as it was in 2024."""
    if isinstance(vocab, text.Tokenizer):
        return text.Tokenizer(vocab.vocabulary, stop_ids=[vocab.eos_id])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        path.write_bytes(vocab.serialized_model_proto())
        read = text.Tokenizer.from_path(path)
    return text.Tokenizer(read.vocabulary, stop_ids=[read.eos_id])


@functools.partial(jax.jit, static_argnums=(0, 4))
def _logits(
    model: nn.Transformer,
    params: Params,
    tokens: Int[Array, "1 L"],
    first: Int[Array, ""],
    steps: int,
) -> Float[Array, "T V"]:
    """Returns the logits after `steps` tokens of a row, from the first on."""
    x = model.features({"params": params}, tokens).x[0]
    places = first + jnp.arange(steps, dtype=jnp.int32)
    return model.logits({"params": params}, jnp.take(x, places, axis=0, mode="clip"))
