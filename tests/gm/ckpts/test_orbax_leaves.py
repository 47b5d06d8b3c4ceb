"""Checkpoints of DeepMind's wrappers: LoRA, integer kernels, a policy and its anchor."""

import copy
import dataclasses

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("orbax.checkpoint")

from orbax_trees import EYES, nested_tree, training_state, write_orbax

from gemma import gm
from gemma.gm.ckpts import CheckpointError, from_deepmind, load_params
from gemma.gm.weights import flatten

RANK = 3
# What their layers compute: the letters of a weight and of its factors. G is 2, gate and
# up; C is 2 or 3, keys and values, or queries too.
PRODUCTS = {
    "attn/q_einsum": "Dr,rNH->NDH",
    "attn/kv_einsum": "Dr,rCKH->CKDH",
    "attn/qkv_einsum": "Dr,rCKH->CKDH",
    "attn/attn_vec_einsum": "NHr,rD->NHD",
    "mlp/gating_einsum": "Dr,rGF->GFD",
    "mlp/linear": "Fr,rD->FD",
}
FIRST_AXES = {"mlp/gating_einsum": "Dr,rGF->GDF"}  # of Gemma 1
SEEING = gm.nn.gemma3_config(
    num_layers=1, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1, head_dim=8,
    vocab_size=50, vision=EYES,
)  # fmt: skip


def assert_same(actual, expected, **options):
    actual, expected = flatten(actual), flatten(expected)
    assert actual.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_allclose(actual[path], leaf, err_msg=path, **options)


def with_lora(tree, *, gate_first: bool, wrapper: bool = True):
    """Returns a tree with LoRA factors, and the tree of the weights that they make."""
    rng = np.random.default_rng(3)
    tree, merged = copy.deepcopy(tree), copy.deepcopy(tree)
    products = PRODUCTS if gate_first else PRODUCTS | FIRST_AXES
    for layer in [name for name in tree if name.startswith("layer_")]:
        for path, product in products.items():
            part, name = path.split("/")
            if name not in tree[layer][part]:
                continue
            leaf = tree[layer][part][name]
            weight = leaf["w"] if isinstance(leaf, dict) else leaf
            letters_a, letters_b, letters = product.replace("->", ",").split(",")
            sizes = dict(zip(letters, weight.shape, strict=True)) | {"r": RANK}
            a, b = (
                rng.standard_normal([sizes[x] for x in side]).astype(np.float32)
                for side in (letters_a, letters_b)
            )
            made = weight + np.einsum(product, a, b)
            lora = {"lora": {"a": a, "b": b}}
            if isinstance(leaf, dict):
                leaf |= {"_LoRAEinsum_0": lora} if wrapper else lora
                merged[layer][part][name]["w"] = made
            else:
                tree[layer][part][f"_LoRAEinsum_{name}"] = lora
                merged[layer][part][name] = made
    return tree, merged


