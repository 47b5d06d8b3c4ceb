"""Times llama.cpp on a GGUF file; prints one JSON object. Runs in an environment of its own.

python benchmarks/peer_llama_cpp.py MODEL.gguf

Through the C interface: what the Python class of llama-cpp-python adds is left out.
"""

import argparse
import ctypes
import json
import os
import resource
import statistics
import time
from importlib import metadata

import llama_cpp as llama


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache-length", type=int, default=4096)
    parser.add_argument("--streams", type=int, default=1)
    options = parser.parse_args()

    begin = time.perf_counter()
    peer = Peer(options.gguf, options.cache_length, options.streams)
    load_s = time.perf_counter() - begin
    # The same prompt as `gemma bench`: any ids do, the work is the same.
    prompt = list(range(1000, 1000 + options.prompt_tokens))
    runs = [
        peer.time_once(prompt, options.new_tokens) for _ in range(1 + options.repeats)
    ][1:]
    prefill_s = statistics.median(prefill for prefill, _ in runs)
    decode_s = statistics.median(decode for _, decode in runs)
    result = {
        "load_s": load_s,
        "prefill_tokens_per_s": options.streams * len(prompt) / prefill_s,
        "decode_tokens_per_s": options.streams * options.new_tokens / decode_s,
        "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "versions": {"llama-cpp-python": metadata.version("llama-cpp-python")},
    }
    print(json.dumps(result))


class Peer:
    """A loaded model with a context for some streams."""

    def __init__(self, path: str, cache_length: int, streams: int):
        self._silence = llama.llama_log_callback(lambda *_: None)
        llama.llama_log_set(self._silence, ctypes.c_void_p(0))
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(
            path.encode(), llama.llama_model_default_params()
        )
        params = llama.llama_context_default_params()
        params.n_ctx = cache_length * streams
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = streams
        params.n_threads = params.n_threads_batch = os.cpu_count()
        self.context = llama.llama_init_from_model(self.model, params)
        self.greedy = llama.llama_sampler_init_greedy()
        self.streams = streams
        self.batch = llama.llama_batch_init(512, 0, 1)

    def time_once(self, prompt: list[int], new_tokens: int) -> tuple[float, float]:
        """Returns the seconds to the first tokens, and of those that follow."""
        memory = llama.llama_get_memory(self.context)
        llama.llama_memory_clear(memory, True)
        begin = time.perf_counter()
        tokens = [self.prefill(prompt, stream) for stream in range(self.streams)]
        first = time.perf_counter()
        for place in range(len(prompt), len(prompt) + new_tokens):
            tokens = self.step(tokens, place)
        return first - begin, time.perf_counter() - first

    def prefill(self, prompt: list[int], stream: int) -> int:
        for begin in range(0, len(prompt), 512):
            part = prompt[begin : begin + 512]
            for i, token in enumerate(part):
                is_last = begin + i + 1 == len(prompt)
                self._set(i, token, begin + i, stream, is_last)
            self._decode(len(part))
        return llama.llama_sampler_sample(self.greedy, self.context, -1)

    def step(self, tokens: list[int], place: int) -> list[int]:
        for stream, token in enumerate(tokens):
            self._set(stream, token, place, stream, True)
        self._decode(len(tokens))
        return [
            llama.llama_sampler_sample(self.greedy, self.context, stream)
            for stream in range(len(tokens))
        ]

    def _set(self, i: int, token: int, place: int, stream: int, logits: bool) -> None:
        self.batch.token[i] = token
        self.batch.pos[i] = place
        self.batch.n_seq_id[i] = 1
        self.batch.seq_id[i][0] = stream
        self.batch.logits[i] = logits

    def _decode(self, count: int) -> None:
        self.batch.n_tokens = count
        status = llama.llama_decode(self.context, self.batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}.")


if __name__ == "__main__":
    main()
