"""The definitions of Motorpool's own custom kinds: for other clusters, and as shown here."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from motorpool.api import scheme, static_definitions
from motorpool.api.definition_rules import definition_errors
from motorpool.api.definitions import default_definition
from motorpool.apiserver import definitions
from tests.apiserver.objects import created, refusal
from tests.definitions.objects import DEFINITIONS

ROOT = Path(__file__).parents[2]
SERVING = "/apis/serving.kserve.io/v1alpha1/namespaces/default"
ISVC = "inferenceservices.serving.kserve.io"
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("serving_crds", ROOT / "scripts/serving_crds.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_files_are_what_the_kinds_say(script):
    written = {file.name: file.read_text() for file in script.OUTPUT.iterdir()}
    assert written == script.files(), "run `python scripts/serving_crds.py`"


@pytest.mark.parametrize("name", static_definitions.kinds())
def test_the_definitions_are_valid(name):
    for form in (static_definitions.full, static_definitions.short):
        definition = form(static_definitions.kinds()[name])
        default_definition(definition)
        assert definition_errors(definition, None) == []


def test_ports_are_told_apart_by_a_protocol_that_has_a_default():
    definition = static_definitions.full(static_definitions.kinds()[ISVC])
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    predictor = schema["properties"]["spec"]["properties"]["predictor"]["properties"]
    ports = predictor["model"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["items"]["properties"]["protocol"]["default"] == "TCP"


def test_columns_are_those_of_the_table():
    version = static_definitions.full(static_definitions.kinds()[ISVC])["spec"]["versions"][0]
    assert [c["name"] for c in version["additionalPrinterColumns"]] == [
        "URL", "Ready", "Prev", "Latest", "PrevRolledoutRevision", "LatestReadyRevision", "Age",
    ]  # fmt: skip


@pytest.fixture
async def built_in(defined, registry, local_client):
    await definitions.load(registry, local_client)
    await defined.until(ISVC, "Established", "True")
    return defined


async def test_built_in_kinds_are_found_as_definitions(built_in, http):
    listed = (await http.get(DEFINITIONS)).json()["items"]
    assert {obj["metadata"]["name"] for obj in listed} == set(static_definitions.kinds())
    found = (await http.get(f"{DEFINITIONS}/{ISVC}")).json()
    assert found["spec"]["names"]["shortNames"] == ["isvc"]
    assert (await http.get("/apis/serving.kserve.io/v1beta1/inferenceservices")).status_code == 200


async def test_built_in_definitions_stay(built_in, http, registry, local_client):
    before = (await http.get(f"{DEFINITIONS}/{ISVC}")).json()
    patch = {"spec": {"scope": "Cluster"}, "metadata": {"labels": {"a": "b"}}}
    answer = await http.patch(f"{DEFINITIONS}/{ISVC}", json=patch, headers=MERGE)
    assert answer.status_code == 200
    assert answer.json()["spec"] == before["spec"]
    assert answer.json()["metadata"]["labels"]["a"] == "b"
    assert answer.headers["warning"] == (
        f'299 - "{ISVC} is built in: its definition stays as it is"'
    )
    refused = await http.delete(f"{DEFINITIONS}/{ISVC}")
    assert refusal(refused)[:2] == (403, "Forbidden")
    await definitions.load(registry, local_client)
    again = (await http.get(f"{DEFINITIONS}/{ISVC}")).json()
    assert again["metadata"]["resourceVersion"] == answer.json()["metadata"]["resourceVersion"]


@pytest.mark.slow
async def test_kubectl_applies_the_files(built_in, kubectl):
    files = sorted((ROOT / "deploy/crds").glob("*.serving.kserve.io.yaml"))
    assert len(files) == 6
    for file in files:
        code, out, err = await kubectl.run(
            "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", str(file)
        )
        assert code == 0, err
        assert "serverside-applied (server dry run)" in out
    assert ISVC in await kubectl(f"get crd {ISVC}")


def test_the_files_serve_the_same_kinds():
    for file in (ROOT / "deploy/crds").glob("*.serving.kserve.io.yaml"):
        spec = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)["spec"]
        kind = scheme.by_resource(
            spec["group"], spec["versions"][0]["name"], spec["names"]["plural"]
        )
        assert kind is not None
        assert (spec["scope"] == "Namespaced") is kind.namespaced


def graph(**nodes):
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": "g", "namespace": "default"},
        "spec": {"nodes": nodes},
    }


async def test_graphs_are_stored_and_held_to_their_rules(http):
    root = {
        "routerType": "Splitter",
        "steps": [{"serviceName": "a", "weight": 20}, {"serviceName": "b", "weight": 80}],
    }
    await created(http, f"{SERVING}/inferencegraphs", graph(root=root))
    for nodes, why in (
        ({"other": root}, "a node named root must exist"),
        ({"root": {**root, "steps": root["steps"][:1]}}, "must add up to 100"),
        (
            {"root": {"routerType": "Sequence", "steps": [{"serviceName": "a", "nodeName": "b"}]}},
            "exactly one of nodeName, serviceName, serviceUrl",
        ),
        (
            {
                "root": {
                    "routerType": "Sequence",
                    "steps": [{"name": "x", "serviceName": "a"}, {"name": "x", "serviceName": "b"}],
                }
            },
            "names of a node's steps must be unique",
        ),
    ):
        answer = await http.post(f"{SERVING}/inferencegraphs", json=graph(**nodes))
        assert refusal(answer)[0] == 422
        assert why in refusal(answer)[2]


async def test_a_trained_model_keeps_its_memory(http):
    model = {"storageUri": "s3://bucket/model", "framework": "sklearn", "memory": "256Mi"}
    obj = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "TrainedModel",
        "metadata": {"name": "m"},
        "spec": {"inferenceService": "many", "model": model},
    }
    await created(http, f"{SERVING}/trainedmodels", obj)
    patch = {"spec": {"model": {"memory": "1Gi"}}}
    answer = await http.patch(f"{SERVING}/trainedmodels/m", json=patch, headers=MERGE)
    assert "memory cannot be changed" in refusal(answer)[2]
    obj["spec"]["model"]["storageUri"] = "ftp://no"
    answer = await http.post(f"{SERVING}/trainedmodels", json=obj)
    assert "should match '^(gs|s3|https?)://'" in refusal(answer)[2]


async def test_a_storage_container_has_defaults(http):
    obj = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": "mine"},
        "spec": {
            "container": {"name": "storage-initializer", "image": "x"},
            "supportedUriFormats": [{"prefix": "s3://"}],
        },
    }
    path = "/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers"
    made = await created(http, path, obj)
    assert made["spec"]["workloadType"] == "initContainer"
    assert made["spec"]["supportsMultiModelDownload"] is False
    obj["spec"]["supportedUriFormats"] = [{"prefix": "s3://", "regex": "x"}]
    obj["metadata"]["name"] = "other"
    assert "a format is a prefix or a regex" in refusal(await http.post(path, json=obj))[2]
