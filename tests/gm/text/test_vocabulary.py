"""Vocabularies: three kinds of file state the same one."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from sentencepiece import sentencepiece_model_pb2 as model_pb2

from gemma.gm.ckpts import Strings
from gemma.gm.text import PieceKind, Tokenizer, Vocabulary
from gemma.gm.text._vocabulary import (
    from_gguf_metadata,
    from_json_file,
    from_model_file,
    read_vocabulary,
)

DATA = Path(__file__).parents[2] / "data"
MODEL = DATA / "tiny_tokenizer.model"
JSON = DATA / "tiny_tokenizer.json"


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return from_model_file(MODEL)


def json_state() -> dict:
    return json.loads(JSON.read_bytes())


def write_json(folder: Path, state: dict) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(state), "utf-8")
    return path


def gguf_metadata(vocabulary: Vocabulary) -> dict:
    """Returns what a GGUF file of this vocabulary states, in the manner of Gemma 3's."""
    runs = [piece.replace("▁▁", "  ") for piece in vocabulary.pieces]
    kinds = [
        # Such files take this token for text, and the unknown one for a control token.
        {"<start_of_image>": 4, "<unk>": 3}.get(piece, int(kind))
        for piece, kind in zip(vocabulary.pieces, vocabulary.kinds, strict=True)
    ]
    return {
        "general.architecture": "gemma3",
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": Strings.of(run.replace(" ▁", "  ") for run in runs),
        "tokenizer.ggml.scores": np.asarray(vocabulary.scores, np.float32),
        "tokenizer.ggml.token_type": np.asarray(kinds, np.int32),
        "tokenizer.ggml.bos_token_id": np.uint32(2),
        "tokenizer.ggml.eos_token_id": np.uint32(1),
        "tokenizer.ggml.padding_token_id": np.uint32(0),
        "tokenizer.ggml.unknown_token_id": np.uint32(3),
    }


