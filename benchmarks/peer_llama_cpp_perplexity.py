"""Scores llama.cpp on windows of token ids. Runs in an environment of its own.

python benchmarks/peer_llama_cpp_perplexity.py MODEL.gguf < WINDOWS.json

Reads a JSON list of windows from stdin. Prints one JSON object a line: the versions,
then the losses and choices of each window as it is done.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import metadata

import llama_cpp as llama
import numpy as np
from peer_llama_cpp import Peer
from scores import WINDOW_LENGTH, Scores, counted_positions

# Logits of a vocabulary of 262,144 are a megabyte a token.
PART_LENGTH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf")
    options = parser.parse_args()

    reader = Reader(options.gguf, cache_length=WINDOW_LENGTH, streams=1)
    version = metadata.version("llama-cpp-python")
    print(json.dumps({"llama-cpp-python": version}), flush=True)
    for window in json.load(sys.stdin):
        scores = reader.score(window)
        result = {"losses": scores.losses, "choices": scores.choices}
        print(json.dumps(result), flush=True)


class Reader(Peer):
    """A loaded model that reads and never writes."""

    def score(self, window: Sequence[int]) -> Scores:
        """Returns the scores of the counted positions of a window."""
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        scores = Scores()
        counted = counted_positions(len(window))
        for begin in range(0, len(window), PART_LENGTH):
            part = range(begin, min(begin + PART_LENGTH, len(window)))
            for i, place in enumerate(part):
                self._set(i, window[place], place, 0, place in counted)
            self._decode(len(part))
            for i, place in enumerate(part):
                if place in counted:
                    scores.add(self._logits(i)[None], [window[place + 1]])
        return scores

    def _logits(self, i: int) -> np.ndarray:
        """Returns the logits of a token of the last batch, in memory of llama.cpp."""
        pointer = llama.llama_get_logits_ith(self.context, i)
        vocab = llama.llama_model_get_vocab(self.model)
        return np.ctypeslib.as_array(pointer, (llama.llama_vocab_n_tokens(vocab),))


if __name__ == "__main__":
    main()
