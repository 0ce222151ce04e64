"""Access as kubectl shows it: `auth`, `--as`, roles and bindings."""

import pytest

from tests.apiserver.test_kubectl import Kubectl, manifest, pytestmark  # noqa: F401


@pytest.fixture
def kubectl(kubeconfig, tmp_path):
    return Kubectl(tmp_path, kubeconfig)


async def words(kubectl, command):
    """What stands on stdout where the exit code may be 1."""
    _, out, _ = await kubectl.run(*command.split())
    return out.strip()


async def test_can_i_follows_the_bindings(kubectl):
    assert await words(kubectl, "auth can-i delete nodes") == "yes"
    assert await words(kubectl, "auth can-i list pods --as=bob") == "no"
    await kubectl("create role reader --verb=get,list --resource=pods,pods/log")
    await kubectl("create rolebinding readers --role=reader --user=bob")
    assert await words(kubectl, "auth can-i list pods --as=bob") == "yes"
    assert await words(kubectl, "auth can-i get pods --subresource=log --as=bob") == "yes"
    assert await words(kubectl, "auth can-i list pods --as=bob -n kube-system") == "no"
    await kubectl("delete rolebinding readers")
    assert await words(kubectl, "auth can-i list pods --as=bob") == "no"
    await kubectl("create clusterrolebinding admins --clusterrole=admin --group=staff")
    assert await words(kubectl, "auth can-i delete pods --as=eve --as-group=staff") == "yes"


async def test_can_i_lists_what_one_may_do(kubectl):
    every = await kubectl("auth can-i --list")
    assert "*.*" in every
    listed = await kubectl("auth can-i --list --as=bob")
    assert "selfsubjectreviews.authentication.k8s.io" in listed
    assert "[/apis/*]" in listed
    assert "*.*" not in listed
    await kubectl("create rolebinding viewers --clusterrole=view --serviceaccount=default:sa")
    listed = await kubectl("auth can-i --list --as=system:serviceaccount:default:sa")
    assert "inferenceservices.serving.kserve.io" in listed
    assert "secrets" not in listed


async def test_who_am_i(kubectl):
    assert "motorpool-admin" in await kubectl("auth whoami")
    answer = await kubectl("auth whoami --as=bob --as-group=staff --as-uid=7")
    assert "bob" in answer
    assert "staff" in answer
    assert "system:authenticated" in answer
    assert "7" in answer


REFUSED = """
get pods | pods is forbidden: User "bob" cannot list resource "pods" in API group "" in \
the {default}
get pods -A | pods is forbidden: User "bob" cannot list resource "pods" in API group "" at \
the {all}
get deployment web | deployments.apps "web" is forbidden: User "bob" cannot get resource \
"deployments" in API group "apps" in the {default}
get --raw /metrics | forbidden: User "bob" cannot get path "/metrics"
delete ns default | namespaces "default" is forbidden: User "bob" cannot delete resource \
"namespaces" in API group "" in the {default}
"""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
async def test_what_is_forbidden_is_said_in_the_api_s_words(kubectl, line):
    command, _, text = line.partition(" | ")
    text = text.format(default='namespace "default"', all="cluster scope")
    code, out, err = await kubectl.run(*command.split(), "--as=bob")
    assert (code, out) == (1, "")
    assert err == f"Error from server (Forbidden): {text}\n"


async def test_bindings_and_roles_are_shown_in_columns(kubectl):
    await kubectl("create rolebinding b --clusterrole=view --user=bob --serviceaccount=demo:sa")
    lines = (await kubectl("get rolebinding b -o wide")).splitlines()
    assert lines[0].split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert lines[1].split()[1] == "ClusterRole/view"
    assert lines[1].split()[3:] == ["bob", "demo/sa"]
    shown = await kubectl("get clusterrole view")
    assert shown.splitlines()[0].split() == ["NAME", "CREATED", "AT"]
    assert "T" in shown.splitlines()[1].split()[1]
    assert "pods/log" in await kubectl("describe clusterrole view")


def a_binding(role):
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "b", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}],
    }


async def test_a_binding_keeps_its_role(kubectl):
    await kubectl("apply -f -", stdin=manifest(a_binding("view")))
    assert "unchanged" in await kubectl("apply -f -", stdin=manifest(a_binding("view")))
    code, _, err = await kubectl.run("apply", "-f", "-", stdin=manifest(a_binding("edit")))
    assert code == 1
    assert "cannot change roleRef" in err


async def test_nobody_grants_what_they_lack(kubectl):
    await kubectl("create rolebinding bob --clusterrole=admin --user=bob")
    role = "create role r --verb=get --as=bob --resource"
    assert "created" in await kubectl(f"{role}=pods")
    code, _, err = await kubectl.run(*f"{role}=nodes".split())
    assert code == 1
    assert (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "bob" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}'
    ) in err
    bind = "create rolebinding c --user=eve --as=bob --clusterrole"
    assert "created" in await kubectl(f"{bind}=view")
    code, _, err = await kubectl.run(*f"{bind}=cluster-admin".split())
    assert code == 1
    assert "attempting to grant RBAC permissions not currently held" in err


async def test_a_group_may_be_taken_on_too(kubectl):
    code, _, err = await kubectl.run("get", "nodes", "--as=bob", "--as-group=system:masters")
    assert (code, err) == (0, "No resources found\n")


async def test_a_created_token_speaks_for_its_account(kubectl):
    await kubectl("create sa robot")
    token = (await kubectl("create token robot --duration=10m")).strip()
    assert token.count(".") == 2
    await kubectl("create rolebinding robots --clusterrole=view --serviceaccount=default:robot")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    text = manifest({**review, "metadata": {"name": ""}, "spec": {"token": token}})
    shown = await kubectl("create -o jsonpath={.status.user.username} -f -", stdin=text)
    assert shown == "system:serviceaccount:default:robot"
    code, _, err = await kubectl.run("create", "token", "robot", "--duration=1m")
    assert code == 1
    assert "may not specify a duration less than 10 minutes" in err
    code, _, err = await kubectl.run("create", "token", "nobody")
    assert 'serviceaccounts "nobody" not found' in err


async def test_an_apply_that_creates_takes_the_right_to_create(kubectl):
    await kubectl("create role patcher --verb=get,patch --resource=configmaps")
    await kubectl("create rolebinding patchers --role=patcher --user=bob")
    text = manifest({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}})
    command = ["apply", "--server-side", "-f", "-", "--as=bob"]
    code, _, err = await kubectl.run(*command, stdin=text)
    assert code == 1
    assert (
        'configmaps "m" is forbidden: User "bob" cannot create resource "configmaps" in API group '
        '"" in the namespace "default"'
    ) in err
    await kubectl("create configmap m")
    code, out, _ = await kubectl.run(*command, stdin=text)
    assert (code, out) == (0, "configmap/m serverside-applied\n")
