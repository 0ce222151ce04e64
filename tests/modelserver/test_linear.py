"""Linear models answer as scikit-learn does, to the last bit, and without it."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from motorpool.modelserver.estimators import linear
from motorpool.modelserver.estimators.unpickling import NotData, read
from tests.modelserver.server import environment

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(120, 7))
ROWS[:, 2] *= 1e2
CLASSES = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int) + (ROWS[:, 3] > 0.3)
WORDS = np.array(["setosa", "versicolor", "virginica"])[CLASSES]
ASKED = RANDOM.normal(size=(500, 7)) * [1, 1, 1e2, 1, 1, 1, 1]

MODELS = {
    "three classes": LogisticRegression(max_iter=5000, tol=0.1).fit(ROWS, CLASSES),
    "two classes": LogisticRegression(max_iter=5000, tol=0.1).fit(ROWS, CLASSES > 0),
    "words": LogisticRegression(max_iter=5000, tol=0.1).fit(ROWS, WORDS),
    "words as objects": LogisticRegression(max_iter=5000, tol=0.1).fit(ROWS, WORDS.astype(object)),
    "support vectors": LinearSVC(max_iter=5000, tol=0.1).fit(ROWS, CLASSES),
    "single precision": LogisticRegression(max_iter=5000, tol=0.1).fit(ROWS.astype("f4"), CLASSES),
    "least squares": LinearRegression().fit(ROWS, ROWS[:, 1] * 3 + 1),
    "several targets": LinearRegression().fit(ROWS, ROWS[:, :2]),
    "through zero": Ridge(fit_intercept=False).fit(ROWS, ROWS[:, 1]),
    "lasso": Lasso(0.1).fit(ROWS, ROWS[:, 1]),
    "elastic": ElasticNet(0.1).fit(ROWS, ROWS[:, 1]),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, CLASSES),
    "centred": make_pipeline(StandardScaler(with_std=False), Lasso()).fit(ROWS, ROWS[:, 1]),
}


@pytest.fixture(params=[joblib.dump, lambda model, file: file.write_bytes(pickle.dumps(model))])
def saved(request, tmp_path):
    def save(model):
        request.param(model, tmp_path / "model.joblib")
        return tmp_path / "model.joblib"

    return save


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [ASKED, ASKED[:1], np.asfortranarray(ASKED[:9])])
def test_the_answers_are_those_of_the_library(saved, name, rows):
    loaded = linear.load(saved(MODELS[name]), predict_proba=False)

    expected, answered = MODELS[name].predict(rows), loaded.predict(rows)

    assert answered.dtype == expected.dtype
    assert answered.tolist() == expected.tolist()
    assert loaded.features == 7


@pytest.mark.parametrize("name", ["three classes", "words", "scaled"])
def test_the_probabilities_are_those_of_the_library(saved, name):
    loaded = linear.load(saved(MODELS[name]), predict_proba=True)

    assert loaded.predict(ASKED).tolist() == MODELS[name].predict_proba(ASKED).tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_the_library_refuses_is_refused_in_its_words(saved, value):
    model = MODELS["three classes"]
    loaded = linear.load(saved(model), predict_proba=False)
    rows = np.full((1, 7), value)

    with pytest.raises(ValueError, match="Input X contains") as theirs:
        model.predict(rows)
    with pytest.raises(ValueError, match="Input X contains") as ours:
        loaded.predict(rows)

    assert str(ours.value) == str(theirs.value).splitlines()[0]
    for wrong in (np.zeros((0, 7)), np.zeros((1, 3))):
        with pytest.raises(ValueError, match=r"sample|features") as theirs:
            model.predict(wrong)
        with pytest.raises(ValueError, match=r"sample|features") as ours:
            loaded.predict(wrong)
        assert str(ours.value) == str(theirs.value)


class Improved(LogisticRegression):
    def predict(self, rows):
        return super().predict(rows) + 1


@pytest.mark.parametrize(
    "model",
    [
        SVC().fit(ROWS, CLASSES),
        Improved(max_iter=5000, tol=0.1).fit(ROWS, CLASSES),
        make_pipeline(MinMaxScaler(), LogisticRegression()).fit(ROWS, CLASSES),
        make_pipeline(ColumnTransformer([("a", StandardScaler(), [0])]), LogisticRegression()).fit(
            ROWS, CLASSES
        ),
        LogisticRegression(max_iter=5000, tol=0.1).fit(ROWS, CLASSES).sparsify(),
        LogisticRegression(),
        {"no": "model"},
    ],
)
def test_what_may_be_different_is_left_to_the_library(saved, model):
    assert linear.load(saved(model), predict_proba=False) is None


@pytest.mark.parametrize("name", ["two classes", "support vectors", "least squares"])
def test_probabilities_that_are_no_softmax_are_left_to_the_library(saved, name):
    assert linear.load(saved(MODELS[name]), predict_proba=True) is None


def test_compressed_files_are_left_to_the_library(tmp_path):
    joblib.dump(MODELS["lasso"], tmp_path / "model.joblib", compress=3)

    assert linear.load(tmp_path / "model.joblib", predict_proba=False) is None


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


@pytest.mark.parametrize("content", [pickle.dumps(Trap()), b"", b"\x80\x04\x95", b"\x80\x04N"])
def test_nothing_in_a_file_is_run(tmp_path, content):
    file = tmp_path / "model.pkl"
    file.write_bytes(content)

    assert linear.load(file, predict_proba=False) is None
    if content[-1:] != b"N":
        with pytest.raises(NotData):
            read(file, linear.KNOWN)


def test_every_cut_of_a_file_is_noticed(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    joblib.dump(MODELS["three classes"], whole)
    content = whole.read_bytes()

    for length in range(0, len(content), 7):
        cut.write_bytes(content[:length])
        assert linear.load(cut, predict_proba=False) is None


def test_the_library_is_not_even_imported(tmp_path):
    joblib.dump(MODELS["scaled"], tmp_path / "model.joblib")
    program = (
        "import sys; from pathlib import Path; "
        "from motorpool.modelserver.estimators import linear; "
        "assert linear.load(Path(sys.argv[1]), predict_proba=True); "
        "print([name for name in ('sklearn', 'scipy', 'joblib') if name in sys.modules])"
    )

    command = [sys.executable, "-c", program, str(tmp_path / "model.joblib")]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"
