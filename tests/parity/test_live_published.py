"""Replicas of published repositories in transformers and here: numbers and templates.

Needs torch and transformers; `make parity` installs them.
"""

import functools
import json

import jax
import numpy as np
import pytest
from published import READ, ROWS, TEMPLATES, make_replica, replica_config, template_of
from tolerances import assert_close

from gemma import gm, hf

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

pytestmark = [
    pytest.mark.parity,
    pytest.mark.slow,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
# Longer than the window of 8.
IDS = np.random.default_rng(5).integers(3, ROWS, (2, 13))
QUESTION = {"role": "user", "content": " the rain\n"}
ANSWER = {"role": "assistant", "content": "on the roof"}
ITEM = {"type": "text", "text": "la pluie", "source_lang_code": "fr"}
DIALOGS = {
    "gemma2": [QUESTION, ANSWER, QUESTION],
    "gemma3": [{"role": "system", "content": "Be brief."}, QUESTION, ANSWER, QUESTION],
    "functions": [{"role": "developer", "content": "Call."}, QUESTION],
    "translation": [{"role": "user", "content": [ITEM | {"target_lang_code": "en"}]}],
    "guard": [QUESTION],
}
VARIABLES = {"guard": {"guideline": "no lies"}}


@functools.cache
def ours(config):
    """Returns the compiled model; many replicas are of one shape."""
    model = gm.nn.Transformer(config)
    return jax.jit(lambda params, ids: model.apply({"params": params}, ids).logits)


def read(folder, name):
    """Returns a replica as the Auto class for it reads it, in float32."""
    has_images = "vision_config" in replica_config(name)
    kind = "AutoModelForImageTextToText" if has_images else "AutoModelForCausalLM"
    theirs = getattr(transformers, kind).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return theirs.eval(), getattr(hf, kind).from_pretrained(folder, dtype="float32")


@pytest.mark.parametrize("name", READ)
def test_logits_of_replicas(name, tmp_path):
    folder = make_replica(name, tmp_path / "replica")
    theirs, of_hf = read(folder, name)
    assert type(theirs).__name__ == type(of_hf).__name__
    ids, inputs = torch.tensor(IDS), {}
    if "vision_config" in replica_config(name):
        ids[0, 4] = ROWS  # an image is one token
        levels = np.random.default_rng(7).integers(0, 256, (1, 3, 56, 56))
        inputs = {
            "pixel_values": torch.tensor((levels / 255 - 0.5) / 0.5).float(),
            "token_type_ids": (ids == ROWS).long(),
        }
    with torch.no_grad():
        expected = theirs(ids, **inputs).logits.numpy()
    assert_close(of_hf(ids, **inputs).logits.numpy(), expected, law="parity")
    model, params = gm.ckpts.load_model(folder, dtype="float32")
    with torch.no_grad():
        expected = theirs(torch.tensor(IDS)).logits.numpy()
    found = ours(model.config)(params, IDS.astype(np.int32))
    assert_close(found, expected, law="parity")


@pytest.mark.parametrize("name", [name for name in READ if template_of(name)])
def test_chat_templates_of_replicas(name, tmp_path):
    folder = make_replica(name, tmp_path / "replica")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    template = template_of(name)
    assert tokenizer.chat_template == theirs.chat_template == TEMPLATES[template]
    options = VARIABLES.get(template, {}) | {"tokenize": False}
    for adds in (False, True):
        expected, found = (
            t.apply_chat_template(
                DIALOGS[template], add_generation_prompt=adds, **options
            )
            for t in (theirs, tokenizer)
        )
        assert found == expected
    assert "the rain" in found or "la pluie" in found
    assert json.loads((folder / "tokenizer_config.json").read_bytes())
