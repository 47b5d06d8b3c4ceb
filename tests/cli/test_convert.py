import dataclasses
import json
import os
import re
import shutil
import signal

import jax
import numpy as np
import pytest

from gemma import gm
from gemma.gm.ckpts import open_checkpoint
from gemma.gm.vision import VisionConfig

PROMPT = "the quick brown"
FOLDERS = ["huggingface", "orbax"]
FLOATS = ["float32", "bfloat16", "float16"]
TEMPLATE = "{{ bos_token }}{{ messages[0]['content'] }}"

# Runs a command line that does {what} when it reads a weight for the {count}th time.
_CUT = """
import os, signal
from gemma.gm import ckpts
read, left = ckpts.Checkpoint.read_weight, [{count}]
def cut(*args):
    left[0] -= 1
    if left[0] == 0:
        {what}
    return read(*args)
ckpts.Checkpoint.read_weight = cut
from gemma.cli.main import main
main()
"""
# Runs a command line that may write files of so many bytes.
_LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
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
def converted(gemma, tiny_checkpoint, tmp_path):
    """A function that converts a model, and gives the result and what was said."""

    def call(name, *args, model=tiny_checkpoint):
        path = tmp_path / name
        outcome = gemma("convert", model, path, *args)
        assert (outcome.code, outcome.stderr) == (0, "")
        return path, outcome.stdout

    return call


@pytest.fixture
def refused(gemma, tmp_path):
    """A function that asks for a conversion, and gives the error and the hint."""

    def call(*args, code=1):
        outcome = gemma("convert", *args)
        assert (outcome.code, outcome.stdout) == (code, "")
        error, hint = outcome.stderr.splitlines()
        return error.removeprefix("error: "), hint.removeprefix("hint: ")

    return call


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """The tiny model with all that may stand beside its weights."""
    folder = tmp_path / "tiny-it"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    sampling = {"do_sample": True, "top_k": 64, "top_p": 0.95, "temperature": 0.5}
    (folder / "generation_config.json").write_text(json.dumps(sampling))
    return folder


def weights_of(path):
    checkpoint = open_checkpoint(path)
    return {name: checkpoint.read_weight(name, np.float32) for name in checkpoint.names}


def assert_same_weights(found, expected):
    found, expected = weights_of(found), weights_of(expected)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        np.testing.assert_array_equal(found[name], weight, err_msg=name)


@pytest.fixture
def narrow(converted):
    """The tiny model in bfloat16, as published ones are."""
    path, _ = converted("narrow", "--format", "huggingface", "--dtype", "bf16")
    return path


@pytest.mark.parametrize("way", ["made.gguf", *FOLDERS])
def test_there_and_back_is_the_same_bit_for_bit(converted, narrow, way):
    """Norms too, which GGUF files hold one higher."""
    options = () if way == "made.gguf" else ("--format", way)
    made, _ = converted(way, *options, "--dtype", "float32", model=narrow)
    back = "--format", "huggingface", "--dtype", "bfloat16"
    again, _ = converted("again", *back, model=made)
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (narrow / name).read_bytes(), name
    same_ids(*map(gm.text.Tokenizer.from_path, (again, narrow)))


@pytest.mark.parametrize("format", FOLDERS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_folders_hold_rounded_weights(converted, tiny_checkpoint, format, dtype):
    path, _ = converted("made", "--format", format, "--dtype", dtype)
    found = weights_of(path)
    for name, weight in weights_of(tiny_checkpoint).items():
        rounded = weight.astype(jax.numpy.dtype(dtype)).astype(np.float32)
        np.testing.assert_array_equal(found[name], rounded, err_msg=name)
    names = open_checkpoint(path).names
    stored = open_checkpoint(path).tensors.dtype_of(names["layer_0/attn/q"].name)
    assert stored.name == dtype


@pytest.mark.parametrize("name", ["made.gguf", *FOLDERS])
def test_the_dtype_of_the_model_is_kept_unless_another_is_asked_for(
    converted, narrow, name
):
    options = () if name == "made.gguf" else ("--format", name)
    path, _ = converted(name, *options, model=narrow)
    checkpoint = open_checkpoint(path)
    stored = checkpoint.tensors.dtype_of(checkpoint.names["layer_0/attn/q"].name)
    assert stored.name == "bfloat16"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [*FLOATS, "q8_0", "q4_0"])
