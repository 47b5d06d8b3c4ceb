"""Configs as transformers has them: what config.json says, as attributes."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from gemma.gm import ckpts, hub
from gemma.gm.nn import TransformerConfig
from gemma.hf._hub_options import HubOptions

_FILE = "config.json"
# What every config has, and what it is by default.
_COMMON: dict[str, Any] = {
    "architectures": None,
    "dtype": None,
    "output_hidden_states": False,
    "output_attentions": False,
    "return_dict": True,
    "problem_type": None,
    "use_cache": True,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "tie_word_embeddings": True,
}
_TEXT = _COMMON | {
    "vocab_size": 256_000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "rope_parameters": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "use_bidirectional_attention": None,
}
# What older versions called otherwise.
_OLD_NAMES = {"torch_dtype": "dtype", "hidden_act": "hidden_activation"}
_LABELS = ("num_labels", "id2label", "label2id")
_OLD_ROPE = ("rope_theta", "rope_scaling", "rope_local_base_freq")


class PretrainedConfig:
    """The fields of a model; see the classes made of it.

    Attributes:
      id2label: The names of labels, for classifiers.
      label2id: Their numbers.
    """

    initializer_range: float
    use_cache: bool
    return_dict: bool
    output_hidden_states: bool
    output_attentions: bool
    problem_type: str | None
    pad_token_id: int | None
    vocab_size: int

    model_type: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = _COMMON

    def __init__(
        self,
        *,
        num_labels: int | None = None,
        id2label: Mapping[int, str] | None = None,
        label2id: Mapping[str, int] | None = None,
        **fields: Any,
    ):
        """Takes fields; those left out have the default of transformers.

        Args:
          num_labels: How many labels a classifier has, 2 by default.
          id2label: Their names, which say how many.
          label2id: Their numbers, if not those of `id2label`.
          **fields: The others, by the names in config.json.

        Raises:
          TypeError: There is no such field.
        """
        stated = {_OLD_NAMES.get(name, name): value for name, value in fields.items()}
        for name in stated:
            if name not in self.defaults and name not in _OLD_ROPE:
                close = difflib.get_close_matches(name, self.defaults, 1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise TypeError(f"{type(self).__name__} has no {name!r}.{hint}")
        self._take({**self.defaults, **stated})
        self._name_labels(num_labels, id2label, label2id)

    @classmethod
    def from_dict(cls, stated: Mapping[str, Any], **changes: Any) -> Self:
        """Returns the config of a config.json; fields that nobody knows are kept.

        Args:
          stated: What it holds.
          **changes: Fields instead of those.

        Raises:
          TypeError: There is no field that is to be changed.
        """
        known = {*cls.defaults, *_OLD_ROPE, *_OLD_NAMES, *_LABELS}
        if "num_labels" in changes:
            stated = {n: v for n, v in stated.items() if n not in _LABELS}
        taken = {n: v for n, v in stated.items() if n in known}
        config = cls(**{**taken, **changes})
        rest = {n: v for n, v in stated.items() if n not in known}
        rest.pop("model_type", None)
        config._take(rest)
        return config

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **changes: Any
    ) -> Self:
        """Returns the config of a checkpoint.

        Args:
          pretrained_model_name_or_path: See `gm.hub.resolve`.
          **changes: Fields instead of those of the checkpoint; and which files, see
            `AutoModel.from_pretrained`.

        Raises:
          ValueError: It is of another kind of model.
        """
        files, changes = HubOptions.take(changes)
        stated = read_config(files.resolve(pretrained_model_name_or_path))
        return cls.from_dict(cls.own(stated, pretrained_model_name_or_path), **changes)

    @classmethod
    def own(cls, stated: Mapping[str, Any], where: object) -> Mapping[str, Any]:
        """Returns what of a config.json this class is for.

        Args:
          stated: What it holds.
          where: The checkpoint, for error messages.

        Raises:
          ValueError: It is of another kind of model.
        """
        if stated.get("model_type") != cls.model_type:
            raise ValueError(
                f"{where} is a {stated.get('model_type')!r} and {cls.__name__} is for "
                f"{cls.model_type!r}. The Auto classes find the right one."
            )
        return stated

    def to_dict(self) -> dict[str, Any]:
        """Returns what config.json holds."""
        fields = {n: v for n, v in vars(self).items() if not n.startswith("_")}
        nested = {
            name: value.to_dict() if isinstance(value, PretrainedConfig) else value
            for name, value in fields.items()
        }
        return nested | {"model_type": self.model_type}

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Writes a config.json into a folder."""
        ckpts.write_json(Path(save_directory) / _FILE, self.to_dict())

    def get_text_config(self, **options: Any) -> "PretrainedConfig":
        """Returns the config of the text model: this one, or the part of it that is.

        Args:
          **options: `decoder` and `encoder` of transformers; Gemma is a decoder.

        Raises:
          TypeError: There is no such option.
        """
        if unknown := options.keys() - {"decoder", "encoder"}:
            raise TypeError(f"get_text_config has no {sorted(unknown)[0]!r}.")
        return getattr(self, "text_config", self)

    @property
    def num_labels(self) -> int:
        """How many labels a classifier has."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, number: int) -> None:
        self._name_labels(number, None, None)

    @property
    def transformer_config(self) -> TransformerConfig:
        """The config of the model in `gm.nn`.

        Raises:
          CheckpointError: The fields describe no Gemma.
        """
        return ckpts.config_from_json(self.to_dict(), type(self).__name__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.to_dict(), indent=2)}"

    def _take(self, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            setattr(self, name, value)

    def _name_labels(
        self,
        number: int | None,
        id2label: Mapping[int, str] | None,
        label2id: Mapping[str, int] | None,
    ) -> None:
        if id2label is None:
            count = 2 if number is None else number
            id2label = {i: f"LABEL_{i}" for i in range(count)}
        # JSON has no numbers as keys.
        self.id2label = {int(i): label for i, label in id2label.items()}
        if number is not None and number != len(self.id2label):
            raise ValueError(
                f"num_labels is {number} and id2label has {len(self.id2label)} labels."
            )
        numbers = {label: i for i, label in self.id2label.items()}
        self.label2id = numbers if label2id is None else dict(label2id)


class GemmaConfig(PretrainedConfig):
    """Gemma 1 and CodeGemma; by default as wide as the 7B."""

    model_type = "gemma"
    defaults = _TEXT | {
        "hidden_size": 3072,
        "intermediate_size": 24_576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
    }


class Gemma2Config(PretrainedConfig):
    """Gemma 2; by default the 2B."""

    model_type = "gemma2"
    defaults = _TEXT | {
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "layer_types": None,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
    }


class Gemma3TextConfig(PretrainedConfig):
    """The text model of Gemma 3, alone or in one that has eyes."""

    model_type = "gemma3_text"
    defaults = _TEXT | {
        "vocab_size": 262_208,
        "max_position_embeddings": 131_072,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "layer_types": None,
        "use_bidirectional_attention": False,
        "final_logit_softcapping": None,
        "attn_logit_softcapping": None,
    }

    @classmethod
    def own(cls, stated: Mapping[str, Any], where: object) -> Mapping[str, Any]:
        """Returns the text part of a config.json; see `PretrainedConfig.own`."""
        if stated.get("model_type") == Gemma3Config.model_type:
            labels = {n: stated[n] for n in (*_LABELS, "problem_type") if n in stated}
            return {**stated["text_config"], **labels, "model_type": cls.model_type}
        return super().own(stated, where)


class Gemma3Config(PretrainedConfig):
    """Gemma 3 with eyes: `text_config`, and `vision_config` as config.json has it."""

    model_type = "gemma3"
    defaults = _COMMON | {
        "text_config": None,
        "vision_config": None,
        "mm_tokens_per_image": 256,
        "boi_token_index": 255_999,
        "eoi_token_index": 256_000,
        "image_token_index": 262_144,
        "initializer_range": 0.02,
    }

    def __init__(self, **fields: Any):
        """Takes fields; see `PretrainedConfig`."""
        super().__init__(**fields)
        if not isinstance(self.text_config, Gemma3TextConfig):
            self.text_config = Gemma3TextConfig.from_dict(self.text_config or {})


_CLASSES = (GemmaConfig, Gemma2Config, Gemma3TextConfig, Gemma3Config)


class AutoConfig:
    """Finds the config of a checkpoint, of whichever class."""

    def __init__(self) -> None:
        raise TypeError("AutoConfig is not made: use AutoConfig.from_pretrained.")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **changes: Any
    ) -> PretrainedConfig:
        """Returns the config of a checkpoint; see `PretrainedConfig.from_pretrained`."""
        files, changes = HubOptions.take(changes)
        stated = read_config(files.resolve(pretrained_model_name_or_path))
        kind = config_class(stated, pretrained_model_name_or_path)
        return kind.from_dict(stated, **changes)


def as_config(config: PretrainedConfig | str | Path) -> PretrainedConfig:
    """Returns a config, which may be named instead."""
    return (
        config
        if isinstance(config, PretrainedConfig)
        else AutoConfig.from_pretrained(config)
    )


def config_class(stated: Mapping[str, Any], where: object) -> type[PretrainedConfig]:
    """Returns the class for a config.json.

    Raises:
      ValueError: There is none.
    """
    for kind in _CLASSES:
        if stated.get("model_type") == kind.model_type:
            return kind
    raise ValueError(
        f"{where} is a {stated.get('model_type')!r}; "
        f"{', '.join(kind.model_type for kind in _CLASSES)} are known."
    )


def read_config(name: str | Path) -> dict[str, Any]:
    """Returns the config.json of a checkpoint, or what it would hold in other formats.

    Raises:
      CheckpointError: There is none, and it is no checkpoint of another format; or it
        holds no object.
    """
    path = hub.resolve(name)
    file = (path if path.is_dir() else path.parent) / _FILE
    is_gguf = path.is_file() and ckpts.find_gguf(path) is not None
    if is_gguf or not file.exists():
        config = ckpts.load_config(path)
        return ckpts.config_to_json(config, "bfloat16") | {"dtype": None}
    return ckpts.read_json_object(file)
