"""Tokens that are added to the tokenizers of transformers and ours."""

import pytest
from data.processor_folder import write_processor

from gemma import hf

transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

pytestmark = [
    pytest.mark.parity,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
TEXTS = [
    "the [TOOL] rain[TOOL]", "a newword and anewwordb", "the<call>hill", "the hill",
    "[PAD]the", "the sea  is new", "<bos>[TOOL]",
]  # fmt: skip
STEPS = {
    "texts": lambda t: t.add_tokens(["newword", "[TOOL]"]),
    "one": lambda t: t.add_tokens("<call>"),
    "twice": lambda t: (t.add_tokens("newword"), t.add_tokens(["newword", "x y"])),
    "special": lambda t: t.add_tokens(["[TOOL]", "<call>"], special_tokens=True),
    "there already": lambda t: t.add_tokens(["hill", "▁the", "newword"]),
    "special already": lambda t: t.add_tokens(["<bos>"], special_tokens=True),
    "parts": lambda t: t.add_special_tokens(
        {"pad_token": "[PAD]", "additional_special_tokens": ["<call>"]}
    ),
    "extra": lambda t: t.add_special_tokens({"extra_special_tokens": ["[TOOL]"]}),
    "no token": lambda t: t.add_tokens([]),
    "objects": lambda t: t.add_tokens(
        [transformers.AddedToken("[TOOL]", special=True), "newword"]
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_processor(tmp_path_factory.mktemp("tokens"))


@pytest.fixture
def pair(folder):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    return theirs, hf.AutoTokenizer.from_pretrained(folder)


def described(tokenizer):
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    return {
        "length": len(tokenizer),
        "ids": ids,
        "texts": tokenizer.batch_decode(ids),
        "skipped": tokenizer.batch_decode(ids, skip_special_tokens=True),
        "added": tokenizer.get_added_vocab(),
        "special": {
            i: token.special for i, token in tokenizer.added_tokens_decoder.items()
        },
        "pad": (tokenizer.pad_token, tokenizer.pad_token_id),
        "new": tokenizer.convert_tokens_to_ids(["newword", "[TOOL]", "<call>"]),
    }


@pytest.mark.parametrize("name", STEPS)
def test_added_tokens(name, pair):
    theirs, ours = pair
    assert described(ours) == described(theirs)
    assert STEPS[name](ours) == STEPS[name](theirs)
    assert described(ours) == described(theirs)


@pytest.mark.parametrize("name", STEPS)
def test_added_tokens_are_saved(name, pair, tmp_path):
    theirs, ours = pair
    STEPS[name](theirs)
    STEPS[name](ours)
    expected = described(theirs)
    ours.save_pretrained(tmp_path)
    assert described(hf.AutoTokenizer.from_pretrained(tmp_path)) == expected
    assert described(transformers.AutoTokenizer.from_pretrained(tmp_path)) == expected
