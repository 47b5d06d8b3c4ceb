"""Each argument of the installed transformers is in the table of ours."""

import inspect

import pytest

from gemma.hf._surface import CALLS

transformers = pytest.importorskip(
    "transformers", reason="parity needs torch and transformers"
)
from transformers.models.gemma3.image_processing_pil_gemma3 import (  # noqa: E402
    Gemma3ImageProcessorKwargs,
)
from transformers.processing_utils import (  # noqa: E402
    ImagesKwargs,
    ProcessingKwargs,
    TextKwargs,
)

pytestmark = [
    pytest.mark.parity,
    # Torch and transformers warn about themselves.
    pytest.mark.filterwarnings("ignore"),
]
TOKENIZER = transformers.PreTrainedTokenizerBase
PROCESSOR = transformers.ProcessorMixin
PIPELINE = transformers.TextGenerationPipeline
THEIRS = {
    "model from_pretrained": [transformers.PreTrainedModel.from_pretrained],
    "model save_pretrained": [transformers.PreTrainedModel.save_pretrained],
    "tokenizer from_pretrained": [TOKENIZER.from_pretrained],
    "tokenizer save_pretrained": [TOKENIZER.save_pretrained],
    "tokenizer __call__": [TOKENIZER.__call__],
    "tokenizer apply_chat_template": [TOKENIZER.apply_chat_template],
    "processor __call__": [transformers.Gemma3Processor.__call__, PROCESSOR.__call__],
    "processor apply_chat_template": [PROCESSOR.apply_chat_template],
    "generate": [transformers.GenerationMixin.generate],
    "pipeline": [transformers.pipeline],
    "pipeline __call__": [PIPELINE.__call__, PIPELINE._sanitize_parameters],
}
# Of `generate`, which the pipeline passes on; and what is no argument.
NO_ARGUMENTS = {"self", "transformers_version", "_from_model_config"}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_arguments(call):
    names = {
        name
        for function in THEIRS[call.name]
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    if call.name == "generate":
        names |= vars(transformers.GenerationConfig()).keys()
    if call.name == "processor __call__":
        names |= {*ProcessingKwargs.__annotations__, *ImagesKwargs.__annotations__}
        names |= Gemma3ImageProcessorKwargs.__annotations__.keys()
        names |= TextKwargs.__annotations__.keys() - {"text_pair_target"}
    known = call.honoured | call.fixed.keys() | NO_ARGUMENTS
    if call.name == "pipeline __call__":
        known |= {"return_type"}  # what the other three become
    assert names - known == set()
