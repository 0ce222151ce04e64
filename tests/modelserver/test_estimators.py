"""Real servers of real scikit-learn, XGBoost and LightGBM models."""

import json

import numpy as np
import pytest

from motorpool.modelserver import formats
from motorpool.modelserver.contract import EngineError
from motorpool.modelserver.estimators import loading
from tests.modelserver.server import free_port, run, started

pytest.importorskip("sklearn")
pytest.importorskip("xgboost")
pytest.importorskip("lightgbm")

from tests.modelserver import estimators
from tests.modelserver.estimators import ROWS

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/m:predict"
ROWS_INPUT = {"name": "any", "shape": [3, 4], "datatype": "FP64", "data": ROWS}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sklearn")
    estimators.sklearn(directory / "model.joblib")
    with started(directory, "--allow_pickle", log=directory / "log") as running:
        yield running


def predicted(server, rows=ROWS):
    answer = server.call("POST", PREDICT, json.dumps({"instances": rows}))
    assert answer.status == 200, answer.body
    return answer.json["predictions"]


def test_a_flat_directory_with_a_joblib_file_answers_v1(classifier):
    assert predicted(classifier) == [0, 1, 2]


def test_the_same_model_answers_v2(classifier):
    document = classifier.infer({"inputs": [ROWS_INPUT], "id": "7"}).json

    assert document == {
        "model_name": "m",
        "id": "7",
        "model_version": "1",
        "outputs": [{"name": "output-0", "shape": [3], "datatype": "INT64", "data": [0, 1, 2]}],
    }


@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", "<f4"), ("FP64", "<f8")])
def test_rows_may_come_as_bytes_of_any_precision(classifier, datatype, dtype):
    blob = np.array(ROWS, dtype).tobytes()
    parameters = {"binary_data_size": len(blob)}
    given = {"name": "x", "shape": [3, 4], "datatype": datatype, "parameters": parameters}

    assert classifier.infer({"inputs": [given]}, blob).json["outputs"][0]["data"] == [0, 1, 2]


def test_columns_may_come_as_an_input_each(classifier):
    columns = [
        {"name": f"c{index}", "shape": [3], "datatype": "FP64", "data": column}
        for index, column in enumerate(np.transpose(ROWS).tolist())
    ]

    assert classifier.infer({"inputs": columns}).json["outputs"][0]["data"] == [0, 1, 2]


