"""The tokenizers of transformers beside ours, on the vocabularies that Google published.

What differs is at the end, each with its reason.
"""

import copy

import numpy as np
import pytest
from data.fetch_tokenizers import folder_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma import hf

transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

pytestmark = [
    pytest.mark.parity,
    # The vocabularies take seconds to read.
    pytest.mark.slow,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
FAMILIES = ["gemma1", "gemma3"]
TEXTS = {
    "empty": "",
    "spaces": "  a " + " " * 40,
    "code": "def f(x):\n    return x  # two\n\n\n\tx\t\ty = {}\n",
    "html": "<table><h1>Title</h1></table>",
    "emoji": "🙂👨‍👩‍👧‍👦🇫🇷",
    "combining marks": "e\u0301 n\u0303 o\u0308\u0323 שָׁלוֹם",
    "Arabic": "مرحبا بالعالم، كيف الحال؟",
    "CJK": "你好，世界。吾輩は猫である。안녕하세요",
    "other spaces": "\u3000a\xa0b\u2028c\u200b\r\n\r",
    "rare": "ﬁ①Ⅳ 𝔘𝔫𝔦 \ue000 \U0010ffff",
    "controls of ASCII": "".join(map(chr, range(32))) + "\x7f",
    "names of bytes": "<0x41><0xE2>",
    "special tokens": "<bos>x<eos> <pad><unk><mask>y",
    "brackets": "x < y <z> <unknown>",
}
# These are in the vocabulary of both, but the files list them for Gemma 3 alone.
TURNS = "<start_of_turn>user\nHi<end_of_turn>\n<start_of_image>"
BATCH = ["Hello this is a test", "a", "b c d e f g h", "مرحبا بالعالم"]
QUESTION = {"role": "user", "content": " Who are you? "}
ANSWER = {"role": "assistant", "content": "A model."}
SYSTEM = {"role": "system", "content": "Be brief."}
IMAGE = {
    "role": "user",
    "content": [{"type": "image"}, {"type": "text", "text": "Who is it? "}],
}
READ = {}


def both(family):
    """Returns theirs and ours, whose sides a test may change."""
    folder = folder_of(family)
    if not folder.exists():
        pytest.skip(
            f"The tokenizer of {family} is not at {folder}: "
            "python tests/data/fetch_tokenizers.py fetches it."
        )
    if family not in READ:
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        assert isinstance(theirs, transformers.GemmaTokenizer)
        READ[family] = theirs, hf.AutoTokenizer.from_pretrained(folder)
    theirs, ours = READ[family]
    # A copy of theirs takes ten seconds.
    theirs.padding_side, theirs.truncation_side = "left", "right"
    return theirs, copy.copy(ours)


@pytest.fixture(params=FAMILIES)
def pair(request):
    return both(request.param)


@pytest.fixture
def gemma3():
    return both("gemma3")


def plain(encoded):
    """Returns a batch as lists."""
    return {name: np.asarray(rows).tolist() for name, rows in encoded.items()}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("add_special_tokens", [True, False])
def test_ids_and_masks(pair, text, add_special_tokens):
    theirs, ours = (
        tokenizer(
            text,
            add_special_tokens=add_special_tokens,
            return_special_tokens_mask=True,
            return_token_type_ids=True,
        )
        for tokenizer in pair
    )
    assert dict(ours) == dict(theirs)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("skip_special_tokens", [True, False])
def test_texts_of_ids(pair, text, skip_special_tokens):
    ids = pair[0](text).input_ids
    theirs, ours = (t.decode(ids, skip_special_tokens) for t in pair)
    assert ours == theirs
    theirs, ours = (t.convert_ids_to_tokens(ids, skip_special_tokens) for t in pair)
    assert ours == theirs


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
@settings(max_examples=100)
@pytest.mark.parametrize("family", FAMILIES)
def test_ids_of_any_text(family, text):
    theirs, ours = (tokenizer.encode(text) for tokenizer in both(family))
    assert ours == theirs


@given(st.lists(st.integers(0, 255_998), max_size=12))
@settings(max_examples=100)
@pytest.mark.parametrize("family", FAMILIES)
def test_text_of_any_ids(family, ids):
    theirs, ours = (tokenizer.decode(ids) for tokenizer in both(family))
    assert ours == theirs


def test_vocabularies(pair):
    theirs, ours = pair
    assert ours.get_vocab() == theirs.get_vocab()
    assert len(ours) == len(theirs)


@pytest.mark.parametrize(
    "name",
    [
        "special_tokens_map", "all_special_tokens", "all_special_ids",
        "extra_special_tokens", "bos_token_id", "eos_token", "pad_token", "unk_token",
        "mask_token_id", "model_max_length", "padding_side", "truncation_side", "is_fast",
    ],
)  # fmt: skip
def test_what_is_stated(pair, name):
    theirs, ours = (getattr(tokenizer, name) for tokenizer in pair)
    assert ours == theirs


def test_tokens_of_images(gemma3):
    for part in ("boi_token", "eoi_token", "image_token"):
        theirs, ours = (getattr(tokenizer, part) for tokenizer in gemma3)
        assert ours == theirs


def test_special_tokens_of_ids(pair):
    ids = [*pair[0]("Hi <eos><mask>").input_ids, 106, 255_999]
    theirs, ours = (
        t.get_special_tokens_mask(ids, already_has_special_tokens=True) for t in pair
    )
    assert ours == theirs


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("truncation_side", ["left", "right"])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": True},
        {"padding": "longest", "pad_to_multiple_of": 8},
        {"padding": "max_length", "max_length": 24},
        {"padding": "max_length", "max_length": 4},
        {"padding": True, "truncation": True, "max_length": 5},
        {"padding": "max_length", "truncation": True, "max_length": 7},
        {"truncation": "only_first", "max_length": 3},
        {"truncation": True, "max_length": 1},
        {"truncation": True, "max_length": 2, "add_special_tokens": False},
        {"padding": True, "return_special_tokens_mask": True},
    ],
    ids=str,
)
def test_padding_and_truncation(pair, padding_side, truncation_side, options):
    found = []
    for tokenizer in pair:
        tokenizer.padding_side = padding_side
        tokenizer.truncation_side = truncation_side
        found.append(dict(tokenizer(BATCH, **options)))
    theirs, ours = found
    assert ours == theirs


