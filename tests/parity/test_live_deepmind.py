"""DeepMind's own library and this one, side by side.

Both are imported as `gemma`, so theirs needs an environment of its own, whose Python the
variable GEMMA_DEEPMIND_PYTHON names; without it these tests are skipped. They were run
with gemma 3.3.0, kauldron 1.3.0, jax 0.8.1, flax 0.12.1, orbax-checkpoint 0.11.28 and
typeguard 4.4.1. Those that pip takes by itself do not serve: gemma 3.3.0 cannot be
imported with kauldron 1.4, kauldron 1.3 not with jax 0.10, and typeguard 4.6 refuses its
calls. TensorFlow and what else kauldron imports and a model never calls may be empty
modules of those names; here they were.
"""

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

pytest.importorskip("orbax.checkpoint")

from orbax_trees import EYES

from gemma import gm
from gemma.gm.ckpts._names_orbax import default_spelling
from gemma.gm.nn import RopeConfig, gemma1_config, gemma2_config, gemma3_config
from gemma.gm.weights import flatten

pytestmark = pytest.mark.slow

PEER = Path(__file__).parent / "deepmind_peer.py"
TOKENIZER = Path(__file__).parent.parent / "data" / "tiny_tokenizer.model"
VOCAB_SIZE = 480  # of the tiny tokenizer
PROMPT = "the quick brown fox"
# Tokens that they put around an image: an empty line, its start and its end.
LINE, START, END = 108, 255_999, 256_000
# Models that their arrays tell, so that no config.json is needed ...
TOLD = {
    "gemma1_mqa": gemma1_config(
        num_layers=2, embed_dim=32, hidden_dim=48, num_heads=4, num_kv_heads=1,
        head_dim=8, vocab_size=VOCAB_SIZE,
    ),
    "gemma1_mha_wide": gemma1_config(
        num_layers=1, embed_dim=24, hidden_dim=40, num_heads=3, num_kv_heads=3,
        head_dim=16, vocab_size=VOCAB_SIZE,
    ),
    "gemma3_eyes": gemma3_config(
        num_layers=7, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1,
        head_dim=8, vocab_size=END + 1, vision=EYES,
    ),
}  # fmt: skip
# ... and models with windows and caps that bite, which they do not tell.
CASES = TOLD | {
    "gemma2_gqa": gemma2_config(
        num_layers=3, embed_dim=32, hidden_dim=48, num_heads=4, num_kv_heads=2,
        head_dim=16, query_pre_attn_scalar=8, window=5, attn_softcap=2.0,
        final_softcap=4.0, vocab_size=VOCAB_SIZE,
    ),
    "gemma3_gqa_stretched": gemma3_config(
        num_layers=8, embed_dim=24, hidden_dim=40, num_heads=4, num_kv_heads=2,
        head_dim=16, query_pre_attn_scalar=6, window=6, vocab_size=VOCAB_SIZE,
        global_rope=RopeConfig(theta=1_000_000.0, factor=8.0),
    ),
}  # fmt: skip
# The two that their sampler is asked to go on with; their library has no Gemma 1.
ASKED = ["gemma2_gqa", "gemma3_gqa_stretched"]
PUBLISHED = [name for name in gm.nn.CATALOG if not name.startswith("Gemma1")]
# Rows of their tables, which Hugging Face cut to 256,000 and filled to 262,208.
ROWS = {"gemma2": 256_128, "gemma3": 262_144}
LAYOUTS = {
    "nested": "nested",
    "flat": "flat",
    "stacked": "stacked",
    "training": "training/checkpoints/ckpt_3",
}


