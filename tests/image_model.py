"""An image classifier of ResNet-50's outline whose answer to each image is known by construction.

An image is a chessboard of 4 x 4 squares; the first ten, row by row, are the bits of its class,
blue for 1 and red for 0. The model takes blue less red, averaged over each square, and gives each
of 1000 classes the sum of the bits that agree less those that do not. So the right class only comes
out where decoding, order of colours, resizing and layout all are right.
"""

import io
from pathlib import Path

INPUT, OUTPUT = "0", "1463"
CLASSES = 1000
_BITS = 10
_SQUARES = 4
_SIDE = 224


def build(directory: Path) -> None:
    """Writes version 1 into *directory*: input "0" 1x3x224x224 NCHW, output "1463" 1x1000."""
    from motorpool.modelserver.main import warm

    warm()
    import numpy as np
    import openvino as ov
    from openvino import opset13 as op

    image = op.parameter([1, 3, _SIDE, _SIDE], np.float32, name=INPUT)
    image.output(0).set_names({INPUT})
    # Encoded images come as blue, green, red.
    colours = np.array([1, 0, -1], np.float32).reshape(1, 3, 1, 1)
    blue_less_red = op.reduce_sum(op.multiply(image, colours), np.array([1]), keep_dims=True)
    square = [_SIDE // _SQUARES] * 2
    squares = op.avg_pool(blue_less_red, square, [0, 0], [0, 0], square, exclude_pad=False)
    flat = op.reshape(squares, np.array([1, _SQUARES**2]), special_zero=False)
    weights = np.zeros((_SQUARES**2, CLASSES), np.float32)
    for bit in range(_BITS):
        weights[bit] = [1 if _bits(index)[bit] else -1 for index in range(CLASSES)]
    logits = op.matmul(flat, weights, False, False)
    logits.output(0).set_names({OUTPUT})
    (directory / "1").mkdir(parents=True, exist_ok=True)
    model = ov.Model([logits], [image], "squares")
    ov.save_model(model, directory / "1" / "model.xml", compress_to_fp16=False)


def jpeg(class_index: int, size: tuple[int, int] = (320, 240)) -> bytes:
    return _encoded(class_index, size, "JPEG")


def png(class_index: int, size: tuple[int, int] = (320, 240)) -> bytes:
    return _encoded(class_index, size, "PNG")


def request(image: bytes) -> tuple[bytes, int]:
    """The body of an infer request with one encoded image, and the length of its JSON."""
    header = b'{"inputs" : [{"name": "0", "shape": [1], "datatype": "BYTES"}]}'
    return header + len(image).to_bytes(4, "little") + image, len(header)


def _encoded(class_index: int, size: tuple[int, int], kind: str) -> bytes:
    from PIL import Image

    bits = [*_bits(class_index), *[False] * (_SQUARES**2 - _BITS)]
    board = Image.new("RGB", (_SQUARES, _SQUARES))
    board.putdata([(0, 0, 255) if bit else (255, 0, 0) for bit in bits])
    file = io.BytesIO()
    board.resize(size, Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()


def _bits(class_index: int) -> list[bool]:
    return [bool(class_index >> bit & 1) for bit in range(_BITS)]
