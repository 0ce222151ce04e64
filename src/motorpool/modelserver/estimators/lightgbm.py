"""LightGBM: boosters as the text that LightGBM writes."""

from pathlib import Path

import lightgbm
import numpy as np

from motorpool.modelserver.estimators.engine import Estimator
from motorpool.modelserver.tensors import Array


def load(file: Path, *, threads: int) -> Estimator:
    """Raises lightgbm.basic.LightGBMError."""
    booster = lightgbm.Booster(model_file=str(file))

    def predict(rows: Array) -> Array:
        return np.asarray(booster.predict(rows, num_threads=threads))

    return Estimator(predict, "FP64", booster.num_feature(), tuple(booster.feature_name()))
