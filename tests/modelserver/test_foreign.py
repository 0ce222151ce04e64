"""Every format that OpenVINO reads is found, loaded and computed."""

import numpy as np
import pytest

from motorpool.modelserver import flags, loading
from motorpool.modelserver.formats import Format, find
from tests.modelserver import foreign, models

MADE = {
    Format.ONNX: lambda directory: models.onnx_times_two(directory / "m.onnx"),
    Format.PADDLE: lambda directory: foreign.paddle(directory / "m.pdmodel"),
    Format.TENSORFLOW: foreign.tensorflow_saved_model,
    Format.TFLITE: lambda directory: foreign.tensorflow_lite(directory / "m.tflite"),
}


def doubled(directory, *more):
    argv = ["--model_name=m", f"--model_path={directory}", "--rest_port=1", *more]
    engine = loading.Loader(flags.parse(argv))(directory)
    (output,), _ = engine.slot().infer([np.array([[1, 2, 3, 4]], np.float32)])
    return [each.name for each in (*engine.spec.inputs, *engine.spec.outputs)], output.tolist()


@pytest.mark.parametrize("kind", MADE)
def test_a_model_of_another_framework_is_computed(tmp_path, kind):
    MADE[kind](tmp_path / "1")

    assert find(tmp_path / "1").format is kind
    assert doubled(tmp_path / "1") == (["x", "y"], [[2, 4, 6, 8]])


def test_a_frozen_graph_keeps_tensorflows_names_unless_they_are_mapped(tmp_path):
    foreign.tensorflow_frozen(tmp_path / "1" / "m.pb")

    assert doubled(tmp_path / "1") == (["x:0", "y:0"], [[2, 4, 6, 8]])

    mapping = '{"inputs": {"x:0": "pixels"}, "outputs": {"y:0": "classes"}}'
    (tmp_path / "1" / "mapping_config.json").write_text(mapping)
    assert doubled(tmp_path / "1")[0] == ["pixels", "classes"]


def test_what_is_cut_off_is_told(tmp_path):
    file = tmp_path / "1" / "m.tflite"
    foreign.tensorflow_lite(file)
    file.write_bytes(file.read_bytes()[:40])

    with pytest.raises(loading.EngineError, match="cannot read"):
        doubled(tmp_path / "1")
