"""The tokenizer: equal to the tokenizers library, and exact in both directions."""

import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from gemma.gm.text import Tokenizer

DATA = Path(__file__).parents[2] / "data"
MODEL = DATA / "tiny_tokenizer.model"
JSON = DATA / "tiny_tokenizer.json"
GOLDEN = json.loads((Path(__file__).parent / "golden_ids.json").read_bytes())["ids"]
TINY = Tokenizer.from_path(JSON)

# Text of the alphabet that the tiny tokenizer learned is made of merges, other text
# of bytes.
texts = st.one_of(
    st.text(),
    st.text(alphabet="theand is\n\t<>_ 星д▁"),
    st.lists(st.sampled_from([*TINY.vocabulary.pieces, " ", "x"])).map("".join),
)
ids = st.lists(
    st.one_of(
        st.integers(0, TINY.vocab_size - 1),
        st.sampled_from([TINY.id(f"<0x{byte:02X}>") for byte in "é星😀".encode()]),
    )
)


@pytest.fixture(scope="module")
def reference():
    """Another implementation, reading the same file."""
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_file(str(JSON))


@pytest.fixture(scope="module", params=["gemma", "gemma3"])
def real(request) -> tuple[str, Tokenizer]:
    """One of Gemma's own tokenizers, which are too large to live here."""
    folder = os.environ.get("GEMMA_TEST_TOKENIZERS")
    if folder is None:
        pytest.skip("GEMMA_TEST_TOKENIZERS names no folder with Gemma's tokenizers")
    return request.param, Tokenizer.from_path(Path(folder) / request.param)


@pytest.mark.slow
def test_ids_of_real_tokenizers_are_golden(real):
    name, tokenizer = real
    for text, golden in GOLDEN[name]:
        assert tokenizer.encode(text) == golden, text


@pytest.mark.slow
def test_real_tokenizers_round_trip(real):
    name, tokenizer = real
    for text, golden in GOLDEN[name]:
        assert tokenizer.decode(golden) == text.replace("▁", " ")


@pytest.mark.embedded
@pytest.mark.slow
def test_ids_of_the_embedded_tokenizer_are_golden(embedded_tokenizer):
    for text, golden in GOLDEN["gemma3"]:
        assert embedded_tokenizer.encode(text) == golden, text


@given(text=texts)
def test_encode_equals_the_tokenizers_library(reference, text):
    # There, a run of spaces typed as "▁" is an added token but for real spaces not.
    text = text.replace("▁", " ")
    assert TINY.encode(text) == reference.encode(text).ids


@given(ids=ids)
def test_decode_equals_the_tokenizers_library(reference, ids):
    assert TINY.decode(ids) == reference.decode(ids, skip_special_tokens=False)


@given(text=texts, control_tokens=st.booleans())
def test_decode_undoes_encode(text, control_tokens):
    ids = TINY.encode(text, control_tokens=control_tokens)
    assert TINY.decode(ids) == text.replace("▁", " ")


@given(text=texts)
def test_plain_text_holds_no_control_token(text):
    ids = TINY.encode(text, control_tokens=False)
    assert not any(map(TINY.is_control, ids))


@given(text=texts)
def test_bytes_of_the_tokens_are_the_bytes_of_the_text(text):
    ids = TINY.encode(text, control_tokens=False)
    found = b"".join(map(TINY.token_bytes, ids))
    assert found == text.replace("▁", " ").encode()


@given(ids=ids)
def test_skipping_control_tokens_is_leaving_them_out(ids):
    kept = [token_id for token_id in ids if not TINY.is_control(token_id)]
    assert TINY.decode(ids, skip_control_tokens=True) == TINY.decode(kept)


@given(text=texts)
def test_pieces_are_those_of_the_ids(text):
    pieces = [TINY.piece(token_id) for token_id in TINY.encode(text)]
    assert TINY.split(text) == [piece.replace("▁", " ") for piece in pieces]


