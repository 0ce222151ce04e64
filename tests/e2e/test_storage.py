"""Models that are downloaded: the init container runs on this machine, from real servers."""

import base64
import io
import json
import tarfile
from pathlib import Path

import httpx
import pytest
import yaml

from tests.platform import eventually, running
from tests.storage.servers import s3_server, web_server

pytestmark = pytest.mark.slow

MODEL = Path(__file__).parents[2] / "examples" / "digits" / "model"


def service(name: str, **model: object) -> dict:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "openvino_ir"}, "runtime": "kserve-ovms",
                    "protocolVersion": "v2", **model,
                }
            }
        },
    }  # fmt: skip


def secret(name: str, data: dict[str, str], **metadata: object) -> dict:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "data": encoded,
            "metadata": {"name": name, "namespace": "default", **metadata}}  # fmt: skip


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        opened.add(MODEL / "1", "1")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def store():
    with s3_server() as endpoint:
        httpx.put(f"{endpoint}/models").raise_for_status()
        for file in (MODEL / "1").iterdir():
            httpx.put(f"{endpoint}/models/digits/1/{file.name}", content=file.read_bytes())
        yield endpoint


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("storage") / "data") as platform:
        yield platform


def apply(platform, *objects: dict) -> None:
    file = platform.data_dir.parent / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    platform.kubectl("apply", "-f", str(file))


def wait_ready(platform, name: str) -> None:
    platform.kubectl("wait", "--for=condition=Ready", f"isvc/{name}", "--timeout=60s")


def failure_of(platform, name: str, says: str) -> dict:
    """Waits until the InferenceService tells its failure; gives that modelStatus."""

    def told() -> dict | None:
        found = platform.kubectl_json("get", "isvc", name).get("status", {}).get("modelStatus", {})
        text = found.get("lastFailureInfo", {}).get("message", "")
        return found if says in text else None

    return eventually(told, deadline_s=60, what=f"the failure of {name} says {says!r}")


def test_a_model_behind_a_web_address_becomes_ready_with_its_headers(platform):
    with web_server() as web:
        web.files["/digits.tar.gz"] = archive()
        web.token = "Bearer t"
        url = web.url.replace("127.0.0.1", "localhost")
        apply(
            platform,
            secret("headers", {"https-host": "localhost",
                               "headers": json.dumps({"authorization": "Bearer t"})}),
            {"apiVersion": "v1", "kind": "ServiceAccount",
             "metadata": {"name": "reader", "namespace": "default"},
             "secrets": [{"name": "headers"}]},
        )  # fmt: skip
        wanted = service("from-web", storageUri=f"{url}/digits.tar.gz")
        wanted["spec"]["predictor"]["serviceAccountName"] = "reader"
        apply(platform, wanted)
        wait_ready(platform, "from-web")
    selected = ("-l", "serving.kserve.io/inferenceservice=from-web")
    log = platform.kubectl("logs", *selected, "-c", "storage-initializer")
    assert "is complete: 1 files" in log


def test_a_model_in_a_bucket_becomes_ready_through_a_data_connection(platform, store):
    apply(
        platform,
        secret(
            "my-storage",
            {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_S3_ENDPOINT": store,
             "AWS_S3_BUCKET": "models", "AWS_DEFAULT_REGION": "us-east-1"},
            labels={"opendatahub.io/managed": "true", "opendatahub.io/dashboard": "true"},
        ),
        service("from-connection", storage={"key": "my-storage", "path": "digits"}),
    )  # fmt: skip
    wait_ready(platform, "from-connection")


def test_a_model_in_a_bucket_becomes_ready_with_the_accounts_secret(platform, store):
    apply(
        platform,
        secret("s3", {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"},
               annotations={"serving.kserve.io/s3-endpoint": store.removeprefix("http://"),
                            "serving.kserve.io/s3-usehttps": "0"}),
        {"apiVersion": "v1", "kind": "ServiceAccount",
         "metadata": {"name": "s3", "namespace": "default"}, "secrets": [{"name": "s3"}]},
    )  # fmt: skip
    wanted = service("from-bucket", storageUri="s3://models/digits")
    wanted["spec"]["predictor"]["serviceAccountName"] = "s3"
    apply(platform, wanted)
    wait_ready(platform, "from-bucket")
    missing = service("no-bucket", storageUri="s3://nothere/digits")
    missing["spec"]["predictor"]["serviceAccountName"] = "s3"
    apply(platform, missing)
    status = failure_of(platform, "no-bucket", "bucket nothere does not exist: create it")
    assert status["lastFailureInfo"]["reason"] == "ModelLoadFailed"
    assert status["lastFailureInfo"]["exitCode"] == 1


@pytest.mark.parametrize(
    ("name", "uri", "says"),
    [
        ("hdfs", "hdfs://namenode/m", "is not supported: copy the model to s3://"),
        ("nowhere", "http://localhost:1/m.onnx", "reachable from here"),
    ],
)
def test_a_model_that_cannot_be_fetched_says_why_in_the_inference_service(
    platform, name, uri, says
):
    apply(platform, service(name, storageUri=uri))
    status = failure_of(platform, name, says)
    assert status["transitionStatus"] in ("BlockedByFailedLoad", "InProgress")
