"""The cache: which position a slot holds, and writing where it stands."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.math import Keys, slot_positions
from gemma.gm.nn import Transformer, gemma2_config
from gemma.gm.nn._cache import NewTokens, write
from gemma.gm.text._decode import decode_step
from gemma.gm.text._prefill import feed_chunk
from gemma.gm.text._programs import choice_struct

counts = st.lists(st.integers(0, 7), max_size=8)


class Ring:
    """A cache of one row in plain Python: a dict from slots to positions."""

    def __init__(self, slots: int):
        self.slots, self.end, self.held = slots, 0, {}

    def push(self, count: int) -> None:
        for _ in range(count):
            self.held[self.end % self.slots] = self.end
            self.end += 1

    def positions(self) -> list[int]:
        return [self.held.get(slot, -1) for slot in range(self.slots)]


@pytest.mark.parametrize("slots", [1, 2, 5, 9, 64])
def test_slots_hold_the_newest_position_that_falls_on_them(slots):
    ends = range(41)
    expected = []
    for end in ends:
        ring = Ring(slots)
        ring.push(end)
        expected.append(ring.positions())
    found = slot_positions(jnp.array(ends, jnp.int32), slots)
    assert found.tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 3, 7, 64])
def test_writing_fills_the_slots_of_a_plain_ring(slots):
    """Rows advance each at its own pace; the values written tell their positions."""
    width = 7
    jit_write = jax.jit(write)

    @given(counts, counts)
    def check(first, second):
        num_steps = min(len(first), len(second))
        rings = [Ring(slots), Ring(slots)]
        empty = jnp.full((2, 1, slots, 2), -1.0)
        cache = {"k": empty, "v": empty}
        for step in list(zip(first, second, strict=False))[:num_steps]:
            begin = np.array([ring.end for ring in rings], np.int32)
            place = np.arange(width, dtype=np.int32)[None, :]
            positions = begin[:, None] + place
            valid = place < np.array(step)[:, None]
            values = np.broadcast_to(
                np.float32(positions)[:, None, :, None], (2, 1, width, 2)
            )
            end = begin + np.array(step, np.int32)
            new = NewTokens(positions, positions, valid, begin, end)
            keys = Keys(values, 100 + values, positions)
            cache = jit_write(cache, keys, new)
            for ring, count in zip(rings, step, strict=True):
                ring.push(count)
        for row, ring in enumerate(rings):
            held = np.array(ring.positions(), np.float32)
            np.testing.assert_array_equal(cache["k"][row, 0, :, 0], held)
            shifted = np.where(held < 0, -1, held + 100)
            np.testing.assert_array_equal(cache["v"][row, 0, :, 1], shifted)

    check()


def test_cache_of_a_local_layer_is_no_longer_than_needed(tiny_model):
    model = tiny_model("gemma2_gqa").model  # window 5
    for cache_length, local_slots in ((3, 3), (5, 5), (48, 5)):
        cache = model.init_cache(batch_size=2, cache_length=cache_length)
        assert cache["layer_0"]["k"].shape == (2, 2, local_slots, 16)
        assert cache["layer_1"]["v"].shape == (2, 2, cache_length, 16)
        assert cache["end"].tolist() == [0, 0]


BATCH, WINDOW, LONG = 2, 1000, 4000


@pytest.fixture(scope="module")
def large_cache():
    """A tiny model with a cache that dwarfs everything else, as shapes only."""
    config = gemma2_config(
        num_layers=2, embed_dim=16, hidden_dim=24, num_heads=4, num_kv_heads=2,
        head_dim=16, window=WINDOW, vocab_size=480,
    )  # fmt: skip
    model = Transformer(config)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    cache = jax.eval_shape(
        lambda: model.init_cache(batch_size=BATCH, cache_length=LONG)
    )
    return model, params, cache


def shape(dims, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(dims, dtype)


def compile_decode(model, params, cache):
    tokens, active = shape((BATCH,), jnp.int32), shape((BATCH,), jnp.bool_)
    rest = tokens, active, *choice_struct(BATCH, 480)
    return decode_step.lower(model, params, cache, *rest).compile()


def compile_prefill(model, params, cache):
    tokens, mask = shape((BATCH, 8), jnp.int32), shape((BATCH, 8), jnp.bool_)
    return feed_chunk.lower(model, params, cache, tokens, mask).compile()


@pytest.mark.slow
@pytest.mark.parametrize("make", [compile_decode, compile_prefill])
def test_the_cache_is_written_in_place(make, large_cache):
    """A copy of the cache of each layer would make each step as slow as it is long."""
    model = large_cache[0]
    compiled = make(*large_cache)
    layer_bytes = 2 * BATCH * LONG * 2 * 16 * 4
    cache_bytes = model.config.cache_bytes(length=LONG, batch_size=BATCH)
    memory = compiled.memory_analysis()
    assert memory.alias_size_in_bytes >= cache_bytes
    assert memory.temp_size_in_bytes < layer_bytes / 4
    # The program's own words: nothing copies an array of the shape of a cache.
    for slots in (WINDOW, LONG):
        buffer = rf"f32\[{BATCH},2,{slots},16\]\S* (copy|transpose|concatenate)\("
        assert not re.search(buffer, compiled.as_text())
