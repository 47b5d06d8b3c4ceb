"""Tokenizers by the names of DeepMind's library, and samplers that find their own."""

import dataclasses
import gc
import pickle
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gemma import gm
from gemma.gm.ckpts import origin_of
from gemma.gm.text import Gemma2Tokenizer, Gemma3Tokenizer, PieceKind, Tokenizer

TINY = "gemma3_mqa"
FILES = {2: "tokenizer_gemma2.model", 3: "tokenizer_gemma3.model"}


@pytest.fixture(scope="module")
def unused_file(tiny_tokenizer, tmp_path_factory):
    """The tiny tokenizer with `<unused0>` to `<unused2>` as its last three tokens."""
    vocabulary = tiny_tokenizer.vocabulary
    kinds, first = vocabulary.kinds.copy(), tiny_tokenizer.vocab_size - 3
    kinds[first:] = PieceKind.CONTROL
    names = {first + i: f"<unused{i}>" for i in range(3)}
    pieces = vocabulary.pieces.replaced(names)
    changed = Tokenizer(dataclasses.replace(vocabulary, pieces=pieces, kinds=kinds))
    path = tmp_path_factory.mktemp("unused") / "tokenizer.model"
    path.write_bytes(changed.model_bytes())
    return path


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """A machine with an empty home and cache, and no client of a hub."""
    monkeypatch.setenv("GEMMA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)


def test_custom_tokens_take_the_place_of_unused_ones(unused_file):
    plain = Gemma3Tokenizer(unused_file)
    tokenizer = Gemma3Tokenizer(path=unused_file, custom_tokens={1: "<my_tag>"})
    custom = plain.special_tokens.CUSTOM
    assert plain.encode("<unused1>") == [custom + 1]
    assert custom == tokenizer.special_tokens.CUSTOM
    ids = tokenizer.encode("Hello <my_tag>!")
    assert ids.count(custom + 1) == 1
    assert tokenizer.decode(ids) == "Hello <my_tag>!"
    assert tokenizer.tokens[custom + 1] == "<my_tag>"
    assert tokenizer.encode("<unused0>") == [custom]
    assert len(tokenizer.encode("<unused1>")) > 1


@pytest.mark.parametrize("kind", [Gemma2Tokenizer, Gemma3Tokenizer])
def test_pickled_and_copied(unused_file, kind):
    tokenizer = kind(unused_file, {0: "<a b>"})
    again = pickle.loads(pickle.dumps(tokenizer))
    assert type(again) is kind
    assert again.custom_tokens == {0: "<a b>"}
    assert (again.path, again.stop_ids) == (unused_file, tokenizer.stop_ids)
    text = "x<a b>y"
    assert again.encode(text) == tokenizer.encode(text)
    assert again.decode(again.encode(text)) == text
    more = tokenizer.stopping_also_at([9])
    assert type(more) is kind
    assert more.stop_ids == (*tokenizer.stop_ids, 9)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({99: "<x>"}, r"custom_tokens has 99, for '<x>'; 0 to 98"),
        ({-1: "<x>"}, r"custom_tokens has -1"),
        ({3: "<x>"}, r"custom_tokens has 3"),
        ({0: "<bos>"}, r"has '<bos>' for <unused0>, which is a token"),
        ({0: "<x>", 1: "<x>"}, r"has '<x>' for <unused1>, which is a token"),
        ({0: ""}, r"has '' for"),
    ],
)
def test_custom_tokens_that_cannot_be(unused_file, names, message):
    with pytest.raises(ValueError, match=message):
        Gemma3Tokenizer(unused_file, custom_tokens=names)


def test_a_list_is_encoded_piece_by_piece(tiny_tokenizer):
    text = "the world <start_of_turn>  it is"
    pieces = tiny_tokenizer.split(text)
    assert "".join(pieces) == text
    assert not any("▁" in piece for piece in pieces)
    ids = tiny_tokenizer.encode(text, add_bos=True, add_eos=True)
    assert tiny_tokenizer.encode(pieces, add_bos=True, add_eos=True) == ids
    raw = [tiny_tokenizer.piece(token_id) for token_id in ids[1:-1]]
    assert tiny_tokenizer.encode(raw) == ids[1:-1]
    with pytest.raises(ValueError, match="'no such piece' is no token"):
        tiny_tokenizer.encode(["a", "no such piece"])
    with pytest.raises(TypeError, match="list of pieces; found 7 in the list"):
        tiny_tokenizer.encode(["a", 7])


def test_special_tokens_by_name(tiny_tokenizer):
    special = tiny_tokenizer.special_tokens
    found = special.PAD, special.EOS, special.BOS, special.UNK, special.MASK
    assert found == (0, 1, 2, 3, 4)
    assert tiny_tokenizer.tokens[special.START_OF_TURN] == "<start_of_turn>"
    assert special.START_OF_IMAGE == special.IMAGE_PLACEHOLDER == 7
    assert not hasattr(special, "CUSTOM")


def test_a_path_is_no_vocabulary(unused_file):
    with pytest.raises(TypeError, match=r"For a file: gm\.text\.Tokenizer\.from_path"):
        Tokenizer(str(unused_file))


@pytest.mark.parametrize("version", [1, 4, "3n", None])
def test_versions_that_are_not_here(version):
    with pytest.raises(ValueError, match=rf"no tokenizer of version {version!r} here"):
        Tokenizer.from_version(version)


