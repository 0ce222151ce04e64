"""KServe's own runtime for scikit-learn, as KServe ships it, with a model in a joblib file."""

import json
import urllib.request

import pytest

from tests.platform import running
from tests.programs import without

pytestmark = [pytest.mark.slow, without("sklearn")]

RUNTIME = """
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterServingRuntime
metadata:
  name: kserve-sklearnserver
spec:
  supportedModelFormats:
  - {name: sklearn, version: "1", autoSelect: true, priority: 1}
  protocolVersions: [v1, v2]
  containers:
  - name: kserve-container
    image: kserve/sklearnserver:v0.17.0
    args:
    - --model_name={{.Name}}
    - --model_dir=/mnt/models
    - --http_port=8080
    resources:
      requests: {cpu: 100m, memory: 256Mi}
"""

SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  annotations:
    serving.kserve.io/deploymentMode: RawDeployment
  labels:
    networking.kserve.io/visibility: exposed
spec:
  predictor:
    model:
      modelFormat: {name: sklearn}
      storageUri: oci://localhost/iris:1
"""

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    directory = tmp_path_factory.mktemp("sklearn")
    features, classes = load_iris(return_X_y=True)
    (directory / "model").mkdir()
    joblib.dump(
        LogisticRegression(max_iter=1000).fit(features, classes), directory / "model/model.joblib"
    )
    with running(directory / "data") as platform:
        yield platform


def test_an_inference_service_of_a_joblib_file_answers_v1_and_v2(platform):
    directory = platform.data_dir.parent
    built = platform.run("modelcar", "build", str(directory / "model"), "-t", "localhost/iris:1")
    assert built.returncode == 0, built.stderr
    for name, manifest in (("runtime.yaml", RUNTIME), ("service.yaml", SERVICE)):
        (directory / name).write_text(manifest)
        platform.kubectl("apply", "-f", str(directory / name))
    platform.kubectl("wait", "--for=condition=Ready", "isvc/iris", "--timeout=60s")
    (pod,) = platform.kubectl_json("get", "pods", "-l", "serving.kserve.io/inferenceservice=iris")[
        "items"
    ]
    address = f"http://{pod['status']['podIP']}:8080"
    rows = {"name": "rows", "shape": [2, 4], "datatype": "FP64", "data": ROWS}

    assert posted(f"{address}/v1/models/iris:predict", {"instances": ROWS}) == {
        "predictions": [0, 2]
    }
    answer = posted(f"{address}/v2/models/iris/infer", {"inputs": [rows]})
    assert answer["outputs"][0]["data"] == [0, 2]


def posted(url, document):
    with urllib.request.urlopen(url, json.dumps(document).encode()) as response:
        return json.load(response)
