import json
import signal

import gguf
import numpy as np
import pytest

from gemma import gm
from gemma.gm.ckpts._names_gguf import names_gguf
from gemma.gm.text._vocabulary import PieceKind
from gemma.gm.weights import flatten

PROMPT = "the quick brown"
METHODS = ["int8", "int4", "nf4"]

# Runs a command line that meets {} the moment before its folder gets its name.
_CUT = """
import os, signal
def cut(*_): {}
os.replace = cut
from gemma.cli.main import main
main()
"""


def same_ids(found, expected):
    """A tokenizer.json has merges in place of scores."""
    assert found.vocabulary.pieces == expected.vocabulary.pieces
    assert found.vocabulary.kinds.tolist() == expected.vocabulary.kinds.tolist()
    text = "Hello  world\n\n\t<start_of_turn>é😀" + " " * 40
    assert found.encode(text) == expected.encode(text)


@pytest.fixture
def quantized(gemma, tiny_checkpoint, tmp_path):
    """A function that quantizes a model, and gives the folder and what was said."""

    def call(method="int4", *args, model=tiny_checkpoint, name="made"):
        folder = tmp_path / name
        outcome = gemma("quantize", folder, "-m", model, "--method", method, *args)
        assert (outcome.code, outcome.stderr) == (0, "")
        return folder, outcome.stdout

    return call


