"""Roles, bindings and rules as values: what is allowed, to whom, and why."""

import time

import pytest

from motorpool.api import rbac
from motorpool.apiserver.access import roles
from motorpool.apiserver.access.bootstrap import complete, with_sums
from motorpool.apiserver.access.policy import Policy
from motorpool.apiserver.access.requests import attributes_of, refused
from motorpool.apiserver.access.rules import Attributes, Rule, missing
from motorpool.apiserver.authentication import ANONYMOUS, User
from motorpool.apiserver.paths import target_of
from tests.timing import least, slowness

BOB = User("bob", ("system:authenticated",))
MASTER = User("root", ("system:masters",))


def rule(verbs, resources=(), groups=("",), names=(), paths=()):
    if paths:
        return {"verbs": verbs.split(), "nonResourceURLs": list(paths)}
    found = {"verbs": verbs.split(), "apiGroups": list(groups), "resources": list(resources)}
    return {**found, "resourceNames": list(names)} if names else found


def role(name, *rules, namespace=""):
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"kind": kind, "metadata": metadata, "rules": list(rules)}


def binding(name, to, *subjects, namespace="", kind="ClusterRole"):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"kind": kind, "name": to},
        "subjects": list(subjects),
    }


def user(name):
    return {"kind": "User", "name": name}


def policy(*objects):
    kinds = {kind.kind: kind for kind in rbac.KINDS}
    made = Policy()
    for obj in objects:
        made.put(kinds[obj["kind"]], None, obj)
    return made


def asked(text, *, namespace="", name="", group=""):
    """``get pods/log``"""
    verb, _, resource = text.partition(" ")
    if resource.startswith("/"):
        return Attributes(verb, path=resource)
    resource, _, subresource = resource.partition("/")
    return Attributes(verb, group, resource, subresource, namespace, name)


@pytest.mark.parametrize(
    ("one", "question", "allowed"),
    [
        (rule("get list", ["pods"]), asked("get pods"), True),
        (rule("get list", ["pods"]), asked("delete pods"), False),
        (rule("get", ["pods"]), asked("get pods/log"), False),
        (rule("get", ["pods/log"]), asked("get pods/log"), True),
        (rule("get", ["*/scale"]), asked("get deployments/scale"), True),
        (rule("get", ["*/scale"]), asked("get deployments"), False),
        (rule("*", ["*"], ["*"]), asked("patch routes/status", group="route.openshift.io"), True),
        (rule("*", ["*"], ["apps"]), asked("get pods"), False),
        (rule("get", ["pods"], names=["a"]), asked("get pods", name="a"), True),
        (rule("get", ["pods"], names=["a"]), asked("get pods", name="b"), False),
        (rule("list", ["pods"], names=["a"]), asked("list pods"), False),
        (rule("create", ["pods"], names=["a"]), asked("create pods"), False),
        (rule("get", paths=["/metrics"]), asked("get /metrics"), True),
        (rule("get", paths=["/apis/*"]), asked("get /apis/apps/v1"), True),
        (rule("get", paths=["/apis/*"]), asked("get /apis"), False),
        (rule("get", paths=["*"]), asked("get /anything"), True),
        (rule("get", ["*"], ["*"]), asked("get /metrics"), False),
    ],
)
def test_a_rule_allows_what_it_names_and_no_more(one, question, allowed):
    assert Rule.of(one).allows(question) is allowed


def test_a_role_binding_reaches_as_far_as_its_namespace():
    held = policy(
        role("reader", rule("get", ["pods"])),
        binding("readers", "reader", user("bob"), namespace="demo"),
    )
    assert held.decide(BOB, asked("get pods", namespace="demo")) == (
        True,
        'RBAC: allowed by RoleBinding "readers/demo" of ClusterRole "reader" to User "bob"',
    )
    assert not held.decide(BOB, asked("get pods", namespace="other")).allowed
    assert not held.decide(BOB, asked("get pods")).allowed


def test_a_cluster_role_binding_reaches_everywhere():
    held = policy(
        role("reader", rule("get", ["pods"]), rule("get", paths=["/metrics"])),
        binding("readers", "reader", {"kind": "Group", "name": "system:authenticated"}),
    )
    for question in (asked("get pods", namespace="demo"), asked("get pods"), asked("get /metrics")):
        assert held.decide(BOB, question).allowed
        assert not held.decide(ANONYMOUS, question).allowed


def test_an_account_is_the_user_of_its_name():
    account = {"kind": "ServiceAccount", "name": "sa"}
    held = policy(
        role("reader", rule("get", ["pods"]), namespace="demo"),
        binding("readers", "reader", account, namespace="demo", kind="Role"),
    )
    pod = User("system:serviceaccount:demo:sa")
    decision = held.decide(pod, asked("get pods", namespace="demo"))
    assert decision.reason.endswith('of Role "reader" to ServiceAccount "sa/demo"')
    assert not held.decide(User("sa"), asked("get pods", namespace="demo")).allowed


def test_what_is_taken_away_is_gone_at_once():
    reader = role("reader", rule("get", ["pods"]))
    readers = binding("readers", "reader", user("bob"))
    held = policy(reader, readers)
    assert held.decide(BOB, asked("get pods")).allowed
    others = {**readers, "subjects": [user("eve")]}
    held.put(rbac.CLUSTER_ROLE_BINDING, readers, others)
    assert not held.decide(BOB, asked("get pods")).allowed
    assert held.decide(User("eve"), asked("get pods")).allowed
    held.put(rbac.CLUSTER_ROLE, reader, None)
    assert not held.decide(User("eve"), asked("get pods")).allowed
    held.put(rbac.CLUSTER_ROLE_BINDING, others, None)
    assert held._grants == {}


