"""Tokens that are added: what models say to them, and what is refused.

What tokenizers make of them is compared with transformers in tests/parity.
"""

import numpy as np
import pytest

from gemma import hf


@pytest.fixture
def tokenizer(tiny_folder):
    return hf.AutoTokenizer.from_pretrained(tiny_folder("gemma3_mqa"))


@pytest.fixture
def lm(tiny_folder):
    return hf.AutoModelForCausalLM.from_pretrained(tiny_folder("gemma3_mqa"))


@pytest.mark.slow
def test_a_model_with_rows_for_added_tokens(tokenizer, lm, tmp_path):
    num_rows, before = lm.config.vocab_size, len(tokenizer)
    assert tokenizer.add_tokens([f"[T{i}]" for i in range(num_rows - before + 2)])
    ids = tokenizer(f"the[T{num_rows - before + 1}]", return_tensors="np")["input_ids"]
    assert ids[0, -1] == num_rows + 1
    with pytest.raises(ValueError, match="resize_token_embeddings"):
        lm(ids)
    with pytest.raises(ValueError, match="resize_token_embeddings"):
        lm.generate(ids, max_new_tokens=2)
    lm.resize_token_embeddings(len(tokenizer))
    found = lm.generate(ids, max_new_tokens=2, do_sample=False, eos_token_id=[])
    lm.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path)
    options = {"max_new_tokens": 2, "do_sample": False, "eos_token_id": []}
    np.testing.assert_array_equal(again.generate(ids, **options), found)
    read = hf.AutoTokenizer.from_pretrained(tmp_path)
    assert read.get_added_vocab() == tokenizer.get_added_vocab()


def test_a_copy_of_a_tokenizer_is_left_alone(tokenizer, tiny_folder):
    import copy

    other, before = copy.copy(tokenizer), tokenizer.get_added_vocab()
    assert other.add_tokens("[NEW]", special_tokens=True) == 1
    assert tokenizer.get_added_vocab() == before
    assert other.decode([len(before), len(other) - 1], skip_special_tokens=True) == (
        tokenizer.decode([len(before)])
    )


REFUSED = {
    "strip": (
        hf.AddedToken("[T]", lstrip=True),
        ValueError,
        "lstrip=True, which cannot",
    ),
    "number": ([3], TypeError, "A token is a int; a str or an AddedToken"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tokenizer):
    tokens, kind, message = REFUSED[name]
    before = len(tokenizer)
    with pytest.raises(kind, match=message):
        tokenizer.add_tokens(tokens)
    assert len(tokenizer) == before


def test_no_such_part(tokenizer):
    with pytest.raises(ValueError, match="'cls_token' is no part"):
        tokenizer.add_special_tokens({"cls_token": "[CLS]"})
