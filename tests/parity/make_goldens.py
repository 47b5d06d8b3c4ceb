"""Writes what transformers answers, for tests that run without it.

    python tests/parity/make_goldens.py [tiny] [embedded]

`tiny` writes folders as Hugging Face has them, with golden.npz beside the weights;
`embedded` writes embedded_greedy.json, from transformers' own reading of the GGUF file
of Gemma 3 270M (minutes). Needs torch, transformers and this package.
"""

import itertools
import json
import platform
import shutil
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch
import transformers
from shapes import SHAPES, greedy, random_model

from gemma import gm

GOLDENS = Path(__file__).parent / "goldens"
NUM_TOKENS = 24
PROMPT_SHAPE = (2, 20)
NUM_EMBEDDED_TOKENS = 64
# Two float32 implementations may decide differently between logits this near.
SURE_MARGIN = 1e-3

PROMPTS = [
    "The capital of France is",
    "The quick brown fox",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n",
    "1, 2, 3, 4, 5,",
    "Die Hauptstadt von Deutschland ist",
    "Il était une fois",
    "東京は",
    "Вчера вечером мы",
    "Q: What is the boiling point of water?\nA:",
    "SELECT name, age FROM users WHERE",
    '{"name": "Alice", "age": 30, "city":',
    "<html>\n<head>\n<title>",
    "The three primary colors are",
    "In 1969, Neil Armstrong",
    "Translate to Spanish: Good morning, my friend.\n",
    "Dear Sir or Madam,\n\nI am writing to",
    "Ingredients:\n- 2 eggs\n- 100 g of sugar\n-",
    "If x = 3 and y = 4, then x + y =",
    "🙂🙃🙂🙃🙂",
]


def main() -> None:
    GOLDENS.mkdir(exist_ok=True)
    wanted = sys.argv[1:] or ["tiny", "embedded"]
    if "tiny" in wanted:
        certify("tiny", seeds={name: write_tiny(name) for name in SHAPES})
    if "embedded" in wanted:
        write_embedded()
        certify("embedded", seeds={})


def write_tiny(name: str) -> int:
    """Writes one folder; returns its seed: the first whose greedy choices are sure."""
    for seed in itertools.count():
        model = random_model(SHAPES[name](), seed=seed)
        rng = np.random.default_rng(seed)
        prompt = torch.tensor(rng.integers(3, 96, PROMPT_SHAPE))
        tokens, margins = greedy(model, prompt, NUM_TOKENS)
        if margins.min() > SURE_MARGIN:
            break
    with torch.no_grad():
        out = model(input_ids=prompt, output_hidden_states=True, output_attentions=True)
    folder = GOLDENS / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    np.savez_compressed(
        folder / "golden.npz",
        prompt=prompt.numpy().astype(np.int32),
        logits=out.logits.numpy(),
        greedy=tokens.numpy().astype(np.int32),
        # Of the first row alone: small files.
        hidden_states=torch.stack(out.hidden_states)[:, 0].numpy(),
        attention_weights=torch.stack(out.attentions)[:, 0].numpy(),
    )
    return seed


def write_embedded() -> None:
    path = gm.hub.embedded_checkpoint()
    model, tokenizer = load_embedded(path)
    answers = [answer(model, tokenizer, prompt) for prompt in PROMPTS]
    text = json.dumps(answers, ensure_ascii=False, indent=1)
    (GOLDENS / "embedded_greedy.json").write_text(text + "\n")


def load_embedded(path: Path):
    """Returns the model and tokenizer as transformers reads them from the GGUF file."""
    auto = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32,
        attn_implementation="eager",
    )  # fmt: skip
    tokenizer = gm.text.Tokenizer.from_path(path)
    return model.eval(), tokenizer


def answer(model, tokenizer, prompt: str) -> dict:
    """Returns greedy tokens, and how many of them are sure."""
    ids = tokenizer.encode(prompt, add_bos=True)
    tokens, margins = greedy(model, torch.tensor([ids]), NUM_EMBEDDED_TOKENS)
    unsure = np.flatnonzero(margins[0].numpy() < SURE_MARGIN)
    return {
        "prompt": prompt,
        "prompt_ids": ids,
        "greedy": tokens[0].tolist(),
        "num_sure": int(unsure[0]) if unsure.size else NUM_EMBEDDED_TOKENS,
    }


def certify(what: str, seeds: dict[str, int]) -> None:
    """Notes how the files came to be."""
    path = GOLDENS / "birth.json"
    notes = json.loads(path.read_text()) if path.exists() else {}
    notes[what] = {
        "command": f"python tests/parity/make_goldens.py {what}",
        "date": date.today().isoformat(),
        "seeds": seeds,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
    }
    path.write_text(json.dumps(notes, indent=1) + "\n")


if __name__ == "__main__":
    main()
