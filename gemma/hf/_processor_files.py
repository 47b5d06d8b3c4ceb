"""The files of a processor: what they say of images, and new ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gemma.gm import ckpts
from gemma.hf._config import read_config
from gemma.hf._image_processor import FIXED, SETTINGS, Gemma3ImageProcessor

_PROCESSOR, _IMAGES = "processor_config.json", "preprocessor_config.json"
_NUM_TOKENS = 256


class ProcessorSettings(NamedTuple):
    """What a checkpoint says of its images.

    Attributes:
      images: Arguments of `Gemma3ImageProcessor`.
      image_seq_length: Tokens that stand for an image.
    """

    images: dict[str, Any]
    image_seq_length: int

    @classmethod
    def read(cls, path: Path) -> "ProcessorSettings | None":
        """Returns the settings of a checkpoint; None if it does not read images.

        transformers 4 wrote a file of the image processor beside one of the processor;
        transformers 5 puts the one into the other. Of checkpoints without either the
        config of the vision encoder says the sizes.

        Args:
          path: The checkpoint.

        Raises:
          ValueError: A file is no JSON.
        """
        folder = path if path.is_dir() else path.parent
        stated = ckpts.read_json_object(folder / _PROCESSOR, is_optional=True)
        images = ckpts.read_json_object(folder / _IMAGES, is_optional=True)
        has_files = bool(stated or images)
        images = stated.get("image_processor") or images
        known = {n: v for n, v in images.items() if n in SETTINGS or n in FIXED}
        length = stated.get("image_seq_length", images.get("image_seq_length"))
        config = {} if has_files else _vision(path)
        if not has_files and not config:
            return None
        if "image_size" in config:
            known["size"] = config["image_size"]
        return cls(known, length or config.get("tokens", _NUM_TOKENS))


def processor_files(
    images: Gemma3ImageProcessor, image_seq_length: int
) -> dict[str, bytes]:
    """Returns the files that transformers 4 and 5 read, by name."""
    stated = {
        "image_seq_length": image_seq_length,
        "processor_class": "Gemma3Processor",
    }
    described = images.to_dict() | {"image_seq_length": image_seq_length}
    return {
        _PROCESSOR: ckpts.json_bytes(stated),
        _IMAGES: ckpts.json_bytes(described),
    }


def _vision(path: Path) -> Mapping[str, Any]:
    """Returns the sizes that the config of a vision encoder says; empty without one."""
    try:
        config = read_config(path)
    except (ckpts.CheckpointError, FileNotFoundError):
        return {}
    vision = config.get("vision_config")
    if vision is None:
        return {}
    return {
        "image_size": vision.get("image_size", 896),
        "tokens": config.get("mm_tokens_per_image", _NUM_TOKENS),
    }
