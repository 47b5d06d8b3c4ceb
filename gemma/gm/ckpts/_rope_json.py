"""Rotary positions in config.json, in the words of transformers 4 and 5.

Version 4 has flat fields, `rope_theta` and `rope_scaling`; version 5 has
`rope_parameters`, in Gemma 3 one entry for each type of layer. Where a file has both,
`rope_scaling` counts, as in transformers.
"""

from collections.abc import Mapping
from typing import Any

from gemma.gm.nn import RopeConfig

_GLOBAL, _LOCAL = "full_attention", "sliding_attention"


def rope_from_json(fields: Mapping[str, Any]) -> RopeConfig:
    """Returns the rotary positions of all layers of a Gemma 1 or 2.

    Raises:
      ValueError: They are of a kind that is not computed here.
    """
    stated = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    if _GLOBAL in stated or _LOCAL in stated:
        raise ValueError("rope_parameters has types of layers, which only Gemma 3 has")
    return _read({"rope_theta": fields.get("rope_theta", 1e4)} | stated)


def ropes_from_json(fields: Mapping[str, Any]) -> tuple[RopeConfig, RopeConfig]:
    """Returns the rotary positions of a Gemma 3's global layers, and of its local ones.

    Raises:
      ValueError: They are of a kind that is not computed here, or `rope_parameters` has
        entries of which transformers reads none.
    """
    nested = fields.get("rope_parameters") or {}
    if unknown := [name for name in nested if name not in (_GLOBAL, _LOCAL)]:
        raise ValueError(
            f"rope_parameters has {unknown[0]!r}; in Gemma 3 it has the entries "
            f"{_GLOBAL!r} and {_LOCAL!r}"
        )
    global_rope = {"rope_theta": fields.get("rope_theta", 1e6)}
    global_rope |= nested.get(_GLOBAL) or {}
    global_rope |= fields.get("rope_scaling") or {}
    local_rope = {"rope_theta": fields.get("rope_local_base_freq", 1e4)}
    return _read(global_rope), _read(local_rope | (nested.get(_LOCAL) or {}))


def _read(stated: Mapping[str, Any]) -> RopeConfig:
    kind = stated.get("rope_type", stated.get("type", "default"))
    factor = stated.get("factor", 1.0)
    if kind not in ("default", "linear"):
        raise ValueError(f"rope type {kind!r} is none of 'default', 'linear'")
    if kind == "default" and factor not in (None, 1.0):
        # transformers leaves such a factor out: whoever wrote it meant something else.
        raise ValueError(f"rope factor {factor!r} needs the rope_type 'linear'")
    if stated.get("partial_rotary_factor") not in (None, 1.0):
        raise ValueError("partial_rotary_factor is not 1; Gemma rotates whole heads")
    factor = stated["factor"] if kind == "linear" else 1.0
    return RopeConfig(theta=float(stated["rope_theta"]), factor=float(factor))


def rope_to_json(rope: RopeConfig) -> dict[str, Any]:
    """Returns the flat fields of rotary positions; undoes `rope_from_json`."""
    if rope.factor == 1.0:
        return {"rope_theta": rope.theta}
    scaling = {"rope_type": "linear", "factor": rope.factor}
    return {"rope_theta": rope.theta, "rope_scaling": scaling}


def ropes_to_json(global_rope: RopeConfig, local_rope: RopeConfig) -> dict[str, Any]:
    """Returns the fields of a Gemma 3's rotary positions; undoes `ropes_from_json`."""
    if local_rope.factor != 1.0:  # which only transformers 5 has a word for
        pairs = {_GLOBAL: global_rope, _LOCAL: local_rope}
        nested = {name: _parameters(rope) for name, rope in pairs.items()}
        return {"rope_parameters": nested}
    flat = {"rope_local_base_freq": local_rope.theta, "rope_scaling": None}
    return flat | rope_to_json(global_rope)


def _parameters(rope: RopeConfig) -> dict[str, Any]:
    kind = {"rope_type": "linear", "factor": rope.factor}
    return {"rope_theta": rope.theta} | kind
