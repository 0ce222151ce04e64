"""A PMML file -> an engine: rows of its input fields in, a column for each of its results out.

As KServe's pmmlserver answers: the target first, then what the model declares as its Output.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from motorpool.modelserver.contract import EngineError
from motorpool.modelserver.estimators.pmml import models, values
from motorpool.modelserver.estimators.pmml.models import Result
from motorpool.modelserver.estimators.pmml.values import Fields, Unsupported, Value
from motorpool.modelserver.tensors import BYTES, DTYPES, Array, Dimension, ModelSpec, TensorSpec

INPUT = "input-0"
UNNAMED_TARGET = "predictedValue"
WHOLE = ("integer",)
NUMBERS = ("double", "float", "integer")
Column = tuple[str, str, Callable[[Result, Fields], Value]]
"""Name, datatype, content."""


class PmmlEngine:
    def __init__(self, root: Element, nireq: int = 0) -> None:
        """Raises Unsupported."""
        types = _types(root)
        name, element = _model(root)
        schema = values.first(element, "MiningSchema")
        fields = [] if schema is None else list(values.children(schema, "MiningField"))
        usage = {each.get("name", ""): each.get("usageType", "active") for _, each in fields}
        active = [name for name, use in usage.items() if use == "active"]
        targets = [name for name, use in usage.items() if use in ("target", "predicted")]
        self._active = active
        self._evaluate = models.model(name, element)
        shared = values.first(root, "TransformationDictionary")
        self._derived = [] if shared is None else models.derived(shared)
        self._columns = _columns(element, targets[0] if targets else None, types)
        rows = Dimension(0)
        numeric = all(types.get(each) in NUMBERS for each in active)
        self.spec = ModelSpec(
            (
                TensorSpec(
                    INPUT,
                    "FP64" if numeric else BYTES,
                    (rows, Dimension(len(active), len(active))),
                ),
            ),
            tuple(TensorSpec(name, kind, (rows,)) for name, kind, _ in self._columns),
            rows=True,
            columns=tuple(active),
            named=True,
        )
        self.streams = 1
        self.nireq = self.parallel = nireq or 1
        self.batch_most = 1  # Each row costs the same: nothing is won.

    probabilities = None  # They are among the outputs, where the document has them.

    def slot(self, *, on_loop: bool = False) -> "PmmlEngine":
        return self

    def infer(self, arrays: Sequence[Array]) -> tuple[list[Array], float]:
        started = perf_counter()
        answers = [self._row(row) for row in arrays[0].tolist()]
        columns = zip(*answers, strict=True) if answers else ([] for _ in self._columns)
        named = zip(self._columns, columns, strict=True)
        outputs = [_array(kind, column) for (_, kind, _), column in named]
        return outputs, perf_counter() - started

    def _row(self, row: list[object]) -> list[Value]:
        given = {name: values.read(each) for name, each in zip(self._active, row, strict=True)}
        fields = models.with_derived(given, self._derived)
        result = self._evaluate(fields) or Result(None)
        known = dict(fields)
        contents = []
        for name, _, content in self._columns:
            known[name] = content(result, known)
            contents.append(known[name])
        return contents


def load(file: Path, *, nireq: int = 0) -> PmmlEngine:
    """Raises EngineError."""
    try:
        return PmmlEngine(ElementTree.parse(file).getroot(), nireq)
    except (ElementTree.ParseError, OSError) as error:
        raise EngineError(f"cannot read {file}: {error}") from error
    except Unsupported as error:
        raise EngineError(f"{file} has what is not supported of PMML: {error}") from error


def _types(root: Element) -> dict[str, str]:
    dictionary = values.first(root, "DataDictionary")
    if dictionary is None:
        raise Unsupported("a document without a DataDictionary")
    found = values.children(dictionary, "DataField")
    return {each.get("name", ""): each.get("dataType", "") for _, each in found}


def _model(root: Element) -> tuple[str, Element]:
    known = ("Header", "MiningBuildTask", "DataDictionary", "TransformationDictionary")
    found = [(name, child) for name, child in values.children(root) if name not in known]
    if len(found) != 1:
        raise Unsupported(f"{len(found)} models in one document")
    return found[0]


def _columns(element: Element, target: str | None, types: dict[str, str]) -> list[Column]:
    kind = "FP64" if element.get("functionName") == "regression" else BYTES
    if types.get(target or "") in NUMBERS:
        kind = "INT64" if types[target or ""] in WHOLE else "FP64"
    kinds = {"value": kind, "number": "FP64", "text": BYTES}
    columns: list[Column] = [(target or UNNAMED_TARGET, kind, lambda result, _: result.value)]
    columns += [(name, kinds[what], content) for name, what, content in models.outputs(element)]
    return columns


def _array(kind: str, column: Sequence[Value]) -> Array:
    if kind == BYTES:
        made = np.empty(len(column), object)
        made[:] = [_text(each) for each in column]
        return made
    if kind == "INT64":
        # There is no whole number that means nothing; a category may come as the text of one.
        return np.array([int(float(each or 0)) for each in column], np.int64)
    return np.array([np.nan if each is None else each for each in column], DTYPES[kind])


def _text(value: Value) -> bytes:
    if value is None:
        return b""
    return (f"{value:g}" if isinstance(value, float) else value).encode()