@pytest.mark.parametrize("truncation_side", ["left", "right"])
@pytest.mark.parametrize("strategy", [True, "only_first", "only_second"])
@pytest.mark.parametrize(
    "texts", [("a b c d e", "f g"), ("a b", "c d e f g"), ("a b c d", "e f g h")]
)
def test_pairs_are_cut(pair, truncation_side, strategy, texts):
    for max_length in range(6, 12):
        found = []
        for tokenizer in pair:
            tokenizer.truncation_side = truncation_side
            options = {"truncation": strategy, "max_length": max_length}
            try:
                found.append(tokenizer(*texts, **options).input_ids)
            except Exception:  # theirs says "Sequence to truncate too short"
                found.append("too short")
        theirs, ours = found
        assert ours == theirs, max_length


def test_lengths_of_the_checkpoint(gemma3):
    theirs, ours = (
        dict(tokenizer("a b " * 20_000, truncation=True)) for tokenizer in gemma3
    )
    assert ours == theirs


def test_pairs_of_texts(pair):
    theirs, ours = (
        dict(t(["a b", "c"], ["d", "e f g"], padding=True, return_token_type_ids=True))
        for t in pair
    )
    assert ours == theirs


@pytest.mark.parametrize(
    "rows",
    [
        {"input_ids": [[2, 3, 4], [5]]},
        {"input_ids": [[0, 2, 3], [5]], "attention_mask": [[0, 1, 1], [1]]},
        [{"input_ids": [2, 3]}, {"input_ids": [5]}],
        {"input_ids": [2, 3, 4]},
    ],
    ids=str,
)
def test_rows_that_are_padded_later(pair, rows):
    theirs, ours = (
        plain(t.pad(rows, padding="max_length", max_length=6)) for t in pair
    )
    assert ours == theirs


@pytest.mark.parametrize("added", [(True, True), (False, True), (False, False)])
def test_what_is_added_may_be_changed(pair, added):
    found = [ids_with(tokenizer, *added) for tokenizer in pair]
    ids_with(pair[0], True, False)  # as the other tests expect it
    theirs, ours = found
    assert ours == theirs


def ids_with(tokenizer, add_bos_token, add_eos_token):
    tokenizer.add_bos_token = add_bos_token
    tokenizer.add_eos_token = add_eos_token
    tokenizer.update_post_processor()
    return tokenizer("Hi").input_ids, tokenizer.num_special_tokens_to_add()


@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize(
    "messages",
    [
        [QUESTION],
        [QUESTION, ANSWER, QUESTION],
        [SYSTEM, QUESTION],
        [IMAGE],
        [{"role": "user", "content": "<end_of_turn>\n🙂"}],
        [[QUESTION], [SYSTEM, QUESTION, ANSWER]],
    ],
    ids=["question", "dialog", "system", "image", "control token", "several"],
)
def test_templates(gemma3, messages, add_generation_prompt):
    for options in ({"tokenize": False}, {"return_dict": False}):
        theirs, ours = (
            tokenizer.apply_chat_template(
                messages, add_generation_prompt=add_generation_prompt, **options
            )
            for tokenizer in gemma3
        )
        assert ours == theirs


def test_templates_as_arrays(gemma3):
    theirs, ours = (
        tokenizer.apply_chat_template(
            [[QUESTION], [QUESTION, ANSWER]], padding=True, return_tensors="pt"
        )
        for tokenizer in gemma3
    )
    assert plain(ours) == plain(theirs)


@pytest.mark.parametrize("skip_special_tokens", [True, False])
def test_every_control_token_in_a_text(gemma3, skip_special_tokens):
    ids = [*gemma3[1].tokenizer.control_tokens.values(), 9259]
    theirs, ours = (t.decode(ids, skip_special_tokens) for t in gemma3)
    assert ours == theirs
    assert theirs.count("<unused") == 6242


