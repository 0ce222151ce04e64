"""Encoded images -> the tensor of a 4-D input, in the way of OpenCV and OpenVINO Model Server.

Colours come in the order blue, green, red; values stay 0 to 255; there is no mean and no scale. The
element type is converted first and the size after it, bilinear between pixel centres and without
antialiasing, so that a model answers as it does behind OpenVINO Model Server.
"""

import io
import struct
from typing import Any

import numpy as np
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin
from PIL import WebPImagePlugin as WebpImagePlugin

from motorpool.modelserver.errors import EmptyContent, InvalidInput, UnusableContent
from motorpool.modelserver.layout import names_image_dimensions
from motorpool.modelserver.tensors import DTYPES, Array, Dimension, Images, TensorSpec

# OpenCV's own bound is 2**30; a quarter of it still is 768 MB of pixels.
PIXELS_MOST = 2**28
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")

_PLUGINS = (JpegImagePlugin, PngImagePlugin, BmpImagePlugin, TiffImagePlugin, WebpImagePlugin)

# We bound the pixels ourselves: a warning in the log of a server helps nobody.
Image.MAX_IMAGE_PIXELS = None


def tensor_of(images: Images) -> Array:
    """Raises InvalidInput where an image cannot be read or does not fit."""
    spec = images.spec
    dtype = DTYPES[spec.datatype]
    decoded = [_decoded(encoded) for encoded in images.encoded]
    for pixels in decoded:
        _check_channels(pixels, spec)
    height, width = _size(decoded, spec)
    batch = np.empty((len(decoded), height, width, _channels(decoded, spec)), dtype)
    for index, pixels in enumerate(decoded):
        batch[index] = resized(pixels, height, width, dtype)
    return batch


def resized(pixels: Array, height: int, width: int, dtype: np.dtype[Any]) -> Array:
    """*pixels* at that size, computed in *dtype* where it has fractions."""
    if pixels.shape[:2] == (height, width):
        return pixels.astype(dtype)
    top, bottom, down = _neighbours(pixels.shape[0], height)
    left, right, across = _neighbours(pixels.shape[1], width)
    down, across = down[:, None, None], across[None, :, None]
    # Rows first: only those that count are ever converted, however large the picture is.
    rows = pixels[top] * (1 - down) + pixels[bottom] * down
    result: Array = rows[:, left] * (1 - across) + rows[:, right] * across
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        result = np.clip(np.rint(result), limits.min, limits.max)
    return result.astype(dtype, copy=False)


def _decoded(encoded: bytes) -> Array:
    """Height, width, channels; as cv2.imdecode(..., IMREAD_UNCHANGED) gives them."""
    if not encoded:
        raise EmptyContent("Bytes contents is empty")
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if image.width * image.height > PIXELS_MOST:
                raise UnusableContent("Image parsing failed", "the image is too large")
            return _pixels(image)
    # Pillow reports broken files by whatever its decoders stumble over.
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError) as error:
        raise UnusableContent("Image parsing failed") from error


def _pixels(image: Image.Image) -> Array:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[:, :, None]
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))[:, :, [2, 1, 0, 3]]
    return np.asarray(image.convert("RGB"))[:, :, ::-1]


def _check_channels(pixels: Array, spec: TensorSpec) -> None:
    expected = spec.shape[3]
    if expected.fixed and pixels.shape[2] != expected.low:
        raise InvalidInput(
            "Invalid number of channels in binary input",
            f"Expected: {expected}; Actual: {pixels.shape[2]}; input name: {spec.name}",
        )


def _size(decoded: list[Array], spec: TensorSpec) -> tuple[int, int]:
    """The height and width of the whole batch, once each image fits."""
    first = decoded[0].shape if decoded else (0, 0)
    height = _clamped(first[0], spec.shape[1])
    width = _clamped(first[1], spec.shape[2])
    for pixels in decoded:
        fits = spec.shape[1].takes(pixels.shape[0]) and spec.shape[2].takes(pixels.shape[1])
        if not (fits or names_image_dimensions(spec.layout)):
            raise InvalidInput(
                "Invalid input shape",
                f"Expected: ({spec.shape[1]},{spec.shape[2]}); "
                f"Actual: ({pixels.shape[0]},{pixels.shape[1]}); input name: {spec.name}",
            )
        free = not (spec.shape[1].fixed and spec.shape[2].fixed)
        if free and pixels.shape[:2] != first[:2]:
            raise InvalidInput(
                "Binary input images for this endpoint are required to have the same resolution"
            )
    return height, width


def _channels(decoded: list[Array], spec: TensorSpec) -> int:
    return int(decoded[0].shape[2]) if decoded else spec.shape[3].low


def _clamped(size: int, dimension: Dimension) -> int:
    size = max(size, dimension.low)
    return size if dimension.high < 0 else min(size, dimension.high)


def _neighbours(source: int, target: int) -> tuple[Array, Array, Array]:
    """For each of *target* pixels: the two of *source* it lies between, and how far along."""
    position = (np.arange(target, dtype=np.float32) + 0.5) * (source / target) - 0.5
    position = np.clip(position, 0, source - 1).astype(np.float32)
    low = np.floor(position).astype(np.intp)
    return low, np.minimum(low + 1, source - 1), position - low.astype(np.float32)
