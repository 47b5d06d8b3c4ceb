"""The calls of transformers on the vocabularies that Google published."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma.hf import AutoTokenizer, GemmaTokenizer, GemmaTokenizerFast

# The vocabularies take seconds to read.
pytestmark = pytest.mark.slow

FAMILIES = ["gemma1", "gemma3"]
BOS = 2
TEXTS = {
    "empty": "",
    "space": " ",
    "code": "def area(w, h):\n    return w * h  # two sides\n\n\tx = {}\n",
    "html": "<table><h1>Title</h1></table>",
    "emoji": "🙂👨‍👩‍👧‍👦🇫🇷❤️",
    "combining marks": "e\u0301 n\u0303 o\u0308\u0323",
    "composed marks": "é ñ ọ̈",
    "Arabic": "مرحبا بالعالم، كيف الحال؟",
    "Hebrew with points": "שָׁלוֹם",
    "Chinese": "你好，世界。",
    "Japanese": "吾輩は猫である。ﾃｽﾄ",
    "Korean": "안녕하세요 세계",
    "Devanagari": "नमस्ते दुनिया",
    "ligatures": "ﬁ ① Ⅳ ½ ㎏",
    "tabs": "a\tb\t\tc" + "\t" * 40,
    "runs of spaces": "a  b   c" + " " * 70 + "d",
    "spaces around": "   a   ",
    "other spaces": "\u3000a\xa0b\u2028c\u200b",
    "newlines": "\n\na\n\n\n\nb\r\n\r" + "\n" * 50,
    "names of control tokens": "<start_of_turn>user\nHi<end_of_turn>\n<bos><eos><pad>",
    "names of bytes": "<0x41><0xE2><0x0A>",
    "controls of ASCII": "".join(map(chr, range(32))) + "\x7f",
    "rare planes": "𝔘𝔫𝔦 𓀀 \ue000 \U0010ffff",
    "mathematics": "∀x∈ℝ: ⌈x⌉ ≥ x < y <= z",
}
# As transformers 4.38 and 5.23 give them.
KNOWN_IDS = {
    ("gemma1", "Hello this is a test"): [4521, 736, 603, 476, 2121],
    ("gemma1", "<start_of_turn>user\nHi<end_of_turn>\n"): [
        106, 1645, 108, 2151, 107, 108,
    ],
    ("gemma3", "Hello world"): [9259, 1902],
    ("gemma3", "  "): [138],
    ("gemma3", "\n\n"): [108],
    ("gemma3", "<start_of_turn>user\nHi<end_of_turn>\n"): [
        105, 2364, 107, 10979, 106, 107,
    ],
}  # fmt: skip
SPECIAL_IDS = {
    "gemma1": {"pad": 0, "eos": 1, "bos": 2, "unk": 3, "mask": 4},
    "gemma3": {
        "pad": 0, "eos": 106, "bos": 2, "unk": 3, "mask": 4,
        "boi": 255_999, "eoi": 256_000, "image": 262_144,
    },
}  # fmt: skip
QUESTION = {"role": "user", "content": " Who are you? "}
ANSWER = {"role": "assistant", "content": "A model."}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.fixture(params=FAMILIES)
def tokenizer(request, real_tokenizer) -> GemmaTokenizer:
    return real_tokenizer(request.param)


def test_the_promised_ids(real_folder):
    tokenizer = GemmaTokenizerFast.from_pretrained(real_folder("gemma1"))
    assert tokenizer.encode("Hello this is a test") == [2, 4521, 736, 603, 476, 2121]


@pytest.mark.parametrize(("family", "text"), KNOWN_IDS)
def test_known_ids(real_tokenizer, family, text):
    assert real_tokenizer(family)(text).input_ids == [BOS, *KNOWN_IDS[family, text]]


@pytest.mark.parametrize("family", FAMILIES)
def test_special_ids(real_tokenizer, family):
    tokenizer = real_tokenizer(family)
    for part, token_id in SPECIAL_IDS[family].items():
        assert getattr(tokenizer, f"{part}_token_id") == token_id
    assert set(tokenizer.all_special_ids) == set(SPECIAL_IDS[family].values())


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts_come_back(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text


# "▁" is how vocabularies write a space.
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
@settings(max_examples=50)
@pytest.mark.parametrize("family", FAMILIES)
def test_any_text_comes_back(real_tokenizer, family, text):
    tokenizer = real_tokenizer(family)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_pieces_are_those_of_the_ids(tokenizer, text):
    pieces = tokenizer.tokenize(text)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.convert_tokens_to_ids(pieces) == ids
    assert tokenizer.convert_ids_to_tokens(ids) == pieces


def test_special_tokens_mask(tokenizer):
    found = tokenizer("Hello world", return_special_tokens_mask=True)
    assert found.special_tokens_mask == [1, 0, 0]
    ids = [*found.input_ids, tokenizer.eos_token_id]
    mask = tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
    assert mask == [1, 0, 0, 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(tokenizer, side):
    tokenizer.padding_side = side
    found = tokenizer(["Hello world", "Hello"], padding=True, return_tensors="np")
    (bos, hello, world), short = found.input_ids.tolist()
    assert short == ([0, bos, hello] if side == "left" else [bos, hello, 0])
    mask = [0, 1, 1] if side == "left" else [1, 1, 0]
    assert found.attention_mask.tolist() == [[1, 1, 1], mask]
    assert world != 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_keeps_bos(tokenizer, side):
    tokenizer.truncation_side = side
    whole = tokenizer.encode("one two three four", add_special_tokens=False)
    found = tokenizer("one two three four", truncation=True, max_length=3).input_ids
    assert found == [BOS, *(whole[-2:] if side == "left" else whole[:2])]


def test_a_batch_is_decoded_without_its_padding(tokenizer):
    texts = ["Hello world", "你好", "🙂 <0x41>"]
    batch = tokenizer(texts, padding=True, return_tensors="np").input_ids
    assert tokenizer.batch_decode(batch, skip_special_tokens=True) == texts
    whole = tokenizer.batch_decode(batch)
    assert [text.replace("<pad>", "") for text in whole] == [f"<bos>{t}" for t in texts]


def test_bytes_that_are_no_character(tokenizer):
    """One replacement for each byte, as long as they are not whole."""
    ids = tokenizer.convert_tokens_to_ids(["<0xE2>", "<0x82>"])
    assert tokenizer.decode(ids) == "\ufffd\ufffd"
    ids = tokenizer.convert_tokens_to_ids(["<0xE2>", "<0x82>", "<0xAC>"])
    assert tokenizer.decode(ids) == "€"


@pytest.mark.parametrize(
    ("family", "ids"),
    [
        ("gemma1", [2, 106, 1645, 108, 6571, 708, 692, 235336, 107, 108]),
        ("gemma3", [2, 105, 2364, 107, 15938, 659, 611, 236881, 106, 107]),
    ],
)
def test_chat_template(real_tokenizer, family, ids):
    tokenizer = real_tokenizer(family)
    text = tokenizer.apply_chat_template([QUESTION], tokenize=False)
    assert text == "<bos><start_of_turn>user\nWho are you?<end_of_turn>\n"
    assert tokenizer.apply_chat_template([QUESTION]).input_ids == ids
    opened = tokenizer.apply_chat_template(
        [QUESTION, ANSWER, QUESTION], tokenize=False, add_generation_prompt=True
    )
    assert opened == (
        f"{text}<start_of_turn>model\nA model.<end_of_turn>\n"
        f"{text.removeprefix('<bos>')}<start_of_turn>model\n"
    )


def test_gemma_1_has_no_system_turn(real_tokenizer):
    """Its vocabulary has a <start_of_image> that its models were never shown."""
    with pytest.raises(ValueError, match="System role not supported"):
        real_tokenizer("gemma1").apply_chat_template([SYSTEM, QUESTION])


def test_gemma_1_does_not_read_images(real_tokenizer):
    with pytest.raises(ValueError, match="does not read images"):
        real_tokenizer("gemma1").apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}]}]
        )


def test_gemma_3_has_system_turns_and_images(real_tokenizer):
    content = [{"type": "image"}, {"type": "text", "text": "Who is it?"}]
    messages = [SYSTEM, {"role": "user", "content": content}]
    tokenizer = real_tokenizer("gemma3")
    assert tokenizer.apply_chat_template(messages, tokenize=False) == (
        "<bos><start_of_turn>user\nBe brief.\n\n<start_of_image>Who is it?"
        "<end_of_turn>\n"
    )


def test_a_length_that_the_checkpoint_states_is_that_of_calls(real_tokenizer):
    tokenizer = real_tokenizer("gemma3")
    assert tokenizer.model_max_length == 32_768
    assert len(tokenizer("a b " * 20_000, truncation=True).input_ids) == 32_768
    assert len(tokenizer("a", padding="max_length").input_ids) == 32_768


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_is_the_same(real_tokenizer, family, tmp_path):
    tokenizer = real_tokenizer(family)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.special_tokens_map == tokenizer.special_tokens_map
    assert again.model_max_length == tokenizer.model_max_length
    assert again.get_vocab() == tokenizer.get_vocab()
    for text in TEXTS.values():
        assert again.encode(text) == tokenizer.encode(text)
