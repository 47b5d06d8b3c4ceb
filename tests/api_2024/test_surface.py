"""What users of 2024 wrote, as they wrote it."""

import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece as spm

from gemma import params as params_lib
from gemma import sampler as sampler_lib
from gemma import transformer as transformer_lib

EXAMPLE = Path(__file__).parents[2] / "examples" / "sampling.py"


@pytest.mark.slow
def test_promised_surface_1_the_sampling_api_of_2024(flat_checkpoint, vocab_path):
    ckpt_path, vocab_path = str(flat_checkpoint), str(vocab_path)
    input_batch = ["in the", "I am in a house"]

    params = params_lib.load_and_format_params(ckpt_path)
    vocab = spm.SentencePieceProcessor()
    vocab.Load(vocab_path)
    transformer_config = transformer_lib.TransformerConfig.from_params(
        params, cache_size=1024
    )
    transformer = transformer_lib.Transformer(transformer_config)
    sampler = sampler_lib.Sampler(
        transformer=transformer, vocab=vocab, params=params["transformer"]
    )
    out_data = sampler(input_strings=input_batch, total_generation_steps=300)

    pairs = list(zip(input_batch, out_data.text, strict=True))
    assert all(isinstance(out_string, str) for _, out_string in pairs)
    assert len(out_data.tokens) == len(out_data.logits) == 2
    assert all(1 <= len(tokens) <= 300 for tokens in out_data.tokens)


@pytest.mark.slow
def test_example_prints_the_string_and_the_list_of_what_was_sampled(
    flat_checkpoint, vocab_path, vocab
):
    flags = [
        f"--path_checkpoint={flat_checkpoint}",
        f"--path_tokenizer={vocab_path}",
        "--string_to_sample=in the",
        "--total_sampling_steps=5",
    ]
    run = subprocess.run(
        [sys.executable, EXAMPLE, *flags], capture_output=True, text=True, check=True
    )
    params = params_lib.load_and_format_params(flat_checkpoint)
    config = transformer_lib.TransformerConfig.from_params(params)
    sampler = sampler_lib.Sampler(
        transformer_lib.Transformer(config), vocab, params["transformer"]
    )
    expected = sampler(["in the"], total_generation_steps=5).text
    assert run.stdout == f"Input string: in the\nSampled string: {expected}\n"


@pytest.mark.slow
def test_example_says_which_flags_it_needs():
    run = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True)
    assert run.returncode == 2
    assert "--path_checkpoint, --path_tokenizer" in run.stderr
