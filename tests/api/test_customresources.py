"""The definitions of our kinds, in the words that a cluster accepts."""

import pytest

from motorpool.api import serving
from motorpool.api.customresources import definition_of


def nodes(schema):
    yield schema
    for child in [*schema.get("properties", {}).values(), schema.get("items"),
                  schema.get("additionalProperties")]:  # fmt: skip
        if isinstance(child, dict):
            yield from nodes(child)


def version_of(kind):
    (version,) = definition_of(kind)["spec"]["versions"]
    return version


@pytest.mark.parametrize("kind", serving.KINDS, ids=str)
def test_a_definition_is_structural(kind):
    for node in nodes(version_of(kind)["schema"]["openAPIV3Schema"]):
        typed = "type" in node or node.get("x-kubernetes-int-or-string")
        assert typed or node.get("x-kubernetes-preserve-unknown-fields"), node
        assert "$ref" not in node
        assert not [word for word in node if word.startswith("x-motorpool")]


def test_names_columns_and_subresources_are_kserves():
    made = definition_of(serving.INFERENCE_SERVICE)
    assert made["metadata"]["name"] == "inferenceservices.serving.kserve.io"
    assert made["spec"]["names"]["shortNames"] == ["isvc"]
    version = version_of(serving.INFERENCE_SERVICE)
    assert version["subresources"] == {"status": {}}
    assert [c["name"] for c in version["additionalPrinterColumns"]] == [
        "URL", "Ready", "Prev", "Latest", "PrevRolledoutRevision", "LatestReadyRevision", "Age",
    ]  # fmt: skip
    assert version["additionalPrinterColumns"][0]["jsonPath"] == ".status.url"


def test_runtimes_of_the_cluster_have_no_namespace():
    assert definition_of(serving.CLUSTER_SERVING_RUNTIME)["spec"]["scope"] == "Cluster"