def test_masters_need_no_role():
    assert policy().decide(MASTER, asked("delete nodes")) == (True, "")


def defaults():
    return policy(*with_sums(roles.default_roles()), *roles.default_bindings())


@pytest.mark.parametrize(
    ("name", "can", "cannot"),
    [
        ("view", ["get pods/log", "list services"], ["get secrets", "delete pods", "get nodes"]),
        (
            "edit",
            ["get pods/log", "delete pods", "get secrets", "create serviceaccounts/token"],
            ["create roles", "patch namespaces"],
        ),
        ("admin", ["list pods", "delete pods", "get secrets"], ["delete nodes", "escalate roles"]),
        ("cluster-admin", ["delete nodes", "escalate roles", "get /metrics"], []),
    ],
)
def test_the_default_roles_sum_up(name, can, cannot):
    held = defaults()
    held.put(rbac.CLUSTER_ROLE_BINDING, None, binding("b", name, user("bob")))
    for text in can:
        assert held.decide(BOB, asked(text)).allowed, text
    for text in cannot:
        assert not held.decide(BOB, asked(text)).allowed, text


def test_only_the_admin_of_a_namespace_makes_roles():
    held = defaults()
    for name, allowed in (("edit", False), ("admin", True)):
        who = User(name)
        held.put(rbac.ROLE_BINDING, None, binding(name, name, user(name), namespace="demo"))
        question = asked("create roles", namespace="demo", group=rbac.GROUP)
        assert held.decide(who, question).allowed is allowed


def test_everybody_learns_the_version_and_whoever_has_a_token_the_api():
    held = defaults()
    assert held.decide(ANONYMOUS, asked("get /version")).allowed
    assert not held.decide(ANONYMOUS, asked("get /apis")).allowed
    assert held.decide(BOB, asked("get /apis/apps/v1")).allowed
    assert not held.decide(BOB, asked("get /metrics")).allowed


def test_a_default_is_completed_but_never_cut():
    wanted = role("r", rule("get", ["pods"]), rule("get", ["services"]))
    found = role("r", rule("get", ["services"]), rule("get", ["nodes"]))
    completed = complete(found, wanted)
    assert completed["rules"] == [*found["rules"], rule("get", ["pods"])]
    assert complete(completed, wanted) is completed
    found["metadata"]["annotations"] = {roles.AUTO_UPDATE: "false"}
    assert complete(found, wanted) is found


def test_what_is_held_by_several_rules_together_is_held():
    held = [Rule.of(rule("get", ["pods"])), Rule.of(rule("list", ["pods", "services"]))]
    assert missing([rule("get list", ["pods"])], held) == []
    assert missing([rule("get", ["pods"], names=["a"])], held) == []
    assert missing([rule("get list", ["services"])], held) == [rule("get", ["services"])]
    named = [Rule.of(rule("get", ["pods"], names=["a"]))]
    assert missing([rule("get", ["pods"])], named) == [rule("get", ["pods"])]
    paths = [Rule.of(rule("get", paths=["/apis/*"]))]
    assert missing([rule("get", paths=["/apis/x", "/api"])], paths) == [rule("get", paths=["/api"])]


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/api/v1/pods", {}, asked("list pods")),
        ("GET", "/api/v1/pods", {"watch": "true"}, asked("watch pods")),
        ("GET", "/api/v1/namespaces/n/pods/p", {}, asked("get pods", namespace="n", name="p")),
        (
            "GET",
            "/api/v1/namespaces/n/pods/p/log",
            {},
            asked("get pods/log", namespace="n", name="p"),
        ),
        (
            "POST",
            "/api/v1/namespaces/n/pods/p/exec",
            {},
            asked("create pods/exec", namespace="n", name="p"),
        ),
        (
            "GET",
            "/api/v1/namespaces/n/pods",
            {"fieldSelector": "metadata.name=p"},
            asked("list pods", namespace="n", name="p"),
        ),
        ("DELETE", "/api/v1/namespaces/n/pods", {}, asked("deletecollection pods", namespace="n")),
        ("GET", "/api/v1/namespaces/n", {}, asked("get namespaces", namespace="n", name="n")),
        ("GET", "/api/v1/namespaces", {}, asked("list namespaces")),
        ("GET", "/apis/apps/v1", {}, asked("get /apis/apps/v1")),
        ("HEAD", "/", {}, asked("head /")),
    ],
)
def test_a_request_asks_for_one_thing(method, path, query, expected):
    assert attributes_of(method, path, query, target_of(path)) == expected


def test_a_refusal_speaks_like_the_api():
    error = refused(BOB, asked("get deployments/scale", group="apps", namespace="n", name="web"))
    assert str(error) == (
        'deployments.apps "web" is forbidden: User "bob" cannot get resource "deployments/scale" '
        'in API group "apps" in the namespace "n"'
    )
    assert error.details == {"name": "web", "group": "apps", "kind": "deployments"}
    assert str(refused(BOB, asked("get /metrics"))) == (
        'forbidden: User "bob" cannot get path "/metrics"'
    )


def test_a_decision_takes_microseconds():
    held = defaults()
    for number in range(200):
        name = f"b{number}"
        held.put(rbac.ROLE_BINDING, None, binding(name, "edit", user(name), namespace=name))
    held.put(rbac.ROLE_BINDING, None, binding("bob", "view", user("bob"), namespace="demo"))
    questions = [asked("list pods", namespace="demo", name=f"p{n}") for n in range(500)]
    bound_s = 50e-6 * slowness()  # 20 on a quiet machine

    def measured_s():
        held._decisions.clear()
        started = time.perf_counter()
        for question in questions:
            held.decide(BOB, question)
        return (time.perf_counter() - started) / len(questions)

    assert least(measured_s, bound_s) < bound_s
