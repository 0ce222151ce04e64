"""The MicroShift guide's walk-through, word by word, with the real kubectl, curl and Envoy."""

import json
import re
import struct

import pytest
import yaml

from tests import image_model
from tests.platform import eventually, running

pytestmark = pytest.mark.slow

HOST = "ovms-resnet50-predictor-ai-demo.apps.example.com"

INFERENCE_SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: ovms-resnet50
spec:
  predictor:
    model:
      protocolVersion: v2
      modelFormat:
        name: openvino_ir
      storageUri: "oci://localhost/ovms-resnet50:test"
      args:
      - --layout=NHWC:NCHW
"""

ROUTE = """
apiVersion: route.openshift.io/v1
kind: Route
metadata:
  name: ovms-resnet50-predictor
spec:
  port:
    targetPort: 8888
  to:
    kind: Service
    name: ovms-resnet50-predictor
"""

HEADER = b'{"inputs" : [{"name": "0", "shape": [1], "datatype": "BYTES"}]}'


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    directory = tmp_path_factory.mktemp("walkthrough")
    image_model.build(directory / "model")
    with running(directory / "data", "--base-domain", "example.com") as platform:
        yield platform


@pytest.fixture(scope="module")
def served(platform):
    """The guide's steps up to the Route; returns what each of them printed."""
    directory = platform.data_dir.parent
    built = platform.run(
        "modelcar", "build", str(directory / "model"), "-t", "localhost/ovms-resnet50:test"
    )
    assert built.returncode == 0, built.stderr
    printed = {"build": built.stdout, "ns": platform.kubectl("create", "ns", "ai-demo")}

    runtime = platform.kubectl_json(
        "get", "servingruntime", "-n", "redhat-ods-applications", "kserve-ovms"
    )
    runtime["metadata"] = {
        key: runtime["metadata"][key] for key in ("name", "labels", "annotations")
    }
    (directory / "ovms-kserve.yaml").write_text(yaml.safe_dump(runtime))
    (directory / "isvc.yaml").write_text(INFERENCE_SERVICE)
    (directory / "route.yaml").write_text(ROUTE)

    in_namespace = ("-n", "ai-demo")
    printed["runtime"] = platform.kubectl(
        "create", *in_namespace, "-f", str(directory / "ovms-kserve.yaml")
    )
    printed["isvc"] = platform.kubectl("create", *in_namespace, "-f", str(directory / "isvc.yaml"))
    eventually(
        lambda: "predictor" in platform.kubectl("get", *in_namespace, "deployment", check=False)
    )
    printed["rollout"] = platform.kubectl(
        "rollout", "status", *in_namespace, "deployment", "ovms-resnet50-predictor", "--timeout=60s"
    )
    printed["deployment"] = platform.kubectl("get", *in_namespace, "deployment")
    printed["pod"] = platform.kubectl("get", *in_namespace, "pod")
    printed["svc"] = platform.kubectl("get", *in_namespace, "svc")
    printed["route-apply"] = platform.kubectl(
        "apply", *in_namespace, "-f", str(directory / "route.yaml")
    )
    platform.kubectl(
        "wait", *in_namespace, "--for=jsonpath={.status.ingress[0].conditions[0].status}=True",
        "route/ovms-resnet50-predictor", "--timeout=60s",
    )  # fmt: skip
    printed["route"] = platform.kubectl("get", *in_namespace, "route")
    eventually(lambda: "200" in platform.curl(f"http://{HOST}/v2/health/live", "-i"))
    return printed


def rows(table):
    return [re.split(r"\s{2,}|\s+(?=\d+%)", line.strip()) for line in table.strip().splitlines()]


def test_each_create_prints_what_the_guide_shows(served):
    assert served["ns"] == "namespace/ai-demo created\n"
    assert served["runtime"] == "servingruntime.serving.kserve.io/kserve-ovms created\n"
    assert served["isvc"] == "inferenceservice.serving.kserve.io/ovms-resnet50 created\n"
    assert served["route-apply"] == ("route.route.openshift.io/ovms-resnet50-predictor created\n")


def test_the_deployment_rolls_out_and_shows_the_guides_columns(served):
    assert served["rollout"].splitlines()[-1] == (
        'deployment "ovms-resnet50-predictor" successfully rolled out'
    )
    header, row = rows(served["deployment"])
    assert header == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row[:4] == ["ovms-resnet50-predictor", "1/1", "1", "1"]


def test_the_pod_runs(served):
    header, row = rows(served["pod"])
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert re.fullmatch(r"ovms-resnet50-predictor-[a-z0-9]+-[a-z0-9]{5}", row[0])
    assert row[1:4] == ["1/1", "Running", "0"]


def test_the_service_is_headless(served):
    header, row = rows(served["svc"])
    assert header == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert row[:5] == ["ovms-resnet50-predictor", "ClusterIP", "None", "<none>", "80/TCP"]