def their_fields(config):
    """Returns our config as the fields of theirs."""
    layer = config.layers[0]
    ropes = {x.is_local: x.rope for x in config.layers}
    near, far = (ropes.get(is_local, RopeConfig()) for is_local in (True, False))
    is_by_heads = layer.query_scale == layer.head_dim**-0.5
    kind = "HEAD_DIM" if is_by_heads else "EMBED_DIM_DIV_NUM_HEADS"
    return {
        "num_embed": config.vocab_size,
        "embed_dim": config.embed_dim,
        "hidden_dim": layer.hidden_dim,
        "num_heads": layer.num_heads,
        "head_dim": layer.head_dim,
        "num_kv_heads": layer.num_kv_heads,
        "final_logit_softcap": config.final_softcap,
        "use_post_attn_norm": layer.post_norms,
        "use_post_ffw_norm": layer.post_norms,
        "attention_types": [
            "LOCAL_SLIDING" if x.is_local else "GLOBAL" for x in config.layers
        ],
        "query_pre_attn_norm": f"BY_ONE_OVER_SQRT_{kind}",
        "attn_logits_soft_cap": layer.attn_softcap,
        "sliding_window_size": layer.window,
        "transpose_gating_einsum": default_spelling(config).gate_first,
        "use_qk_norm": layer.qk_norm,
        "local_base_frequency": near.theta,
        "global_base_frequency": far.theta,
        "local_scale_factor": near.factor,
        "global_scale_factor": far.factor,
        "vision_encoder": None if config.vision is None else their_eyes(config.vision),
    }


def their_eyes(eyes):
    """Returns the sizes of our eyes by their names."""
    return {
        "image_size": eyes.image_size,
        "patch_size": eyes.patch_size,
        "num_soft_tokens": eyes.tokens_per_image,
        "width": eyes.embed_dim,
        "mlp_dim": eyes.hidden_dim,
        "depth": eyes.num_layers,
        "num_heads": eyes.num_heads,
    }


def some_inputs(config) -> dict[str, np.ndarray]:
    """Returns tokens, and two images in the midst of them for a model with eyes."""
    rng = np.random.default_rng(11)
    tokens = rng.integers(8, VOCAB_SIZE, (1, 19), np.int32)
    if config.vision is None:
        return {"tokens": tokens}
    tokens[:, [2, 7]] = START
    size = config.vision.image_size
    return {
        "tokens": tokens,
        "images": rng.integers(0, 256, (1, 2, size, size, 3), np.uint8),
    }


def our_logits(model, params, inputs):
    """Returns our logits of the tokens that stand for themselves."""
    (tokens,) = inputs["tokens"]
    is_text = tokens != START
    if "images" not in inputs:
        return logits_of(model, params, tokens)[is_text]
    eyes = model.config.vision
    image = [LINE, START, *[eyes.soft_token] * eyes.tokens_per_image, END, LINE]
    parts = [image if token == START else [token] for token in tokens]
    kept = [i for i, part in enumerate(parts) for _ in part]
    logits = logits_of(model, params, np.concatenate(parts), images=inputs["images"][0])
    return logits[is_text[kept]]


def logits_of(model, params, tokens, **images):
    run = jax.jit(lambda p, t, **x: model.apply({"params": p}, t, **x).logits[0])
    return run(params, jnp.asarray(tokens, jnp.int32)[None], **images)


@pytest.fixture(scope="module")
def cases(tmp_path_factory, tiny_of):
    """A folder with each case, after their library has answered."""
    python = os.environ.get("GEMMA_DEEPMIND_PYTHON")
    if python is None:
        pytest.skip("GEMMA_DEEPMIND_PYTHON names no Python with DeepMind's gemma")
    root = tmp_path_factory.mktemp("deepmind")
    for name, config in CASES.items():
        write_case(root / name, tiny_of(config), PROMPT if name in ASKED else "")
    command = [python, "-W", "ignore", str(PEER), str(root), *PUBLISHED]
    subprocess.run(command, check=True)
    return root


