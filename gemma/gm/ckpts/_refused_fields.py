"""Fields of config.json with which transformers computes what is not computed here."""

import json
from collections.abc import Mapping
from typing import Any

from gemma.gm.ckpts._errors import CheckpointError

# Field: the values that may be stated.
_ALL = {
    "attention_bias": (None, False),
    "use_bidirectional_attention": (None, False),
    # Null is false there.
    "is_causal": (True,),
    "partial_rotary_factor": (None, 1.0),
    "per_layer_config": (None, {}),
    # In old files of Gemma 1 "gelu" means the approximation, as transformers reads it.
    "hidden_act": (None, "gelu", "gelu_pytorch_tanh"),
    "hidden_activation": (None, "gelu_pytorch_tanh"),
}
_BY_TYPE = {
    "gemma": {"hidden_activation": _ALL["hidden_act"]},
    "gemma2": {},
    # transformers leaves this cap out; other programs apply it.
    "gemma3_text": {"attn_logit_softcapping": (None,)},
}


def refuse_fields(fields: Mapping[str, Any], where: object) -> None:
    """Raises CheckpointError if a text model's field is not at a value computed here.

    Args:
      fields: What config.json states of the text model, its `model_type` among it.
      where: The file, for error messages.
    """
    known = _ALL | _BY_TYPE[fields["model_type"]]
    for name, values in known.items():
        if name in fields and fields[name] not in values:
            value = json.dumps(fields[name], default=str)
            raise CheckpointError(
                f"{where} has {name} {value}, which is not supported."
            )