def test_a_gguf_file_answers_like_its_weights(gemma, converted, tiny_checkpoint, dtype):
    """Rounded as the file has them, in a folder of floats."""
    path, _ = converted("made.gguf", "--dtype", dtype)
    wide, _ = converted("wide", "--format", "huggingface", "--dtype=f32", model=path)
    answers = [
        gemma("generate", "-m", model, PROMPT, "-n", 12, "--weights", "float32")
        for model in (path, wide)
    ]
    assert answers[0].stdout == answers[1].stdout
    assert (answers[0].code, answers[0].stderr) == (0, "")


def test_dtypes_have_short_names_and_no_case(converted):
    for name, dtype in {"Q8_0": "q8_0", "f16": "float16", "BF16": "bfloat16"}.items():
        _, stdout = converted(f"{dtype}.gguf", "--dtype", name, "--json")
        assert json.loads(stdout)["dtype"] == dtype


@pytest.mark.parametrize("format", FOLDERS)
def test_what_stands_beside_the_weights_comes_along(converted, folder, format):
    made, _ = converted("made", "--format", format, model=folder)
    for name in ("tokenizer.model", "chat_template.jinja", "generation_config.json"):
        assert (made / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_gguf_file_has_tokenizer_template_and_sampling(
    converted, folder, tiny_tokenizer
):
    path, _ = converted("made.gguf", model=folder)
    metadata = gm.ckpts.read_gguf_metadata(path)
    assert gm.text.Tokenizer.from_path(path).vocabulary == tiny_tokenizer.vocabulary
    assert metadata["tokenizer.chat_template"] == TEMPLATE
    assert metadata["general.name"] == "tiny-it"
    assert metadata["general.sampling.top_k"] == 64
    assert metadata["general.sampling.top_p"] == pytest.approx(0.95)
    assert metadata["general.sampling.temp"] == 0.5


def test_what_a_gguf_file_says_becomes_files(converted, folder, tiny_tokenizer):
    path, _ = converted("made.gguf", model=folder)
    back, _ = converted("back", "--format", "huggingface", model=path)
    same_ids(gm.text.Tokenizer.from_path(back), tiny_tokenizer)
    assert (back / "chat_template.jinja").read_text() == TEMPLATE
    generation = json.loads((back / "generation_config.json").read_text())
    assert generation["eos_token_id"] == list(tiny_tokenizer.stop_ids)
    assert generation["do_sample"] is True
    assert generation["top_k"] == 64
    stated = json.loads((back / "tokenizer_config.json").read_text())
    assert (stated["add_bos_token"], stated["bos_token"]) == (True, "<bos>")


def test_a_file_without_a_suffix_becomes_the_same_files(converted, folder, tmp_path):
    """Ollama's blobs have none; a folder without a tokenizer was made of one."""
    path, _ = converted("made.gguf", model=folder)
    expected, _ = converted("back", "--format", "huggingface", model=path)
    blob = path.rename(tmp_path / "sha256-0a")
    made, _ = converted("again", "--format", "huggingface", model=blob)
    names = [file.name for file in sorted(expected.iterdir())]
    assert [file.name for file in sorted(made.iterdir())] == names
    for name in names:
        assert (made / name).read_bytes() == (expected / name).read_bytes(), name


def test_a_gguf_file_of_another_keeps_what_it_says(converted, folder):
    first, _ = converted("first.gguf", model=folder)
    second, _ = converted("second.gguf", "--dtype", "q8_0", model=first)
    stated, kept = map(gm.ckpts.read_gguf_metadata, (first, second))
    for key in ("general.name", "general.sampling.top_k", "tokenizer.chat_template"):
        assert kept[key] == stated[key]


@pytest.mark.parametrize("template", ["jinja", "config", "named", "json"])
def test_wherever_a_chat_template_stands(converted, folder, template):
    if template != "jinja":
        (folder / "chat_template.jinja").unlink()
    named = [{"name": "default", "template": TEMPLATE}, {"name": "x", "template": "x"}]
    if template in ("config", "named"):
        stated = {"chat_template": TEMPLATE if template == "config" else named}
        (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    if template == "json":
        stated = {"chat_template": TEMPLATE}
        (folder / "chat_template.json").write_text(json.dumps(stated))
    path, _ = converted("made.gguf", model=folder)
    stated = gm.ckpts.read_gguf_metadata(path)
    assert stated["tokenizer.chat_template"] == TEMPLATE


@pytest.mark.parametrize(
    "place",
    [
        "gemma-3-1b-it",
        "models--google--gemma-3-1b-it/snapshots/1a2b",
        "x/gemma-3-1b-it/2",
    ],
)
def test_a_gguf_file_has_the_name_of_its_model(converted, folder, tmp_path, place):
    """Whatever the caches of Hugging Face and Kaggle call the folder."""
    shutil.copytree(folder, tmp_path / "cache" / place)
    path, _ = converted("made.gguf", model=tmp_path / "cache" / place)
    assert gm.ckpts.read_gguf_metadata(path)["general.name"] == "gemma-3-1b-it"


@pytest.mark.slow
def test_a_quantized_folder_becomes_floats(gemma, converted, tiny_checkpoint, tmp_path):
    gemma("quantize", tmp_path / "int8", "-m", tiny_checkpoint, "--method", "int8")
    path, stdout = converted("made.gguf", "--json", model=tmp_path / "int8")
    assert json.loads(stdout)["dtype"] == "float32"
    found = weights_of(path)["layer_0/attn/q"]
    expected = weights_of(tmp_path / "int8")["layer_0/attn/q"]
    np.testing.assert_array_equal(found, expected)


def test_says_how_large_it_was_and_is(converted, tiny_checkpoint):
    path, stdout = converted("made.gguf", "--dtype", "float16")
    title, *lines = stdout.splitlines()
    assert title == str(path)
    rows = dict(line.split("\t") for line in lines)
    assert rows["Dtype"] == "float16"
    size = (tiny_checkpoint / "model.safetensors").stat().st_size
    assert rows["Before"].startswith(f"{size / 1000:.1f} kB, safetensors, ")
    assert ", GGUF (F16, F32), " in rows["After"]
    count = len(open_checkpoint(path).names)
    assert rows["Compared"] == f"{count} weights, each what rounding to float16 gives"


def test_json(converted, tiny_checkpoint):
    path, stdout = converted("made.gguf", "--dtype", "float32", "--json")
    before = (tiny_checkpoint / "model.safetensors").stat().st_size
    assert json.loads(stdout) == {
        "path": str(path),
        "format": "gguf",
        "dtype": "float32",
        "before": {"bytes": before, "format": "safetensors"},
        "after": {"bytes": path.stat().st_size, "format": "GGUF (F32)"},
        "weights_compared": len(open_checkpoint(path).names),
    }


def test_an_orbax_directory_becomes_a_gguf_file(converted, narrow):
    arrays, stdout = converted("arrays", "--format", "orbax", "--json", model=narrow)
    assert json.loads(stdout)["after"]["format"] == "Orbax"
    path, _ = converted("made.gguf", model=arrays)
    assert_same_weights(path, narrow)
    assert gm.text.Tokenizer.from_path(path).encode(PROMPT)


def test_shards(converted, tiny_checkpoint):
    options = "--format", "huggingface", "--max-shard-size", "20KB"
    path, _ = converted("made", *options)
    assert len(list(path.glob("model-*-of-*.safetensors"))) > 1
    assert_same_weights(path, tiny_checkpoint)


@pytest.fixture
def seeing(random_params, tiny_tokenizer, tmp_path):
    """A tiny model with eyes, in a Hugging Face folder."""
    config = gm.nn.gemma3_config(
        num_layers=1, embed_dim=16, hidden_dim=24, num_heads=2, num_kv_heads=1,
        head_dim=8, window=8, vocab_size=tiny_tokenizer.vocab_size, max_positions=64,
        vision=VisionConfig(
            image_size=56, patch_size=7, embed_dim=32, hidden_dim=48, num_layers=2,
            num_heads=2, tokens_per_image=4,
        ),
    )  # fmt: skip
    model = gm.nn.Transformer(config)
    files = {
        "tokenizer.model": tiny_tokenizer.model_bytes(),
        "preprocessor_config.json": b"{}",
    }
    params = random_params(model, jax.random.key(2))
    params = jax.tree.map(lambda w: w.astype("bfloat16"), params)
    gm.ckpts.save_model(tmp_path / "seeing", model, params, files=files)
    return tmp_path / "seeing"


def test_eyes_become_a_file_of_their_own(converted, seeing):
    path, stdout = converted("made.gguf", "--dtype", "float32", "--json", model=seeing)
    eyes = path.with_name("mmproj-made.gguf")
    assert_same_weights(path, seeing)
    size = path.stat().st_size + eyes.stat().st_size
    after = json.loads(stdout)["after"]
    assert after == {"bytes": size, "format": "GGUF (F32)"}
    back, _ = converted(
        "back", "--format", "huggingface", "--dtype", "bf16", model=path
    )
    found = (back / "model.safetensors").read_bytes()
    assert found == (seeing / "model.safetensors").read_bytes()


@pytest.mark.parametrize("format", FOLDERS)
def test_eyes_go_into_folders(converted, seeing, format):
    path, _ = converted("made", "--format", format, model=seeing)
    assert_same_weights(path, seeing)
    assert (path / "preprocessor_config.json").exists()


@pytest.mark.parametrize("name", ["made.gguf", *FOLDERS])
def test_text_only_leaves_the_eyes_out(converted, seeing, name):
    options = () if name == "made.gguf" else ("--format", name)
    path, _ = converted(name, *options, "--text-only", model=seeing)
    config = open_checkpoint(path).config
    whole = open_checkpoint(seeing).config
    assert config == dataclasses.replace(whole, vision=None)
    assert not list(path.parent.glob("mmproj*"))
    if path.is_dir():
        assert not (path / "preprocessor_config.json").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "SRC"),
        (["SRC"], "DST"),
        (["SRC", "made"], "made does not say what to write; give huggingface, orbax"),
        (["SRC", "made", "--format", "zip"], "zip"),
        (["SRC", "made.gguf", "--format", "orbax"], "made.gguf cannot be orbax"),
        (["SRC", "made", "--format", "gguf"], "made cannot be gguf"),
        (["SRC", "made.gguf", "--dtype", "int4"], "'int4' is none of float32, bfloat16"),
        (["SRC", "made", "--format", "orbax", "--dtype", "q8_0"], "only GGUF files hold"),
        (["SRC", "m.gguf", "--max-shard-size", "1GB"], "only Hugging Face folders have"),
        (["SRC", "m", "--format=huggingface", "--max-shard-size", "big"], "'big' is no"),
        (["SRC", "m", "--format=huggingface", "--max-shard-size", "0GB"], "'0GB' is no"),
    ],
)  # fmt: skip
def test_usage_errors(refused, args, words):
    error, hint = refused(*args, code=2)
    assert words in error
    assert hint == "gemma convert --help"


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("5GB", 5e9), ("500mb", 5e8), ("1.5 GB", 1.5e9), ("2T", 2e12), ("700", 700)],
)
def test_sizes(text, num_bytes):
    from gemma.cli.convert import _read_size

    assert _read_size(text) == num_bytes


