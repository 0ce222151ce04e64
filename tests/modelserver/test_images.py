import io

import numpy as np
import pytest
from PIL import Image

from motorpool.modelserver.errors import EmptyContent, InferError, InvalidInput, UnusableContent
from motorpool.modelserver.images import resized, tensor_of
from motorpool.modelserver.tensors import Dimension, Images, TensorSpec


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def spec(*shape, datatype="FP32", layout="NHWC"):
    dimensions = tuple(Dimension(0) if size < 0 else Dimension(size, size) for size in shape)
    return TensorSpec("0", datatype, dimensions, layout)


def picture(mode="RGB", size=(2, 1), pixels=((1, 2, 3), (4, 5, 6))):
    image = Image.new(mode, size)
    image.putdata(list(pixels))
    return image


def test_colours_come_as_blue_green_red_and_keep_their_values():
    tensor = tensor_of(Images(spec(1, 1, 2, 3), [encoded(picture())]))

    assert tensor.dtype == np.float32
    assert tensor.tolist() == [[[[3, 2, 1], [6, 5, 4]]]]


@pytest.mark.parametrize(
    ("image", "channels"),
    [
        (picture("L", pixels=(1, 2)), [[1], [2]]),
        (picture("1", pixels=(0, 1)), [[0], [255]]),
        (picture("RGBA", pixels=((1, 2, 3, 4), (5, 6, 7, 8))), [[3, 2, 1, 4], [7, 6, 5, 8]]),
        (picture("LA", pixels=((1, 2), (3, 4))), [[1, 1, 1, 2], [3, 3, 3, 4]]),
        (picture("I;16", pixels=(1000, 65535)), [[1000], [65535]]),
        (picture().quantize(2), [[3, 2, 1], [6, 5, 4]]),
    ],
    ids=["grey", "black and white", "alpha", "grey with alpha", "16 bits", "palette"],
)
def test_channels_are_those_of_the_file(image, channels):
    tensor = tensor_of(Images(spec(1, 1, 2, len(channels[0])), [encoded(image)]))

    assert tensor[0, 0].tolist() == channels


def test_the_orientation_that_a_camera_noted_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image = Image.new("RGB", (4, 2))

    tensor = tensor_of(Images(spec(1, 2, 4, 3), [encoded(image, "JPEG", exif=exif)]))

    assert tensor.shape == (1, 2, 4, 3)


def test_sizes_change_between_pixel_centres_and_without_antialiasing():
    row = np.array([0, 10, 20, 30, 40, 50, 60, 70], np.uint8).reshape(1, 8, 1)

    smaller = resized(row, 1, 3, np.dtype(np.float32))
    larger = resized(row[:, :2], 1, 4, np.dtype(np.float32))

    # Centres of thirds of eight pixels: 0.833, 3.5 and 6.167.
    assert np.allclose(smaller.ravel(), [8.3333, 35, 61.6667], atol=1e-3)
    assert larger.ravel().tolist() == [0, 2.5, 7.5, 10]


def test_whole_numbers_are_rounded():
    row = np.array([0, 10], np.uint8).reshape(1, 2, 1)

    assert resized(row, 1, 4, np.dtype(np.uint8)).ravel().tolist() == [0, 2, 8, 10]


def test_images_of_a_batch_are_stacked():
    images = [encoded(picture(), "PNG"), encoded(picture("RGB", (4, 4), [(9, 9, 9)] * 16))]

    tensor = tensor_of(Images(spec(-1, 1, 2, 3), images))

    assert tensor.shape == (2, 1, 2, 3)
    assert tensor[1].tolist() == [[[9, 9, 9], [9, 9, 9]]]


def test_where_the_model_takes_any_size_that_of_the_image_counts():
    assert tensor_of(Images(spec(1, -1, -1, 3), [encoded(picture())])).shape == (1, 1, 2, 3)


@pytest.mark.parametrize(
    ("images", "of", "error", "text"),
    [
        ([b""], spec(1, 1, 2, 3), EmptyContent, "Bytes contents is empty"),
        ([b"no image"], spec(1, 1, 2, 3), UnusableContent, "Image parsing failed"),
        ([encoded(picture())[:-30]], spec(1, 1, 2, 3), UnusableContent, "Image parsing failed"),
        (
            [encoded(picture("L", pixels=(1, 2)))],
            spec(1, 1, 2, 3),
            InvalidInput,
            "Invalid number of channels in binary input - Expected: 3; Actual: 1; input name: 0",
        ),
        (
            [encoded(picture())],
            spec(1, 8, 8, 3, layout="N..."),
            InvalidInput,
            "Invalid input shape - Expected: (8,8); Actual: (1,2); input name: 0",
        ),
        (
            [encoded(picture()), encoded(picture("RGB", (1, 1), [(1, 1, 1)]))],
            spec(-1, -1, -1, 3),
            InvalidInput,
            "Binary input images for this endpoint are required to have the same resolution",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(images, of, error, text):
    with pytest.raises(InferError) as refusal:
        tensor_of(Images(of, images))

    assert type(refusal.value) is error
    assert str(refusal.value) == text


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded():
    header = encoded(picture(), "BMP")
    huge = header[:18] + (2**16).to_bytes(4, "little") * 2 + header[26:]

    with pytest.raises(UnusableContent, match="the image is too large"):
        tensor_of(Images(spec(1, 1, 2, 3), [huge]))
