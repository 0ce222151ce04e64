"""ResNet-50 with random weights: as much work as the real one, without a download."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

# Bottlenecks in each stage, and their width.
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))


def build(directory: Path) -> None:
    """Writes version 1 of the model into *directory*."""
    random = np.random.default_rng(0)
    image = op.parameter([1, 3, 224, 224], np.float32, name="0")
    image.output(0).set_names({"0"})
    node = op.relu(_convolution(random, image, 3, 64, size=7, stride=2))
    node = op.max_pool(node, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    channels = 64
    for stage, (count, width) in enumerate(STAGES):
        for index in range(count):
            stride = 2 if stage and not index else 1
            node = _bottleneck(random, node, channels, width, stride)
            channels = width * 4
    pooled = op.reduce_mean(node, op.constant(np.array([2, 3])), keep_dims=False)
    weights = random.normal(0, 0.01, (channels, 1000)).astype(np.float32)
    logits = op.matmul(pooled, op.constant(weights), False, False)
    logits.output(0).set_names({"1463"})
    (directory / "1").mkdir(parents=True, exist_ok=True)
    model = ov.Model([logits], [image], "resnet50")
    ov.save_model(model, directory / "1" / "model.xml", compress_to_fp16=False)


def _bottleneck(
    random: np.random.Generator, node: Any, channels: int, width: int, stride: int
) -> Any:
    inner = op.relu(_convolution(random, node, channels, width))
    inner = op.relu(_convolution(random, inner, width, width, size=3, stride=stride))
    inner = _convolution(random, inner, width, width * 4)
    if stride != 1 or channels != width * 4:
        node = _convolution(random, node, channels, width * 4, stride=stride)
    return op.relu(op.add(inner, node))


def _convolution(
    random: np.random.Generator,
    node: Any,
    inputs: int,
    outputs: int,
    size: int = 1,
    stride: int = 1,
) -> Any:
    scale = (2 / (inputs * size * size)) ** 0.5
    weights = random.normal(0, scale, (outputs, inputs, size, size)).astype(np.float32)
    padding = [size // 2] * 2
    result = op.convolution(node, op.constant(weights), [stride] * 2, padding, padding, [1, 1])
    return op.add(result, op.constant(np.zeros((1, outputs, 1, 1), np.float32)))