@pytest.mark.parametrize("kind", ["folder", "file", "link to nowhere"])
@pytest.mark.parametrize("name", ["made.gguf", *FOLDERS])
def test_nothing_is_overwritten(refused, tiny_checkpoint, tmp_path, kind, name):
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("x")
    else:
        path.symlink_to(tmp_path / "nowhere")
    options = () if name == "made.gguf" else ("--format", name)
    error, hint = refused(tiny_checkpoint, path, *options)
    assert error == f"{path} exists."
    assert hint == "Choose another name or remove it."
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_model_is_an_error_with_a_hint(refused, tmp_path):
    error, hint = refused("./nowhere", tmp_path / "made.gguf")
    assert error == "There is no file or folder 'nowhere'."
    assert hint.startswith("Check the path")


def test_a_folder_without_a_tokenizer_is_no_gguf_file(refused, folder, tmp_path):
    (folder / "tokenizer.model").unlink()
    error, hint = refused(folder, tmp_path / "made.gguf")
    assert error == f"{folder} has no tokenizer, which a GGUF file must hold."
    assert hint.startswith("Put the model's tokenizer.json or tokenizer.model into")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("format", FOLDERS)
def test_a_folder_without_a_tokenizer_becomes_another(converted, folder, format):
    (folder / "tokenizer.model").unlink()
    path, _ = converted("made", "--format", format, model=folder)
    assert_same_weights(path, folder)
    assert not (path / "tokenizer.model").exists()


