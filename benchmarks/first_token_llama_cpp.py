"""Makes one token with llama-cpp-python as its users do, for timing the whole process.

python benchmarks/first_token_llama_cpp.py MODEL.gguf
"""

import os
import sys

from llama_cpp import Llama

model = Llama(sys.argv[1], n_ctx=4096, n_threads=os.cpu_count(), verbose=False)
answer = model("The capital of France is", max_tokens=1, temperature=0)
print(answer["choices"][0]["text"], flush=True)
