"""transformers and this library, side by side on models made here and now.

Needs torch and transformers; `make parity` installs them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

from gemma import gm
from gemma.gm.text._draw import keep_probable, stack

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

from make_goldens import PROMPTS, answer, load_embedded  # noqa: E402
from shapes import SHAPES, random_model  # noqa: E402

pytestmark = [
    pytest.mark.parity,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
SEED = 1000  # not one of the goldens'


def apply(model, params, tokens):
    return jax.jit(lambda p, t: model.apply({"params": p}, t).logits)(params, tokens)


def their_logits(model, tokens) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor(tokens)).logits.float().numpy()


def rms(x) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


def some_tokens(vocab_size: int, shape=(2, 17)) -> np.ndarray:
    return np.random.default_rng(SEED).integers(3, vocab_size - 4, shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_their_folder_here(name, tmp_path):
    theirs = random_model(SHAPES[name](), seed=SEED)
    theirs.save_pretrained(tmp_path)
    model, params = gm.ckpts.load_model(tmp_path)
    tokens = some_tokens(model.config.vocab_size)
    logits = apply(model, params, tokens.astype(np.int32))
    assert_close(logits, their_logits(theirs, tokens), law="parity")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma1_mqa", "gemma2_gqa"])
def test_linear_rope_scaling_of_gemma_1_and_2(name, tmp_path):
    """It was ignored without a word. A folder that is written here has it too."""
    config = SHAPES[name]()
    config.rope_parameters |= {"rope_type": "linear", "factor": 4.0}
    theirs = random_model(config, seed=SEED)
    theirs.save_pretrained(tmp_path / "theirs")
    model, params = gm.ckpts.load_model(tmp_path / "theirs")
    tokens = some_tokens(model.config.vocab_size)
    expected = their_logits(theirs, tokens)
    logits = apply(model, params, tokens.astype(np.int32))
    assert_close(logits, expected, law="parity")
    gm.ckpts.save_model(tmp_path / "ours", model, params)
    back = type(theirs).from_pretrained(tmp_path / "ours", attn_implementation="eager")
    np.testing.assert_array_equal(their_logits(back, tokens), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_their_bfloat16_folder_here(name, tmp_path):
    """The same weights in float32 arithmetic, and in bfloat16 arithmetic."""
    made = random_model(SHAPES[name](), seed=SEED)
    made.bfloat16().save_pretrained(tmp_path)
    model, params = gm.ckpts.load_model(tmp_path, dtype=jnp.float32)
    tokens = some_tokens(model.config.vocab_size)
    # Read again, because bfloat16() has also rounded what is in no checkpoint.
    exact, rounded = (
        their_logits(type(made).from_pretrained(tmp_path, dtype=dtype), tokens)
        for dtype in (torch.float32, torch.bfloat16)
    )
    logits = apply(model, params, tokens.astype(np.int32))
    assert_close(logits, exact, law="parity")

    _, narrow = gm.ckpts.load_model(tmp_path, dtype=jnp.bfloat16)
    logits = apply(model, narrow, tokens.astype(np.int32))
    # Roundings differ, so there is no tolerance for a single logit: ours may be no
    # further from the exact ones than theirs, all in all.
    assert rms(logits - exact) < 1.5 * rms(rounded - exact)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["f32", "bf16"])
def test_our_folder_there(tiny, dtype, tmp_path):
    """What save_model writes, transformers reads."""
    folder = tmp_path / "saved"
    gm.ckpts.save_model(folder, tiny.model, tiny.params, dtype=dtype)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tokens = some_tokens(tiny.model.config.vocab_size)
    params = jax.tree.map(lambda w: w.astype(dtype).astype(jnp.float32), tiny.params)
    logits = apply(tiny.model, params, tokens.astype(np.int32))
    assert_close(logits, their_logits(theirs, tokens), law="parity")


@pytest.mark.parametrize("vocab_size", [11, 700])
@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 3},
        {"top_p": 0.7},
        {"min_p": 0.2},
        {"top_k": 8, "top_p": 0.9},
        {"top_p": 0.9, "min_p": 0.1},
        {"top_k": 9, "top_p": 0.95, "min_p": 0.05},
    ],
    ids=str,
)
def test_sampling_keeps_the_same_tokens(options, vocab_size):
    """Their processors in the order of `generate`, on logits without ties."""
    logits = 2 * np.random.default_rng(SEED).normal(size=(16, vocab_size))
    theirs = torch.tensor(logits, dtype=torch.float32) / 1.3
    make = {
        "top_k": transformers.TopKLogitsWarper,
        "top_p": transformers.TopPLogitsWarper,
        "min_p": transformers.MinPLogitsWarper,
    }
    for name, value in options.items():
        theirs = make[name](value)(None, theirs)
    sampling = gm.text.Sampling(temperature=1.3, **options)
    probs = jax.nn.softmax(jnp.float32(logits) / 1.3)
    ours = keep_probable(probs, stack([sampling] * 16, range(16)))
    ours = ours / ours.sum(axis=1, keepdims=True)
    assert_close(ours, theirs.softmax(dim=1).numpy(), law="formula")


@pytest.fixture(scope="session")
def their_embedded(embedded_path):
    """The embedded model as transformers reads it, and the tokenizer."""
    return load_embedded(embedded_path)


@pytest.mark.embedded
@pytest.mark.slow
def test_embedded_weights_are_equal(their_embedded, embedded_sampler):
    """Every weight of the GGUF file, by way of the names of a Hugging Face folder."""
    model, params = embedded_sampler.model, embedded_sampler.params
    theirs = their_embedded[0].state_dict()
    names = gm.ckpts._names_huggingface.names_huggingface(model.config, theirs)
    for path, weight in gm.weights.flatten(params).items():
        expected = theirs[names[path].name].numpy().reshape(weight.shape)
        np.testing.assert_array_equal(weight, expected, err_msg=path)


@pytest.mark.embedded
@pytest.mark.slow
def test_embedded_logits(their_embedded, embedded_sampler):
    model, params = embedded_sampler.model, embedded_sampler.params
    tokens = np.array([embedded_sampler.tokenizer.encode(" ".join(PROMPTS[:10]))])
    logits = apply(model, params, tokens.astype(np.int32))
    expected = their_logits(their_embedded[0], tokens)
    assert_close(logits, expected, law="parity_embedded")


@pytest.mark.embedded
@pytest.mark.slow
@pytest.mark.parametrize("prompt", PROMPTS[::5])  # goldens have them all
def test_embedded_greedy_tokens(prompt, their_embedded, embedded_sampler):
    """The same tokens, up to the first that transformers is not sure of."""
    expected = answer(*their_embedded, prompt)
    found = embedded_sampler.generate(
        expected["prompt_ids"], max_new_tokens=expected["num_sure"]
    )
    assert list(found.token_ids) == expected["greedy"][: len(found.token_ids)]
