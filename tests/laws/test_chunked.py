"""Chunked = whole: a prompt may be cut in any way, and each row in its own."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_close

from gemma.gm.text._prefill import feed_chunk, prefill

LENGTH, WIDTH = 17, 6  # windows are shorter, as long, and longer than the chunk

# How many tokens of a row go into each call; none is allowed too.
cuts = st.lists(st.integers(0, WIDTH), max_size=6)


def feed(tiny, tokens: np.ndarray, counts: list[list[int]]) -> np.ndarray:
    """Returns the logits of all tokens, fed in calls of WIDTH places each."""
    num_rows = len(tokens)
    cache = tiny.model.init_cache(batch_size=num_rows, cache_length=24)
    logits = np.zeros([*tokens.shape, tiny.model.config.vocab_size], np.float32)
    done = [0] * num_rows
    while min(done) < LENGTH:
        chunk = np.zeros([num_rows, WIDTH], np.int32)
        mask = np.zeros([num_rows, WIDTH], bool)
        takes = []
        for row in range(num_rows):
            wish = counts[row].pop(0) if counts[row] else WIDTH
            take = min(wish, LENGTH - done[row])
            chunk[row, :take] = tokens[row, done[row] : done[row] + take]
            mask[row, :take] = True
            takes.append(take)
        out = tiny.apply(chunk, cache=cache, mask=mask)
        cache = out.cache
        for row, take in enumerate(takes):
            logits[row, done[row] : done[row] + take] = out.logits[row, :take]
            done[row] += take
    return logits


@pytest.mark.slow
def test_any_cut_equals_one_pass(tiny, random_tokens):
    tokens = random_tokens((2, LENGTH))
    whole = tiny.apply(tokens).logits

    @settings(max_examples=12)
    @given(first=cuts, second=cuts)
    def check(first, second):
        logits = feed(tiny, np.asarray(tokens), [first, second])
        assert_close(logits, whole, law="chunked")

    check()


@pytest.mark.slow
@pytest.mark.parametrize("chunk_lengths", [(1,), (4,), (8,), (32,), (3, 7, 16)])
def test_prefill_in_chunks_of_any_length(tiny_model, random_tokens, chunk_lengths):
    tiny, tokens = tiny_model("gemma2_gqa"), random_tokens((1, LENGTH))
    whole = tiny.apply(tokens, last_only=True).logits
    cache = tiny.model.init_cache(batch_size=1, cache_length=24)
    feed = dict.fromkeys(chunk_lengths, functools.partial(feed_chunk, tiny.model))
    cache = prefill(tiny.params, cache, tokens.tolist(), feed=feed)
    assert cache["end"].tolist() == [LENGTH - 1]
    last = tiny.apply(tokens[:, -1:], cache=cache, last_only=True)
    assert_close(last.logits, whole, law="chunked")
