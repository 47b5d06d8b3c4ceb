"""Images in prompts: what they are, and where their soft tokens stand."""

import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from gemma.gm import vision
from gemma.gm.dialog import Format, Image, Segment

# Of the newest images; some megabytes each.
_MAX_TAKEN = 16


class Picture(NamedTuple):
    """An image as the model sees it.

    Attributes:
      pixels: At the size of the tower.
      digest: What tells it from others.
    """

    pixels: UInt8[np.ndarray, "S S 3"]
    digest: bytes


class Expanded(NamedTuple):
    """A stretch of a prompt: text, or the soft tokens of an image."""

    text: str
    is_control: bool
    is_image: bool = False


class PictureTaker:
    """Makes pictures of images; remembers some, so that a turn does not read old ones.

    What it remembers is the part of a turn and not what the part names: a file or an
    array may hold something else when it is said again. Threads may share it.
    """

    def __init__(self, config: vision.VisionConfig, *, with_crops: bool):
        """Makes a taker.

        Args:
          config: The eyes.
          with_crops: Whether to cut long images; see `vision.pan_and_scan`.
        """
        self._config, self._with_crops = config, with_crops
        self._taken: deque[tuple[Image, list[Picture]]] = deque(maxlen=_MAX_TAKEN)

    def take(self, images: Sequence[Image]) -> list[list[Picture]]:
        """Returns for each image itself, then its crops.

        Raises:
          ImageError: One cannot be read; it says which.
        """
        return [
            self._take(image, f"image {number} of {len(images)}")
            for number, image in enumerate(images, 1)
        ]

    def _take(self, image: Image, name: str) -> list[Picture]:
        for known, pictures in tuple(self._taken):
            if known is image:
                return pictures
        whole = vision.read_image(image.source, name=name)
        pixels = [whole, *vision.pan_and_scan(whole)] if self._with_crops else [whole]
        prepared = [vision.prepare_image(p, self._config) for p in pixels]
        pictures = [Picture(p, hashlib.sha256(p.tobytes()).digest()) for p in prepared]
        self._taken.append((image, pictures))
        return pictures


def as_sources(images: Any, num_prompts: int, *, is_single: bool) -> list[list[object]]:
    """Returns the images of each prompt.

    Args:
      images: For one prompt an image, several, or an array [N, H, W, C]; for a batch
        a sequence of these, None where a prompt has none.
      num_prompts: Prompts of the batch.
      is_single: Whether one prompt was given, and not a batch.

    Raises:
      ValueError: There are not as many entries as prompts.
    """
    if images is None:
        return [[] for _ in range(num_prompts)]
    if is_single:
        return [_as_list(images)]
    if not isinstance(images, Sequence) and not hasattr(images, "__array__"):
        raise TypeError(
            f"images of a batch are a list with an entry a prompt, not "
            f"{type(images).__name__}."
        )
    if len(images) != num_prompts:
        raise ValueError(
            f"There are {num_prompts} prompts and images for {len(images)}. Pass a list "
            "with an entry a prompt, None where a prompt has none."
        )
    return [[] if entry is None else _as_list(entry) for entry in images]


def _as_list(images: Any) -> list[object]:
    if isinstance(images, list | tuple):
        return list(images)
    is_several = hasattr(images, "__array__") and getattr(images, "ndim", 0) == 4
    return list(images) if is_several else [images]


def without_padding(images: Sequence[object], num_places: int) -> Sequence[object]:
    """Returns images without those that fill an array up: zeros that have no place.

    A batch [B, N, H, W, C] has as many images for each prompt as the longest needs.

    Args:
      images: Images of one prompt.
      num_places: How many it has placeholders for.
    """
    end = len(images)
    while end > num_places and _is_blank(images[end - 1]):
        end -= 1
    return images[:end]


def _is_blank(image: Any) -> bool:
    return hasattr(image, "__array__") and hasattr(image, "ndim") and not np.any(image)