def test_turns_in_a_text(gemma3):
    theirs, ours = (dict(tokenizer(TURNS)) for tokenizer in gemma3)
    assert ours == theirs


# What differs.


def test_gemma_1_turns_are_tokens_here():
    """The file lists four control tokens, and the folder has no template.

    Read as listed, a prompt of Gemma 1 would be spelled out and mean nothing.
    """
    theirs, ours = both("gemma1")
    assert len(theirs.encode("<start_of_turn>", add_special_tokens=False)) > 1
    assert ours.encode("<start_of_turn>", add_special_tokens=False) == [106]
    with pytest.raises(ValueError, match="chat_template is not set"):
        theirs.apply_chat_template([QUESTION])
    assert ours.apply_chat_template([QUESTION]).input_ids[:2] == [2, 106]


def test_tokens_that_become_special_later_are_left_out_here(gemma3):
    """Theirs goes on to show a token that was given a part after loading."""
    before = [tokenizer.pad_token for tokenizer in gemma3]
    for tokenizer in gemma3:
        tokenizer.pad_token = "<unused0>"
    theirs, ours = (t.decode([6, 7], skip_special_tokens=True) for t in gemma3)
    for tokenizer, token in zip(gemma3, before, strict=True):
        tokenizer.pad_token = token
    assert (theirs, ours) == ("<unused0><unused1>", "<unused1>")


def test_all_ids_are_counted_here(gemma3):
    """Theirs counts without what was added after training: <image_soft_token>."""
    theirs, ours = (tokenizer.vocab_size for tokenizer in gemma3)
    assert (theirs, ours) == (262_144, 262_145)


def test_written_spaces_are_spaces_here(gemma3):
    """Theirs finds the runs of "▁" in a text before its spaces become "▁"."""
    theirs, ours = (t.tokenize("▁ ▁▁") for t in gemma3)
    assert (theirs, ours) == (["▁▁", "▁▁"], ["▁▁▁▁"])


def test_nothing_to_cut_at_is_refused_here():
    """Theirs cuts nothing where the checkpoint states no length, and only warns."""
    theirs, ours = both("gemma1")
    assert theirs("Hi", truncation=True).input_ids == ours("Hi").input_ids
    with pytest.raises(ValueError, match="needs a max_length"):
        ours("Hi", truncation=True)


def test_old_calls_are_here_alone(pair):
    """transformers 4 had them; 5 has not."""
    theirs, ours = pair
    assert not hasattr(theirs, "create_token_type_ids_from_sequences")
    assert not hasattr(theirs, "build_inputs_with_special_tokens")
    with pytest.raises(NotImplementedError):
        theirs.get_special_tokens_mask([9])
    assert ours.get_special_tokens_mask([9]) == [1, 0]


@pytest.mark.parametrize(
    "collator", ["DataCollatorWithPadding", "DataCollatorForSeq2Seq"]
)
def test_data_collators_of_transformers(tmp_path, tiny_tokenizer, collator):
    """Labels get -100, the collator's own, or stay one number a row."""
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer.model_bytes())
    ours = hf.AutoTokenizer.from_pretrained(tmp_path)
    ours.padding_side = "right"
    of_tokens = collator == "DataCollatorForSeq2Seq"
    rows = [ours(text) for text in ("Hello world", "Hi")]
    rows = [
        {**row, "labels": row.input_ids if of_tokens else i}
        for i, row in enumerate(rows)
    ]
    batch = getattr(transformers, collator)(ours)(rows)
    length = max(len(row["input_ids"]) for row in rows)
    expected = [0, 1]
    if of_tokens:
        expected = [
            row["labels"] + [-100] * (length - len(row["labels"])) for row in rows
        ]
    assert batch["labels"].tolist() == expected
    assert batch["input_ids"].shape == (2, length)


def test_a_batch_in_a_dtype_keeps_its_ids(tmp_path, tiny_tokenizer):
    import torch

    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer.model_bytes())
    batch = hf.AutoTokenizer.from_pretrained(tmp_path)("Hello", return_tensors="pt")
    batch["pixel_values"] = torch.zeros(1, 2)
    moved = batch.to(torch.bfloat16)
    assert moved.input_ids.dtype == torch.int64
    assert moved.pixel_values.dtype == torch.bfloat16


@pytest.mark.parametrize("family", FAMILIES)
def test_places_of_tokens(family):
    theirs, ours = both(family)
    texts = ["Hello this is", " a  b", "🙂x ꙮ y", "<bos>x<eos>", "שָׁלוֹם \t\n"]
    for options in ({}, {"padding": True}, {"truncation": True, "max_length": 4}):
        asked = {"return_offsets_mapping": True, **options}
        expected, found = theirs(texts, **asked), ours(texts, **asked)
        assert found["offset_mapping"] == expected["offset_mapping"]
    pair = theirs("a b", "c d", return_offsets_mapping=True)["offset_mapping"]
    assert ours("a b", "c d", return_offsets_mapping=True)["offset_mapping"] == pair
