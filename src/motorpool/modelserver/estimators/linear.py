"""Linear models of scikit-learn without scikit-learn: the same operations on the same numbers.

For a logistic regression of four features, importing scikit-learn and SciPy is 90 MB and half a
second, and one of its predictions 85 us of checks around 2 us of arithmetic. What a linear model
computes is one product and one sum, which numpy does in the library itself as it does here: answers
are equal to the last bit, and so are the texts of refusals. Whatever is not certain to be so (other
classes, sub-classes, options that change the arithmetic) is left to the library.
"""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from motorpool.modelserver.estimators.engine import Estimator
from motorpool.modelserver.estimators.unpickling import NotData, Record, read
from motorpool.modelserver.tensors import Array

CLASSIFIERS = {
    ("sklearn.linear_model._logistic", "LogisticRegression"),
    ("sklearn.svm._classes", "LinearSVC"),
}
REGRESSORS = {
    ("sklearn.linear_model._base", "LinearRegression"),
    ("sklearn.linear_model._ridge", "Ridge"),
    ("sklearn.linear_model._coordinate_descent", "ElasticNet"),
    ("sklearn.linear_model._coordinate_descent", "Lasso"),
}
STEPS = {("sklearn.preprocessing._data", "StandardScaler")}
PIPELINE = ("sklearn.pipeline", "Pipeline")
KNOWN = CLASSIFIERS | REGRESSORS | STEPS | {PIPELINE}

Function = Callable[[Array], Array]


def load(file: Path, *, predict_proba: bool) -> Estimator | None:
    """None for what scikit-learn itself has to answer. Raises OSError."""
    try:
        record = read(file, KNOWN)
        return _estimator(record, predict_proba=predict_proba)
    except (NotData, KeyError, AttributeError, ValueError, TypeError):
        return None  # Its own library will say what is wrong with it, if anything is.


def _estimator(record: Record, *, predict_proba: bool) -> Estimator | None:
    steps, last = _steps(record)
    function = _probabilities(last) if predict_proba else _predictions(last)
    if function is None or any(step.name != "StandardScaler" for step in steps):
        return None
    name, first = (steps or [last])[0].name, (steps or [last])[0].attributes
    transforms = [_scaled(step.attributes) for step in steps]
    features = int(first["n_features_in_"])

    def predict(rows: Array) -> Array:
        rows = _checked(rows, name, features)
        for transform in transforms:
            rows = transform(rows)
        return function(rows)

    names = tuple(str(name) for name in first.get("feature_names_in_", ()))
    return Estimator(predict, "FP64", features, names)


def _steps(record: Record) -> tuple[list[Record], Record]:
    """What is done to the rows before, and the model itself."""
    if record.name != PIPELINE[1]:
        return [], record
    if record.attributes.get("transform_input") is not None:
        raise NotData("transform_input")
    *steps, last = (step for _, step in record.attributes["steps"])
    return steps, last


def _predictions(model: Record) -> Function | None:
    scores = _scores(model.attributes)
    if model.name in {name for _, name in REGRESSORS}:
        return scores
    if model.name not in {name for _, name in CLASSIFIERS}:
        return None
    classes = model.attributes["classes_"]

    def predict(rows: Array) -> Array:
        scored = scores(rows)
        if scored.shape[1] == 1:
            return classes.take((scored[:, 0] > 0).astype(np.intp), axis=0)  # type: ignore[no-any-return]
        return classes.take(scored.argmax(axis=1), axis=0)  # type: ignore[no-any-return]

    return predict


def _probabilities(model: Record) -> Function | None:
    """Where they are a softmax; of two classes they are SciPy's own function."""
    given = model.attributes
    softmax = (
        model.name == "LogisticRegression"
        and len(given["classes_"]) > 2
        and given["solver"] != "liblinear"
        and given.get("multi_class", "auto") in ("auto", "deprecated", "multinomial")
    )
    scores = _scores(given)

    def predict(rows: Array) -> Array:
        scored = scores(rows)
        scored -= scored.max(axis=1).reshape(-1, 1)
        np.exp(scored, out=scored)
        scored /= scored.sum(axis=1).reshape(-1, 1)
        return scored

    return predict if softmax else None


def _scores(given: dict[str, Any]) -> Function:
    # Transposed and not copied: the order of its numbers decides how the product is computed.
    coefficients, intercept = given["coef_"].T, given["intercept_"]

    def scores(rows: Array) -> Array:
        return rows @ coefficients + intercept  # type: ignore[no-any-return]

    return scores


def _scaled(given: dict[str, Any]) -> Function:
    mean = given["mean_"] if given["with_mean"] else None
    scale = given["scale_"] if given["with_std"] else None

    def transform(rows: Array) -> Array:
        if mean is not None:
            rows = rows - mean
        return rows if scale is None else rows / scale

    return transform


def _checked(rows: Array, name: str, features: int) -> Array:
    """As scikit-learn checks them, in its words. Raises ValueError."""
    if rows.dtype == object:
        rows = rows.astype(np.float64)
    if rows.shape[0] == 0:
        text = f"Found array with 0 sample(s) (shape={rows.shape}) while a minimum of 1 is required"
        raise ValueError(f"{text} by {name}.")
    if rows.ndim != 2 or rows.shape[1] != features:
        text = f"X has {rows.shape[-1]} features, but {name} is expecting {features} features"
        raise ValueError(f"{text} as input.")
    # The sum first: it is finite where nothing is wrong, or else one looks again.
    if not isfinite(np.add.reduce(rows, axis=None)) and not np.isfinite(rows).all():
        if np.isnan(rows).any():
            raise ValueError("Input X contains NaN.")
        raise ValueError("Input X contains infinity or a value too large for dtype('float64').")
    return rows
