"""Tiny models of scikit-learn, XGBoost and LightGBM, trained for the tests."""

from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import xgboost
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.random((90, 4))
CLASSES = np.arange(90) % 3
# Three clouds that any classifier can tell apart.
FEATURES[:, 0] += 10 * CLASSES
ROWS = [[0.5, 0.5, 0.5, 0.5], [10.5, 0.5, 0.5, 0.5], [20.5, 0.5, 0.5, 0.5]]


def sklearn(file: Path, labels: Any = CLASSES) -> LogisticRegression:
    file.parent.mkdir(parents=True, exist_ok=True)
    model = LogisticRegression(max_iter=1000).fit(FEATURES, labels)
    joblib.dump(model, file)
    return model


def text_pipeline(file: Path) -> None:
    """Says of a text whether it is about a cat or a car."""
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression())
    pipeline.fit(["a cat purrs", "my car honks"], ["cat", "car"])
    joblib.dump(pipeline, file)


def boosted_by_xgboost(file: Path) -> xgboost.Booster:
    file.parent.mkdir(parents=True, exist_ok=True)
    data = xgboost.DMatrix(FEATURES, CLASSES)
    parameters = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
    booster = xgboost.train(parameters, data, num_boost_round=5)
    booster.save_model(file.with_suffix(".ubj" if file.suffix == ".bst" else file.suffix))
    if file.suffix == ".bst":
        file.with_suffix(".ubj").rename(file)
    return booster


def boosted_by_lightgbm(file: Path) -> lightgbm.Booster:
    file.parent.mkdir(parents=True, exist_ok=True)
    parameters = {"objective": "multiclass", "num_class": 3, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(FEATURES, CLASSES), num_boost_round=5)
    booster.save_model(file)
    return booster
