"""Which kind of model lies in a directory.

The formats of OpenVINO Model Server come first, in its order; then those of KServe's own servers,
which want exactly one file of theirs. A name that two libraries use (`.bst`, `.json`, `.txt`) is
decided by how the file begins.
"""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import NamedTuple


class Format(Enum):
    OPENVINO = "openvino_ir"
    ONNX = "onnx"
    PADDLE = "paddle"
    TENSORFLOW = "tensorflow"
    TFLITE = "tflite"
    SKLEARN = "sklearn"
    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"
    PMML = "pmml"

    @property
    def is_estimator(self) -> bool:
        """Whether something of its own, instead of OpenVINO, runs it."""
        return self in (Format.SKLEARN, Format.XGBOOST, Format.LIGHTGBM, Format.PMML)


class ModelFile(NamedTuple):
    format: Format
    path: Path  # a directory for TensorFlow's SavedModel


class FormatError(Exception):
    pass


# A name that matches none of these is none of ours; of the first one that matches, the first file.
OPENVINO_PATTERNS = (
    (Format.OPENVINO, "*.xml"),
    (Format.ONNX, "*.onnx"),
    (Format.PADDLE, "*.pdmodel"),
    (Format.TENSORFLOW, "*.pb"),
    (Format.TFLITE, "*.tflite"),
)
ESTIMATOR_PATTERNS = {
    Format.SKLEARN: ("*.joblib", "*.pkl", "*.pickle"),
    Format.XGBOOST: ("*.bst", "*.json", "*.ubj"),
    Format.LIGHTGBM: ("*.bst", "*.txt"),
    Format.PMML: ("*.pmml",),
}
NEEDS = {".xml": ".bin", ".pdmodel": ".pdiparams"}
HEAD_BYTES = 64


def find(directory: Path, wanted: Format | None = None) -> ModelFile:
    """The model in *directory*, of the *wanted* format or of any. Raises FormatError."""
    found = _find_openvino(directory, wanted) or _find_estimator(directory, wanted)
    if found is None:
        kind = "" if wanted is None else f" of the format {wanted.value}"
        raise FormatError(
            f"no model{kind} in {directory}; looked for OpenVINO IR (*.xml with *.bin), *.onnx, "
            "*.pdmodel, *.pb, *.tflite, *.joblib, *.pkl, *.bst, *.ubj, *.json, *.txt, *.pmml"
        )
    return found


def holds_estimator(directory: Path) -> bool:
    """Whether a model lies in *directory* without a version, as KServe's own servers expect it."""
    return any(_candidates(directory, each) for each in ESTIMATOR_PATTERNS)


def _find_openvino(directory: Path, wanted: Format | None) -> ModelFile | None:
    for kind, pattern in OPENVINO_PATTERNS:
        if wanted not in (None, kind):
            continue
        if files := sorted(directory.glob(pattern)):
            return _whole(ModelFile(kind, files[0]))
    return None


def _whole(found: ModelFile) -> ModelFile:
    file = found.path
    if file.name == "saved_model.pb":
        return found._replace(path=file.parent)
    suffix = NEEDS.get(file.suffix)
    if suffix and not file.with_suffix(suffix).exists():
        raise FormatError(f"{file.with_suffix(suffix)} is missing beside {file.name}")
    return found


def _find_estimator(directory: Path, wanted: Format | None) -> ModelFile | None:
    found = [
        ModelFile(kind, file)
        for kind in ESTIMATOR_PATTERNS
        if wanted in (None, kind)
        for file in _candidates(directory, kind)
    ]
    if len(found) > 1:
        names = ", ".join(each.path.name for each in found)
        raise FormatError(f"more than one model in {directory}: {names}")
    return found[0] if found else None


def _candidates(directory: Path, kind: Format) -> list[Path]:
    files = {file for pattern in ESTIMATOR_PATTERNS[kind] for file in directory.glob(pattern)}
    begins = BEGINS.get(kind)
    return sorted(file for file in files if begins is None or begins(_head(file)))


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(HEAD_BYTES)
    except OSError:
        return b""  # Whoever reads all of it will say why it cannot be read.


# XGBoost writes {"learner": ... as JSON and UBJSON alike; LightGBM a text.
BEGINS: dict[Format, Callable[[bytes], bool]] = {
    Format.XGBOOST: lambda head: b"learner" in head,
    Format.LIGHTGBM: lambda head: head.startswith(b"tree"),
}