@pytest.fixture
def tiny_gguf(tiny_checkpoint, tmp_path):
    """The tiny model in a GGUF file."""
    model, params = gm.ckpts.load_model(tiny_checkpoint, dtype="float32")
    vocabulary = gm.text.Tokenizer.from_path(tiny_checkpoint).vocabulary
    config, layer = model.config, model.config.layers[0]
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.embed_dim)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(layer.hidden_dim)
    writer.add_head_count(layer.num_heads)
    writer.add_head_count_kv(layer.num_kv_heads)
    writer.add_key_length(layer.head_dim)
    writer.add_sliding_window(layer.window)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(
        [
            piece.replace("▁", " ") if kind == PieceKind.USER_DEFINED else piece
            for piece, kind in zip(vocabulary.pieces, vocabulary.kinds, strict=True)
        ]
    )
    writer.add_token_scores(vocabulary.scores.tolist())
    writer.add_token_types(list(map(int, vocabulary.kinds)))
    for ours, entry in names_gguf(config).items():
        values = np.asarray(flatten(params)[ours]) - np.float32(entry.offset)
        writer.add_tensor(entry.name, values.reshape(entry.their_shape(values.shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_answers_are_those_of_weights_packed_while_loading(
    gemma, quantized, tiny_checkpoint, method
):
    folder, _ = quantized(method)
    stored = gemma("generate", "-m", folder, PROMPT, "-n", 8)
    loaded = gemma(
        "generate", "-m", tiny_checkpoint, "--weights", method, PROMPT, "-n", 8
    )
    assert stored == loaded
    assert (stored.code, stored.stderr) == (0, "")


def test_files_of_the_tokenizer_come_along(quantized, tiny_checkpoint):
    folder, _ = quantized()
    names = ["config.json", "model.safetensors", "tokenizer.model"]
    assert sorted(path.name for path in folder.iterdir()) == names
    copied = (folder / "tokenizer.model").read_bytes()
    assert copied == (tiny_checkpoint / "tokenizer.model").read_bytes()


def test_the_tokenizer_of_a_gguf_file_becomes_one_of_its_own(
    quantized, tiny_gguf, tiny_tokenizer
):
    folder, _ = quantized(model=tiny_gguf)
    found = gm.text.Tokenizer.from_path(folder)
    same_ids(found, tiny_tokenizer)
    assert (folder / "tokenizer.model").exists()


def test_says_how_large_it_was_and_is(quantized, tiny_checkpoint):
    folder, stdout = quantized("int4")
    title, *lines = stdout.splitlines()
    assert title == str(folder)
    rows = dict(line.split("\t") for line in lines)
    assert rows["Method"] == "int4"
    size = (tiny_checkpoint / "model.safetensors").stat().st_size
    assert rows["Before"].startswith(f"{size / 1000:.1f} kB, safetensors, ")
    size = (folder / "model.safetensors").stat().st_size
    assert rows["After"].startswith(f"{size / 1000:.1f} kB, safetensors (4 bits, 8 bi")


def test_json(quantized, tiny_checkpoint):
    folder, stdout = quantized("int8", "--json")
    size_of = {
        path: (path / "model.safetensors").stat().st_size
        for path in (folder, tiny_checkpoint)
    }
    assert json.loads(stdout) == {
        "folder": str(folder),
        "method": "int8",
        "before": {"bytes": size_of[tiny_checkpoint], "format": "safetensors"},
        "after": {"bytes": size_of[folder], "format": "safetensors (8 bits)"},
    }


def test_describe_knows_the_folder(gemma, quantized):
    folder, _ = quantized("nf4")
    disk = json.loads(gemma("describe", folder, "--json").stdout)["disk"]
    assert disk["format"] == "safetensors (4 bits, 8 bits)"


def test_what_is_packed_can_be_packed_again(quantized):
    first, _ = quantized("int8")
    second, _ = quantized("int8", model=first, name="again")
    for path in first.iterdir():
        assert (second / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", ["folder", "file", "link to nowhere"])
def test_nothing_is_overwritten(gemma, tiny_checkpoint, tmp_path, kind):
    path = tmp_path / "precious"
    if kind == "folder":
        path.mkdir()
        (path / "diary.txt").write_text("x")
    elif kind == "file":
        path.write_text("x")
    else:
        path.symlink_to(tmp_path / "nowhere")
    outcome = gemma("quantize", path, "-m", tiny_checkpoint, "--method", "int8")
    assert (outcome.code, outcome.stdout) == (1, "")
    error, hint = outcome.stderr.splitlines()
    assert error == f"error: {path} exists."
    assert hint == "hint: Choose another name or remove it."
    assert list(tmp_path.iterdir()) == [path]
    if kind == "folder":
        assert [file.name for file in path.iterdir()] == ["diary.txt"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["made"], "--method"),
        (["made", "--method", "int3"], "int3"),
        (["--method", "int8"], "DST"),
    ],
)
def test_usage_errors(gemma, args, words):
    outcome = gemma("quantize", *args)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert words in outcome.stderr


def test_an_unknown_model_is_an_error_with_a_hint(gemma, tmp_path):
    outcome = gemma(
        "quantize", tmp_path / "made", "-m", "./nowhere", "--method", "int8"
    )
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("error: There is no file or folder 'nowhere'.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "code", "left"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, 1),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, 0),
        ("raise OSError(28, 'No space left on device')", 1, 0),
    ],
    ids=["killed", "ctrl-c", "disk full"],
)
def test_a_folder_that_is_not_whole_never_gets_the_name(
    start_gemma, tiny_checkpoint, tmp_path, what, code, left
):
    args = ["quantize", tmp_path / "made", "-m", tiny_checkpoint, "--method", "int4"]
    process = start_gemma(*args, code=_CUT.format(what))
    stdout, _ = process.communicate()
    assert (process.returncode, stdout) == (code, b"")
    assert not (tmp_path / "made").exists()
    # Only SIGKILL leaves anything, under a name of its own.
    assert len(list(tmp_path.iterdir())) == left


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize("method", METHODS)
def test_the_embedded_model_still_knows_france(gemma, quantized, method, embedded_path):
    folder, _ = quantized(method, model=embedded_path)
    outcome = gemma(
        "generate", "-m", folder, "The capital of France, Paris, is", "-n", 8
    )
    assert "city" in outcome.stdout or "France" in outcome.stdout
    assert (outcome.code, outcome.stderr) == (0, "")


@pytest.mark.parametrize("kind", [gm.nn.SequenceClassifier, gm.nn.TokenClassifier])
def test_a_classifier_keeps_its_scores_and_labels(
    quantized, tiny_checkpoint, tmp_path, kind
):
    model = gm.ckpts.load_model(tiny_checkpoint)[0]
    classifier, params = gm.ckpts.load_classifier(
        tiny_checkpoint, kind, num_labels=3, dtype="float32"
    )
    source = tmp_path / "classifier"
    gm.ckpts.save_model(source, classifier, params)
    config = json.loads((source / "config.json").read_text())
    labels = {"id2label": {"0": "a", "1": "b", "2": "c"}, "problem_type": "regression"}
    (source / "config.json").write_text(json.dumps(config | labels))
    folder, _ = quantized("int8", model=source)
    again, found = gm.ckpts.load_classifier(folder, kind, dtype="as-stored")
    assert (again.num_labels, again.model.config) == (3, model.config)
    for name, weight in params["score"].items():
        assert np.array_equal(found["score"][name], weight)
    made = json.loads((folder / "config.json").read_text())
    assert {name: made[name] for name in labels} == labels
    assert made["architectures"] == config["architectures"]