@pytest.mark.parametrize("version", [2, "2", 3])
@pytest.mark.parametrize("place", ["home/.gemma", "cache"])
def test_tokenizers_of_families_are_found_by_name(
    no_network, tmp_path, unused_file, version, place
):
    folder = tmp_path / place / "tokenizer"
    folder.mkdir(parents=True)
    shutil.copy(unused_file, folder / FILES[int(version)])
    tokenizer = Tokenizer.from_version(version)
    assert type(tokenizer) is {2: Gemma2Tokenizer, 3: Gemma3Tokenizer}[int(version)]
    assert int(version) == tokenizer.VERSION
    assert tokenizer.path == folder / FILES[int(version)]


def test_no_tokenizer_anywhere_names_the_places(no_network, tmp_path):
    with pytest.raises(FileNotFoundError, match="No tokenizer for gemma2") as info:
        Gemma2Tokenizer()
    message = str(info.value)
    for place in ("cache/tokenizer", "home/.gemma/tokenizer"):
        assert str(tmp_path / place / "tokenizer_gemma2.model") in message
    assert "Hugging Face" in message


def test_the_tokenizer_alone_is_fetched(monkeypatch, tmp_path, unused_file):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("GEMMA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    calls = []

    def download(repository, file, *, revision):
        calls.append((repository, file, revision))
        return str(unused_file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    assert Gemma2Tokenizer().path == unused_file
    assert calls == [("google/gemma-2-2b-it", "tokenizer.model", None)]


# Samplers without tokenizer=


@pytest.mark.parametrize("kind", [gm.text.Sampler, gm.text.ChatSampler])
def test_the_tokenizer_beside_the_files_of_the_params(tiny_folder, tiny_model, kind):
    params = gm.ckpts.load_params(tiny_folder(TINY), dtype=jnp.float32)
    sampler = kind(model=tiny_model(TINY).model, params=params)
    found = sampler if kind is gm.text.Sampler else sampler.sampler
    expected = Tokenizer.from_path(tiny_folder(TINY))
    assert found.tokenizer.vocabulary == expected.vocabulary


def test_origins_end_with_their_arrays(tiny_folder):
    params = gm.ckpts.load_params(tiny_folder(TINY), dtype=jnp.float32)
    assert origin_of(params) == tiny_folder(TINY)
    assert origin_of({**params, "final_norm": jnp.ones(3)}) == tiny_folder(TINY)
    trained = jax.tree.map(lambda w: w + 1, params)
    assert origin_of(trained) is None
    assert origin_of({}) is None
    assert origin_of({"embedder": {"input_embedding": np.ones(3)}}) is None
    del params
    gc.collect()
    assert origin_of(trained) is None


def family_model(rows: int, num_tokens: int = 262_144):
    """A small model with the table of a published one; its rows are few bytes."""
    build = gm.nn.gemma3_config if num_tokens == 262_144 else gm.nn.gemma2_config
    config = build(
        num_layers=1, embed_dim=2, hidden_dim=2, num_heads=1, num_kv_heads=1,
        head_dim=2, vocab_size=rows,
    )  # fmt: skip
    model = gm.nn.Transformer(config)
    return model, model.init(jax.random.key(0))


def test_the_tokenizer_of_the_family(no_network, tmp_path, unused_file):
    folder = tmp_path / "home/.gemma/tokenizer"
    folder.mkdir(parents=True)
    shutil.copy(unused_file, folder / FILES[2])
    model, params = family_model(256_128, 256_000)
    found = gm.text.Sampler(model=model, params=params).tokenizer
    assert found.vocabulary == Tokenizer.from_path(unused_file).vocabulary


def test_the_tokenizer_of_a_checkpoint_without_one(no_network, tmp_path):
    model, params = family_model(256_000, 256_000)
    gm.ckpts.save_model(tmp_path / "m", model, params)
    model, params = gm.ckpts.load_model(tmp_path / "m")
    with pytest.raises(FileNotFoundError, match=r"No tokenizer for gemma2.*Looked for"):
        gm.text.Sampler(model=model, params=params)


def test_a_table_of_another_size_has_no_family_tokenizer(no_network):
    model, params = family_model(256_500, 256_000)
    with pytest.raises(ValueError, match=r"256,500 rows, where .* gemma2 has 256,000"):
        gm.text.ChatSampler(model=model, params=params)


@pytest.mark.slow
def test_gemma_3_takes_the_embedded_tokenizer(embedded_path, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GEMMA_CACHE_DIR", str(embedded_path.parent))
    tokenizer = Tokenizer.from_version(3)
    assert tokenizer.path == embedded_path
    assert tokenizer.encode("This is an example sentence") == [
        2094, 563, 614, 2591, 13315,
    ]  # fmt: skip
    special = tokenizer.special_tokens
    assert (special.CUSTOM, special.START_OF_TURN, special.END_OF_TURN) == (6, 105, 106)
    assert (special.START_OF_IMAGE, special.END_OF_IMAGE) == (255_999, 256_000)
    assert tokenizer.tokens[special.CUSTOM + 7] == "<unused7>"
    assert Gemma3Tokenizer(custom_tokens={0: "<my_tag>"}).encode("<my_tag>") == [6]