def test_an_estimator_tells_its_tensors_and_its_state(classifier):
    document = classifier.get("/v2/models/m").json

    assert document["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [-1, 4]}]
    assert document["outputs"] == [{"name": "output-0", "datatype": "INT64", "shape": [-1]}]
    assert classifier.get("/v1/models/m").json == {"name": "m", "ready": True}


@pytest.mark.parametrize("what", ["live", "ready"])
def test_health_is_an_object_as_behind_kserves_servers(classifier, what):
    assert classifier.get(f"/v2/health/{what}").json == {what: True}


def test_kserves_clients_and_probes_find_what_they_ask_for(classifier):
    assert classifier.get("/").json == {"status": "alive"}
    assert classifier.get("/v1/models").json == {"models": ["m"]}
    assert classifier.get("/v2/models").json == {"models": ["m"]}
    assert classifier.get("/v2/models/m/ready").json == {"name": "m", "ready": True}


def test_rows_of_another_width_are_refused(classifier):
    answer = classifier.call("POST", PREDICT, '{"instances": [[1, 2]]}')

    assert (answer.status, "Invalid input shape" in answer.error) == (400, True)


def test_what_the_model_itself_refuses_is_told(classifier):
    nan = np.array([[np.nan] * 4])
    parameters = {"binary_data_size": nan.nbytes}
    given = {"name": "x", "shape": [1, 4], "datatype": "FP64", "parameters": parameters}

    answer = classifier.infer({"inputs": [given]}, nan.tobytes())

    assert answer.status == 500
    assert "ValueError : Input X contains NaN" in answer.error


def test_kserves_flags_and_its_variable_are_understood(tmp_path, monkeypatch):
    model = estimators.sklearn(tmp_path / "model.pkl")
    monkeypatch.setenv("PREDICT_PROBA", "true")
    monkeypatch.setenv("MOTORPOOL_ALLOW_PICKLE", "true")
    flags = (f"--model_dir={tmp_path}", "--nthread=1", "--framework=sklearn")

    with started(tmp_path / "nowhere", *flags, log=tmp_path / "log") as server:
        np.testing.assert_allclose(predicted(server), model.predict_proba(ROWS))


PROBABLY = {"parameters": {"predict_proba": True}}


@pytest.mark.parametrize("classes", [estimators.CLASSES, estimators.CLASSES > 0])
def test_a_request_may_ask_for_probabilities(tmp_path, classes):
    model = estimators.sklearn(tmp_path / "model.joblib", classes)
    expected = model.predict_proba(ROWS).tolist()

    with started(tmp_path, "--allow_pickle", log=tmp_path / "log") as server:
        v2 = server.infer({"inputs": [ROWS_INPUT]} | PROBABLY).json["outputs"][0]
        body = json.dumps({"instances": ROWS} | PROBABLY)
        v1 = server.call("POST", PREDICT, body).json["predictions"]
        plain = predicted(server)
        estimators.sklearn(tmp_path / "model.joblib")
        again = server.infer({"inputs": [ROWS_INPUT]} | PROBABLY).json["outputs"][0]

    assert (v2["shape"], v2["datatype"]) == ([3, len(set(classes))], "FP64")
    assert v2["data"] == [each for row in expected for each in row] == again["data"]
    assert v1 == expected
    assert plain == model.predict(ROWS).tolist()


def test_who_has_no_probabilities_says_so(tmp_path):
    estimators.boosted_by_xgboost(tmp_path / "model.ubj")

    with started(tmp_path, log=tmp_path / "log") as server:
        answer = server.infer({"inputs": [ROWS_INPUT]} | PROBABLY)

    assert (answer.status, "no probabilities" in answer.error) == (400, True)


def test_probabilities_of_a_file_that_has_changed_are_refused(tmp_path):
    file = tmp_path / "model.joblib"
    estimators.sklearn(file)
    options = loading.Options(allow_pickle=True)

    engine = loading.load(formats.find(tmp_path), options)
    file.write_bytes(file.read_bytes() + b"\0")

    with pytest.raises(EngineError, match="has changed since it was loaded"):
        engine.probabilities()


def test_labels_that_are_words_come_as_strings(tmp_path):
    words = np.array(["setosa", "versicolor", "virginica"])[estimators.CLASSES]
    estimators.sklearn(tmp_path / "1" / "model.joblib", words)

    with started(tmp_path, "--allow_pickle", log=tmp_path / "log") as server:
        assert predicted(server) == ["setosa", "versicolor", "virginica"]
        output = server.infer({"inputs": [ROWS_INPUT]}).json["outputs"][0]
        assert (output["datatype"], output["data"][2]) == ("BYTES", "virginica")


def test_a_pipeline_may_take_text(tmp_path):
    estimators.text_pipeline(tmp_path / "model.joblib")

    with started(tmp_path, "--allow_pickle", log=tmp_path / "log") as server:
        assert predicted(server, ["the cat", "a car", "cat cat"]) == ["cat", "car", "cat"]


@pytest.mark.parametrize("name", ["model.bst", "model.json", "model.ubj"])
def test_xgboost_answers_as_its_library_does(tmp_path, name):
    booster = estimators.boosted_by_xgboost(tmp_path / name)

    with started(tmp_path, log=tmp_path / "log") as server:
        expected = booster.inplace_predict(np.array(ROWS))
        np.testing.assert_allclose(predicted(server), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["model.bst", "model.txt"])
def test_lightgbm_answers_as_its_library_does(tmp_path, name):
    booster = estimators.boosted_by_lightgbm(tmp_path / "3" / name)

    with started(tmp_path, log=tmp_path / "log") as server:
        np.testing.assert_allclose(predicted(server), booster.predict(np.array(ROWS)))
        assert server.get("/v2/models/m").json["versions"] == ["3"]


def test_a_pickle_is_not_read_unless_it_was_allowed(tmp_path):
    estimators.sklearn(tmp_path / "model.joblib")

    refused = run("--model_name=m", f"--model_path={tmp_path}", f"--rest_port={free_port()}")

    assert refused.returncode == 1
    assert "runs code of whoever wrote it" in refused.stderr
    assert "--allow_pickle" in refused.stderr


def test_a_file_that_is_no_model_says_so(tmp_path):
    (tmp_path / "model.joblib").write_bytes(b"not a pickle")

    flags = (f"--model_path={tmp_path}", f"--rest_port={free_port()}", "--allow_pickle")
    ended = run("--model_name=m", *flags)

    assert ended.returncode == 1
    assert "cannot load" in ended.stderr
