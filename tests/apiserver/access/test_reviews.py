"""What the reviews answer, and what a restart remembers."""

import random

import pytest

from motorpool.api import rbac
from motorpool.apiserver.access.rules import Attributes
from motorpool.apiserver.authentication import User
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from tests.apiserver.objects import refusal

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
PODS = {"verb": "list", "resource": "pods", "namespace": "default"}


@pytest.fixture
async def bound(local_client):
    """bob may view the namespace."""
    binding = {
        "metadata": {"name": "viewers", "namespace": "default"},
        "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "bob"}],
    }
    return await local_client.create(rbac.ROLE_BINDING, binding)


async def asked(http, plural, spec, namespace=""):
    scope = f"/namespaces/{namespace}" if namespace else ""
    return await http.post(f"{AUTHORIZATION}{scope}/{plural}", json={"spec": spec})


async def test_others_permissions_are_told_with_the_reason(http, bound):
    spec = {"user": "bob", "resourceAttributes": PODS}
    answer = await asked(http, "subjectaccessreviews", spec)
    assert answer.status_code == 201
    reason = 'RBAC: allowed by RoleBinding "viewers/default" of ClusterRole "view" to User "bob"'
    assert answer.json()["status"] == {"allowed": True, "reason": reason}
    for other in ({"user": "eve"}, {"groups": ["bob"]}):
        answer = await asked(http, "subjectaccessreviews", {**other, "resourceAttributes": PODS})
        assert answer.json()["status"] == {"allowed": False}
    path = {"user": "bob", "nonResourceAttributes": {"verb": "get", "path": "/metrics"}}
    answer = await asked(http, "subjectaccessreviews", path)
    assert answer.json()["status"] == {"allowed": False}


async def test_a_local_review_is_about_its_namespace(http, bound):
    spec = {"user": "bob", "resourceAttributes": PODS}
    answer = await asked(http, "localsubjectaccessreviews", spec, "default")
    assert answer.json()["status"]["allowed"] is True
    answer = await asked(http, "localsubjectaccessreviews", spec, "kube-system")
    assert refusal(answer)[0] == 422
    assert "must match metadata.namespace" in refusal(answer)[2]


@pytest.mark.parametrize(
    ("plural", "spec", "code"),
    [
        ("selfsubjectaccessreviews", {}, 422),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": PODS, "nonResourceAttributes": {"path": "/"}},
            422,
        ),
        ("subjectaccessreviews", {"resourceAttributes": PODS}, 422),
        ("selfsubjectrulesreviews", {}, 400),
    ],
)
async def test_a_question_without_sense_is_refused(http, plural, spec, code):
    assert refusal(await asked(http, plural, spec))[0] == code


async def test_masters_have_no_reason_and_every_rule(http):
    answer = await asked(http, "selfsubjectaccessreviews", {"resourceAttributes": PODS})
    assert answer.json()["status"] == {"allowed": True}
    answer = await asked(http, "selfsubjectrulesreviews", {"namespace": "default"})
    status = answer.json()["status"]
    assert status["resourceRules"][0] == {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert status["nonResourceRules"][0] == {"verbs": ["*"], "nonResourceURLs": ["*"]}
    assert status["incomplete"] is False


async def test_a_restart_knows_the_bindings_and_completes_the_defaults(store, bound, local_client):
    role = await local_client.get(rbac.CLUSTER_ROLE, "", "system:discovery")
    await local_client.update(rbac.CLUSTER_ROLE, {**role, "rules": []})
    again = Registry(store, source=random.Random(2))
    bob = User("bob", ("system:authenticated",))
    list_pods = Attributes("list", "", "pods", "", "default", "")
    assert not again.policy.decide(bob, list_pods).allowed  # nobody but masters, until it is known
    before = again.resource_version
    await again.bootstrap()
    assert again.policy.decide(bob, list_pods).allowed
    completed = await LocalClient(again).get(rbac.CLUSTER_ROLE, "", "system:discovery")
    assert completed["rules"] == role["rules"]
    assert int(again.resource_version) == int(before) + 1  # and nothing else was written
