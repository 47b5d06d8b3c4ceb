"""Weights of 16 bits give the logits of the same numbers in float32."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from tolerances import assert_close

from gemma.gm.nn import gemma1_config, gemma2_config, gemma3_config

# Widths whose root is exact: the scale of embeddings is rounded to the dtype of the
# table. No other size is a multiple of the sixteen lanes.
CONFIGS = {
    "gemma1": gemma1_config(
        num_layers=2, embed_dim=64, hidden_dim=49, num_heads=3, num_kv_heads=1,
        head_dim=10, vocab_size=101, max_positions=64,
    ),
    "gemma2": gemma2_config(
        num_layers=3, embed_dim=16, hidden_dim=71, num_heads=4, num_kv_heads=2,
        head_dim=6, window=5, attn_softcap=2.0, final_softcap=4.0, vocab_size=97,
        max_positions=64,
    ),
    "gemma3": gemma3_config(
        num_layers=7, embed_dim=16, hidden_dim=25, num_heads=2, num_kv_heads=1,
        head_dim=14, window=4, vocab_size=99, max_positions=64,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", CONFIGS)
def test_narrow_weights_equal_wide_ones(name, dtype, tiny_of):
    tiny = tiny_of(CONFIGS[name])
    model = dataclasses.replace(tiny.model, dtype=jnp.float32)
    tiny = dataclasses.replace(tiny, model=model)
    narrow = jax.tree.map(lambda w: w.astype(dtype), tiny.params)
    wide = jax.tree.map(lambda w: w.astype(jnp.float32), narrow)
    tokens = jax.random.randint(jax.random.key(1), (3, 11), 0, 90)
    expected = dataclasses.replace(tiny, params=wide).apply(tokens).logits
    tiny = dataclasses.replace(tiny, params=narrow)
    assert_close(tiny.apply(tokens).logits, expected, law="narrow")

    cache = model.init_cache(batch_size=3, cache_length=16)
    for i in range(11):
        out = tiny.apply(tokens[:, i : i + 1], cache=cache)
        cache = out.cache
        assert_close(out.logits[:, 0], expected[:, i], law="narrow")
