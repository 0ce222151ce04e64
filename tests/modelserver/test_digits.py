"""The example model, through the real server."""

import json
from pathlib import Path

import pytest
import yaml

from motorpool.modelserver.flags import parse
from tests.modelserver.server import started

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def bytes_of(images):
    return b"".join(len(image).to_bytes(4, "little") + image for image in images)


@pytest.mark.slow
def test_at_least_95_of_100_held_out_digits_are_recognised(tmp_path):
    labels = json.loads((DIGITS / "labels.json").read_text())
    images = [(DIGITS / "images" / name).read_bytes() for name in labels]
    blob = bytes_of(images)
    given = {
        "name": "image",
        "shape": [len(images)],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(blob)},
    }

    with started(DIGITS / "model", log=tmp_path / "log") as server:
        output = server.infer({"inputs": [given]}, blob).json["outputs"][0]
        alone = {"name": "image", "shape": [1], "datatype": "BYTES"}
        first = server.infer({"inputs": [alone]}, bytes_of(images[:1])).json["outputs"][0]

    rows = [output["data"][start : start + 10] for start in range(0, len(output["data"]), 10)]
    found = [row.index(max(row)) for row in rows]
    right = sum(map(int.__eq__, found, labels.values()))
    assert output["shape"] == [len(labels), 10]
    assert len(labels) >= 200
    assert right / len(labels) >= 0.95
    assert first["shape"] == [1, 10]
    assert first["data"] == pytest.approx(rows[0], abs=1e-5)


def test_the_example_stays_small():
    size = sum(file.stat().st_size for file in DIGITS.rglob("*") if file.is_file())

    assert size < 1_000_000


def test_the_manifests_name_each_other():
    runtime, service, route = (
        yaml.safe_load((DIGITS / "manifests" / f"{name}.yaml").read_text())
        for name in ("servingruntime", "inferenceservice", "route")
    )

    formats = [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
    container = runtime["spec"]["containers"][0]
    settings = parse(container["args"])
    name = service["metadata"]["name"]
    assert service["spec"]["predictor"]["model"]["modelFormat"]["name"] in formats
    assert route["spec"]["to"]["name"] == f"{name}-predictor"
    assert route["spec"]["port"]["targetPort"] == settings.rest_port
    assert settings.metrics_enable
