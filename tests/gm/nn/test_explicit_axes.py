"""Meshes of which each array's type says where it lies: JAX's default kind."""

import os
import subprocess
import sys

import pytest

from gemma.gm.nn import with_automatic_axes

BEGIN = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from gemma import gm

folder = sys.argv[1]
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
def at(*spec): return NamedSharding(mesh, P(*spec))
model, one = gm.ckpts.load_model(folder, dtype=jnp.float32)
layer = {
    "attn": {**dict.fromkeys(one["layer_0"]["attn"], at()), "q": at("model")},
    "mlp": {"gate": at("model"), "up": at("model"), "down": at(None, "model")},
    **dict.fromkeys(set(one["layer_0"]) - {"attn", "mlp"}, at()),
}
places = {"embedder": at("model"), "final_norm": at()}
places |= {name: layer for name in one if name.startswith("layer_")}
many = gm.ckpts.load_params(folder, dtype=jnp.float32, sharding=places)
assert jax.typeof(many["layer_0"]["mlp"]["up"]).sharding.spec == P("model", None)
tokens = jnp.asarray(np.arange(8, 24).reshape(2, 8), jnp.int32)
rows = jax.device_put(tokens, at("data"))
"""

APPLY = """
expected = model.apply({"params": one}, tokens).logits
run = lambda params, tokens: model.apply({"params": params}, tokens).logits
loss = lambda params, tokens: (run(params, tokens) ** 2).mean()
wanted = jax.jit(jax.grad(loss))(one, tokens)["layer_0"]["mlp"]["up"]
np.testing.assert_allclose(jax.jit(run)(many, tokens), expected, atol=1e-4)
jax.set_mesh(mesh)
found = model.apply({"params": many}, tokens=rows).logits
np.testing.assert_allclose(found, expected, atol=1e-4)
assert jax.typeof(found).sharding.spec[0] == "data", jax.typeof(found)
up = jax.jit(jax.grad(loss))(many, rows)["layer_0"]["mlp"]["up"]
assert jax.typeof(up).sharding.spec == P("model", None)
np.testing.assert_allclose(up, wanted, rtol=1e-3, atol=1e-5)
cache = model.init_cache(batch_size=2, cache_length=8)
begun = model.apply({"params": many}, rows[:, :5], cache=cache)
ended = model.apply({"params": many}, rows[:, 5:], cache=begun.cache)
np.testing.assert_allclose(ended.logits, expected[:, 5:], atol=1e-4)
"""

SAMPLE = """
tokenizer = gm.text.Tokenizer.from_path(folder)
options = {"model": model, "tokenizer": tokenizer, "cache_length": 64}
def answers(params):
    sampler = gm.text.Sampler(params=params, **options)
    drawn = {"sampling": gm.text.RandomSampling(), "rng": 3}
    hot = sampler.generate("it is", max_new_tokens=4, **drawn)
    output = sampler.sample("the world", max_new_tokens=4, return_state=True)
    more = sampler.sample(" end", max_new_tokens=3, last_state=output.state)
    return [hot, output.text, more], np.asarray(output.state.logits)
expected, logits = answers(one)
jax.set_mesh(mesh)
found, its_logits = answers(many)
assert found == expected
np.testing.assert_allclose(its_logits, logits, atol=1e-4)
"""


def run(code: str, folder) -> None:
    """Runs code in a process that has four devices."""
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, folder],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("code", [APPLY, SAMPLE], ids=["apply", "sample"])
def test_explicit_axes(tiny_folder, code):
    run(code, tiny_folder("gemma1_mqa"))


def test_params_of_one_device_stay_as_they_are(tiny):
    assert with_automatic_axes(tiny.params) is tiny.params