def test_a_damaged_generation_config_is_named(gemma, folder, tmp_path):
    (folder / "generation_config.json").write_text("{")
    outcome = gemma("convert", folder, tmp_path / "made.gguf")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert f"{folder / 'generation_config.json'} is not JSON: " in outcome.stderr
    assert outcome.stderr.rstrip().endswith(
        "Repair the file, or remove it: the model does without."
    )


def test_what_a_gguf_file_cannot_say_is_refused(
    gemma, tiny_model, tiny_tokenizer, tmp_path
):
    tiny = tiny_model("gemma2_gqa")
    files = {"tokenizer.model": tiny_tokenizer.model_bytes()}
    gm.ckpts.save_model(tmp_path / "odd", tiny.model, tiny.params, files=files)
    outcome = gemma("convert", tmp_path / "odd", tmp_path / "made.gguf")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert (
        "A GGUF file cannot state the query_scale of layer 0, 0.288" in outcome.stderr
    )
    assert [path.name for path in tmp_path.iterdir()] == ["odd"]


def test_a_damaged_checkpoint_is_refused_before_anything_is_written(
    gemma, folder, tmp_path
):
    stated = json.loads((folder / "config.json").read_text())
    stated["intermediate_size"] = 25
    (folder / "config.json").write_text(json.dumps(stated))
    outcome = gemma("convert", folder, tmp_path / "made.gguf")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "has shape (24, 16); the config asks for (25, 16)" in outcome.stderr
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["made.gguf", *FOLDERS])
def test_values_beyond_float16_are_refused(
    gemma, tiny_model, tiny_tokenizer, tmp_path, name
):
    tiny = tiny_model("gemma3_mqa")
    params = jax.tree.map(lambda weight: weight * 1e6, tiny.params)
    files = {"tokenizer.model": tiny_tokenizer.model_bytes()}
    gm.ckpts.save_model(tmp_path / "large", tiny.model, params, files=files)
    options = () if name == "made.gguf" else ("--format", name)
    made = tmp_path / name
    outcome = gemma("convert", tmp_path / "large", made, "--dtype", "f16", *options)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert re.search(r"error: Weight '.*' has values up to .*65,504", outcome.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def test_a_disk_that_changes_a_bit_is_found_out(
    refused, tiny_checkpoint, tmp_path, monkeypatch
):
    def replace(unfinished, path, real=os.replace):
        content = bytearray(unfinished.read_bytes())
        content[-2] ^= 1  # of the last norm
        unfinished.write_bytes(content)
        real(unfinished, path)

    monkeypatch.setattr(os, "replace", replace)
    path = tmp_path / "made.gguf"
    error, hint = refused(tiny_checkpoint, path)
    name = "layer_2/attn/key_norm"
    assert error == f"The weight {name!r} of {path} is not what was written."
    assert hint == f"Remove {path}, check the disk, and convert again."


def test_a_disk_without_room_is_refused_at_once(
    refused, tiny_checkpoint, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    path = tmp_path / "made.gguf"
    error, hint = refused(tiny_checkpoint, path, "--dtype", "float32")
    assert re.fullmatch(
        rf"{path} would take \S+ kB, and 1.00 kB are free there\.", error
    )
    assert hint.startswith("Make room, write to another disk, or choose a smaller")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["made.gguf", *FOLDERS])
def test_a_disk_that_fills_up_is_one_line(start_gemma, tiny_checkpoint, tmp_path, name):
    options = () if name == "made.gguf" else ("--format", name)
    made = tmp_path / name
    process = start_gemma(
        "convert", tiny_checkpoint, made, *options, code=_LIMITED.format(limit=4000)
    )
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (1, b"")
    error, hint = stderr.decode().splitlines()
    assert error == f"error: {made} could not be written: file too large."
    assert hint.startswith("hint: Make room, write to another disk")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["made.gguf", *FOLDERS])
