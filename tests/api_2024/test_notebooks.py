"""The notebooks run from top to bottom on a tiny model, and find what is true."""

import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import sentencepiece as spm

from gemma import gm
from gemma import params as params_lib
from gemma import sampler as sampler_lib
from gemma import transformer as transformer_lib

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("optax")

COLABS = Path(__file__).parents[2] / "colabs"
NAMES = ["sampling_tutorial", "fine_tuning_tutorial", "gsm8k_eval"]
SETTINGS = {
    "SAMPLING_STEPS": "6",
    "FINE_TUNING_MAX_LENGTH": "120",
    "FINE_TUNING_STEPS": "12",
    "FINE_TUNING_LEARNING_RATE": "3e-3",
    "FINE_TUNING_ANSWER_STEPS": "6",
    "GSM8K_QUESTIONS": "3",
    "GSM8K_BATCH_SIZE": "2",
    "GSM8K_STEPS": "6",
}
PREFIXES = (
    "GEMMA_CHECKPOINT",
    "GEMMA_TOKENIZER",
    "SAMPLING_",
    "FINE_TUNING_",
    "GSM8K_",
)

# What is asked of each notebook in a cell after its last.
PROBES = {
    "sampling_tutorial": """{
        "prompts": prompts,
        "text": out.text,
        "tokens": out.tokens,
        "shapes": [logits.shape for logits in out.logits],
        "alone": alone.tokens[0],
        "echoed": echoed.tokens[0],
    }""",
    "fine_tuning_tutorial": """{
        "losses": losses,
        "validation_losses": list(validation_losses.values()),
        "again": validation_loss(params),
        "num_pairs": len(set(OWN_PAIRS)),
        "rows": [[tokens.tolist(), is_answer.tolist()]
                 for tokens, is_answer in validation_batches],
        "pairs": validation_pairs,
        "trained_on": training_pairs,
        "before": before,
        "after": after,
    }""",
    "gsm8k_eval": """{
        "questions": len(questions),
        "examples": EXAMPLES,
        "prompt": make_prompt("How many?"),
        "is_right": is_right,
        "golds": [gold for _, gold in questions],
        "numbers": numbers,
        "answers": answers,
        "found": [last_number(cut_answer(text)) for text in ANSWERS],
        "loaded": load_questions("test.jsonl"),
        "accuracy": accuracy_of([True, False, False, False]),
    }""",
}
# Answers as models give them, and the number in each.
ANSWERS = {
    "The answer is 42.": 42,
    " 10-3 = 7": 7,
    "It costs $1,250.50.": 1250.5,
    "It is -4 degrees": -4,
    "5 apples, so 6.\n\nQ: And 9 pears?\nA: 11": 6,
    "of 1,000, 3": 3,
    "None of them.": None,
    "": None,
}
GSM8K = [
    {"question": "How much?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"},
    {"question": "How far?", "answer": "Far – very.\n#### 1,200"},
]


@dataclasses.dataclass(frozen=True)
class Executed:
    """A notebook that ran: its code cells, what they wrote, and what was asked."""

    cells: list[Any]
    text: str
    values: dict[str, Any]


def read(name: str) -> Any:
    return nbformat.read(COLABS / f"{name}.ipynb", as_version=4)


def stream_of(cell: Any) -> str:
    return "".join(out.text for out in cell.outputs if out.output_type == "stream")


def execute(name: str, folder: Path, environment: dict[str, str]) -> Executed:
    """Runs a notebook in a folder, in a kernel of this interpreter."""
    notebook = read(name)
    probe = f"ANSWERS = {list(ANSWERS)!r}\nprint(json.dumps({PROBES[name]}))"
    notebook.cells.append(nbformat.v4.new_code_cell("import json\n" + probe))
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    *cells, probe = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = "".join(map(stream_of, cells))
    return Executed(cells, text, json.loads(stream_of(probe)))