def write_gguf(path: Path, metadata: dict) -> None:
    """Writes a GGUF file without tensors, in the words of the library for it."""
    writer = gguf.GGUFWriter(path, metadata["general.architecture"])
    writer.add_tokenizer_model(metadata["tokenizer.ggml.model"])
    writer.add_token_list(list(metadata["tokenizer.ggml.tokens"]))
    writer.add_token_scores(metadata["tokenizer.ggml.scores"].tolist())
    writer.add_token_types(metadata["tokenizer.ggml.token_type"].tolist())
    writer.add_bos_token_id(int(metadata["tokenizer.ggml.bos_token_id"]))
    writer.add_eos_token_id(int(metadata["tokenizer.ggml.eos_token_id"]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def assert_same_tokens(found: Vocabulary, expected: Vocabulary) -> None:
    assert found.pieces == expected.pieces
    np.testing.assert_array_equal(found.kinds, expected.kinds)
    for name in ("bos_id", "eos_id", "pad_id", "unk_id"):
        assert getattr(found, name) == getattr(expected, name)


def test_json_states_the_tokens_of_the_model(vocabulary):
    assert_same_tokens(from_json_file(JSON), vocabulary)


def test_gguf_states_the_tokens_of_the_model(vocabulary):
    assert_same_tokens(from_gguf_metadata(gguf_metadata(vocabulary)), vocabulary)


def test_json_and_model_rank_the_merges_alike(vocabulary):
    def ranked(found: Vocabulary) -> list[str]:
        merged = (
            (-score, piece)
            for piece, score, kind in zip(
                found.pieces, found.scores, found.kinds, strict=True
            )
            if kind == PieceKind.NORMAL and len(piece) > 1
        )
        return [piece for _, piece in sorted(merged)]

    assert ranked(from_json_file(JSON)) == ranked(vocabulary)


def test_gguf_with_merges_needs_no_scores(vocabulary):
    """Gemma 4's files are of this kind."""
    metadata = gguf_metadata(vocabulary)
    del metadata["tokenizer.ggml.scores"]
    metadata["tokenizer.ggml.model"] = "gemma4"
    metadata["tokenizer.ggml.merges"] = [
        " ".join(merge) for merge in json_state()["model"]["merges"]
    ]
    assert from_gguf_metadata(metadata) == from_json_file(JSON)


def test_gguf_without_special_ids_finds_them_by_name(vocabulary):
    metadata = gguf_metadata(vocabulary)
    del metadata["tokenizer.ggml.padding_token_id"]
    del metadata["tokenizer.ggml.unknown_token_id"]
    assert from_gguf_metadata(metadata) == from_gguf_metadata(gguf_metadata(vocabulary))


def test_merges_may_be_written_as_strings(tmp_path):
    """Older files join the two halves with a space."""
    state = json_state()
    state["model"]["merges"] = [" ".join(pair) for pair in state["model"]["merges"]]
    assert from_json_file(write_json(tmp_path, state)) == from_json_file(JSON)


@pytest.mark.parametrize(
    "name",
    [
        "<unused17>",
        "<2mass>",
        "[multimodal]",
        "[@BOS@]",
        "<image_soft_token>",
        "<|fim_prefix|>",
        "<|turn>",
        "<turn|>",
        '<|"|>',
    ],
)
def test_control_names_are_known_when_the_file_does_not_flag_them(tmp_path, name):
    """The tokenizer.json of Gemma 1 flags four of its hundred."""
    state = json_state()
    state["model"]["vocab"][name] = 480
    found = from_json_file(write_json(tmp_path, state))
    assert found.kinds[480] == PieceKind.CONTROL


@pytest.mark.parametrize("piece", ["<h1>", "</td>", "[...]", "<|>", "<>", "<a|b>"])
def test_markup_is_no_control_token(tmp_path, piece):
    state = json_state()
    state["model"]["vocab"][piece] = 480
    found = from_json_file(write_json(tmp_path, state))
    assert found.kinds[480] == PieceKind.NORMAL


def test_ids_without_a_piece_are_unused(tmp_path):
    """Gemma 3n leaves such gaps between the tokens of its images."""
    state = json_state()
    token = {"id": 483, "content": "<image_soft_token>", "special": True}
    state["added_tokens"].append(token)
    found = from_json_file(write_json(tmp_path, state))
    assert list(found.pieces[480:]) == ["", "", "", "<image_soft_token>"]
    assert found.kinds[480:].tolist() == [PieceKind.UNUSED] * 3 + [PieceKind.CONTROL]


def test_directory_prefers_json_to_model(tmp_path):
    """Tokens added after training are in tokenizer.json alone."""
    state = json_state()
    state["model"]["vocab"]["<image_soft_token>"] = 480
    write_json(tmp_path, state)
    (tmp_path / "tokenizer.model").write_bytes(MODEL.read_bytes())
    assert len(read_vocabulary(tmp_path).pieces) == 481


def test_directory_with_a_model_alone(tmp_path, vocabulary):
    (tmp_path / "tokenizer.model").write_bytes(MODEL.read_bytes())
    assert read_vocabulary(tmp_path) == vocabulary


def test_orbax_has_the_tokenizer_beside_it(tmp_path, vocabulary):
    """As in the archives of Kaggle: 2b-it/_METADATA, tokenizer.model."""
    (tmp_path / "tokenizer.model").write_bytes(MODEL.read_bytes())
    (tmp_path / "2b-it").mkdir()
    with pytest.raises(FileNotFoundError, match="No tokenizer in"):
        read_vocabulary(tmp_path / "2b-it")
    (tmp_path / "2b-it" / "_METADATA").touch()
    assert read_vocabulary(tmp_path / "2b-it") == vocabulary


def test_directory_with_one_gguf_file(tmp_path, vocabulary):
    write_gguf(tmp_path / "tiny.gguf", gguf_metadata(vocabulary))
    assert_same_tokens(read_vocabulary(tmp_path), vocabulary)


def test_directory_with_two_gguf_files_is_ambiguous(tmp_path):
    (tmp_path / "a.gguf").touch()
    (tmp_path / "b.gguf").touch()
    with pytest.raises(FileNotFoundError, match=r"found 2 \.gguf files"):
        read_vocabulary(tmp_path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No tokenizer at .*gone"):
        read_vocabulary(tmp_path / "gone")


def test_empty_directory_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json, tokenizer\.model"):
        read_vocabulary(tmp_path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("words", "utf-8")
    with pytest.raises(ValueError, match=r"expected a \.model, \.json or \.gguf"):
        read_vocabulary(tmp_path / "a.txt")


@pytest.mark.parametrize("content", [b"", b"\x93words", b"\xff" * 40])
def test_damaged_model_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(ValueError, match="no sentencepiece model"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"model": 3}', b"\xff"])
def test_damaged_json_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match="damaged, or no Hugging Face tokenizer"):
        read_vocabulary(tmp_path)


def test_unigram_model_is_refused(tmp_path):
    model = model_pb2.ModelProto.FromString(MODEL.read_bytes())
    model.trainer_spec.model_type = model_pb2.TrainerSpec.UNIGRAM
    (tmp_path / "tokenizer.model").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="holds a UNIGRAM tokenizer; Gemma's are BPE"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"type": "WordPiece"}, "WordPiece"),
        ({"byte_fallback": False}, "BPE without byte fallback"),
    ],
)
def test_json_of_another_kind_is_refused(tmp_path, change, found):
    state = json_state()
    state["model"].update(change)
    with pytest.raises(ValueError, match=f"holds a {found} tokenizer"):
        read_vocabulary(write_json(tmp_path, state).parent)


