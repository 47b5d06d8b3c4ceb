"""The tokenizers that Google published, where somebody fetched them."""

import copy

import pytest
from data.fetch_tokenizers import folder_of

from gemma.hf import GemmaTokenizerFast


@pytest.fixture(scope="session")
def real_folder():
    """A function from "gemma1" or "gemma3" to the folder of its tokenizer."""

    def find(name: str):
        folder = folder_of(name)
        if not folder.exists():
            pytest.skip(
                f"The tokenizer of {name} is not at {folder}: "
                "python tests/data/fetch_tokenizers.py fetches it."
            )
        return folder

    return find


@pytest.fixture(scope="session")
def real_tokenizer(real_folder):
    """A function from a name to a tokenizer, whose settings a test may change.

    A vocabulary takes seconds to read, so each is read once.
    """
    read = {}

    def make(name: str) -> GemmaTokenizerFast:
        if name not in read:
            read[name] = GemmaTokenizerFast.from_pretrained(real_folder(name))
            # What is made when it is first needed is in all copies then.
            read[name].convert_tokens_to_ids("<bos>")
        return copy.copy(read[name])

    return make
