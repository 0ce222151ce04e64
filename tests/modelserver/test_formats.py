"""Which kind of model lies in a directory."""

import pytest

from motorpool.modelserver.formats import Format, FormatError, find, holds_estimator

CONTENT = {
    "x.ubj": b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{",
    "x.bst": b'{"learner":{',
    "x.json": b'{"learner":{',
    "l.bst": b"tree\nversion=v4\n",
    "l.txt": b"tree\nversion=v4\n",
}


def put(directory, *names):
    for name in names:
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(CONTENT.get(file.name, b""))


@pytest.mark.parametrize(
    ("names", "expected", "path"),
    [
        (("a.onnx", "m.xml", "m.bin"), Format.OPENVINO, "m.xml"),
        (("a.onnx", "model.joblib"), Format.ONNX, "a.onnx"),
        (("m.pdmodel", "m.pdiparams"), Format.PADDLE, "m.pdmodel"),
        (("saved_model.pb", "variables/variables.index"), Format.TENSORFLOW, ""),
        (("frozen.pb",), Format.TENSORFLOW, "frozen.pb"),
        (("m.tflite",), Format.TFLITE, "m.tflite"),
        (("model.joblib",), Format.SKLEARN, "model.joblib"),
        (("model.pkl",), Format.SKLEARN, "model.pkl"),
        (("model.pickle",), Format.SKLEARN, "model.pickle"),
        (("x.ubj",), Format.XGBOOST, "x.ubj"),
        (("x.json", "notes.json"), Format.XGBOOST, "x.json"),
        (("x.bst",), Format.XGBOOST, "x.bst"),
        (("l.bst",), Format.LIGHTGBM, "l.bst"),
        (("l.txt", "requirements.txt"), Format.LIGHTGBM, "l.txt"),
    ],
)
def test_a_model_is_known_by_its_files(tmp_path, names, expected, path):
    put(tmp_path, *names)

    assert find(tmp_path) == (expected, tmp_path / path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no model in .*; looked for OpenVINO IR"),
        (("m.pt", "notes.txt", "labels.json"), "no model in"),
        (("m.xml",), "m.bin is missing beside m.xml"),
        (("m.pdmodel",), "m.pdiparams is missing beside m.pdmodel"),
        (("a.joblib", "b.pkl"), "more than one model in .*: a.joblib, b.pkl"),
        (("x.bst", "l.txt"), "more than one model in .*: x.bst, l.txt"),
    ],
)
def test_what_is_no_single_model_is_refused_with_the_reason(tmp_path, names, message):
    put(tmp_path, *names)

    with pytest.raises(FormatError, match=message):
        find(tmp_path)


def test_the_format_asked_for_decides_between_several(tmp_path):
    put(tmp_path, "m.onnx", "x.ubj", "l.txt")

    assert find(tmp_path, Format.LIGHTGBM).path.name == "l.txt"
    with pytest.raises(FormatError, match="no model of the format sklearn"):
        find(tmp_path, Format.SKLEARN)


def test_only_estimators_may_lie_in_a_directory_without_version(tmp_path):
    put(tmp_path, "flat/x.ubj", "openvino/m.xml")

    assert holds_estimator(tmp_path / "flat")
    assert not holds_estimator(tmp_path / "openvino")
