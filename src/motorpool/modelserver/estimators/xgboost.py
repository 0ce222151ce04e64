"""XGBoost: boosters as JSON, UBJSON or in a file named `.bst`; never a pickle."""

from pathlib import Path

import xgboost

from motorpool.modelserver.estimators.engine import Estimator
from motorpool.modelserver.tensors import Array


def load(file: Path, *, threads: int) -> Estimator:
    """Raises xgboost.core.XGBoostError."""
    booster = xgboost.Booster(params={"nthread": threads}, model_file=str(file))
    # The rows of a request have no names, only an order.
    names, booster.feature_names = booster.feature_names or (), None

    def predict(rows: Array) -> Array:
        predicted: Array = booster.inplace_predict(rows, validate_features=False)
        return predicted

    return Estimator(predict, "FP32", booster.num_features(), tuple(names))
