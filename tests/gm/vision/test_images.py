"""Whatever people call an image becomes RGB, or an error that says why not."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma.gm.dialog import (
    Conversation,
    Image,
    Turn,
    load_conversation,
    save_conversation,
)
from gemma.gm.vision import (
    ImageError,
    VisionConfig,
    encode_image,
    prepare_image,
    read_image,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
PICTURE = PIL.Image.fromarray(PIXELS)
MOST_PIXELS = 178_956_970  # that Pillow opens


def file_of(image: PIL.Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


PNG = file_of(PICTURE)


def assert_same(found, expected) -> None:
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [str, Path])
def test_path_of_a_file(kind, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(PNG)
    assert_same(read_image(kind(path)), PIXELS)


def test_bytes_of_a_file():
    assert_same(read_image(PNG), PIXELS)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_files_that_lose_nothing(format):
    assert_same(read_image(file_of(PICTURE, format)), PIXELS)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF"])
def test_files_that_lose_something(format):
    data = file_of(PICTURE, format)
    expected = PIL.Image.open(io.BytesIO(data)).convert("RGB")
    assert_same(read_image(data), np.asarray(expected))


def test_data_url():
    assert_same(read_image(data_url(PNG)), PIXELS)


def test_data_url_broken_into_lines():
    url = f"data:image/png;base64,{base64.encodebytes(PNG).decode()}"
    assert_same(read_image(url), PIXELS)


def test_data_url_in_capitals():
    assert_same(read_image(data_url(PNG).replace("data:image", "DATA:IMAGE")), PIXELS)


def test_picture_of_pillow():
    assert_same(read_image(PICTURE), PIXELS)


@pytest.mark.parametrize("make", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_array_of_colours(make):
    assert_same(read_image(make(PIXELS)), PIXELS)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_array_of_grey(shape):
    grey = PIXELS[:, :, :1]
    assert_same(read_image(grey.reshape(shape)), np.repeat(grey, 3, axis=2))


def test_array_with_opacity_is_laid_over_white():
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 51]]])
    expected = [[[10, 20, 30], [255, 255, 255], [204, 224, 255]]]
    assert_same(read_image(pixels.astype(np.uint8)), expected)


def test_file_with_opacity_is_laid_over_white():
    pixels = np.full((2, 2, 4), [0, 100, 255, 51], np.uint8)
    found = read_image(file_of(PIL.Image.fromarray(pixels)))
    assert_same(found, np.full((2, 2, 3), [204, 224, 255]))


def test_grey_file_with_opacity():
    image = PIL.Image.new("LA", (1, 1), (0, 51))
    assert_same(read_image(file_of(image)), [[[204, 204, 204]]])


def test_grey_file():
    image = PICTURE.convert("L")
    expected = np.repeat(np.asarray(image)[:, :, None], 3, axis=2)
    assert_same(read_image(file_of(image)), expected)


def test_black_and_white_file():
    image = PIL.Image.fromarray(np.array([[True, False]]))
    assert_same(read_image(file_of(image)), [[[255] * 3, [0] * 3]])


def test_palette_file():
    image = PICTURE.quantize(4)
    assert_same(read_image(file_of(image)), np.asarray(image.convert("RGB")))


def test_palette_with_a_transparent_colour():
    image = PIL.Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    data = file_of(image, transparency=1)
    assert_same(read_image(data), [[[10, 20, 30], [255, 255, 255]]])


def test_palette_with_half_transparent_colours():
    image = PIL.Image.new("P", (1, 1))
    image.putpalette([0, 100, 255])
    data = file_of(image, transparency=bytes([51]))
    assert_same(read_image(data), [[[204, 224, 255]]])


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_scaled(format):
    deep = np.array([[0, 128, 129, 300, 32_896, 65_535]], np.uint16)
    found = read_image(file_of(PIL.Image.fromarray(deep), format))
    assert_same(found, np.repeat([[[0], [0], [1], [1], [128], [255]]], 3, axis=2))


def test_big_endian_grey_of_16_bits_is_scaled():
    image = PIL.Image.frombytes("I;16B", (1, 1), bytes([0x80, 0x80]))
    assert_same(read_image(image), [[[128] * 3]])


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_grey_of_unknown_range_is_refused(dtype):
    image = PIL.Image.fromarray(np.array([[0, 70_000]], dtype))
    with pytest.raises(ImageError, match="nothing says which number is white"):
        read_image(file_of(image, "TIFF"))


def test_cmyk_file():
    image = PICTURE.convert("CMYK")
    data = file_of(image, "TIFF")
    assert_same(read_image(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (4, lambda x: x[::-1]),
        (5, lambda x: x.transpose(1, 0, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: x[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda x: np.rot90(x)),
    ],
)
def test_turned_photo_is_turned_back(orientation, undo):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    assert_same(read_image(file_of(PICTURE, exif=exif)), undo(PIXELS))


def test_damaged_mark_of_the_camera_is_no_reason_to_refuse():
    data = file_of(PICTURE, "JPEG", exif=b"Exif\0\0 nothing of the kind")
    assert read_image(data).shape == PIXELS.shape


def test_first_frame_of_an_animation():
    frames = [PIL.Image.new("RGB", (2, 2), color) for color in ("red", "blue")]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert_same(read_image(data), np.full((2, 2, 3), [255, 0, 0]))


def test_one_pixel():
    image = PIL.Image.new("RGB", (1, 1), (1, 2, 3))
    assert_same(read_image(file_of(image)), [[[1, 2, 3]]])


@pytest.mark.slow
def test_a_hundred_megapixels_without_a_warning():
    data = file_of(PIL.Image.new("1", (10_000, 10_000), 1))
    found = read_image(data)
    assert found.shape == (10_000, 10_000, 3)
    assert found.min() == 255


@pytest.mark.parametrize(
    ("end", "reason"),
    [(0, "the file is empty"), (8, "broken or cut short|none of PNG"), (60, "broken")],
)
def test_truncated_file_is_refused(end, reason):
    with pytest.raises(ImageError, match=reason):
        read_image(PNG[:end])


def test_truncated_photo_is_refused():
    data = file_of(PICTURE.resize((64, 64)), "JPEG")
    with pytest.raises(ImageError, match="broken or cut short"):
        read_image(data[: len(data) // 2])


@given(st.data(), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]))
def test_damaged_file_is_an_image_or_an_error(data, format):
    content = bytearray(file_of(PICTURE, format))
    places = st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(places, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    try:
        found = read_image(bytes(content))
    except ImageError:
        return
    assert found.shape[2] == 3


def test_file_of_something_else_is_refused():
    with pytest.raises(ImageError, match=r"none of PNG, JPEG, .* Save it as PNG"):
        read_image(b"Dear diary, today I saw a cat.")


def test_file_that_would_start_a_program_is_refused():
    """Pillow gives PostScript to Ghostscript."""
    with pytest.raises(ImageError, match="none of PNG"):
        read_image(file_of(PICTURE, "EPS"))


def test_missing_file_is_refused():
    with pytest.raises(ImageError, match=r"'cat\.png': there is no such file"):
        read_image("cat.png")


@pytest.mark.parametrize("path", ["a\0b", ""])
def test_impossible_path_is_refused(path):
    with pytest.raises(ImageError, match=r"no such file|[Dd]irectory"):
        read_image(path)


def test_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"directory|denied"):
        read_image(tmp_path)


def test_base64_without_its_header_is_refused_in_few_words():
    text = base64.b64encode(PNG * 99).decode()
    with pytest.raises(ImageError, match="a path or a data URL") as caught:
        read_image(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("url", ["http://a.org/cat.png", "HTTPS://a.org", "gs://a/b"])
def test_url_is_not_downloaded(url):
    with pytest.raises(ImageError, match="is a URL, and nothing is downloaded"):
        read_image(url)


def test_data_url_that_is_not_base64_is_refused():
    with pytest.raises(ImageError, match="is not base64"):
        read_image("data:image/png;base64,???")


def test_data_url_of_plain_text_is_refused():
    with pytest.raises(ImageError, match="begins with 'data:image/svg"):
        read_image("data:image/svg+xml,<svg/>")


def test_data_url_of_nothing_is_refused():
    with pytest.raises(ImageError, match="the file is empty"):
        read_image("data:image/png;base64,")


@pytest.mark.parametrize("shape", [(0, 7, 3), (5, 0), (0, 0, 4), (0, 5, 1)])
def test_array_without_pixels_is_refused(shape):
    with pytest.raises(ImageError, match="has no pixels"):
        read_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool, np.uint16])
def test_array_of_another_dtype_is_refused(dtype):
    with pytest.raises(ImageError, match=f"are {np.dtype(dtype)}; they must be uint8"):
        read_image(PIXELS.astype(dtype))


@pytest.mark.parametrize("shape", [(), (7,), (3, 5, 7), (5, 7, 2), (1, 5, 7, 3)])
def test_array_of_another_shape_is_refused(shape):
    with pytest.raises(ImageError, match="colours, which come last"):
        read_image(np.zeros(shape, np.uint8))


def test_picture_without_pixels_is_refused():
    with pytest.raises(ImageError, match="has no pixels"):
        read_image(PIL.Image.new("RGB", (0, 3)))


@pytest.mark.parametrize("source", [None, 3, [PIXELS], {"url": "x"}], ids=repr)
def test_other_types_are_refused(source):
    with pytest.raises(ImageError, match=f"of type {type(source).__name__}"):
        read_image(source)


def test_too_many_megapixels_are_refused():
    """A file of a few bytes may claim any size: this one is a header."""
    header = bytearray(file_of(PIL.Image.new("L", (1, 1)), "PPM"))
    header = header.replace(b"1 1", b"1 %d" % (MOST_PIXELS + 1))
    with pytest.raises(ImageError, match="more than 178 megapixels"):
        read_image(bytes(header))


def test_error_names_the_image():
    with pytest.raises(ImageError, match=r"^Cannot read image 2 of 3: "):
        read_image(b"", name="image 2 of 3")


def test_error_of_a_prepared_image_names_it():
    with pytest.raises(ImageError, match=r"^Cannot read the cat: "):
        prepare_image(b"", VisionConfig(), name="the cat")


@pytest.mark.parametrize("shape", [(1, 1), (56, 56), (3, 200), (500, 90)])
def test_prepared_image_is_a_square(shape):
    config = VisionConfig(image_size=56, tokens_per_image=4)
    pixels = np.full((*shape, 3), [10, 20, 30], np.uint8)
    assert_same(prepare_image(pixels, config), np.full((56, 56, 3), [10, 20, 30]))


def test_image_of_the_right_size_is_not_changed():
    config = VisionConfig(image_size=28, tokens_per_image=4)
    pixels = np.random.default_rng(1).integers(0, 256, (28, 28, 3), np.uint8)
    assert_same(prepare_image(pixels, config), pixels)


def test_shrinking_averages():
    """Without it, every second line of a drawing would be lost."""
    config = VisionConfig(image_size=28, tokens_per_image=4)
    stripes = np.zeros((280, 280, 3), np.uint8)
    stripes[:, ::2] = 255
    found = prepare_image(stripes, config)
    # At the border the filter sees one line more of a colour.
    assert np.abs(found.astype(int) - 128).max() <= 4


def test_reading_an_image_does_not_load_jax():
    program = (
        "import sys, numpy; from gemma.gm.vision import read_image;"
        "read_image(numpy.zeros((1, 1), numpy.uint8)); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_encoded_images_are_read_back(tmp_path):
    """So that a file can hold a conversation with pictures that were arrays."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    url = encode_image(pixels)
    np.testing.assert_array_equal(read_image(url), pixels)
    conversation = Conversation((Turn.user("Who?", Image(pixels)),))
    save_conversation(conversation, tmp_path / "c.json", encode_image=encode_image)
    (turn,) = load_conversation(tmp_path / "c.json").turns
    np.testing.assert_array_equal(read_image(turn.parts[1].source), pixels)
