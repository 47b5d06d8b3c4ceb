"""The names and calls of Hugging Face's transformers, over `gemma.gm`.

As of transformers 5.23, with what 4.4x called otherwise. Import from here what came from
`transformers`; what is new is in `gm`.
"""

from gemma.hf._added_tokens import AddedToken
from gemma.hf._auto import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from gemma.hf._base_models import Gemma2Model, Gemma3TextModel, GemmaModel
from gemma.hf._batch_encoding import BatchEncoding
from gemma.hf._causal_lm import (
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    GemmaForCausalLM,
)
from gemma.hf._classifiers import (
    Gemma2ForSequenceClassification,
    Gemma2ForTokenClassification,
    Gemma3TextForSequenceClassification,
    GemmaForSequenceClassification,
    GemmaForTokenClassification,
)
from gemma.hf._config import (
    AutoConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
    PretrainedConfig,
)
from gemma.hf._dynamic_cache import DynamicCache
from gemma.hf._flax import FlaxGemmaForCausalLM, FlaxGemmaModel
from gemma.hf._generation_config import GenerationConfig
from gemma.hf._image_processor import Gemma3ImageProcessor
from gemma.hf._logits_processors import LogitsProcessor, LogitsProcessorList
from gemma.hf._model import PreTrainedModel
from gemma.hf._pipeline import TextGenerationPipeline, pipeline
from gemma.hf._processor import AutoProcessor, Gemma3Processor
from gemma.hf._quantization import BitsAndBytesConfig
from gemma.hf._seeds import set_seed
from gemma.hf._seeing_models import Gemma3ForConditionalGeneration, Gemma3Model
from gemma.hf._stopping_criteria import (
    MaxLengthCriteria,
    MaxTimeCriteria,
    StoppingCriteria,
    StoppingCriteriaList,
)
from gemma.hf._streamers import TextIteratorStreamer, TextStreamer
from gemma.hf._tokenizer import AutoTokenizer, GemmaTokenizer, GemmaTokenizerFast

__all__ = [
    "AddedToken",
    "AutoConfig",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoProcessor",
    "AutoTokenizer",
    "BatchEncoding",
    "BitsAndBytesConfig",
    "DynamicCache",
    "FlaxGemmaForCausalLM",
    "FlaxGemmaModel",
    "Gemma2Config",
    "Gemma2ForCausalLM",
    "Gemma2ForSequenceClassification",
    "Gemma2ForTokenClassification",
    "Gemma2Model",
    "Gemma3Config",
    "Gemma3ForCausalLM",
    "Gemma3ForConditionalGeneration",
    "Gemma3ImageProcessor",
    "Gemma3Model",
    "Gemma3Processor",
    "Gemma3TextConfig",
    "Gemma3TextForSequenceClassification",
    "Gemma3TextModel",
    "GemmaConfig",
    "GemmaForCausalLM",
    "GemmaForSequenceClassification",
    "GemmaForTokenClassification",
    "GemmaModel",
    "GemmaTokenizer",
    "GemmaTokenizerFast",
    "GenerationConfig",
    "LogitsProcessor",
    "LogitsProcessorList",
    "MaxLengthCriteria",
    "MaxTimeCriteria",
    "PreTrainedModel",
    "PretrainedConfig",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "TextGenerationPipeline",
    "TextIteratorStreamer",
    "TextStreamer",
    "pipeline",
    "set_seed",
]
