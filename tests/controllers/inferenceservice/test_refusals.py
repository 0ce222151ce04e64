"""What cannot be carried out is refused with a reason and the next step."""

import pytest

from motorpool.controllers.inferenceservice.config import config_of
from motorpool.controllers.inferenceservice.modelimages import pull_policy
from motorpool.controllers.inferenceservice.refusal import Refusal
from tests.controllers.inferenceservice.objects import children, configuration, isvc, runtime


def refusal_of(*documents):
    with pytest.raises(Refusal) as caught:
        children(list(documents))
    return caught.value.reason, caught.value.message


def storage_config(entry):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "storage-config"},
            "stringData": {"minio": entry}}  # fmt: skip


def from_store(**storage):
    wanted = isvc(model={"storage": {"key": "minio", "path": "a/b", **storage}})
    del wanted["spec"]["predictor"]["model"]["storageUri"]
    return wanted


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("ftp://host/model", "is not supported: use one of oci://"),
        ("oci://", "names no image"),
        ("pvc:///path", "names no claim"),
    ],
)
def test_a_location_that_nothing_can_fetch(uri, hint):
    reason, message = refusal_of(isvc(model={"storageUri": uri}), runtime())
    assert (reason, uri in message, hint in message) == ("InvalidPredictorSpec", True, True)


def test_an_image_where_model_cars_are_switched_off():
    config = configuration()
    config["data"]["storageInitializer"] = '{"enableModelcar": false}'
    _, message = refusal_of(isvc(), runtime(), config)
    assert "set storageInitializer.enableModelcar to true" in message


@pytest.mark.parametrize(
    ("secret", "hint"),
    [
        (None, "Secret storage-config has no entry minio: create it"),
        (storage_config("nonsense"), "is not a JSON object"),
        (storage_config('{"type": "gcs"}'), "storage type gcs is not supported"),
        (storage_config('{"type": "s3"}'), "no bucket for storage key minio"),
    ],
)
def test_a_data_connection_that_says_too_little(secret, hint):
    documents = [from_store(), runtime(), *([secret] if secret else [])]
    reason, message = refusal_of(*documents)
    assert reason == "InvalidPredictorSpec"
    assert hint in message


def test_a_runtime_without_the_container_that_serves():
    _, message = refusal_of(isvc(), runtime(containers=[{"name": "other", "image": "x"}]))
    assert "runtime server has no container called kserve-container" in message


def test_a_placeholder_that_names_no_metadata():
    container = {"name": "kserve-container", "image": "x", "args": ["--name={{.Nmae}}"]}
    _, message = refusal_of(isvc(), runtime(containers=[container]))
    assert "{{.Nmae}}" in message


@pytest.mark.parametrize(("text", "hint"), [("{", "is not JSON"), ("[]", "must be a JSON object")])
def test_a_configuration_that_cannot_be_read(text, hint):
    config = configuration()
    config["data"]["deploy"] = text
    with pytest.raises(Refusal) as caught:
        config_of(config)
    assert caught.value.reason == "InvalidConfiguration"
    assert "key deploy " + hint in caught.value.message


@pytest.mark.parametrize(
    ("reference", "policy"),
    [
        ("localhost/model:test", "IfNotPresent"),
        ("localhost/model:latest", "Always"),
        ("localhost/model", "Always"),
        ("localhost:5000/model", "Always"),
        ("localhost:5000/model:1", "IfNotPresent"),
        ("localhost/model@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(reference, policy):
    assert pull_policy(reference) == policy
