"""Images become `pixel_values`, with the numbers of transformers without torchvision.

Axes: S rows and columns of an image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gemma.gm.vision import pan_and_scan, read_image, resize_image
from gemma.hf._arrays import is_torch
from gemma.hf._batch_encoding import BatchEncoding, as_arrays
from gemma.hf._fixed_options import FixedOption, take_fixed

_RESCALE = 1 / 255
_ONLY_SO = "the vision encoder was trained with such images"
# What is always so, and may be said by a file or a caller.
FIXED = {
    "do_resize": FixedOption((True, None), _ONLY_SO),
    "do_rescale": FixedOption((True, None), _ONLY_SO),
    "do_normalize": FixedOption((True, None), _ONLY_SO),
    "do_convert_rgb": FixedOption((True, False, None), "images become RGB"),
    "do_center_crop": FixedOption((False, None), _ONLY_SO),
    "do_pad": FixedOption((False, None), _ONLY_SO),
    "crop_size": FixedOption((None,), _ONLY_SO),
    "pad_size": FixedOption((None,), _ONLY_SO),
    "resample": FixedOption((2, None), "images are resized with the bilinear filter"),
    "rescale_factor": FixedOption((_RESCALE, None), _ONLY_SO),
    "default_to_square": FixedOption((True, None), _ONLY_SO),
    "data_format": FixedOption(
        ("channels_first", None), "pixel_values have the colours first"
    ),
    "input_data_format": FixedOption((None,), "it is found by the shape"),
    "disable_grouping": FixedOption((True, False, None), "it changes no number"),
    "device": FixedOption((None, "cpu"), "images are prepared on the CPU"),
}
CROPPING = {
    "pan_and_scan_min_crop_size": "min_crop",
    "pan_and_scan_max_num_crops": "max_crops",
    "pan_and_scan_min_ratio_to_activate": "min_ratio",
}
SETTINGS = ("size", "image_mean", "image_std")
# Of each call. As in transformers, what files say of it does not count.
CALL_OPTIONS = (*SETTINGS, "do_pan_and_scan", *CROPPING)


class Gemma3ImageProcessor:
    """Prepares images for the vision encoder.

    Attributes:
      size: {"height": S, "width": S}.
      image_mean: What is subtracted from each colour, once it goes from 0 to 1.
      image_std: What each colour is divided by then.
    """

    model_input_names = ("pixel_values", "num_crops")

    def __init__(
        self,
        size: Mapping[str, int] | int | None = None,
        image_mean: Sequence[float] | float | None = None,
        image_std: Sequence[float] | float | None = None,
        **options: Any,
    ):
        """Takes the settings of a preprocessor_config.json.

        Args:
          size: See the attributes; 896 by default.
          image_mean: See the attributes; 0.5 by default.
          image_std: See the attributes; 0.5 by default.
          **options: Others of transformers, at the values that they have for Gemma.

        Raises:
          TypeError: An option that cannot be honoured.
          ValueError: A size that is no square.
        """
        side = _side(896 if size is None else size)
        self.size = {"height": side, "width": side}
        self.image_mean = _of_colours("image_mean", image_mean)
        self.image_std = _of_colours("image_std", image_std)
        known = {"do_pan_and_scan", *CROPPING}
        if rest := take_fixed(_plain(options), FIXED).keys() - known:
            raise TypeError(f"Images have no option {min(rest)!r}.")

    def __call__(
        self, images: Any, *, return_tensors: str | None = None, **options: Any
    ) -> BatchEncoding:
        """Returns `pixel_values`, [3, S, S] each, and `num_crops` of each image.

        Args:
          images: An image, or a list of them, or a list of lists. See
            `gm.vision.read_image` for what an image is; arrays may have the colours
            first, and be PyTorch's.
          return_tensors: "np", "jax" or "pt"; None for lists.
          **options: `do_pan_and_scan`, and `pan_and_scan_min_crop_size`,
            `pan_and_scan_max_num_crops` and `pan_and_scan_min_ratio_to_activate` for it;
            `size`, `image_mean` and `image_std` instead of the attributes.

        Raises:
          ImageError: An image cannot be read.
          TypeError: An option that cannot be honoured.
        """
        options = take_fixed(_plain(options), FIXED)
        asked = {n: options.pop(n) for n in SETTINGS if n in options}
        asked = {n: value for n, value in asked.items() if value is not None}
        settings = {n: getattr(self, n) for n in SETTINGS} | asked
        other, cropping = Gemma3ImageProcessor(**settings), _cropping(options)
        pixels, num_crops = [], []
        for i, source in enumerate(flat(images)):
            image = read_image(_colours_last(source), name=f"image {i + 1}")
            crops = [] if cropping is None else pan_and_scan(image, **cropping)
            pixels += [other._prepare(part) for part in (image, *crops)]
            num_crops.append(len(crops))
        found = {"pixel_values": pixels, "num_crops": num_crops}
        return as_arrays(found, return_tensors)

    preprocess = __call__

    def to_dict(self) -> dict[str, Any]:
        """Returns what a preprocessor_config.json says."""
        return {
            "do_convert_rgb": None,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": self.image_mean,
            "image_processor_type": "Gemma3ImageProcessor",
            "image_std": self.image_std,
            "processor_class": "Gemma3Processor",
            "resample": 2,
            "rescale_factor": _RESCALE,
            "size": self.size,
        }

    def _prepare(self, image: np.ndarray) -> np.ndarray:
        """Returns the numbers of one image, [3, S, S]."""
        levels = resize_image(image, self.size["height"])
        # The rounding of transformers: 64 bits for the first product, then 32.
        scaled = (levels.astype(np.float64) * _RESCALE).astype(np.float32)
        mean, std = (np.array(v, np.float32) for v in (self.image_mean, self.image_std))
        return ((scaled - mean) / std).transpose(2, 0, 1)


def flat(images: Any) -> list[Any]:
    """Returns the images of a list, or of a list of lists, or the one that it is."""
    if not isinstance(images, list | tuple):
        return [images]
    return [image for entry in images for image in flat(entry)]


def _cropping(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns arguments of `pan_and_scan`; None where images are not cut."""
    options = dict(options)
    is_cut = options.pop("do_pan_and_scan", None)
    sizes = {n: options.pop(n, None) for n in CROPPING}
    if options:
        raise TypeError(f"Images have no option {min(options)!r}.")
    if not is_cut:
        return None
    return {CROPPING[n]: value for n, value in sizes.items() if value is not None}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options with the number of a filter that is Pillow's constant."""
    resample = options.get("resample")
    is_number = isinstance(resample, int)
    return {**options, "resample": int(resample)} if is_number else dict(options)


def _colours_last(source: Any) -> Any:
    """Returns an array whose colours come last; other images as they are."""
    if is_torch(source):
        source = source.detach().cpu().numpy()
    shape = getattr(source, "shape", ())
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        return np.ascontiguousarray(np.moveaxis(np.asarray(source), 0, -1))
    return source


def _side(size: Mapping[str, int] | int) -> int:
    sides = {size} if isinstance(size, int) else {size.get("height"), size.get("width")}
    side = sides.pop()
    if sides or not isinstance(side, int) or side < 1:
        raise ValueError(
            f"size is {size!r}; a square is needed, such as {{'height': 896, 'width': 896}}."
        )
    return side


def _of_colours(name: str, value: Sequence[float] | float | None) -> list[float]:
    """Returns a number for each of three colours."""
    given = [0.5] if value is None else np.atleast_1d(np.asarray(value)).tolist()
    numbers = [float(number) for number in given * (3 // max(1, len(given)))]
    if len(numbers) != 3 or (name == "image_std" and 0 in numbers):
        raise ValueError(f"{name} is {value!r}; three numbers are needed.")
    return numbers
