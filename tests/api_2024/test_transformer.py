"""The model of 2024 computes what `gm.nn` computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm, transformer
from gemma.gm.weights import flatten
from gemma.transformer import (
    Transformer,
    build_positions_from_mask,
    init_cache,
    make_causal_attn_mask,
)

TOKENS = jnp.array([[2, 31, 77, 9, 140, 12], [2, 55, 8, 0, 0, 0]], jnp.int32)
MASK = TOKENS != 0
LEFT = jnp.flip(MASK, axis=1)  # padding comes first


def whole_pass(old, tokens=TOKENS, mask=MASK):
    positions = build_positions_from_mask(mask)
    return old.apply(tokens, positions, None, make_causal_attn_mask(mask))[0]


def columns(mask, size):
    """Returns the attention mask over the columns of a cache."""
    padded = jnp.pad(mask, ((0, 0), (0, size - mask.shape[1])))
    return make_causal_attn_mask(padded)[:, : mask.shape[1]]


def in_steps(old, tokens, mask, lengths, cache):
    """Returns the logits of tokens that go through the model part by part."""
    positions, begin, parts = build_positions_from_mask(mask), 0, []
    seen = columns(mask, old.transformer.config.max_cache_length)
    for length in lengths:
        part = slice(begin, begin + length)
        logits, cache = old.apply(
            tokens[:, part], positions[:, part], cache, seen[:, part]
        )
        parts.append(logits)
        begin += length
    return jnp.concatenate(parts, axis=1)


def test_logits_are_those_of_gm_to_the_bit(old):
    expected = old.ours.apply(TOKENS, mask=MASK).logits
    assert_close(whole_pass(old), expected, law="identical")


def test_under_jit_too(old):
    assert_close(jax.jit(lambda: whole_pass(old))(), whole_pass(old), law="cached")


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [(1,) * 6, (4, 1, 1), (6,)], ids=str)
def test_cached_equals_uncached(old, lengths):
    cache = old.transformer.init_cache(2, jnp.float32)
    cached = in_steps(old, TOKENS, MASK, lengths, cache)
    assert_close(cached[MASK], whole_pass(old)[MASK], law="cached")


@pytest.mark.slow
def test_row_goes_on_after_padding_inside_the_cache(old):
    """A ragged batch takes its prompts in together, and goes on in the same columns."""
    tokens = jnp.concatenate([TOKENS, jnp.array([[7], [9]], jnp.int32)], axis=1)
    mask = tokens != 0
    cache = old.transformer.init_cache(2, jnp.float32)
    cached = in_steps(old, tokens, mask, (6, 1), cache)
    alone = jnp.array([[2, 55, 8, 9]], jnp.int32)
    expected = whole_pass(old, alone, alone != 0)
    assert_close(cached[1, -1], expected[0, -1], law="cached")


@pytest.mark.slow
def test_padding_before_the_tokens(old):
    tokens = jnp.where(LEFT, jnp.flip(TOKENS, axis=1), 0)
    cache = old.transformer.init_cache(2, jnp.float32)
    cached = in_steps(old, tokens, LEFT, (6,), cache)
    assert_close(cached[LEFT], whole_pass(old, tokens, LEFT)[LEFT], law="cached")


@pytest.mark.slow
def test_gradient_is_that_of_gm(old):
    config, model = old.ours.model.config, old.ours.model
    weights = jax.random.normal(jax.random.key(1), (*TOKENS.shape, config.vocab_size))
    mask, positions = make_causal_attn_mask(MASK), build_positions_from_mask(MASK)

    def loss_2024(tree):
        variables = {"params": tree}
        logits, _ = old.transformer.apply(variables, TOKENS, positions, None, mask)
        return jnp.sum(logits * weights)

    def loss_of_gm(params):
        return jnp.sum(
            model.apply({"params": params}, TOKENS, mask=MASK).logits * weights
        )

    found = flatten(jax.jit(jax.grad(loss_2024))(old.tree))
    grad = jax.jit(jax.grad(loss_of_gm))(old.ours.params)
    for path, expected in flatten(gm.ckpts.to_deepmind(grad, config)).items():
        scale = np.abs(expected).max()
        assert scale > 0, path
        assert_close(found[path] / scale, expected / scale, law="cached")


@pytest.mark.slow
def test_one_step_of_training_lowers_the_loss(gemma1):
    """The loop of the fine-tuning notebook: the tree goes in, gradients come out."""
    mask = make_causal_attn_mask(MASK)
    positions = build_positions_from_mask(MASK)

    @jax.jit
    def loss(params):
        variables = {"params": params}
        logits, _ = gemma1.transformer.apply(variables, TOKENS, positions, None, mask)
        log_probs = jax.nn.log_softmax(logits[0, :-1])
        return -jnp.mean(jnp.take_along_axis(log_probs, TOKENS[0, 1:, None], axis=1))

    grad = jax.grad(loss)(gemma1.tree)
    stepped = jax.tree.map(lambda p, g: p - 1e-2 * g, gemma1.tree, grad)
    assert loss(stepped) < loss(gemma1.tree)


def test_init_makes_the_tree_that_apply_takes(gemma1):
    mask, positions = make_causal_attn_mask(MASK), build_positions_from_mask(MASK)
    arguments = TOKENS, positions, None, mask
    variables = gemma1.transformer.init(jax.random.PRNGKey(0), *arguments)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes == jax.tree.map(jnp.shape, gemma1.tree)
    logits, cache = gemma1.transformer.apply(variables, *arguments)
    assert logits.shape == (2, 6, 480)
    assert cache is None


def test_caches_are_the_same_wherever_they_come_from(gemma1):
    config = gemma1.transformer.config
    for cache in (
        config.init_cache(3),
        init_cache(config, 3),
        gemma1.transformer.init_cache(3),
    ):
        assert cache["layer_0"]["k"].shape == (3, 1, config.max_cache_length, 8)
        assert cache["layer_1"]["v"].dtype == jnp.bfloat16


def test_positions_count_tokens_and_not_padding():
    mask = jnp.array([[0, 1, 1, 0, 1, 0]], bool)
    assert build_positions_from_mask(mask).tolist() == [[0, 0, 1, 1, 2, 2]]


def test_causal_mask_hides_the_future_and_padding():
    mask = make_causal_attn_mask(jnp.array([[True, False, True]]))
    assert mask.astype(int).tolist() == [[[1, 0, 0], [1, 0, 0], [1, 0, 1]]]


def test_mask_of_one_axis():
    with pytest.raises(ValueError, match=r"shape \(3,\); it needs two axes"):
        make_causal_attn_mask(jnp.array([True, False, True]))


def full(mask):
    """Every token sees every other: no mask of this API."""
    return jnp.broadcast_to(mask[:, None, :], (*mask.shape, mask.shape[1]))


@pytest.mark.parametrize("is_cached", [False, True])
def test_mask_that_is_not_causal(gemma1, is_cached):
    positions = build_positions_from_mask(MASK)
    cache = gemma1.transformer.init_cache(2, jnp.float32) if is_cached else None
    mask = full(MASK)
    if is_cached:
        mask = jnp.pad(mask, ((0, 0), (0, 0), (0, 10)))
    with pytest.raises(ValueError, match="Row 0 has an attention mask or positions"):
        gemma1.apply(TOKENS, positions, cache, mask)


def test_mask_that_forgets_what_is_in_the_cache(gemma1):
    cache = gemma1.transformer.init_cache(2, jnp.float32)
    positions, seen = build_positions_from_mask(MASK), columns(MASK, 16)
    _, cache = gemma1.apply(TOKENS[:, :3], positions[:, :3], cache, seen[:, :3])
    mask = seen[:, 3:4].at[0, 0, 0].set(False)
    with pytest.raises(ValueError, match="Row 0 has an attention mask"):
        gemma1.apply(TOKENS[:, 3:4], positions[:, 3:4], cache, mask)


@pytest.mark.parametrize("is_cached", [False, True])
def test_positions_that_begin_anew(gemma1, is_cached):
    positions = jnp.array([[0, 1, 2, 0, 1, 2]] * 2, jnp.int32)
    cache = gemma1.transformer.init_cache(2, jnp.float32) if is_cached else None
    mask = columns(MASK, 16) if is_cached else make_causal_attn_mask(MASK)
    with pytest.raises(ValueError, match="must be those of build_positions_from_mask"):
        gemma1.apply(TOKENS, positions, cache, mask)


def test_under_jit_a_row_that_cannot_be_done_is_nan(gemma1):
    positions = build_positions_from_mask(MASK)
    mask = make_causal_attn_mask(MASK).at[0].set(full(MASK)[0])
    logits, _ = jax.jit(gemma1.apply)(TOKENS, positions, None, mask)
    assert jnp.isnan(logits[0]).all()
    assert jnp.isfinite(logits[1]).all()


def test_padding_may_see_anything(gemma1):
    """Where nothing is asked, nothing is wrong: some write masks without those rows."""
    mask = make_causal_attn_mask(MASK) & MASK[:, :, None]
    logits, _ = gemma1.apply(TOKENS, build_positions_from_mask(MASK), None, mask)
    assert_close(logits[MASK], whole_pass(gemma1)[MASK], law="identical")


def test_cache_that_is_full(gemma1):
    cache = gemma1.transformer.init_cache(1, jnp.float32)
    tokens = jnp.full([1, 16], 20, jnp.int32)
    ones = jnp.ones([1, 16], bool)
    positions = build_positions_from_mask(ones)
    _, cache = gemma1.apply(tokens, positions, cache, make_causal_attn_mask(ones))
    with pytest.raises(ValueError, match="has 16 columns, 16 of them taken: 1 more"):
        gemma1.apply(tokens[:, :1], positions[:, :1] + 16, cache, ones[:, None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": jnp.zeros([2, 5], jnp.int32)}, "positions of 2 rows of 6"),
        ({"mask": jnp.ones([2, 6, 7], bool)}, r"mask of 2 rows.*\(2, 6, 6\).*6, 7\)"),
        ({"rows": 3}, "cache has 3 rows for 2 rows"),
    ],
)
def test_shapes_that_do_not_fit(gemma1, change, message):
    positions = change.get("positions", build_positions_from_mask(MASK))
    mask = change.get("mask", make_causal_attn_mask(MASK))
    rows = change.get("rows")
    cache = None if rows is None else gemma1.transformer.init_cache(rows)
    with pytest.raises(ValueError, match=message):
        gemma1.apply(TOKENS, positions, cache, mask)


def test_cache_of_gm(gemma1):
    cache = gemma1.ours.model.init_cache(batch_size=2, cache_length=16)
    with pytest.raises(ValueError, match="none of this API; make it with init_cache"):
        gemma1.apply(TOKENS, build_positions_from_mask(MASK), cache, columns(MASK, 16))


def test_tokens_without_a_batch(gemma1):
    positions, mask = build_positions_from_mask(MASK), make_causal_attn_mask(MASK)
    with pytest.raises(ValueError, match=r"tokens have shape \(6,\); they need two"):
        gemma1.apply(TOKENS[0], positions, None, mask)


def without(tree, path):
    kept = {name: leaf for name, leaf in flatten(tree).items() if name != path}
    return gm.weights.unflatten(kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"transformer": t}, r"Pass what is in it: params\['transformer'\]"),
        (lambda t: without(t, "layer_1/mlp/linear"), "lack 'layer_1/mlp/linear'"),
        (lambda t: t | {"lora": {"a": t["final_norm"]["scale"]}}, "have 'lora/a'"),
        (
            lambda t: t | {"final_norm": {"scale": jnp.zeros(31)}},
            r"'final_norm/scale' has shape \(31,\); the config asks for \(32,\)",
        ),
    ],
)
def test_params_that_do_not_fit(gemma1, change, message):
    variables = {"params": change(gemma1.tree)}
    positions, mask = build_positions_from_mask(MASK), make_causal_attn_mask(MASK)
    with pytest.raises(ValueError, match=message):
        gemma1.transformer.apply(variables, TOKENS, positions, None, mask)


def test_models_of_one_config_share_their_programs(gemma1):
    again = Transformer(gemma1.transformer.config)
    whole_pass(gemma1)
    compiled = transformer._apply._cache_size()
    variables = {"params": gemma1.tree}
    positions, mask = build_positions_from_mask(MASK), make_causal_attn_mask(MASK)
    again.apply(variables, TOKENS, positions, None, mask)
    assert transformer._apply._cache_size() == compiled


def test_mask_with_a_prefix():
    input_mask = jnp.array([[True, True, True, False], [True] * 4])
    prefix_mask = jnp.array([[True, True, False, True], [False] * 4])
    found = transformer.make_causal_with_prefix_attn_mask(input_mask, prefix_mask)
    np.testing.assert_array_equal(
        found[0],
        [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]],
    )
    np.testing.assert_array_equal(
        found[1], transformer.make_causal_attn_mask(input_mask)[1]
    )
    with pytest.raises(ValueError, match=r"shape \(2, 3\); it needs \(2, 4\)"):
        transformer.make_causal_with_prefix_attn_mask(input_mask, prefix_mask[:, :3])
