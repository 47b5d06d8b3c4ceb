"""Times transformers on a GGUF file; prints one JSON object. Runs in the peers' environment.

python benchmarks/peer_transformers.py MODEL.gguf --dtype bfloat16
"""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import torch
import transformers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    begin = time.perf_counter()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        options.gguf.parent,
        gguf_file=options.gguf.name,
        dtype=getattr(torch, options.dtype),
    ).eval()
    load_s = time.perf_counter() - begin
    # The same prompt as `gemma bench`: any ids do, the work is the same.
    prompt = torch.arange(1000, 1000 + options.prompt_tokens)[None]
    with torch.inference_mode():
        time_prefill(model, prompt)
        time_decode(model, prompt, options.new_tokens)
        prefill = [time_prefill(model, prompt) for _ in range(options.repeats)]
        decode = [
            time_decode(model, prompt, options.new_tokens)
            for _ in range(options.repeats)
        ]
    result = {
        "load_s": load_s,
        "prefill_tokens_per_s": options.prompt_tokens / statistics.median(prefill),
        "decode_tokens_per_s": options.new_tokens / statistics.median(decode),
        "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    print(json.dumps(result))


def time_prefill(model: torch.nn.Module, prompt: torch.Tensor) -> float:
    begin = time.perf_counter()
    model(prompt, use_cache=True, logits_to_keep=1)
    return time.perf_counter() - begin


def time_decode(model: torch.nn.Module, prompt: torch.Tensor, new_tokens: int) -> float:
    """Returns the seconds of `new_tokens` greedy steps, prefill left out."""
    out = model(prompt, use_cache=True, logits_to_keep=1)
    begin = time.perf_counter()
    for _ in range(new_tokens):
        token = out.logits[:, -1:].argmax(-1)
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
