"""`pipeline` beside transformers', with a tokenizer that Google published."""

import pytest
from data.fetch_tokenizers import folder_of

from gemma import hf

torch = pytest.importorskip("torch", reason="parity needs torch and transformers")
transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)

from shapes import gemma3_mqa, random_model  # noqa: E402

pytestmark = [
    pytest.mark.parity,
    pytest.mark.slow,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
QUESTION = {"role": "user", "content": " Who are you? "}
PREFILL = {"role": "assistant", "content": "I am "}
GREEDY = {"do_sample": False, "max_new_tokens": 6}
CALLS = {
    "text": ("Hello this is", GREEDY),
    "several": (["Hello", "Who are you today?"], GREEDY),
    "batch": (
        ["Hello", "Who are you today?", "Good morning"],
        {"batch_size": 2, **GREEDY},
    ),
    "no prompt": ("Hello", {"return_full_text": False, **GREEDY}),
    "ids": ("Hello", {"return_tensors": True, **GREEDY}),
    "conversation": ([QUESTION], GREEDY),
    "conversations": ([[QUESTION], [QUESTION, PREFILL]], GREEDY),
    "continued": ([QUESTION, PREFILL], GREEDY),
    "continued, only new": (
        [QUESTION, PREFILL],
        {"return_full_text": False, **GREEDY},
    ),
    "max_length": ("Hello this is", {"do_sample": False, "max_length": 9}),
    "no special tokens": ("Hello", {"add_special_tokens": False, **GREEDY}),
    "control tokens": ("Hello", {"skip_special_tokens": False, **GREEDY}),
    "truncation": (
        "Hello this is a test",
        {"truncation": True, "tokenizer_encode_kwargs": {"max_length": 3}, **GREEDY},
    ),
}


@pytest.fixture(scope="module")
def pipes(tmp_path_factory):
    """Their pipeline and ours, of one folder."""
    published = folder_of("gemma3")
    if not published.exists():
        pytest.skip("python tests/data/fetch_tokenizers.py fetches the tokenizers.")
    folder = tmp_path_factory.mktemp("model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(published)
    config = gemma3_mqa()
    config.vocab_size = len(tokenizer)
    random_model(config, seed=5).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    theirs = transformers.pipeline("text-generation", model=str(folder))
    return theirs, hf.pipeline("text-generation", model=folder, dtype="float32")


@pytest.mark.parametrize(("inputs", "options"), CALLS.values(), ids=CALLS)
def test_what_a_pipeline_returns(pipes, inputs, options):
    theirs, ours = pipes
    assert ours(inputs, **options) == theirs(inputs, **options)
