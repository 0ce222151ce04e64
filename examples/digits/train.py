"""Trains the example model: which digit was written by hand?

Reads the 1797 pictures of 8 x 8 pixels that scikit-learn bundles, holds 297 of them back, trains a
small network on the others and writes

  model/1/model.xml, model.bin   the network as OpenVINO IR; takes any number of 8 x 8 grey images
  images/*.png, labels.json      the pictures held back, and what they show

Run it with `uv run --group examples python examples/digits/train.py`. The same versions of the
libraries write the same files.
"""

import json
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
HELD_OUT = 297
HIDDEN = 48
WHITE = 255
INK_MOST = 16  # the scale of scikit-learn's pictures


def main() -> None:
    digits = load_digits()
    pixels = np.rint(digits.images * (WHITE / INK_MOST)).astype(np.uint8)
    train, held_out, train_labels, labels = train_test_split(
        pixels, digits.target, test_size=HELD_OUT, random_state=0, stratify=digits.target
    )
    network = MLPClassifier((HIDDEN,), alpha=0.1, max_iter=1000, random_state=0)
    network.fit(train.reshape(len(train), -1) / WHITE, train_labels)
    write_model(network, HERE / "model" / "1")
    write_images(held_out, labels)
    accuracy = network.score(held_out.reshape(len(held_out), -1) / WHITE, labels)
    print(f"accuracy on {len(labels)} digits held out: {accuracy:.1%}")


def write_model(network: MLPClassifier, directory: Path) -> None:
    """Takes the layout of encoded images, and their values from 0 to 255 as they come."""
    image = op.parameter([-1, 8, 8, 1], np.float32, name="image")
    image.set_layout(ov.Layout("NHWC"))
    image.output(0).set_names({"image"})
    node = op.reshape(image, np.array([0, 64]), special_zero=True)
    node = op.multiply(node, np.float32(1 / WHITE))
    for index, (weights, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        node = op.matmul(node, weights.astype(np.float32), False, False)
        node = op.add(node, bias.astype(np.float32)[None])
        node = op.softmax(node, 1) if index == len(network.coefs_) - 1 else op.relu(node)
    node.output(0).set_names({"probabilities"})
    directory.mkdir(parents=True, exist_ok=True)
    model = ov.Model([node], [image], "digits")
    ov.save_model(model, directory / "model.xml", compress_to_fp16=False)


def write_images(images: np.ndarray, labels: np.ndarray) -> None:
    (HERE / "images").mkdir(exist_ok=True)
    names = [f"{index:03}.png" for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(HERE / "images" / name, optimize=True)
    named = dict(zip(names, map(int, labels), strict=True))
    (HERE / "labels.json").write_text(json.dumps(named, indent=0) + "\n")


if __name__ == "__main__":
    main()
