"""The engine that all estimators share: a function from rows to predictions.

Loading asks for one prediction of zeros. That tells the type and shape of the answers, which no
file declares, and a model that cannot answer at all is found before its first request.
"""

from collections.abc import Callable, Sequence
from time import perf_counter

import msgspec
import numpy as np

from motorpool.modelserver.tensors import (
    ANY,
    BYTES,
    DTYPES,
    NAMES,
    Array,
    Dimension,
    ModelSpec,
    TensorSpec,
)

INPUT = "input-0"
OUTPUT = "output-0"
# A call costs 20 to 200 us before its first row, and well under 1 us for each row more.
ROWS_MOST = 256


class Estimator(msgspec.Struct, frozen=True):
    """What a library's loader makes of a file. *predict* is safe on several threads."""

    predict: Callable[[Array], Array]
    datatype: str  # that the rows are computed in
    features: int = ANY  # ANY: unknown, or the model takes something else than numbers
    names: tuple[str, ...] = ()  # of the features, where the model knows them


class EstimatorEngine:
    def __init__(
        self,
        estimator: Estimator,
        nireq: int = 0,
        probabilities: "Callable[[], EstimatorEngine] | None" = None,
    ) -> None:
        self.probabilities = probabilities
        self._predict = estimator.predict
        self.spec = _spec(estimator)
        self.streams = 1
        self.nireq = self.parallel = nireq or 1
        self.batch_most = ROWS_MOST

    def slot(self, *, on_loop: bool = False) -> "EstimatorSlot":
        return EstimatorSlot(self._predict, self.spec)


class EstimatorSlot:
    def __init__(self, predict: Callable[[Array], Array], spec: ModelSpec) -> None:
        self._predict = predict
        output = spec.outputs[0].datatype
        self._input = DTYPES[spec.inputs[0].datatype]
        self._output = None if output == BYTES else DTYPES[output]

    def infer(self, arrays: Sequence[Array]) -> tuple[list[Array], float]:
        """Raises RuntimeError."""
        (rows,) = arrays
        is_text = rows.dtype == object
        rows = _decoded(rows) if is_text else rows.astype(self._input, copy=False)
        started = perf_counter()
        try:
            predicted = np.asarray(self._predict(rows))
        except Exception as error:
            # Estimators are anyone's code: whatever it raises is the reason why there is no answer.
            first, *_ = str(error).splitlines() or [""]
            raise RuntimeError(f"{type(error).__name__} : {first}") from error
        taken = perf_counter() - started
        if self._output is None:
            return [_encoded(predicted)], taken
        return [predicted.astype(self._output, copy=False)], taken


def _spec(estimator: Estimator) -> ModelSpec:
    any_number = Dimension(0)
    shape: tuple[Dimension, ...] = (any_number,)
    rows: Array = np.array([""], object)
    if estimator.features != ANY:
        shape = (any_number, Dimension(estimator.features, estimator.features))
        rows = np.zeros((1, estimator.features), DTYPES[estimator.datatype])
    predicted = np.asarray(estimator.predict(rows))
    return ModelSpec(
        inputs=(TensorSpec(INPUT, estimator.datatype, shape),),
        outputs=(
            TensorSpec(
                OUTPUT,
                NAMES.get(predicted.dtype, BYTES),
                (any_number, *(Dimension(size, size) for size in predicted.shape[1:])),
            ),
        ),
        rows=True,
        columns=estimator.names,
    )


def _decoded(rows: Array) -> Array:
    """What came as strings, and stays strings: numbers among them are already numbers."""
    texts = [each.decode() if isinstance(each, bytes) else each for each in rows.ravel()]
    decoded = np.empty(len(texts), object)
    decoded[:] = texts
    return decoded.reshape(rows.shape)


def _encoded(labels: Array) -> Array:
    encoded = np.empty(labels.size, object)
    encoded[:] = [str(each).encode() for each in labels.ravel()]
    return encoded.reshape(labels.shape)
