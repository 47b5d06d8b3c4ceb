"""The tokenizer with the calls of transformers, on a tiny vocabulary."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from gemma.hf import AutoTokenizer, GemmaTokenizer, GemmaTokenizerFast

DATA = Path(__file__).parents[1] / "data"
TEXTS = ["Hello world", "Hi"]


@pytest.fixture(scope="module")
def folder(tiny_tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    (path / "tokenizer.model").write_bytes(tiny_tokenizer.model_bytes())
    return path


@pytest.fixture
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def copy_with(folder, path, stated) -> None:
    """Copies a tokenizer, with a tokenizer_config.json."""
    path.mkdir(exist_ok=True)
    (path / "tokenizer_config.json").write_text(json.dumps(stated))
    (path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())


def test_ids_are_those_of_gm(tokenizer, tiny_tokenizer):
    expected = tiny_tokenizer.encode("Hello world", add_bos=True)
    assert tokenizer.encode("Hello world") == expected
    assert tokenizer("Hello world").input_ids == expected
    assert tokenizer.encode("Hello world", add_special_tokens=False) == expected[1:]


def test_there_is_one_tokenizer(folder):
    assert GemmaTokenizerFast is GemmaTokenizer
    assert type(AutoTokenizer.from_pretrained(folder, use_fast=False)) is GemmaTokenizer
    assert GemmaTokenizer(folder / "tokenizer.model").is_fast
    with pytest.raises(TypeError, match="from_pretrained"):
        AutoTokenizer()


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(tokenizer, side):
    tokenizer.padding_side = side
    found = tokenizer(TEXTS, padding=True, return_tensors="np")
    long, short = tokenizer(TEXTS).input_ids
    pad = [tokenizer.pad_token_id] * (len(long) - len(short))
    row = [*pad, *short] if side == "left" else [*short, *pad]
    mask = [0] * len(pad) + [1] * len(short)
    np.testing.assert_array_equal(found.input_ids, [long, row])
    expected = mask if side == "left" else mask[::-1]
    np.testing.assert_array_equal(found.attention_mask[1], expected)


def test_lengths_to_pad_to(tokenizer):
    longest = len(tokenizer(TEXTS[0]).input_ids)
    found = tokenizer(TEXTS, padding="max_length", max_length=longest + 3)
    assert {len(row) for row in found.input_ids} == {longest + 3}
    found = tokenizer(TEXTS, padding=True, pad_to_multiple_of=8)
    assert {len(row) for row in found.input_ids} == {-(-longest // 8) * 8}


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_too_long_is_cut_and_keeps_its_bos(tokenizer, side):
    tokenizer.truncation_side = side
    whole = tokenizer.encode(TEXTS[0], add_special_tokens=False)
    found = tokenizer.encode(TEXTS[0], truncation=True, max_length=3)
    expected = whole[-2:] if side == "left" else whole[:2]
    assert found == [tokenizer.bos_token_id, *expected]


def test_the_longer_of_a_pair_is_cut_first(tokenizer):
    first, second = TEXTS[0], "Hi"
    short = len(tokenizer.encode(second, add_special_tokens=False))
    length = 2 * short + 2 + tokenizer.num_special_tokens_to_add(True)
    for texts, wanted in [((first, second), 0), ((second, first), 1)]:
        row = tokenizer(
            *texts, truncation=True, max_length=length, return_token_type_ids=True,
            return_special_tokens_mask=True,
        )  # fmt: skip
        assert len(row.input_ids) == length
        kinds = zip(row.token_type_ids, row.special_tokens_mask, strict=True)
        kept = [kind for kind, is_special in kinds if not is_special]
        assert kept.count(wanted) == short + 2


def test_one_of_a_pair_that_is_too_short_to_cut(tokenizer):
    with pytest.raises(ValueError, match=r"only_second' leaves a text of \d+ tokens"):
        tokenizer(TEXTS[0], "Hi", truncation="only_second", max_length=3)


def test_special_tokens_may_be_added_and_left_out(tokenizer):
    tokenizer.add_bos_token, tokenizer.add_eos_token = False, True
    tokenizer.update_post_processor()
    ids = tokenizer.encode("Hi")
    assert ids[0] != tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.num_special_tokens_to_add() == 1


def test_masks_and_types(tokenizer):
    found = tokenizer("Hi", "Hi", return_token_type_ids=True, padding=False)
    first = tokenizer.encode("Hi")
    assert found.input_ids == first * 2
    assert found.token_type_ids == [0] * len(first) + [1] * len(first)
    plain = first[1:]
    assert tokenizer.get_special_tokens_mask(plain) == [1] + [0] * len(plain)
    again = tokenizer.get_special_tokens_mask(first, already_has_special_tokens=True)
    assert again == [1] + [0] * len(plain)
    assert tokenizer.create_token_type_ids_from_sequences(plain, plain) == (
        found.token_type_ids
    )
    assert tokenizer.build_inputs_with_special_tokens(plain) == first


def test_text_comes_back(tokenizer):
    batch = tokenizer(TEXTS, padding=True, return_tensors="np").input_ids
    found = tokenizer.batch_decode(batch, skip_special_tokens=True)
    assert found == TEXTS
    assert tokenizer.decode(batch, skip_special_tokens=True) == TEXTS
    assert tokenizer.decode(batch[0]) == f"<bos>{TEXTS[0]}"
    assert tokenizer.decode(tokenizer(TEXTS).input_ids, True) == TEXTS
    assert tokenizer.decode(batch[0][0]) == "<bos>"


def test_pieces(tokenizer):
    pieces = tokenizer.tokenize("Hello world")
    ids = tokenizer.encode("Hello world", add_special_tokens=False)
    assert tokenizer.convert_tokens_to_ids(pieces) == ids
    assert tokenizer.convert_ids_to_tokens(ids) == pieces
    assert tokenizer.convert_tokens_to_string(pieces) == "Hello world"
    assert tokenizer.convert_tokens_to_ids("no such piece") == tokenizer.unk_token_id
    assert tokenizer.get_vocab()["<bos>"] == tokenizer.bos_token_id
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.get_vocab())


def test_special_tokens_may_be_set(tokenizer):
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    row = tokenizer(TEXTS, padding=True).input_ids[1]
    assert row[0] == tokenizer.eos_token_id
    assert tokenizer.special_tokens_map["pad_token"] == "<eos>"


def test_chat_template_is_that_of_the_family(tokenizer):
    messages = [{"role": "user", "content": "Who are you?"}]
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<bos><start_of_turn>user\nWho are you?<end_of_turn>\n<start_of_turn>model\n"
    )
    ids = tokenizer.apply_chat_template(messages, return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == 1
    several = tokenizer.apply_chat_template([messages] * 2, tokenize=False)
    assert several == [text.removesuffix("<start_of_turn>model\n")] * 2


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    tokenizer.padding_side, tokenizer.add_eos_token = "right", True
    tokenizer.save_pretrained(tmp_path)
    again = GemmaTokenizer.from_pretrained(tmp_path)
    for name in ("padding_side", "add_eos_token", "add_bos_token", "truncation_side"):
        assert getattr(again, name) == getattr(tokenizer, name)
    assert again.encode("Hello world") == tokenizer.encode("Hello world")
    stated = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert stated["tokenizer_class"] == "GemmaTokenizer"


def test_a_batch_is_a_dict_with_attributes(tokenizer):
    batch = tokenizer(TEXTS, padding=True, return_tensors="jax")
    assert set(batch) == {"input_ids", "attention_mask"}
    assert {**batch}["input_ids"] is batch.input_ids
    assert batch.input_ids.dtype == np.int32
    with pytest.raises(AttributeError, match="there are input_ids, attention_mask"):
        _ = batch.labels
    assert pickle.loads(pickle.dumps(tokenizer("Hi"))) == tokenizer("Hi")


def test_rows_of_ids_may_be_padded_later(tokenizer):
    rows = [tokenizer(text) for text in TEXTS]
    padded = tokenizer.pad(rows, return_tensors="np")
    expected = tokenizer(TEXTS, padding=True, return_tensors="np")
    for name in expected:
        np.testing.assert_array_equal(padded[name], expected[name])


@pytest.mark.parametrize(
    ("labels", "dtype"), [([3, 1], np.int64), ([0.5, 1.25], np.float32)]
)
def test_labels_are_left_to_who_adds_them(tokenizer, labels, dtype):
    """Labels of texts were an error, and of tokens filled with 0, which is a label."""
    rows = [
        {**tokenizer(text), "labels": label}
        for text, label in zip(TEXTS, labels, strict=True)
    ]
    padded = tokenizer.pad(rows, return_tensors="np")
    np.testing.assert_array_equal(padded["labels"], np.array(labels, dtype))
    assert padded["labels"].dtype == dtype
    assert tokenizer.pad(rows)["labels"] == labels


def test_labels_of_tokens_are_not_filled_with_a_label(tokenizer):
    rows = [{**tokenizer(text), "labels": tokenizer(text).input_ids} for text in TEXTS]
    assert tokenizer.pad(rows)["labels"] == [row["labels"] for row in rows]
    with pytest.raises(ValueError, match="rows of labels are not equally long"):
        tokenizer.pad(rows, return_tensors="np")


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "the list is empty"), ([{"ids": [1]}], "needs 'input_ids'; it has 'ids'")],
)
def test_what_cannot_be_padded_is_said(tokenizer, rows, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.pad(rows)


def test_a_batch_goes_to_the_device_of_a_model(tokenizer):
    import jax

    batch = tokenizer(TEXTS, padding=True, return_tensors="np")
    moved = batch.to(jax.devices()[0])
    np.testing.assert_array_equal(moved.input_ids, batch.input_ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"return_tensors": "np"}, "not equally long"),
        ({"padding": True, "return_tensors": "tf"}, "'np', 'jax' or 'pt'"),
        ({"padding": "max_length"}, "needs a max_length"),
        ({"padding": "always"}, "padding is 'always'"),
        ({"padding": True, "padding_side": "top"}, "padding_side is 'top'"),
        ({"truncation": True}, "needs a max_length"),
        ({"truncation": "middle", "max_length": 3}, "truncation is 'middle'"),
    ],
)
def test_what_does_not_go_together_is_said(tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(TEXTS, **options)


def test_what_has_no_equal_is_refused_by_name(tokenizer):
    with pytest.raises(
        TypeError, match="return_overflowing_tokens=True cannot be honoured"
    ):
        tokenizer("Hi", return_overflowing_tokens=True)
    with pytest.raises(TypeError, match=r"'tools' has no equal in .*: gm.text.ToolSam"):
        tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tools=[1])
    with pytest.raises(ValueError, match="pass False"):
        tokenizer.decode([5], clean_up_tokenization_spaces=True)
    with pytest.raises(TypeError, match="A text is a int"):
        tokenizer([1, 2])


def test_names_that_are_none_are_no_attributes(tokenizer):
    with pytest.raises(AttributeError, match="has no 'chat_colour'"):
        _ = tokenizer.chat_colour
    assert not hasattr(tokenizer, "sep_token")


def test_the_checkpoint_says_which_token_ends_a_text(folder, tmp_path):
    """Instruction-tuned checkpoints name the end of a turn."""
    stated = {"eos_token": {"content": "<end_of_turn>"}, "mask_token": "nobody's"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(stated))
    model = (folder / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(model)
    tokenizer = GemmaTokenizer.from_pretrained(tmp_path)
    assert tokenizer.eos_token == "<end_of_turn>"
    assert tokenizer.all_special_ids.count(tokenizer.eos_token_id) == 1


def test_a_checkpoint_may_name_more_special_tokens(folder, tmp_path):
    """Those of images have parts of their own; ends of turns are a list."""
    copy_with(
        folder,
        tmp_path,
        {
            "mask_token": None,
            "boi_token": "<start_of_image>",
            "extra_special_tokens": {
                "boi_token": "<start_of_image>",
                "sound_token": "no",
            },
            "additional_special_tokens": ["<start_of_turn>"],
        },
    )
    tokenizer = GemmaTokenizer.from_pretrained(tmp_path)
    opens = tokenizer.boi_token_id
    assert tokenizer.boi_token == "<start_of_image>"
    assert tokenizer.special_tokens_map["boi_token"] == "<start_of_image>"
    assert opens == tokenizer.all_special_ids[-1]
    assert not hasattr(tokenizer, "sound_token")
    mask = tokenizer.get_special_tokens_mask(
        [9, opens], already_has_special_tokens=True
    )
    assert mask == [0, 1]


def test_extra_special_tokens_may_have_no_part(folder, tmp_path):
    turns = ["<start_of_turn>", "<end_of_turn>"]
    copy_with(folder, tmp_path / "a", {"additional_special_tokens": [*turns, "no"]})
    GemmaTokenizer.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    tokenizer = GemmaTokenizer.from_pretrained(tmp_path / "b")
    assert tokenizer.extra_special_tokens == turns
    assert tokenizer.all_special_tokens[-2:] == turns
    assert set(turns).isdisjoint(tokenizer.special_tokens_map.values())


def test_a_pickle_has_the_special_tokens(tokenizer):
    tokenizer.pad_token = "<eos>"
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.special_tokens_map == tokenizer.special_tokens_map


def test_special_tokens_alone_are_left_out_of_pieces(tokenizer):
    """Other control tokens stay: the checkpoint does not call them special."""
    ids = tokenizer.encode("<start_of_turn>Hi")
    pieces = tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True)
    assert pieces[0] == "<start_of_turn>"


def test_a_length_that_the_checkpoint_states_is_that_of_calls(folder, tmp_path):
    copy_with(folder, tmp_path, {"model_max_length": 4})
    tokenizer = GemmaTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer.encode("Hello world", truncation=True)) == 4
    assert len(tokenizer.encode("", padding="max_length")) == 4
    assert len(tokenizer.encode("", padding="max_length", max_length=5)) == 5


def test_padding_may_be_padded_again(tokenizer):
    """What was padding before stays padding."""
    once = tokenizer(TEXTS, padding=True)
    row = {name: rows[1] for name, rows in once.items()}
    twice = tokenizer.pad(row, padding="max_length", max_length=30)
    assert (
        twice.attention_mask
        == [0] * (30 - len(row["input_ids"])) + row["attention_mask"]
    )
    assert twice.input_ids[-2:] == row["input_ids"][-2:]
    array = tokenizer.pad(row, return_tensors="np").input_ids
    assert array.tolist() == row["input_ids"]


def test_a_tag_that_opens_images_is_no_sign_of_gemma_3(tokenizer):
    """The vocabularies of Gemma 1 and 2 have it too, but none that closes them."""
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(ValueError, match="System role not supported"):
        tokenizer.apply_chat_template(messages, tokenize=False)


def test_a_damaged_config_is_named(folder, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text("{")
    model = (folder / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(model)
    with pytest.raises(ValueError, match=r"tokenizer_config\.json"):
        GemmaTokenizer.from_pretrained(tmp_path)


@pytest.fixture
def reserved(tmp_path):
    """A function that makes a tokenizer of which one token is `<unused7>`."""

    def make(is_special: bool | None):
        state = json.loads((DATA / "tiny_tokenizer.json").read_bytes())
        name = next(piece for piece, i in state["model"]["vocab"].items() if i == 470)
        state["model"]["vocab"]["<unused7>"] = state["model"]["vocab"].pop(name)
        pairs = [
            m if isinstance(m, str) else " ".join(m) for m in state["model"]["merges"]
        ]
        kept = [m for m in pairs if name not in (*m.split(" "), m.replace(" ", ""))]
        state["model"]["merges"] = kept
        if is_special is not None:
            token = {"id": 470, "content": "<unused7>", "special": is_special}
            state["added_tokens"].append(token)
        (tmp_path / "tokenizer.json").write_text(json.dumps(state), "utf-8")
        return GemmaTokenizer.from_pretrained(tmp_path)

    return make


@pytest.mark.parametrize("is_special", [True, False, None])
def test_reserved_tokens_are_text_unless_the_file_calls_them_special(
    reserved, is_special
):
    tokenizer = reserved(is_special)
    ids = [2, 470, 5]
    expected = "" if is_special else "<unused7>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == expected
    assert tokenizer.batch_decode([ids], skip_special_tokens=True) == [expected]
    assert tokenizer.decode(470, skip_special_tokens=False) == "<unused7>"
    tokenizer.pad_token = "<unused7>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == ""