def write_case(folder, tiny, prompt):
    """Writes what `deepmind_peer.py` reads."""
    folder.mkdir()
    config = tiny.model.config
    case = {"config": their_fields(config), "prompt": prompt}
    (folder / "case.json").write_text(json.dumps(case))
    np.savez(folder / "inputs.npz", allow_pickle=False, **some_inputs(config))
    gm.ckpts.save_params(tiny.params, folder / "ours", model=tiny.model)
    shutil.copy(TOKENIZER, folder / "tokenizer.model")


@pytest.fixture(params=CASES)
def case(request, cases):
    return cases / request.param


def load_theirs(case, layout):
    """Loads a checkpoint that they wrote."""
    folder = case / LAYOUTS[layout]
    if case.name not in TOLD:
        stated = gm.ckpts.config_to_json(CASES[case.name], "float32")
        (folder / "config.json").write_text(json.dumps(stated))
    return gm.ckpts.load_model(folder, dtype="float32")


def test_logits_of_their_checkpoint(case):
    model, params = load_theirs(case, "nested")
    inputs = some_inputs(model.config)
    is_text = inputs["tokens"][0] != START
    expected = np.load(case / "theirs.npy")[0, is_text]
    assert_close(our_logits(model, params, inputs), expected, law="parity")


@pytest.mark.parametrize("layout", ["flat", "stacked", "training"])
def test_all_their_layouts_hold_one_model(case, layout):
    _, expected = load_theirs(case, "nested")
    _, found = load_theirs(case, layout)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_their_arrays_tell_the_model(cases, layout, name):
    assert gm.ckpts.load_config(cases / name / LAYOUTS[layout]) == TOLD[name]


def test_logits_of_our_checkpoint_there(case, tiny_of):
    tiny = tiny_of(CASES[case.name])
    inputs = some_inputs(tiny.model.config)
    is_text = inputs["tokens"][0] != START
    found = np.load(case / "ours.npy")[0, is_text]
    assert_close(found, our_logits(tiny.model, tiny.params, inputs), law="parity")


def tree_of(config):
    """Returns path, shape and dtype of each array of our params in their tree."""
    model = gm.nn.Transformer(config)
    tree = jax.eval_shape(
        lambda: gm.ckpts.to_deepmind(model.init(jax.random.key(0)), config)
    )
    return {name: [list(x.shape), x.dtype.name] for name, x in flatten(tree).items()}


def test_tree_is_that_of_their_modules(case):
    expected = json.loads((case / "tree.json").read_text())
    assert tree_of(CASES[case.name]) == expected


@pytest.fixture(params=PUBLISHED)
def published(request, cases):
    """A published model: our config with their rows, their config and tree."""
    config = gm.nn.CATALOG[request.param]
    theirs = json.loads((cases / "published.json").read_text())[request.param]
    rows = ROWS[config.family]
    return dataclasses.replace(config, vocab_size=rows), theirs


def test_published_models_are_theirs(published):
    """Sizes, pattern, windows, caps, scales, rotation and eyes."""
    config, theirs = published
    assert their_fields(config) == theirs["config"]


def test_trees_of_published_models_are_theirs(published):
    """Shapes alone: text is of 16 bits there, which is nothing to the tree."""
    config, theirs = published
    found = {name: shape for name, (shape, _) in tree_of(config).items()}
    assert found == {name: shape for name, (shape, _) in theirs["tree"].items()}


@pytest.mark.parametrize("name", ASKED)
def test_greedy_answer_of_their_sampler(cases, name, tiny_of, tiny_tokenizer):
    tiny = tiny_of(CASES[name])
    sampler = gm.text.Sampler(
        model=tiny.model,
        params=tiny.params,
        tokenizer=tiny_tokenizer,
        cache_length=64,
    )
    found = list(sampler.generate(PROMPT, max_new_tokens=8).token_ids)
    written = json.loads((cases / name / "answer.json").read_text())
    # After its end an answer of theirs is padded with zeros.
    expected = [token for token in written if token]
    assert min(len(found), len(expected)) > 3
    assert found[: len(expected)] == expected[: len(found)]
