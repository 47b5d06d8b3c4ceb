"""Options of `from_pretrained` and `save_pretrained`, as users of transformers pass them."""

import jax.numpy as jnp
import pytest

from gemma import hf
from gemma.hf._saving_options import size_bytes

AT_DEFAULTS = {
    "token": None,
    "cache_dir": None,
    "force_download": False,
    "local_files_only": False,
    "revision": "main",
    "trust_remote_code": False,
}
FOR_WEIGHTS = AT_DEFAULTS | {
    "low_cpu_mem_usage": True,
    "attn_implementation": "eager",
    "device_map": "auto",
    "use_safetensors": None,
    "weights_only": True,
}


@pytest.fixture
def folder(tiny_folder):
    return tiny_folder("gemma1_mqa")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [hf.AutoModelForCausalLM, hf.GemmaForCausalLM, hf.AutoModel]
)
def test_a_model_takes_options_at_their_defaults(kind, folder):
    model = kind.from_pretrained(folder, **FOR_WEIGHTS, torch_dtype="bfloat16")
    assert model.dtype == jnp.bfloat16


def test_everything_else_takes_options_at_their_defaults(folder, tmp_path):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder, use_fast=True, **AT_DEFAULTS)
    assert hf.AutoConfig.from_pretrained(folder, **AT_DEFAULTS).num_hidden_layers == 2
    assert hf.GemmaConfig.from_pretrained(folder, **AT_DEFAULTS).vocab_size
    hf.GenerationConfig(top_k=3).save_pretrained(tmp_path)
    config = hf.GenerationConfig.from_pretrained(tmp_path, **AT_DEFAULTS)
    assert config.top_k == 3
    tokenizer.save_pretrained(tmp_path, push_to_hub=False)


def test_dtype_comes_before_its_old_name_and_none_is_no_dtype(folder):
    read = hf.GemmaForCausalLM.from_pretrained
    assert read(folder, dtype=None, torch_dtype="float16").dtype == jnp.float16
    assert read(folder, dtype="float32", torch_dtype="float16").dtype == jnp.float32
    stated = read(folder).dtype
    assert read(folder, torch_dtype="auto").dtype == stated


@pytest.mark.parametrize("call", ["model", "tokenizer", "config"])
def test_downloads_are_told_what_was_asked(call, folder, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    calls = []

    def download(repository, **options):
        calls.append((repository, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    kinds = {
        "model": hf.AutoModelForCausalLM,
        "tokenizer": hf.AutoTokenizer,
        "config": hf.AutoConfig,
    }
    asked = {"cache_dir": "/there", "token": "hf_x", "local_files_only": True}
    kinds[call].from_pretrained("org/name", **asked, force_download=True, revision="v1")
    assert calls
    for repository, options in calls:
        assert (repository, options.pop("revision")) == ("org/name", "v1")
        options.pop("allow_patterns")
        assert options == asked | {"force_download": True}


def test_special_tokens_of_a_tokenizer_may_be_others(folder):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder, pad_token="<eos>")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subfolder": "x"}, r"subfolder='x' cannot be honoured: pass the path"),
        ({"trust_remote_code": True}, "code of a checkpoint is never run"),
        ({"use_fats": True}, "from_pretrained has no 'use_fats'; it has add_bos_token"),
    ],
)
def test_options_of_tokenizers_that_cannot_be_honoured(options, message, folder):
    with pytest.raises(TypeError, match=message):
        hf.AutoTokenizer.from_pretrained(folder, **options)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("2GB", 2 * 10**9), ("500MiB", 500 * 2**20), ("100 kb", 10**5), (7, 7), ("7", 7)],
)
def test_sizes_are_those_of_transformers(size, expected):
    assert size_bytes("max_shard_size", size) == expected


@pytest.mark.parametrize("size", ["2 giga", "", "-1GB", "1.5GB", 0])
def test_what_is_no_size(size):
    with pytest.raises(ValueError, match="max_shard_size is"):
        size_bytes("max_shard_size", size)


@pytest.mark.slow
def test_files_are_no_larger_than_asked(folder, tmp_path):
    model = hf.GemmaForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path, max_shard_size="20KB", safe_serialization=True)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = hf.GemmaForCausalLM.from_pretrained(tmp_path)
    assert again.num_parameters() == model.num_parameters()


@pytest.mark.parametrize("option", ["safe_serialization", "is_main_process"])
def test_what_saving_cannot_honour(option, folder, tmp_path):
    model = hf.GemmaForCausalLM.from_pretrained(folder)
    with pytest.raises(TypeError, match=f"{option}=False cannot be honoured"):
        model.save_pretrained(tmp_path, **{option: False})


def test_text_config(folder):
    config = hf.AutoConfig.from_pretrained(folder)
    assert config.get_text_config() is config
    seeing = hf.Gemma3Config()
    assert seeing.get_text_config(decoder=True) is seeing.text_config
