"""The models: a config, a tree of weights, and pure functions over both."""

from gemma.gm._lazy import lazily
from gemma.gm.nn._cache import can_rewind, grow_cache
from gemma.gm.nn._catalog import (
    CATALOG,
    Gemma1_2B,
    Gemma1_7B,
    Gemma2_2B,
    Gemma2_9B,
    Gemma2_27B,
    Gemma3_1B,
    Gemma3_4B,
    Gemma3_12B,
    Gemma3_27B,
    Gemma3_270M,
)
from gemma.gm.nn._classifier import (
    Classified,
    Classifier,
    SequenceClassifier,
    TokenClassifier,
)
from gemma.gm.nn._config import (
    AttentionType,
    LayerConfig,
    RopeConfig,
    TransformerConfig,
    gemma1_config,
    gemma2_config,
    gemma3_config,
    repeat_pattern,
)
from gemma.gm.nn._embedder import head_of
from gemma.gm.nn._explicit_axes import in_mesh_of, with_automatic_axes
from gemma.gm.nn._fitting import fit_to_params
from gemma.gm.nn._outputs import Features, Output
from gemma.gm.nn._padding import features_of_padded
from gemma.gm.nn._transformer import Transformer

__getattr__ = lazily(__name__)

__all__ = [
    "CATALOG",
    "AttentionType",
    "Classified",
    "Classifier",
    "Features",
    "Gemma1_2B",
    "Gemma1_7B",
    "Gemma2_2B",
    "Gemma2_9B",
    "Gemma2_27B",
    "Gemma3_1B",
    "Gemma3_4B",
    "Gemma3_12B",
    "Gemma3_27B",
    "Gemma3_270M",
    "LayerConfig",
    "Output",
    "RopeConfig",
    "SequenceClassifier",
    "TokenClassifier",
    "Transformer",
    "TransformerConfig",
    "can_rewind",
    "features_of_padded",
    "fit_to_params",
    "gemma1_config",
    "gemma2_config",
    "gemma3_config",
    "grow_cache",
    "head_of",
    "in_mesh_of",
    "repeat_pattern",
    "with_automatic_axes",
]