@pytest.mark.parametrize(
    ("what", "code", "left"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, 1),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, 0),
    ],
    ids=["killed", "ctrl-c"],
)
def test_half_a_conversion_is_nothing_that_loads(
    start_gemma, tiny_checkpoint, tmp_path, name, what, code, left
):
    options = () if name == "made.gguf" else ("--format", name)
    made = tmp_path / name
    script = _CUT.format(what=what, count=9)
    process = start_gemma("convert", tiny_checkpoint, made, *options, code=script)
    stdout, _ = process.communicate()
    assert (process.returncode, stdout) == (code, b"")
    assert not made.exists()
    # Only SIGKILL leaves anything, under a name of its own.
    remains = list(tmp_path.iterdir())
    assert len(remains) == left
    for path in remains:
        with pytest.raises(gm.ckpts.CheckpointError):
            open_checkpoint(path).check()


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize("dtype", ["float16", "q8_0"])
def test_llama_cpp_answers_as_we_do(gemma, converted, embedded_path, ask_llama, dtype):
    path, _ = converted("made.gguf", "--dtype", dtype, model=embedded_path)
    prompt = "2, 4, 6, 8,"
    theirs = ask_llama(path, prompt, 12).text
    ours = gemma("generate", "-m", path, prompt, "-n", 12)
    assert ours.stdout.removesuffix("\n") == theirs


def test_classifier_is_not_converted(refused, tiny_model, tmp_path):
    classifier = gm.nn.SequenceClassifier(tiny_model("gemma1_mqa").model, 2)
    params = classifier.init(jax.random.key(0))
    gm.ckpts.save_model(tmp_path / "c", classifier, params)
    error, hint = refused(tmp_path / "c", tmp_path / "out.gguf")
    assert error.endswith("is a classifier of 2 labels, and only language models are "
                          "converted.")  # fmt: skip
    assert "load_classifier" in hint
    assert not (tmp_path / "out.gguf").exists()
