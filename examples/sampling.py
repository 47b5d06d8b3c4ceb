r"""Continues a string with the sampling API of 2024.

python examples/sampling.py --path_checkpoint=2b-it/ \
    --path_tokenizer=tokenizer.model --string_to_sample="Where is Paris ?"
"""

import argparse

import sentencepiece as spm

from gemma import params as params_lib
from gemma import sampler as sampler_lib
from gemma import transformer as transformer_lib

_CACHE_SIZE = 1024


def main() -> None:
    """Loads the checkpoint, and prints the string and what was sampled."""
    options = _parse()
    params = params_lib.load_and_format_params(options.path_checkpoint)
    vocab = spm.SentencePieceProcessor()
    vocab.Load(options.path_tokenizer)
    config = transformer_lib.TransformerConfig.from_params(
        params, cache_size=_CACHE_SIZE
    )
    sampler = sampler_lib.Sampler(
        transformer=transformer_lib.Transformer(config),
        vocab=vocab,
        params=params["transformer"],
    )
    sampled = sampler(
        input_strings=[options.string_to_sample],
        total_generation_steps=options.total_sampling_steps,
        return_logits=False,
    )
    print(f"Input string: {options.string_to_sample}")  # noqa: T201
    print(f"Sampled string: {sampled.text}")  # noqa: T201


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Continues a string, greedily.")
    parser.add_argument("--path_checkpoint", required=True, help="checkpoint directory")
    parser.add_argument("--path_tokenizer", required=True, help="tokenizer.model file")
    parser.add_argument(
        "--total_sampling_steps", type=int, default=128, help="most tokens to make"
    )
    parser.add_argument(
        "--string_to_sample", default="Where is Paris ?", help="what to continue"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
