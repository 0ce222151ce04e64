import json
from pathlib import Path

import pytest

from motorpool.modelserver.configfile import ConfigError, NotJson, parse_config
from motorpool.modelserver.flags import Settings
from motorpool.modelserver.layout import Layout
from motorpool.modelserver.shape import Bounds

FOLDER = Path("/etc/models")
COMMON = Settings(config_path="/etc/models/config.json", rest_port=8080)


def parsed(*configs, **more):
    document = {"model_config_list": [{"config": each} for each in configs], **more}
    return parse_config(json.dumps(document).encode(), FOLDER, COMMON)


def test_each_entry_becomes_the_settings_of_one_model():
    (one, two) = parsed(
        {
            "name": "a",
            "base_path": "models/a",
            "batch_size": 4,
            "layout": {"x": "NHWC:NCHW"},
            "model_version_policy": {"all": {}},
            "nireq": 2,
            "target_device": "CPU",
            "plugin_config": {"NUM_STREAMS": 2},
            "shape": {"x": "(1,2)"},
        },
        {"name": "b", "base_path": "/elsewhere/b"},
    )

    assert (one.model_name, one.model_path, one.rest_port) == ("a", "/etc/models/models/a", 8080)
    assert one.batch_size == Bounds(4, 4)
    assert one.layout.by_name == {"x": Layout("NHWC", "NCHW")}
    assert one.model_version_policy.latest is None
    assert (one.nireq, one.plugin_config) == (2, {"NUM_STREAMS": 2})
    assert two.model_path == "/elsewhere/b"


def test_there_may_be_no_models():
    assert parsed() == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_told_apart(content):
    with pytest.raises(NotJson):
        parse_config(content, FOLDER, COMMON)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the file is no object"),
        ({}, "model_config_list is missing"),
        ({"models": []}, "the file has no key models"),
        ({"model_config_list": [{}]}, "config is no object"),
        ({"model_config_list": [{"config": {"name": "a"}}]}, "base_path is missing"),
        (
            {"model_config_list": [{"config": {"name": "a", "base_path": "a", "shap": "1"}}]},
            "has no key shap",
        ),
        (
            {"model_config_list": [{"config": {"name": "a", "base_path": "a", "shape": "x"}}]},
            "the shape is in wrong format",
        ),
        (
            {"model_config_list": [{"config": {"name": "a", "base_path": "a", "mean": 1}}]},
            "need a layout",
        ),
        (
            {"model_config_list": [{"config": {"name": "a", "base_path": "a"}}] * 2},
            "two models have the name a",
        ),
        (
            {"model_config_list": [], "mediapipe_config_list": [{"name": "g"}]},
            "mediapipe_config_list: MediaPipe graphs are not served here",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(document, message):
    with pytest.raises(ConfigError) as refusal:
        parse_config(json.dumps(document).encode(), FOLDER, COMMON)

    assert message in str(refusal.value)
