"""The table of arguments says what the code does."""

import importlib.util
from pathlib import Path

import pytest
from data.processor_folder import write_processor

from gemma import hf
from gemma.hf._surface import CALLS

DOCS = Path(__file__).parents[2] / "docs"
FIXED = [(call.name, name) for call in CALLS for name in call.fixed]


@pytest.fixture(scope="module")
def calls(tiny_folder, tmp_path_factory):
    folder = tiny_folder("gemma1_mqa")
    lm = hf.GemmaForCausalLM.from_pretrained(folder)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    pipe = hf.TextGenerationPipeline(lm, tokenizer)
    ids = tokenizer("in", return_tensors="np")["input_ids"]
    made = tmp_path_factory.mktemp("saved")
    processor = hf.AutoProcessor.from_pretrained(
        write_processor(tmp_path_factory.mktemp("processor"))
    )
    return {
        "model from_pretrained": lambda **o: type(lm).from_pretrained(folder, **o),
        "model save_pretrained": lambda **o: lm.save_pretrained(made, **o),
        "tokenizer from_pretrained": lambda **o: tokenizer.from_pretrained(folder, **o),
        "tokenizer save_pretrained": lambda **o: tokenizer.save_pretrained(made, **o),
        "tokenizer __call__": lambda **o: tokenizer("in", **o),
        "tokenizer apply_chat_template": lambda **o: tokenizer.apply_chat_template(
            [{"role": "user", "content": "in"}], chat_template="{{ bos_token }}", **o
        ),
        "processor __call__": lambda **o: processor(text="in", **o),
        "processor apply_chat_template": lambda **o: processor.apply_chat_template(
            [{"role": "user", "content": "in"}], tokenize=True, **o
        ),
        "generate": lambda **o: lm.generate(ids, **o),
        "pipeline": lambda **o: hf.pipeline(model=folder, **o),
        "pipeline __call__": lambda **o: pipe("in", **o),
    }


@pytest.mark.parametrize(("call", "name"), FIXED)
def test_other_values_are_refused_with_the_reason(call, name, calls):
    [option] = [c.fixed[name] for c in CALLS if c.name == call]
    with pytest.raises(TypeError, match=f"{name}='another' cannot be") as caught:
        calls[call](**{name: "another"})
    assert option.reason in str(caught.value)


def test_values_that_may_be_passed_are(calls):
    for call in CALLS:
        if call.name in (
            "model from_pretrained",
            "tokenizer __call__",
            "processor __call__",
        ):
            for name, option in call.fixed.items():
                for value in option.values:
                    calls[call.name](**{name: value})


def test_no_argument_is_both():
    for call in CALLS:
        assert not call.honoured & call.fixed.keys(), call.name


def test_the_page_is_that_of_the_code():
    """`python docs/write_transformers.py` writes it anew."""
    spec = importlib.util.spec_from_file_location("w", DOCS / "write_transformers.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.PAGE.read_text(encoding="utf-8") == page.current_page()