@pytest.fixture(scope="module")
def executed(
    flat_checkpoint, vocab_path, tmp_path_factory
) -> Callable[[str], Executed]:
    """A function from a notebook's name to what it did; each runs once."""
    pytest.importorskip("orbax.checkpoint")
    others = {k: v for k, v in os.environ.items() if not k.startswith(PREFIXES)}
    environment = others | SETTINGS
    environment["GEMMA_CHECKPOINT"] = str(flat_checkpoint)
    environment["GEMMA_TOKENIZER"] = str(vocab_path)
    done: dict[str, Executed] = {}

    def run(name: str) -> Executed:
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in GSM8K]
            (folder / "test.jsonl").write_text("".join(lines), encoding="utf-8")
            done[name] = execute(name, folder, environment)
        return done[name]

    return run


def test_there_are_no_others():
    assert sorted(path.stem for path in COLABS.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_file_holds_the_notebook_and_nothing_else(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not cell.metadata
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_runs_from_top_to_bottom(executed, name):
    counts = [cell.execution_count for cell in executed(name).cells]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_to_stderr(executed, name):
    outputs = [out for cell in executed(name).cells for out in cell.outputs]
    assert not [out.text for out in outputs if out.get("name") == "stderr"]


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_stated(name):
    """Each environment variable that is read stands in the table, and the reverse."""
    cells = read(name).cells
    prose = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    code = "".join(cell.source for cell in cells if cell.cell_type == "code")
    asked = set(re.findall(r'environ\.get\("(\w+)"', code))
    assert set(re.findall(r"^\| `(\w+)`", prose, re.M)) == asked


@pytest.fixture
def sampling(executed) -> dict[str, Any]:
    return executed("sampling_tutorial").values


@pytest.mark.slow
def test_sampling_says_what_the_sampler_says(sampling, flat_checkpoint, vocab_path):
    params = params_lib.load_and_format_params(flat_checkpoint)
    vocab = spm.SentencePieceProcessor(model_file=str(vocab_path))
    config = transformer_lib.TransformerConfig.from_params(params)
    transformer = transformer_lib.Transformer(config)
    sampler = sampler_lib.Sampler(transformer, vocab, params["transformer"])
    assert sampling["tokens"] == sampler(sampling["prompts"], 6).tokens


@pytest.mark.slow
def test_sampling_shows_text_tokens_and_logits(sampling):
    assert len(set(map(len, sampling["prompts"]))) == 3, "the prompts are ragged"
    assert len(sampling["text"]) == 3
    assert sampling["shapes"] == [[len(row), 480] for row in sampling["tokens"]]
    assert sampling["alone"] == sampling["tokens"][1]


@pytest.mark.slow
def test_sampling_says_how_probable_a_text_is(executed, tiny_tokenizer):
    cell = executed("sampling_tutorial").cells[-1]
    *prompt, _ = executed("sampling_tutorial").values["echoed"]
    assert prompt == tiny_tokenizer.encode("The sea is calm.", add_bos=True)
    log_probs = [float(line.split()[0]) for line in stream_of(cell).splitlines()]
    assert len(log_probs) == len(prompt)
    assert all(log_prob <= 0 for log_prob in log_probs)


@pytest.fixture
def training(executed) -> dict[str, Any]:
    return executed("fine_tuning_tutorial").values


@pytest.mark.slow
def test_training_lowers_the_loss_on_pairs_held_back(training):
    first, *_, last = training["validation_losses"]
    assert last < 0.9 * first
    assert training["again"] == pytest.approx(last)


@pytest.mark.slow
def test_loss_is_that_of_the_tokens_that_count(training, flat_checkpoint):
    batches = training["rows"]
    tokens = jnp.array([row for rows, _ in batches for row in rows], jnp.int32)
    counts = jnp.array([row for _, rows in batches for row in rows])
    params = params_lib.load_and_format_params(flat_checkpoint)
    config = transformer_lib.TransformerConfig.from_params(params)
    # What fills a row comes last, where nothing that counts looks.
    mask = jnp.ones(tokens.shape, bool)
    logits, _ = transformer_lib.Transformer(config).apply(
        {"params": jax.tree.map(jnp.float32, params["transformer"])},
        tokens,
        transformer_lib.build_positions_from_mask(mask),
        None,
        transformer_lib.make_causal_attn_mask(mask),
    )
    labels = jnp.where(counts, tokens, gm.losses.IGNORED)
    expected = gm.losses.next_token_cross_entropy(logits, labels)
    assert training["validation_losses"][0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.slow
def test_training_makes_as_many_steps_as_asked(training):
    assert len(training["losses"]) == 12


@pytest.mark.slow
def test_training_changes_what_is_said(training):
    assert len(training["before"]) == len(training["after"]) == 4
    assert training["before"] != training["after"]


@pytest.mark.slow
def test_pairs_held_back_are_not_trained_on(training):
    assert training["num_pairs"] == 48, "no pair stands twice"
    trained_on = {tuple(pair) for pair in training["trained_on"]}
    assert len(trained_on) == 40
    assert not trained_on & {tuple(pair) for pair in training["pairs"]}


@pytest.mark.slow
def test_translation_and_eos_count_and_nothing_else(training, tiny_tokenizer):
    rows = [row for batch in training["rows"] for row in zip(*batch, strict=True)]
    for (english, french), (tokens, counts) in zip(
        training["pairs"], rows, strict=True
    ):
        prompt = f"English: {english}\nFrench:"
        begin = len(tiny_tokenizer.encode(prompt, add_bos=True))
        end = counts.index(False, begin)
        assert tiny_tokenizer.decode(tokens[1:begin]) == prompt
        assert tiny_tokenizer.decode(tokens[begin : end - 1]) == f" {french}"
        assert tokens[end - 1] == tiny_tokenizer.eos_id
        assert set(tokens[end:]) <= {tiny_tokenizer.pad_id}
        assert sum(counts) == end - begin


@pytest.fixture
def evaluation(executed) -> dict[str, Any]:
    return executed("gsm8k_eval").values


@pytest.mark.slow
def test_evaluation_prints_accuracy_and_its_error(executed):
    text = executed("gsm8k_eval").text
    right = re.search(r"^Right: (\d) of 3$", text, re.M)
    assert right
    share = int(right[1]) / 3
    error = (share * (1 - share) / 3) ** 0.5
    assert f"Accuracy: {share:.1%}, standard error {error:.1%}\n" in text


@pytest.mark.slow
def test_evaluation_counts_a_number_that_is_the_right_one(evaluation):
    pairs = zip(evaluation["numbers"], evaluation["golds"], strict=True)
    assert evaluation["is_right"] == [number == gold for number, gold in pairs]
    assert len(evaluation["answers"]) == evaluation["questions"] == 3


@pytest.mark.slow
def test_evaluation_error_of_one_right_in_four(evaluation):
    assert evaluation["accuracy"] == pytest.approx([0.25, 0.75**0.5 / 4])


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(ANSWERS)), ids=list(ANSWERS).__getitem__)
def test_evaluation_finds_the_number_of_an_answer(evaluation, place):
    assert evaluation["found"][place] == list(ANSWERS.values())[place]


@pytest.mark.slow
def test_evaluation_reads_files_of_gsm8k(evaluation):
    assert evaluation["loaded"] == [["How much?", 4.0], ["How far?", 1200.0]]


@pytest.mark.slow
def test_worked_examples_stand_in_the_prompt(evaluation):
    assert len(evaluation["examples"]) == 8
    for question, answer in evaluation["examples"]:
        assert f"Q: {question}\nA: {answer}\n\n" in evaluation["prompt"]
    assert evaluation["prompt"].endswith("\n\nQ: How many?\nA:")


@pytest.mark.slow
def test_worked_examples_are_right(evaluation):
    for _, answer in evaluation["examples"]:
        equations = re.findall(r"(\d[\d +*/-]*) = (\d+)", answer)
        assert equations, answer
        for formula, result in equations:
            assert eval(formula) == int(result), formula
        assert answer.endswith(f"The answer is {equations[-1][1]}.")


@pytest.mark.embedded
def test_default_is_the_embedded_model(embedded_path, monkeypatch):
    """The settings cell alone, without the variables; the rest takes minutes."""
    for variable in [name for name in os.environ if name.startswith(PREFIXES)]:
        monkeypatch.delenv(variable)
    for name in NAMES:
        (cell,) = [c for c in read(name).cells if c.id == "settings"]
        found: dict[str, Any] = {}
        exec(cell.source, found)
        assert found["CHECKPOINT"] == found["VOCAB"] == embedded_path
