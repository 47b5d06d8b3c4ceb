"""What people pass as params, and the one line that they get for it."""

import jax
import jax.numpy as jnp
import pytest

from gemma import gm
from gemma.gm.nn._variables import params_of


@pytest.fixture(scope="module")
def tokens():
    return jnp.asarray([[2, 9, 10]], jnp.int32)


def test_params_that_are_not_wrapped(tiny, tokens):
    expected = r"apply takes {\"params\": params} and found a dict with 'embedder', "
    with pytest.raises(ValueError, match=expected):
        tiny.model.apply(tiny.params, tokens)
    with pytest.raises(ValueError, match=r"Call model\.embed\({\"params\": params}"):
        tiny.model.embed(tiny.params, tokens)


def test_variables_that_are_no_dict(tiny):
    with pytest.raises(ValueError, match=r"apply takes {\"params\": params} and found"):
        params_of([tiny.params], "apply")  # pyright: ignore


@pytest.mark.parametrize("root", ["params", "transformer"])
def test_params_that_are_wrapped_twice(tiny, tokens, root):
    wrapped = {root: tiny.params}
    expected = rf"one entry, '{root}'. Pass what is in it: params\['{root}'\]"
    with pytest.raises(ValueError, match=expected):
        tiny.model.apply({"params": wrapped}, tokens)
    for sampler in (gm.text.Sampler, gm.text.ChatSampler):
        with pytest.raises(ValueError, match=expected):
            sampler(model=tiny.model, params=wrapped)


def test_trees_of_deepmind_name_what_converts_them(tiny, tokens):
    tree = gm.ckpts.to_deepmind(tiny.params, tiny.model.config)
    with pytest.raises(ValueError, match=r"params = gm\.ckpts\.from_deepmind\(params"):
        tiny.model.apply({"params": tree}, tokens)
    with pytest.raises(ValueError, match=r"params = gm\.ckpts\.from_deepmind\(params"):
        gm.text.Sampler(model=tiny.model, params=tree)
    flat = {"transformer/embedder": {"input_embedding": jnp.ones([4, 4])}, "x": {}}
    with pytest.raises(ValueError, match=r"in the layout of DeepMind's library"):
        tiny.model.apply({"params": flat}, tokens)


@pytest.mark.parametrize("params", [{}, {"w": 1}, {"embedder": 3, "b": 2}])
def test_params_of_something_else(tiny, tokens, params):
    with pytest.raises(
        ValueError, match=r"lack 'embedder/input_embedding'; they begin"
    ):
        tiny.model.apply({"params": params}, tokens)


@pytest.mark.parametrize("tokens", [jnp.ones([1, 4], jnp.int32), [[2, 3]]])
def test_init_with_tokens_names_the_call(tiny, tokens):
    with pytest.raises(TypeError, match=r"found tokens.*model\.init\(key\)"):
        tiny.model.init(jax.random.key(0), tokens)


def test_init_with_a_dtype(tiny):
    params = tiny.model.init(jax.random.key(0), "bfloat16")
    assert params["final_norm"].dtype == jnp.bfloat16