@pytest.mark.parametrize("wrapper", [True, False])
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("gate_first", [True, False])
def test_lora_factors_are_added_to_their_weights(
    tiny_model, tmp_path, wrapper, state, gate_first
):
    tiny = tiny_model("gemma2_gqa")
    tree = nested_tree(tiny.params, tiny.model.config, gate_first=gate_first)
    tree, merged = with_lora(tree, gate_first=gate_first, wrapper=wrapper)
    write_orbax(tmp_path / "m", training_state(tree) if state else tree)
    found = load_params(tmp_path / "m", dtype=jnp.float32)
    expected = from_deepmind(merged, tiny.model.config)
    assert_same(found, expected, rtol=1e-5, atol=1e-6)
    assert_same(from_deepmind(tree, tiny.model.config), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(found["layer_0"]["attn"]["q"] - tiny.params["layer_0"]["attn"]["q"]
    ).max() > 0.5  # fmt: skip


def test_lora_of_a_model_with_as_many_keys_as_queries(tiny_model, tmp_path):
    tiny = tiny_model("gemma1_mha_wide")
    tree = nested_tree(tiny.params, tiny.model.config, gate_first=False)
    tree, merged = with_lora(tree, gate_first=False)
    write_orbax(tmp_path / "m", tree)
    found = load_params(tmp_path / "m", dtype=jnp.float32)
    assert_same(found, from_deepmind(merged, tiny.model.config), rtol=1e-5, atol=1e-6)


def test_merged_weights_answer_as_weights_and_adapters_do(tiny_model):
    """x W + x a b, as their layers compute it, is x (W + a b)."""
    tiny = tiny_model("gemma2_gqa")
    tree = nested_tree(tiny.params, tiny.model.config)
    tree, _ = with_lora(tree, gate_first=True)
    x = np.random.default_rng(0).standard_normal((2, 5, 32)).astype(np.float32)
    layer = tree["layer_1"]["attn"]["q_einsum"]
    lora = layer["_LoRAEinsum_0"]["lora"]
    theirs = np.einsum("BTD,NDH->BTNH", x, layer["w"]) + np.einsum(
        "BTD,Dr,rNH->BTNH", x, lora["a"], lora["b"]
    )
    q = from_deepmind(tree, tiny.model.config)["layer_1"]["attn"]["q"]
    np.testing.assert_allclose(
        np.einsum("BTD,NHD->BTNH", x, q), theirs, rtol=1e-4, atol=1e-4
    )


def test_lora_of_16_bits_rounds_once(tiny_model):
    tiny = tiny_model("gemma2_gqa")
    tree = nested_tree(tiny.params, tiny.model.config)
    tree, _ = with_lora(tree, gate_first=True)
    leaf = tree["layer_0"]["attn"]["q_einsum"]
    leaf["w"] = leaf["w"].astype(ml_dtypes.bfloat16)
    lora = leaf["_LoRAEinsum_0"]["lora"]
    exact = leaf["w"].astype(np.float32) + np.einsum("Dr,rNH->NDH", *lora.values())
    q = from_deepmind(tree, tiny.model.config)["layer_0"]["attn"]["q"]
    assert q.dtype == ml_dtypes.bfloat16
    rounded = exact.astype(ml_dtypes.bfloat16).transpose(0, 2, 1)
    # Sums in another order may round the other way.
    np.testing.assert_allclose(
        q.astype(np.float32), rounded.astype(np.float32), rtol=2**-7
    )


def quantized(weight, axes, bits: int):
    """Returns a kernel and scale as `peft.quantize` makes them: w is kernel / scale."""
    most = 2 ** (bits - 1) - 1
    scale = most / np.abs(weight).max(axis=axes, keepdims=True)
    dtype = ml_dtypes.int4 if bits == 4 else np.int8
    kernel = np.clip(np.round(weight * scale), -most - 1, most).astype(dtype)
    return {"kernel": kernel, "scale": scale.astype(np.float32)}


def with_integers(tree, bits: int):
    """Returns a tree of integer kernels, and the tree of what they stand for."""
    tree, plain = copy.deepcopy(tree), copy.deepcopy(tree)
    for layer in [name for name in tree if name.startswith("layer_")]:
        for part, name in (path.split("/") for path in PRODUCTS):
            if name not in tree[layer][part]:
                continue
            leaf = tree[layer][part].pop(name)
            weight = leaf["w"] if isinstance(leaf, dict) else leaf
            made = quantized(weight, tuple(range(weight.ndim - 1)), bits)
            numbers = made["kernel"].astype(np.float32) / made["scale"]
            if isinstance(leaf, dict):
                tree[layer][part][name] = {"_IntEinsum_0": made}
                plain[layer][part][name]["w"] = numbers
            else:
                tree[layer][part][f"_IntEinsum_{name}"] = made
                plain[layer][part][name] = numbers
    return tree, plain


@pytest.mark.parametrize("bits", [4, 8])
def test_integer_kernels_are_divided_by_their_scales(tiny_model, tmp_path, bits):
    tiny = tiny_model("gemma3_mqa")
    tree, plain = with_integers(nested_tree(tiny.params, tiny.model.config), bits)
    write_orbax(tmp_path / "m", tree)
    expected = from_deepmind(plain, tiny.model.config)
    assert_same(load_params(tmp_path / "m", dtype=jnp.float32), expected, rtol=1e-6)
    assert_same(from_deepmind(tree, tiny.model.config), expected, rtol=1e-6)
    assert gm.ckpts.infer_config(tree).num_layers == tiny.model.config.num_layers


def test_kernels_that_stand_where_their_weights_stood(tiny_model):
    """`peft.quantize(in_place_keys=True)`, for attention."""
    tiny = tiny_model("gemma3_mqa")
    tree, plain = with_integers(nested_tree(tiny.params, tiny.model.config), 8)
    for i in range(tiny.model.config.num_layers):
        attn = tree[f"layer_{i}"]["attn"]
        for name in ("q_einsum", "kv_einsum", "attn_vec_einsum"):
            attn[name] = attn[name]["_IntEinsum_0"]
    expected = from_deepmind(plain, tiny.model.config)
    assert_same(from_deepmind(tree, tiny.model.config), expected, rtol=1e-6)


def test_names_of_quantization_aware_training(tiny_model, tmp_path):
    tiny = tiny_model("gemma3_mqa")
    tree = nested_tree(tiny.params, tiny.model.config)
    for i in range(tiny.model.config.num_layers):
        attn, mlp = tree[f"layer_{i}"]["attn"], tree[f"layer_{i}"]["mlp"]
        kernel = attn["q_einsum"].pop("w")
        attn["q_einsum"]["_SimulateQuantizedEinsum_0"] = {"kernel": kernel}
        mlp["_SimulateQuantizedEinsum_linear"] = {"kernel": mlp.pop("linear")}
    write_orbax(tmp_path / "m", tree)
    assert_same(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)


@pytest.mark.slow
def test_lora_of_a_vision_encoder(tiny_of):
    """Flax layers: kernels [inputs, outputs], here [inputs, heads, head width]."""
    params = tiny_of(SEEING).params
    tree = nested_tree(params, SEEING)
    rng = np.random.default_rng(1)
    block = tree["vision_encoder"]["siglip_encoder"]["Transformer"]["encoderblock_0"]
    dense = block["MlpBlock_0"]["Dense_0"]
    query = block["MultiHeadDotProductAttention_0"]["query"]
    expected = []
    for layer in (dense, query):
        kernel = layer["kernel"]
        a = rng.standard_normal((kernel.shape[0], RANK)).astype(np.float32)
        b = rng.standard_normal((RANK, *kernel.shape[1:])).astype(np.float32)
        layer["lora"] = {"a": a, "b": b}
        expected.append(kernel + np.tensordot(a, b, 1))
    vision = from_deepmind(tree, SEEING)["vision"]["layer_0"]
    np.testing.assert_allclose(vision["mlp"]["up"].T, expected[0], rtol=1e-5)
    np.testing.assert_allclose(
        vision["attn"]["q"].transpose(2, 0, 1), expected[1], rtol=1e-5
    )


@pytest.mark.parametrize("state", [False, True])
def test_the_policy_of_a_policy_and_its_anchor(tiny_model, tmp_path, state):
    tiny = tiny_model("gemma2_gqa")
    tree = nested_tree(tiny.params, tiny.model.config)
    both = {
        "policy": tree,
        "anchor": {"embedder": {"input_embedding": np.ones((2, 2))}},
    }
    write_orbax(tmp_path / "m", training_state(both) if state else both)
    assert_same(load_params(tmp_path / "m", dtype=jnp.float32), tiny.params)
    with pytest.raises(
        CheckpointError, match=r"'policy' and 'anchor'.*params\['policy"
    ):
        from_deepmind(both, tiny.model.config)


def test_factors_alone(tiny_model, tmp_path):
    tiny = tiny_model("gemma2_gqa")
    tree, _ = with_lora(nested_tree(tiny.params, tiny.model.config), gate_first=True)
    q = tree["layer_0"]["attn"]["q_einsum"]
    write_orbax(tmp_path / "m", {"layer_0": {"attn": {"q_einsum": {
        "_LoRAEinsum_0": q["_LoRAEinsum_0"]}}}})  # fmt: skip
    with pytest.raises(CheckpointError, match=r"holds LoRA factors alone\. Save them"):
        load_params(tmp_path / "m")
    del q["_LoRAEinsum_0"]["lora"]["b"]
    with pytest.raises(CheckpointError, match=r"LoRA factor '.*/lora/a', but not the"):
        from_deepmind(tree, tiny.model.config)
    q["_LoRAEinsum_0"]["lora"]["b"] = np.ones([RANK, 7], np.float32)
    with pytest.raises(
        CheckpointError, match=r"shapes \(32, 3\) and \(3, 7\), which do"
    ):
        from_deepmind(tree, tiny.model.config)


def test_a_scale_alone(tiny_model):
    tiny = tiny_model("gemma2_gqa")
    tree, _ = with_integers(nested_tree(tiny.params, tiny.model.config), 8)
    del tree["layer_0"]["mlp"]["_IntEinsum_linear"]["kernel"]
    with pytest.raises(CheckpointError, match=r"has scale '.*' and no kernel for it"):
        from_deepmind(tree, tiny.model.config)


def test_a_checkpoint_without_its_projector_loads_as_text(tiny_of, tmp_path):
    """As the int4 archives of Kaggle are."""
    tree = nested_tree(tiny_of(SEEING).params, SEEING)
    del tree["embedder"]["mm_input_projection"]
    write_orbax(tmp_path / "m", tree)
    with pytest.raises(CheckpointError, match="pass text_only=True for the text model"):
        load_params(tmp_path / "m")
    found = load_params(tmp_path / "m", text_only=True, dtype=jnp.float32)
    text = dataclasses.replace(SEEING, vision=None)
    assert gm.nn.fit_to_params(gm.nn.Transformer(SEEING), found).config == text


def test_trees_with_more_rows_than_the_config(tiny_model):
    tiny = tiny_model("gemma2_gqa")
    tree = nested_tree(tiny.params, tiny.model.config)
    other = dataclasses.replace(tiny.model.config, vocab_size=500)
    assert_same(from_deepmind(tree, other), tiny.params)


def test_trees_of_another_model_are_refused(tiny_model):
    tiny = tiny_model("gemma2_gqa")
    tree = nested_tree(tiny.params, tiny.model.config)
    with pytest.raises(
        CheckpointError, match=r"Pass what is in it: params\['params'\]"
    ):
        from_deepmind({"params": tree}, tiny.model.config)
    with pytest.raises(
        CheckpointError, match=r"The params lack 'layer_0/attn/_query_no"
    ):
        from_deepmind(tree, tiny_model("gemma3_mqa").model.config)
