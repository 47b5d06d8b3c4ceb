"""The arithmetic of the family: pure functions over arrays, nothing learned."""

from gemma.gm._lazy import lazily
from gemma.gm.math._activation import gelu, softcap
from gemma.gm.math._bits import has_bit, pack_bits, unpack_bits
from gemma.gm.math._blockwise_attention import Keys, Queries, blockwise_attention
from gemma.gm.math._dot_product_attention import dot_product_attention
from gemma.gm.math._mask import attention_mask, ends_of_runs
from gemma.gm.math._norm import layer_norm, rms_norm
from gemma.gm.math._ring import put, saturate, slot_positions
from gemma.gm.math._rope import RopeTable, apply_rope, rope_table

__getattr__ = lazily(__name__)

__all__ = [
    "Keys",
    "Queries",
    "RopeTable",
    "apply_rope",
    "attention_mask",
    "blockwise_attention",
    "dot_product_attention",
    "ends_of_runs",
    "gelu",
    "has_bit",
    "layer_norm",
    "pack_bits",
    "put",
    "rms_norm",
    "rope_table",
    "saturate",
    "slot_positions",
    "softcap",
    "unpack_bits",
]
