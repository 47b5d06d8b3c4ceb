"""Weights of a model by the names of transformers."""

from collections.abc import Iterator
from typing import ClassVar, Self

import jax
import jax.numpy as jnp

from gemma.gm import ckpts, nn
from gemma.gm.typing import Params
from gemma.gm.weights import num_params

# Files of models with images keep the names of transformers 4.
_RENAMED = (
    ("language_model.model.", "model.language_model."),
    ("vision_tower.vision_model.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
)


class WeightNames:
    """A model whose weights can be asked for as those of a torch module."""

    # Those without a head name the embedding "embed_tokens", not "model.embed_tokens".
    _is_base: ClassVar[bool] = False
    _has_lm_head: ClassVar[bool] = False

    @property
    def params(self) -> Params:
        """The params of `gm.nn`."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, jax.Array]:
        """Returns copies of the weights by the names of transformers, as JAX's arrays.

        Changing one changes no model: set `params`, whose names are those of `gm.nn`.
        """
        named = ckpts.named_tensors(self._core(), self.params)
        found = {self._name(name): jnp.asarray(array) for name, array in named.items()}
        if self._has_lm_head and "lm_head.weight" not in found:
            tables = [n for n in found if n.endswith("embed_tokens.weight")]
            found["lm_head.weight"] = found[tables[0]]
        return found

    def named_parameters(self) -> Iterator[tuple[str, jax.Array]]:
        """Yields the names and weights of `state_dict`, a shared one once."""
        seen = set()
        for name, array in self.state_dict().items():
            if id(array) not in seen:
                seen.add(id(array))
                yield name, array

    def parameters(self) -> Iterator[jax.Array]:
        """Yields the weights."""
        return (array for _, array in self.named_parameters())

    def num_parameters(
        self, only_trainable: bool = False, exclude_embeddings: bool = False
    ) -> int:
        """Returns how many weights there are.

        Args:
          only_trainable: The same: all may be trained.
          exclude_embeddings: Whether the table of embeddings is left out.
        """
        specs = self._core().specs()
        if exclude_embeddings:
            specs = {name: spec for name, spec in specs.items() if name != "embedder"}
        return num_params(specs)

    def train(self, mode: bool = True) -> Self:
        """Returns the model: it has no dropout, so training changes nothing."""
        return self

    def eval(self) -> Self:
        """Returns the model: it has no dropout, so it is always as in evaluation."""
        return self

    def _core(self) -> "nn.Transformer | nn.Classifier":
        """Returns what of `gm.nn` has all the weights."""
        raise NotImplementedError

    def _name(self, name: str) -> str:
        for old, new in _RENAMED:
            if name.startswith(old):
                name = new + name.removeprefix(old)
        return name.removeprefix("model.") if self._is_base else name
