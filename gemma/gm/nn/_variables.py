"""The params that a caller passes: told from other things that look like them."""

from collections.abc import Mapping
from typing import Any

from gemma.gm.typing import DType, Params

_TABLE = "input_embedding"
# What stands before the names of a text model in DeepMind's files and trainings.
_ROOTS = ("transformer", "params")


def params_of(variables: Any, call: str) -> Params:
    """Returns the params of `{"params": params}`.

    Args:
      variables: What was passed.
      call: The method it was passed to, for error messages.

    Raises:
      ValueError: That is something else; says what it is and what to pass.
    """
    if not isinstance(variables, Mapping) or "params" not in variables:
        found = _name_of(variables)
        raise ValueError(
            f'{call} takes {{"params": params}} and found {found}. '
            f'Call model.{call}({{"params": params}}, ...).'
        )
    params = variables["params"]
    check_params(params)
    return params


def check_params(params: Any) -> None:
    """Refuses params that are not laid out as ours.

    Raises:
      ValueError: They are wrapped once more, in DeepMind's layout, or none.
    """
    if not isinstance(params, Mapping):
        raise ValueError(
            f"The params are {_name_of(params)}; a nested dict of arrays is needed, as "
            "gm.ckpts.load_params returns it."
        )
    if len(params) == 1 and (root := next(iter(params))) in _ROOTS:
        raise ValueError(
            f"These params have one entry, {root!r}. Pass what is in it: "
            f"params[{root!r}]."
        )
    if _is_deepmind(params):
        raise ValueError(
            "These params are in the layout of DeepMind's library. Convert them: "
            "params = gm.ckpts.from_deepmind(params, model.config)."
        )
    if _TABLE not in _inside(params, "embedder"):
        names = ", ".join(map(repr, list(params)[:3])) or "nothing"
        raise ValueError(
            f"The params lack 'embedder/{_TABLE}'; they begin with {names}. Pass what "
            "gm.ckpts.load_params returns."
        )


def check_dtype(dtype: DType) -> None:
    """Refuses tokens, which `init` of other libraries takes in this place.

    Raises:
      TypeError: It is an array or a list, not a dtype.
    """
    if hasattr(dtype, "shape") or isinstance(dtype, list | tuple):
        raise TypeError(
            "init takes a dtype after the key and found tokens. The shapes of weights "
            "do not depend on tokens: params = model.init(key); then "
            'model.apply({"params": params}, tokens).'
        )


def _is_deepmind(params: Mapping[str, Any]) -> bool:
    """Whether this is one of their trees, nested or with slashes in its names."""
    attn = _inside(_inside(params, "layer_0"), "attn")
    slashes = any(str(name).startswith("transformer/") for name in params)
    return "attn_vec_einsum" in attn or "transformer" in params or slashes


def _inside(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = params.get(name, {})
    return found if isinstance(found, Mapping) else {}


def _name_of(value: Any) -> str:
    if isinstance(value, Mapping):
        names = ", ".join(map(repr, list(value)[:3]))
        return f"a dict with {names}" if names else "an empty dict"
    return f"a {type(value).__name__}"
