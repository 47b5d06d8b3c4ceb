"""What people call an image -> pixels: files, bytes, data URLs, arrays, Pillow's own.

No other file knows Pillow.
"""

import base64
import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import UInt8

from gemma.gm.vision._config import VisionConfig
from gemma.gm.vision._errors import ImageError

# Files may come from strangers. Pillow knows more kinds, some of which start programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Filters of warnings belong to the whole process: one thread at a time changes them.
_filters_lock = threading.Lock()


def read_image(source: object, *, name: str = "image") -> UInt8[np.ndarray, "H W 3"]:
    """Returns the pixels of an image in RGB, upright.

    Whatever is transparent is laid over white, as the processor of transformers does.
    Grey of 16 bits is scaled to 8. A picture that its camera marked as turned (EXIF) is
    turned back. Of an animation the first frame is read.

    Args:
      source: A path; the bytes of a file; a URL "data:image/png;base64,..."; an image of
        Pillow; or uint8 pixels [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (the last is
        opacity) of numpy or JAX.
      name: What to call the image in an error.

    Raises:
      ImageError: It cannot be read.

    Example:
      >>> read_image(np.zeros((2, 3), np.uint8)).shape
      (2, 3, 3)
    """
    try:
        return _read(source)
    except ImageError as error:
        raise ImageError(f"Cannot read {name}: {error}") from error.__cause__


def prepare_image(
    source: object, config: VisionConfig, *, name: str = "image"
) -> UInt8[np.ndarray, "S S 3"]:
    """Returns the pixels of an image at the size that the tower looks at.

    Both sides are stretched to it, whatever the aspect ratio was. The filter is Pillow's
    bilinear one, which averages where it shrinks: the processor of transformers without
    torchvision, to the bit.

    Args:
      source: See `read_image`.
      config: The tower.
      name: What to call the image in an error.

    Raises:
      ImageError: It cannot be read.

    Example:
      >>> prepare_image(np.zeros((2, 3), np.uint8), VisionConfig()).shape
      (896, 896, 3)
    """
    return resize_image(read_image(source, name=name), config.image_size)


def resize_image(
    image: UInt8[np.ndarray, "H W 3"], side: int
) -> UInt8[np.ndarray, "S S 3"]:
    """Returns an image stretched to a square; see `prepare_image`.

    Args:
      image: Pixels.
      side: Rows and columns.
    """
    resized = PIL.Image.fromarray(image).resize(
        (side, side), PIL.Image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def encode_image(source: object) -> str:
    """Returns an image as a URL "data:image/png;base64,...", without loss.

    For files that hold whole conversations: `dialog.save_conversation(...,
    encode_image=encode_image)`.

    Args:
      source: See `read_image`.

    Raises:
      ImageError: It cannot be read.
    """
    file = io.BytesIO()
    PIL.Image.fromarray(read_image(source)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _read(source: object) -> np.ndarray:
    match source:
        case PIL.Image.Image():
            with _explained_failure():
                return _rgb(source)
        case bytes():
            return _decode(source)
        case str() if source[:5].lower() == "data:":
            return _decode(_data_of(source))
        case str() | Path():
            return _decode(_file_bytes(source))
        case _ if hasattr(source, "__array__"):
            return _rgb_of_array(np.asarray(source))
    raise ImageError(
        f"it is of type {type(source).__name__}. Pass a path, the bytes of a file, a "
        "data URL, an image of Pillow or an array of uint8."
    )


def _file_bytes(path: str | Path) -> bytes:
    if isinstance(path, str) and _URL.match(path):
        raise ImageError(
            f"{path:.200} is a URL, and nothing is downloaded. Download the file and pass "
            "its path or its bytes."
        )
    try:
        return Path(path).read_bytes()
    # What Python says of a path that no file can have.
    except (FileNotFoundError, ValueError):
        problem = "there is no such file"
    except OSError as error:
        problem = f"{error.strerror}"
    raise ImageError(
        f"{str(path)!r:.200}: {problem}. A string is a path or a data URL."
    )


def _data_of(url: str) -> bytes:
    header, _, text = url.partition(",")
    if not header.lower().endswith(";base64"):
        raise ImageError(
            f"its data URL begins with {header[:40]!r}. What is needed is "
            "'data:image/png;base64,...', in base64."
        )
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ImageError(f"its data URL is not base64 ({error}).") from None


def _decode(data: bytes) -> np.ndarray:
    """Returns the pixels of a file."""
    if not data:
        raise ImageError("the file is empty.")
    with _explained_failure():
        return _rgb(_open(data))


def _open(data: bytes) -> PIL.Image.Image:
    with _filters_lock, warnings.catch_warnings():
        # Pillow warns at half of what it refuses.
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        return PIL.Image.open(io.BytesIO(data), formats=_FORMATS)


@contextmanager
def _explained_failure() -> Iterator[None]:
    """Says what Pillow's errors mean."""
    try:
        yield
    except ImageError:
        raise
    except PIL.UnidentifiedImageError:
        kinds = ", ".join(_FORMATS)
        raise ImageError(f"it is none of {kinds}. Save it as PNG or JPEG.") from None
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(
            "it has more than 178 megapixels. Make it smaller; the model sees less than "
            "one of them."
        ) from error
    # Decoders raise whatever a broken file makes them stumble over.
    except Exception as error:
        raise ImageError(f"it is broken or cut short ({error}).") from error


def _rgb_of_array(pixels: np.ndarray) -> np.ndarray:
    """Returns an array of pixels with three colours."""
    if pixels.dtype != np.uint8:
        raise ImageError(
            f"its pixels are {pixels.dtype}; they must be uint8, from 0 to 255. Pixels "
            "from 0 to 1 become that by (255 * x).round().astype('uint8')."
        )
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise ImageError(
            f"its shape is {pixels.shape}; it must be (height, width), or (height, width, "
            "colours) with 1, 3 or 4 colours, which come last."
        )
    if not pixels.size:
        raise ImageError(f"it has no pixels: its shape is {pixels.shape}.")
    if pixels.shape[2] == 4:
        return _rgb(PIL.Image.fromarray(pixels))
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _rgb(image: PIL.Image.Image) -> np.ndarray:
    """Returns the pixels of an image of any mode."""
    if 0 in image.size:
        raise ImageError(f"it has no pixels: its size is {image.size}.")
    image = PIL.ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _grey_in_8_bits(image)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = _over_white(image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _grey_in_8_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """Returns grey of 16 bits in 8; Pillow's own way is to cut off all above 255."""
    grey = np.asarray(image)
    # Pillow holds some files of 16 bits in 32.
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65_535:
        raise ImageError(
            f"its pixels are {grey.dtype}, and nothing says which number is white. Save "
            "it with 8 or 16 bits a pixel."
        )
    # 65535 is 257 * 255.
    return PIL.Image.fromarray(((grey.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _over_white(image: PIL.Image.Image) -> PIL.Image.Image:
    white = PIL.Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