def test_the_route_gets_the_guides_host(served):
    header, row = rows(served["route"])
    assert header == ["NAME", "HOST", "ADMITTED", "SERVICE", "TLS"]
    assert row[:4] == ["ovms-resnet50-predictor", HOST, "True", "ovms-resnet50-predictor"]


def test_ready_answers_200_with_an_empty_body(platform, served):
    answer = platform.curl(f"http://{HOST}/v2/models/ovms-resnet50/ready", "-i")
    head, _, body = answer.partition("\r\n\r\n")

    assert head.startswith("HTTP/1.1 200 OK")
    assert "content-length: 0" in head.lower()
    assert body == ""


def test_metadata_shows_the_layout_that_the_argument_asked_for(platform, served):
    metadata = json.loads(platform.curl(f"http://{HOST}/v2/models/ovms-resnet50"))

    assert metadata == {
        "name": "ovms-resnet50",
        "versions": ["1"],
        "platform": "OpenVINO",
        "inputs": [{"name": "0", "datatype": "FP32", "shape": [1, 224, 224, 3]}],
        "outputs": [{"name": "1463", "datatype": "FP32", "shape": [1, 1000]}],
    }


@pytest.mark.parametrize("wanted", [0, 309, 999])
def test_a_jpeg_goes_in_and_its_class_comes_out(platform, served, tmp_path, wanted):
    jpeg = image_model.jpeg(wanted)
    request = tmp_path / "request"
    request.write_bytes(HEADER + struct.pack("<I", len(jpeg)) + jpeg)
    assert len(HEADER) == 63

    response = json.loads(
        platform.curl(
            f"http://{HOST}/v2/models/ovms-resnet50/infer",
            "--data-binary", f"@{request}",
            "--header", "Inference-Header-Content-Length: 63",
        )
    )  # fmt: skip

    [output] = response["outputs"]
    assert (response["model_name"], response["model_version"]) == ("ovms-resnet50", "1")
    assert (output["name"], output["shape"], output["datatype"]) == ("1463", [1, 1000], "FP32")
    assert output["data"].index(max(output["data"])) == wanted


def test_metrics_count_what_was_asked(platform, served):
    platform.curl(f"http://{HOST}/v2/models/ovms-resnet50")
    metrics = platform.curl(f"http://{HOST}/metrics")

    [line] = [
        line
        for line in metrics.splitlines()
        if line.startswith("ovms_requests_success")
        and 'method="ModelMetadata"' in line
        and 'interface="REST"' in line
        and 'name="ovms-resnet50"' in line
    ]
    assert float(line.rsplit(" ", 1)[1]) >= 1


def test_the_inference_service_is_ready_and_its_model_loaded(platform, served):
    platform.kubectl(
        "wait", "-n", "ai-demo", "--for=condition=Ready", "isvc/ovms-resnet50", "--timeout=60s"
    )
    status = platform.kubectl_json("get", "-n", "ai-demo", "isvc", "ovms-resnet50")["status"]

    assert status["modelStatus"]["states"]["activeModelState"] == "Loaded"
    assert status["modelStatus"]["transitionStatus"] == "UpToDate"
    assert status["url"] == "http://ovms-resnet50-predictor.ai-demo.svc.cluster.local"


def test_the_pods_log_can_be_read(platform, served):
    pod = platform.kubectl("get", "-n", "ai-demo", "pod", "-o", "name").strip()

    assert "ovms-resnet50" in platform.kubectl("logs", "-n", "ai-demo", pod)


def test_the_seven_runtimes_of_microshift_and_four_of_kserve_are_installed(platform):
    names = platform.kubectl(
        "get", "servingruntimes", "-n", "redhat-ods-applications", "-o", "name"
    )
    cluster_wide = platform.kubectl("get", "clusterservingruntimes", "-o", "name")

    assert len(names.split()) == 7
    assert len(cluster_wide.split()) == 7 + 4


def test_the_kubeconfig_is_for_its_owner_alone(platform):
    assert (platform.data_dir / "kubeconfig").stat().st_mode & 0o777 == 0o600


def test_z_deleting_the_inference_service_takes_everything_with_it(platform, served):
    """Last in this file: it ends what the others look at."""
    assert platform.kubectl("delete", "-n", "ai-demo", "isvc", "ovms-resnet50") == (
        'inferenceservice.serving.kserve.io "ovms-resnet50" deleted\n'
    )

    eventually(
        lambda: (
            platform.kubectl("get", "-n", "ai-demo", "deployment,rs,pod,svc", "-o", "name") == ""
        ),
        what="Deployment, ReplicaSet, Pod and Service gone",
    )
    eventually(
        lambda: "503" in platform.curl(f"http://{HOST}/v2/models/ovms-resnet50", "-i"),
        what="503 while no endpoint is ready",
    )
