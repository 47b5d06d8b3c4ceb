"""What the models of transformers have in common: weights, config, and one pass.

Axes: B batch, L length, D model width.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gemma.gm import ckpts, nn
from gemma.gm.typing import Cache, Params
from gemma.gm.weights import QuantizedArray, init_params
from gemma.hf._arrays import device_of, is_torch, to_ids, to_torch
from gemma.hf._config import PretrainedConfig, as_config
from gemma.hf._dynamic_cache import DynamicCache
from gemma.hf._eyes import check_types
from gemma.hf._loading import Options, open_pretrained
from gemma.hf._outputs import ModelOutput
from gemma.hf._overwriting import refuse_dropping
from gemma.hf._passes import (
    Inputs,
    Pass,
    Wanted,
    read_inputs,
    require_following,
    run,
    run_on,
)
from gemma.hf._ranges import require_rows
from gemma.hf._saving_options import SavingOptions
from gemma.hf._weight_names import WeightNames

# What may be left of a model that was written to a folder before.
_WEIGHTS = ("*.safetensors", "model.safetensors.index.json")


class PreTrainedModel(WeightNames):
    """A model with its weights. Tensors of torch in, tensors of torch out; else JAX's.

    Weights are params of `gm.nn`, and all passes are pure functions of them: `jax.jit`,
    `jax.grad` and `jax.vmap` go over `model(ids, params=params)`.

    Attributes:
      config: The config.
      transformer: The model of `gm.nn`.
    """

    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    # Of a checkpoint with eyes, other classes read the text only.
    _sees: ClassVar[bool] = False

    def __init__(self, config: PretrainedConfig, *, params: Params | None = None):
        """Makes a model; without params they are random, once somebody asks for them.

        Args:
          config: The config.
          params: Params of `gm.nn`.

        Raises:
          TypeError: It is the config of another class of models.
          CheckpointError: The config describes no Gemma.
        """
        if not isinstance(config, self.config_class):
            raise TypeError(
                f"{type(self).__name__} takes a {self.config_class.__name__}; found a "
                f"{type(config).__name__}."
            )
        self.config = config
        found = config.transformer_config
        if not self._sees:
            found = dataclasses.replace(found, vision=None)
        self.transformer = nn.Transformer(found)
        self._params = params

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *,
        config: PretrainedConfig | str | Path | None = None,
        _do_init: bool = True,
        **options: Any,
    ) -> Any:
        """Returns the model of a checkpoint, of whatever format.

        Args:
          pretrained_model_name_or_path: See `gm.hub.resolve`.
          config: Instead of the checkpoint's.
          _do_init: Whether the model holds its params; if not, they are returned beside
            it.
          **options: `dtype`, `torch_dtype`, `quantization_config`, `load_in_8bit`,
            `load_in_4bit`, `device`, `device_map`; `revision`, `gguf_file`, `token`,
            `cache_dir`, `local_files_only`, `force_download`; and fields of the
            config.

        Raises:
          CheckpointError: There is no whole checkpoint, or it is of another kind.
          TypeError: An option of transformers that has no equal here.
          ValueError: The value of an option is out of range.
        """
        asked, fields = Options.take(options)
        config, checkpoint = open_pretrained(
            pretrained_model_name_or_path,
            cls.config_class,
            asked,
            None if config is None else as_config(config),
            fields,
            text_only=not cls._sees,
        )
        model = cls(config)
        model.transformer = checkpoint.model
        if asked.activation_dtype is not None:
            model.transformer = dataclasses.replace(
                model.transformer, dtype=asked.activation_dtype
            )
        model._take_settings(checkpoint)
        params = model._read(checkpoint, asked)
        if asked.device is not None:
            params = jax.device_put(params, asked.device)
        if not _do_init:
            return model, params
        model._params = params
        return model

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Writes a folder that `from_pretrained` reads, and transformers too.

        Files of the same names are replaced, each at once; weights that were there
        before go. Packed weights are written as float32.

        Args:
          save_directory: The folder; made if it is not there.
          **options: `params`, if the model does not hold them; `max_shard_size` in
            bytes, or such as "2GB".

        Raises:
          TypeError: An option of transformers that has no equal here.
          ValueError: The folder has scores or a vision encoder that the model has not.
        """
        asked = SavingOptions.take(options)
        refuse_dropping(Path(save_directory), self._core(), type(self).__name__)
        with ckpts.updated_folder(Path(save_directory), replaced=_WEIGHTS) as made:
            self._write(made, self._params_or(asked.params), asked.max_shard_bytes)

    @functools.cached_property
    def _random_params(self) -> Params:
        stddev = getattr(self.config, "text_config", self.config).initializer_range
        return init_params(self._core().specs(), jax.random.key(0), stddev=stddev)

    @property
    def params(self) -> Params:
        """The params of `gm.nn`; may be set."""
        return self._random_params if self._params is None else self._params

    @params.setter
    def params(self, params: Params) -> None:
        self._params = params

    @property
    def dtype(self) -> Any:
        """The dtype of the embedding, float32 for a packed one."""
        return self.params["embedder"]["input_embedding"].dtype

    @property
    def device(self) -> Any:
        """Where the params are."""
        return next(iter(jax.tree.leaves(self.params)[0].devices()))

    def to(self, device: Any) -> Self:
        """Moves the params to a device; see `device` of `from_pretrained`."""
        self._params = jax.device_put(self.params, device_of(device))
        return self

    def get_input_embeddings(self) -> "Embeddings":
        """Returns what turns ids into `inputs_embeds`."""
        return Embeddings(self)

    def resize_token_embeddings(self, new_num_tokens: int) -> "Embeddings":
        """Gives the table another number of rows; returns what `get_input_embeddings` does.

        New rows are the mean of the others, so that no new token stands out.

        Args:
          new_num_tokens: Rows from now on.

        Raises:
          ValueError: The weights are packed, or no row would be left.
        """
        table = self.params["embedder"]["input_embedding"]
        if isinstance(table, QuantizedArray):
            raise ValueError(
                "Rows of packed weights cannot be added: load them with dtype='float32'."
            )
        if new_num_tokens < 1:
            raise ValueError(
                f"new_num_tokens is {new_num_tokens}; 1 or more is needed."
            )
        tables = {
            name: _resized(table, new_num_tokens)
            for name, table in self.params["embedder"].items()
        }
        self._params = {**self.params, "embedder": tables}
        getattr(self.config, "text_config", self.config).vocab_size = new_num_tokens
        config = dataclasses.replace(self.transformer.config, vocab_size=new_num_tokens)
        self.transformer = dataclasses.replace(self.transformer, config=config)
        return self.get_input_embeddings()

    def init_cache(self, batch_size: int, max_length: int) -> Cache:
        """Returns an empty cache to pass as `past_key_values`, and its successors too.

        It has a fixed size, so that passes with it can be compiled.

        Args:
          batch_size: B.
          max_length: The most tokens a row may have.
        """
        return self.transformer.init_cache(
            batch_size=batch_size,
            cache_length=max_length,
            dtype=self.transformer.cache_dtype(self.params),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs a pass; see `forward`."""
        return_dict = kwargs.pop("return_dict", None)
        if (cache := kwargs.pop("cache", None)) is not None:
            if kwargs.get("past_key_values") is not None:
                raise ValueError("Pass one of cache and past_key_values.")
            kwargs["past_key_values"] = cache
        output = self.forward(*args, **kwargs)
        if any(map(is_torch, (*args, *kwargs.values()))):
            output = to_torch(output)
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()

    def forward(self, *args: Any, **kwargs: Any) -> ModelOutput:
        """Runs a pass; models say which arguments there are."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.transformer.config.family}, " + (
            f"{self.num_parameters():,} parameters)"
        )

    def _core(self) -> "nn.Transformer | nn.Classifier":
        """Returns what of `gm.nn` has all the weights."""
        return self.transformer

    def _take_settings(self, checkpoint: ckpts.Checkpoint) -> None:
        """Takes what stands beside the weights of a checkpoint."""

    def _read(self, checkpoint: ckpts.Checkpoint, options: Options) -> Params:
        """Returns the weights of a checkpoint."""
        return checkpoint.read_params(dtype=options.weights)

    def _write(self, folder: Path, params: Params, max_shard_bytes: int) -> None:
        """Writes a folder that is not there yet."""
        stated = {
            **self.config.to_dict(),
            "architectures": [type(self).__name__.removeprefix("Flax")],
            "dtype": jnp.dtype(params["embedder"]["input_embedding"].dtype).name,
        }
        ckpts.save_model(
            folder,
            self._core(),
            params,
            max_shard_bytes=max_shard_bytes,
            files={"config.json": ckpts.json_bytes(stated)},
        )

    def _params_or(self, params: Params | None) -> Params:
        return self.params if params is None else params

    def _pass(
        self,
        params: Params,
        input_ids: Any,
        attention_mask: Any,
        position_ids: Any,
        past_key_values: "DynamicCache | Cache | None",
        inputs_embeds: Any,
        use_cache: bool | None,
        options: Mapping[str, Any],
    ) -> Pass:
        """Runs the decoder over tokens or embeddings."""
        new = read_inputs(
            input_ids, attention_mask, position_ids, inputs_embeds, past_key_values
        )
        options = dict(options)
        check_types(options.pop("token_type_ids", None), input_ids, None)
        return self._pass_over(params, new, past_key_values, use_cache, options)

    def _pass_over(
        self,
        params: Params,
        new: Inputs,
        past_key_values: "DynamicCache | Cache | None",
        use_cache: bool | None,
        options: Mapping[str, Any],
    ) -> Pass:
        """Runs the decoder over what `read_inputs` returned."""
        wanted = Wanted.read(self.config, options)
        require_rows(new.tokens, self.transformer, has_images=new.soft is not None)
        past = self._past(params, new, past_key_values, use_cache, wanted)
        if past is None:
            return Pass(run(self.transformer, params, new, wanted=wanted), None)
        return self._pass_on(params, new, past, wanted)

    def _pass_on(
        self,
        params: Params,
        new: Inputs,
        past: "DynamicCache | Cache",
        wanted: Wanted,
    ) -> Pass:
        """Goes on from keys and values."""
        B, L = new.tokens.shape
        is_growing = isinstance(past, DynamicCache)
        cache = past.room_for(self.transformer, params, B, L) if is_growing else past
        require_following(new.positions, cache, new.mask)
        found = run_on(self.transformer, params, new, cache, wanted=wanted)
        assert found.cache is not None
        if is_growing:
            past.take(found.cache, L)
        return Pass(found, past if is_growing else found.cache)

    def _past(
        self,
        params: Params,
        new: "Inputs",
        past: "DynamicCache | Cache | None",
        use_cache: bool | None,
        asked: "Wanted",
    ) -> "DynamicCache | Cache | None":
        """Returns the keys and values that a pass adds to, if it does."""
        if asked.attentions or new.seen is not None:
            if past is not None or use_cache:
                name = (
                    "output_attentions" if asked.attentions else "a mask of four axes"
                )
                raise ValueError(
                    f"{name} goes over whole sequences: pass use_cache=False and no "
                    "past_key_values."
                )
            return None
        if past is not None:
            return past
        if use_cache is None:
            # Under jit and grad only if somebody asks: it is no array that comes out.
            leaves = jax.tree.leaves((new, params))
            is_traced = any(isinstance(leaf, Tracer) for leaf in leaves)
            use_cache = self.config.use_cache and not is_traced
        return DynamicCache() if use_cache else None


def _resized(table: jax.Array, num_rows: int) -> jax.Array:
    """Returns a table with another number of rows; new ones are the mean of the others."""
    mean = jnp.mean(table, axis=0, dtype=jnp.float32).astype(table.dtype)
    added = max(0, num_rows - len(table))
    return jnp.concatenate([table, jnp.tile(mean, (added, 1))])[:num_rows]


class Embeddings:
    """Turns ids into vectors: `embeddings(input_ids)` is what `inputs_embeds` takes."""

    def __init__(self, model: PreTrainedModel):
        self._model = model

    def __call__(self, input_ids: Any) -> Any:
        """Returns the vectors of ids, scaled as the first layer has them."""
        variables, ids = {"params": self._model.params}, to_ids(input_ids)
        require_rows(ids, self._model.transformer)
        found = self._model.transformer.embed(variables, ids)
        return to_torch(found) if is_torch(input_ids) else found

    @property
    def weight(self) -> Any:
        """The table, which is also the head."""
        return self._model.params["embedder"]["input_embedding"]