@pytest.mark.parametrize("token_id", range(TINY.vocab_size))
def test_id_undoes_piece(token_id):
    assert TINY.id(TINY.piece(token_id)) == token_id


def test_control_tokens_in_text():
    ids = TINY.encode("<bos><start_of_turn>the<end_of_turn>\n")
    assert ids == [2, 5, *TINY.encode("the"), 6, TINY.id("\n")]


def test_longest_control_token_matches_first(tmp_path):
    state = json.loads(JSON.read_bytes())
    names = ["<a", "<a>b", "<a>", "a>"]
    state["added_tokens"] += [
        {"id": 480 + index, "content": name, "special": True}
        for index, name in enumerate(names)
    ]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(state), "utf-8")
    tokenizer = Tokenizer.from_path(path)
    assert tokenizer.split("<a<a><a>b<a>a>") == ["<a", "<a>", "<a>b", "<a>", "a>"]


@pytest.mark.parametrize(
    "text",
    ["<[multimodal]>", "x < y [multimodal] z > w", "[<bos>]", "[a [multimodal]]"],
)
def test_other_brackets_hide_no_control_token(tmp_path, text):
    """A pair of brackets around "[multimodal]" was once taken for a tag of its own."""
    state = json.loads(JSON.read_bytes())
    state["added_tokens"].append(
        {"id": 480, "content": "[multimodal]", "special": True}
    )
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(state), "utf-8")
    tokenizer = Tokenizer.from_path(path)
    assert sum(map(tokenizer.is_control, tokenizer.encode(text))) == 1


def test_bos_and_eos_are_added_on_request():
    assert TINY.encode("", add_bos=True, add_eos=True) == [2, 1]


def test_ids_of_the_family():
    assert (TINY.pad_id, TINY.eos_id, TINY.bos_id, TINY.unk_id) == (0, 1, 2, 3)
    assert TINY.end_of_turn_id == TINY.control_tokens["<end_of_turn>"] == 6
    assert TINY.stop_ids == (1, 6)


