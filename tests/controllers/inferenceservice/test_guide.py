"""Every InferenceService and ServingRuntime of the guides is accepted and becomes its children."""

import pytest

from motorpool.api import schema, scheme, structural
from motorpool.api.kubernetestypes import of as schema_of
from tests import guides
from tests.controllers.inferenceservice.objects import children, runtime, shipped

GROUP = "serving.kserve.io"
CONNECTION = {
    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "storage-config"},
    "stringData": {"aws-connection-my-storage": '{"type": "s3", "bucket": "b"}'},
}  # fmt: skip


def objects_of(path):
    return [obj for obj in guides.objects_of(path) if obj["apiVersion"].startswith(GROUP)]


CASES = [path for path in sorted(guides.FOLDER.glob("*.yaml")) if objects_of(path)]

pytestmark = guides.needed


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_manifest_passes_admission(path):
    for obj in objects_of(path):
        kind = scheme.by_kind(obj["apiVersion"], obj["kind"])
        assert schema.unknown_fields(obj, schema_of(kind)) == []
        assert structural.type_errors(obj, schema_of(kind)) == []
        schema.fill_defaults(obj, schema_of(kind))
        kind.default(obj)
        assert list(kind.validate(obj, None)) == []


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_manifest_becomes_its_children(path):
    objects = objects_of(path)
    wanted = [obj for obj in objects if obj["kind"] == "InferenceService"]
    runtimes = [obj for obj in objects if obj["kind"] == "ServingRuntime"]
    served = [{"name": "vLLM", "autoSelect": True}]
    for number, one in enumerate(wanted or [using(runtimes[0])]):
        name = one["spec"]["predictor"]["model"].get("runtime", "")
        if not any(r["metadata"]["name"] == name for r in runtimes):
            # The guide's earlier step made it.
            extra = runtime(name, supportedModelFormats=served) if name else shipped("kserve-ovms")
            runtimes = [*runtimes, extra]
        kinds = [obj["kind"] for obj in children([one, *runtimes, CONNECTION])]
        wants_authentication = "enable-auth" in str(one["metadata"].get("annotations"))
        rules = ["ConfigMap"] if wants_authentication else []
        assert kinds == [*rules, "Service", "Deployment"], number


def using(one):
    """The InferenceService that the guide's next step would write."""
    model = {
        "modelFormat": {"name": one["spec"]["supportedModelFormats"][0]["name"]},
        "runtime": one["metadata"]["name"],
        "storageUri": "oci://localhost/model:1",
    }
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "next"},
        "spec": {"predictor": {"model": model}},
    }