def test_json_without_special_tokens_is_refused(tmp_path):
    state = json_state()
    state["added_tokens"] = []
    state["model"]["vocab"]["<eof>"] = state["model"]["vocab"].pop("<eos>")
    with pytest.raises(ValueError, match="no <eos> token"):
        from_json_file(write_json(tmp_path, state))


def test_gguf_of_another_kind_is_refused(vocabulary):
    metadata = gguf_metadata(vocabulary) | {"tokenizer.ggml.model": "gpt2"}
    with pytest.raises(ValueError, match="holds a 'gpt2' tokenizer"):
        from_gguf_metadata(metadata)


def test_gguf_without_a_tokenizer_is_refused():
    with pytest.raises(ValueError, match=r"lacks tokenizer\.ggml\.tokens"):
        from_gguf_metadata({"general.architecture": "clip"})


def test_vocabulary_needs_a_kind_for_each_piece():
    with pytest.raises(ValueError, match="2 pieces, 2 scores, 1 kinds"):
        Vocabulary(
            pieces=Strings.of("ab"),
            scores=np.zeros(2, np.float32),
            kinds=np.array([PieceKind.NORMAL], np.uint8),
            bos_id=0,
            eos_id=0,
            pad_id=0,
            unk_id=0,
        )


def test_vocabulary_needs_its_special_tokens(vocabulary):
    metadata = gguf_metadata(vocabulary) | {"tokenizer.ggml.bos_token_id": 9_999}
    with pytest.raises(ValueError, match="bos_id is 9999, which is none of the 480"):
        from_gguf_metadata(metadata)


def test_sources_split_text_alike(vocabulary):
    texts = ["the garden is said", "    x\n\n\ny", "день 星 \t😀", "<start_of_image>"]
    tokenizers = [
        Tokenizer(found)
        for found in (
            vocabulary,
            from_json_file(JSON),
            from_gguf_metadata(gguf_metadata(vocabulary)),
        )
    ]
    for text in texts:
        ids = {tuple(tokenizer.encode(text)) for tokenizer in tokenizers}
        assert len(ids) == 1
