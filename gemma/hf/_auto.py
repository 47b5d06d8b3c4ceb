"""The classes that find the class of a checkpoint."""

from pathlib import Path
from typing import Any, ClassVar

from gemma.hf._base_models import Gemma2Model, Gemma3TextModel, GemmaModel
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
from gemma.hf._config import PretrainedConfig, as_config, config_class, read_config
from gemma.hf._hub_options import HubOptions
from gemma.hf._model import PreTrainedModel
from gemma.hf._seeing_models import Gemma3ForConditionalGeneration, Gemma3Model


class AutoClass:
    """Finds the class among some, by the config."""

    classes: ClassVar[tuple[type[PreTrainedModel], ...]]

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} is not made: use {name}.from_pretrained.")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path | None, **options: Any
    ) -> Any:
        """Returns the model of a checkpoint; see `PreTrainedModel.from_pretrained`."""
        name = pretrained_model_name_or_path
        config = options.get("config")
        if config is None:
            path = HubOptions.take(options)[0].resolve(name)
            kind = config_class(read_config(path), name)
        else:
            options["config"] = config = as_config(config)
            kind = type(config)
        return cls._class_for(kind).from_pretrained(name, **options)

    @classmethod
    def from_config(cls, config: PretrainedConfig) -> PreTrainedModel:
        """Returns a model with random params."""
        return cls._class_for(type(config))(config)

    @classmethod
    def _class_for(cls, kind: type[PretrainedConfig]) -> type[PreTrainedModel]:
        for model in cls.classes:
            if model.config_class is kind:
                return model
        raise ValueError(
            f"{cls.__name__} has no model for a {kind.__name__}; it has "
            f"{', '.join(model.__name__ for model in cls.classes)}."
        )


class AutoModel(AutoClass):
    """Finds the model without a head."""

    classes = (GemmaModel, Gemma2Model, Gemma3TextModel, Gemma3Model)


class AutoModelForCausalLM(AutoClass):
    """Finds the language model."""

    classes = (
        GemmaForCausalLM,
        Gemma2ForCausalLM,
        Gemma3ForCausalLM,
        Gemma3ForConditionalGeneration,
    )


class AutoModelForImageTextToText(AutoClass):
    """Finds the language model that sees."""

    classes = (Gemma3ForConditionalGeneration,)


class AutoModelForSequenceClassification(AutoClass):
    """Finds the classifier of texts."""

    classes = (
        GemmaForSequenceClassification,
        Gemma2ForSequenceClassification,
        Gemma3TextForSequenceClassification,
    )


class AutoModelForTokenClassification(AutoClass):
    """Finds the classifier of tokens."""

    classes = (GemmaForTokenClassification, Gemma2ForTokenClassification)
