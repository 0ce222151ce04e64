"""scikit-learn: a pickle, which runs code of whoever wrote it as soon as it is read.

Hence `loading` comes here only where the operator has said so; see docs/model-formats.md.
"""

from pathlib import Path
from typing import Any

import joblib

from motorpool.modelserver.contract import EngineError
from motorpool.modelserver.estimators.engine import Estimator
from motorpool.modelserver.tensors import ANY


def load(file: Path, *, predict_proba: bool) -> Estimator:
    """Raises EngineError; beyond it, whatever the pickle's own code raises."""
    model: Any = joblib.load(file)  # reads plain pickles as well
    method = "predict_proba" if predict_proba else "predict"
    predict = getattr(model, method, None)
    if predict is None:
        raise EngineError(f"the {type(model).__name__} in {file} has no {method}")
    names = getattr(model, "feature_names_in_", ())
    return Estimator(
        predict=predict,
        datatype="FP64",
        features=int(getattr(model, "n_features_in_", ANY)),
        names=tuple(str(name) for name in names),
    )