def test_end_of_turn_of_gemma_4(tmp_path):
    content = JSON.read_text("utf-8").replace("<end_of_turn>", "<turn|>")
    (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    assert Tokenizer.from_path(tmp_path).stop_ids == (1, 6)


def test_tokenizer_without_turns_stops_at_eos(tmp_path):
    content = JSON.read_text("utf-8").replace("<end_of_turn>", "<other>")
    (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    tokenizer = Tokenizer.from_path(tmp_path)
    assert tokenizer.end_of_turn_id is None
    assert tokenizer.stop_ids == (1,)


def test_tab_in_place_of_its_byte(tmp_path):
    """The tokenizer.json of Gemma 1 holds a tab where the model has <0x09>."""
    content = JSON.read_text("utf-8").replace('"<0x09>"', '"\\t"')
    (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    tokenizer = Tokenizer.from_path(tmp_path)
    assert tokenizer.encode("\t") == TINY.encode("\t")
    assert tokenizer.vocab_size == TINY.vocab_size


def test_tab_in_place_of_its_byte_is_still_there_when_saved(tmp_path):
    """Sentencepiece insists on the byte, which is none of the vocabulary's."""
    content = JSON.read_text("utf-8").replace('"<0x09>"', '"\\t"')
    (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    tokenizer = Tokenizer.from_path(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.model_bytes())
    again = Tokenizer.from_path(tmp_path / "tokenizer.model")
    assert list(again.vocabulary.pieces) == list(tokenizer.vocabulary.pieces)
    assert again.encode("a\tb") == tokenizer.encode("a\tb")


def test_missing_byte_is_refused(tmp_path):
    content = JSON.read_text("utf-8").replace('"<0xE2>"', '"<other>"')
    (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"tokenizer\.json: .* no piece <0xE2>"):
        Tokenizer.from_path(tmp_path / "tokenizer.json")


def test_ids_without_a_piece_decode_to_nothing(tmp_path):
    state = json.loads(JSON.read_bytes())
    state["added_tokens"].append({"id": 483, "content": "<last>", "special": True})
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(state), "utf-8")
    tokenizer = Tokenizer.from_path(path)
    assert tokenizer.decode([480, 481, 482, 483]) == "<last>"


@pytest.mark.parametrize(
    ("run", "text"),
    [
        ("E2 96 81", "\u2581"),
        ("F0 9F 98 80", "😀"),
        ("F0 9F 98", "\ufffd" * 3),
        ("C3 A9 FF", "\ufffd" * 3),
        ("41 C3 A9", "Aé"),
    ],
)
def test_run_of_bytes_is_read_as_a_whole(run, text):
    ids = [TINY.id(f"<0x{byte}>") for byte in run.split()]
    assert TINY.decode(ids) == text


def test_decode_takes_whatever_holds_ids():
    the = TINY.encode("the")
    assert TINY.decode(np.asarray(the, np.int32)) == "the"
    assert TINY.decode(tuple(the)) == "the"
    assert TINY.decode(TINY.id("he")) == "he"
    assert TINY.decode([]) == ""


@pytest.mark.parametrize("token_id", [-1, 480, 999_999])
@pytest.mark.parametrize(
    "read", [TINY.decode, TINY.piece, TINY.token_bytes, TINY.is_byte, TINY.is_control]
)
def test_ids_outside_the_vocabulary_are_named(read, token_id):
    with pytest.raises(ValueError, match=f"{token_id} is outside .* of 480 tokens"):
        read(token_id)


def test_batches_are_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        TINY.decode([[1, 2]])


def test_numbers_that_are_no_ids_are_refused():
    with pytest.raises(TypeError, match="Token ids are integers; found float64"):
        TINY.decode([1.0])


@pytest.mark.parametrize("encode", [TINY.encode, TINY.id])
def test_lone_surrogates_are_refused(encode):
    with pytest.raises(ValueError, match=r"lone surrogate '\\ud83d' at index 2"):
        encode("ab\ud83d")


def test_id_takes_text_as_it_looks():
    assert TINY.id(" the") == TINY.id("▁the")


def test_id_names_the_tokens_when_there_are_several():
    with pytest.raises(ValueError, match="'he in' is 2 tokens: 'he', '▁in'"):
        TINY.id("he in")


def test_id_of_nothing_is_refused():
    with pytest.raises(ValueError, match="'' is 0 tokens: none"):
        TINY.id("")


def test_pickling_keeps_the_ids():
    copy = pickle.loads(pickle.dumps(TINY))
    assert copy.encode("<bos>the garden") == TINY.encode("<bos>the garden")


def test_threads_share_a_tokenizer():
    texts = [f"<bos>the garden {n} 😀" for n in range(200)]
    tokenizer = Tokenizer.from_path(MODEL)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(tokenizer.encode, texts))
    assert found == list(map(TINY.encode, texts))


@pytest.mark.parametrize("source", [MODEL, JSON], ids=["model", "json"])
def test_written_as_a_model_and_read_is_identity(source, tmp_path):
    tokenizer = Tokenizer.from_path(source)
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.model_bytes())
    found = Tokenizer.from_path(tmp_path / "tokenizer.model")
    assert found.vocabulary == tokenizer.vocabulary


def test_sentencepiece_finds_the_special_tokens_of_what_is_written():
    """It looks for names, whatever ids the file states."""
    processor = SentencePieceProcessor(model_proto=TINY.model_bytes())
    found = processor.bos_id(), processor.eos_id(), processor.pad_id()
    assert found == (TINY.bos_id, TINY.eos_id, TINY.pad_id)
    assert processor.unk_id() == TINY.unk_id


@pytest.mark.slow
@pytest.mark.embedded
def test_the_vocabulary_of_a_gguf_file_as_a_model(embedded_tokenizer, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(embedded_tokenizer.model_bytes())
    found = Tokenizer.from_path(tmp_path / "tokenizer.model")
    assert found.vocabulary == embedded_tokenizer.vocabulary