def expand_images(
    segments: Iterable[Segment], nums_pictures: Sequence[int], format: Format
) -> list[Expanded]:
    """Returns a prompt in which soft tokens stand where there were placeholders.

    As in the processor of transformers, blank lines surround an image. They join the
    text beside them, since a run of newlines is one token.

    Args:
      segments: The prompt.
      nums_pictures: How many pictures come for each placeholder: one, or that and
        its crops.
      format: How the family writes.

    Raises:
      ValueError: There are more or fewer images than placeholders.
    """
    segments, tag = list(segments), format.image_placeholder
    num_tags = sum(s.text.count(tag) for s in segments if s.is_control) if tag else 0
    if num_tags != len(nums_pictures):
        raise ValueError(
            f"The prompt has {num_tags} image placeholders ({tag or 'none known'}) and "
            f"{len(nums_pictures)} images came with it. Give one image for each."
        )
    prompt, nums = _Prompt(format), iter(nums_pictures)
    for segment in segments:
        if not segment.is_control or not tag:
            prompt.write(segment.text, segment.is_control)
            continue
        for place, text in enumerate(segment.text.split(tag)):
            if place > 0:
                prompt.show(next(nums))
            prompt.write(text, is_control=True)
    return prompt.finish()


class _Prompt:
    """A prompt while it is put together."""

    def __init__(self, format: Format):
        self._format = format
        self._made: list[Expanded] = []
        self._blank = ""  # that the next text begins with

    def write(self, text: str, is_control: bool) -> None:
        if not text:
            return
        text, self._blank = self._blank + text, ""
        last = self._made[-1] if self._made else None
        if last and not (is_control or last.is_control or last.is_image):
            text = self._made.pop().text + text
        self._made.append(Expanded(text, is_control))

    def show(self, num_pictures: int) -> None:
        if num_pictures == 1:
            self._show_one()
            return
        self.write("Here is the original image ", is_control=False)
        self._show_one()
        self.write(" and here are some crops to help you see better ", is_control=False)
        for number in range(1, num_pictures):
            if number > 1:
                self.write(" ", is_control=False)
            self._show_one()

    def _show_one(self) -> None:
        if self._blank or not self._made:
            self._made.append(Expanded(f"{self._blank}\n\n", is_control=True))
        else:
            last = self._made.pop()
            self._made.append(last._replace(text=f"{last.text}\n\n"))
        self._made += [
            Expanded(self._format.image_placeholder, is_control=True),
            Expanded("", is_control=True, is_image=True),
            Expanded(self._format.end_of_image, is_control=True),
        ]
        self._blank = "\n\n"

    def finish(self) -> list[Expanded]:
        if self._blank:
            self._made.append(Expanded(self._blank, is_control=True))
        return self._made


def image_starts(
    token_ids: Sequence[int], config: vision.VisionConfig | None
) -> list[int]:
    """Returns where the soft tokens of each image begin."""
    if config is None:
        return []
    is_soft = np.asarray(token_ids) == config.soft_token
    before = np.concatenate([[False], is_soft[:-1]])
    return np.flatnonzero(is_soft & ~before).tolist()


def common_length(
    ours: tuple[Sequence[int], Sequence[Picture]],
    theirs: tuple[Sequence[int], Sequence[Picture]],
    config: vision.VisionConfig | None,
) -> int:
    """Returns how many tokens two texts begin with that are the same, images too."""
    (ids, pictures), (other_ids, others) = ours, theirs
    length = min(len(ids), len(other_ids))
    differs = np.asarray(ids[:length]) != np.asarray(other_ids[:length])
    if differs.any():
        length = int(np.argmax(differs))
    for start, a, b in zip(image_starts(ids, config), pictures, others, strict=False):
        # Soft tokens of different images have the same id.
        if start < length and a.digest != b.digest:
            return start
    return length
