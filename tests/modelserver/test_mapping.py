import json

import openvino as ov
import pytest

from motorpool.modelserver import engine
from motorpool.modelserver.contract import EngineError
from motorpool.modelserver.layout import parse_layouts
from motorpool.modelserver.mapping import Mapping, parse_mapping, renamed
from tests.modelserver import models


def test_a_mapping_is_two_tables_of_names():
    content = b'{"inputs": {"a": "x"}, "outputs": {"b": "y"}}'

    assert parse_mapping(content) == Mapping({"a": "x"}, {"b": "y"})
    assert parse_mapping(b"{}") == Mapping()
    assert renamed(["a", "b"], {"a": "x"}) == ["x", "b"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"input": {}}', b'{"inputs": {"a": 1}}', b"\xff"]
)
def test_what_is_no_mapping_is_refused(content):
    with pytest.raises(ValueError, match="wrong format"):
        parse_mapping(content)


@pytest.mark.parametrize(
    ("mapping", "text"), [({"c": "x"}, "does not have: c"), ({"a": "b"}, "one name to two")]
)
def test_a_mapping_has_to_fit_the_model(mapping, text):
    with pytest.raises(ValueError, match=text):
        renamed(["a", "b"], mapping)


def loaded(directory, layouts=None, **mapping):
    models.times(directory, 2, (2, 4))
    (directory / "mapping_config.json").write_text(json.dumps(mapping))
    options = engine.Options("CPU", **({} if layouts is None else {"layouts": layouts}))
    return engine.load(ov.Core(), directory / "model.xml", options)


def test_everyone_sees_the_new_names_only(tmp_path):
    spec = loaded(tmp_path, inputs={"x": "left"}, outputs={"y": "right"}).spec

    assert (spec.inputs[0].name, spec.outputs[0].name) == ("left", "right")
    assert loaded(tmp_path, parse_layouts('{"left": "NC"}'), inputs={"x": "left"})
    with pytest.raises(EngineError, match="Layout from config not found in model: x"):
        loaded(tmp_path, parse_layouts('{"x": "NC"}'), inputs={"x": "left"})


def test_a_mapping_that_does_not_fit_fails_the_load(tmp_path):
    with pytest.raises(EngineError, match=r"mapping_config.json: .* does not have: nope"):
        loaded(tmp_path, inputs={"nope": "x"})
