"""The real kubectl against the server over TLS, each time with a cold discovery cache."""

import asyncio
import json
import os
import shutil

import pytest
import yaml

from motorpool.api import apps
from tests.apiserver.objects import config_map, deployment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("kubectl") is None and os.environ.get("CI") != "true",
        reason="kubectl is not on the PATH",
    ),
]

TIMEOUT_S = 30


class Kubectl:
    def __init__(self, home, kubeconfig):
        self._environment = {
            **os.environ,
            "HOME": str(home),
            "KUBECACHEDIR": str(home / "cache"),
            "KUBECONFIG": str(kubeconfig),
        }

    async def start(self, *arguments, stdin=None):
        return await asyncio.create_subprocess_exec(
            "kubectl",
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments, stdin=None):
        """Exit code, stdout, stderr."""
        child = await self.start(*arguments, stdin=stdin)
        written = None if stdin is None else stdin.encode()
        out, err = await asyncio.wait_for(child.communicate(written), TIMEOUT_S)
        return child.returncode, out.decode(), err.decode()

    async def __call__(self, command, stdin=None):
        """The output of a command that must succeed without a complaint."""
        code, out, err = await self.run(*command.split(), stdin=stdin)
        assert (code, err) == (0, ""), err
        return out


@pytest.fixture
def kubectl(kubeconfig, tmp_path):
    return Kubectl(tmp_path, kubeconfig)


def manifest(*objects):
    if len(objects) == 1:
        return yaml.safe_dump(objects[0])
    return yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(objects)})


async def test_a_namespace_is_created_and_deleted(kubectl):
    assert await kubectl("create ns demo") == "namespace/demo created\n"
    assert "demo" in await kubectl("get ns")
    assert "Active" in await kubectl("get ns demo")
    assert await kubectl("delete ns demo --wait=false") == 'namespace "demo" deleted\n'
    assert "Terminating" in await kubectl("get ns demo")
    code, _, err = await kubectl.run("create", "ns", "Not_A_Label")
    assert code == 1
    assert "a lowercase RFC 1123 label must consist of" in err


async def test_a_manifest_is_applied_once_and_is_unchanged_then(kubectl):
    for objects in ((config_map(),), (config_map("l"), deployment())):
        text = manifest(*objects)
        created = await kubectl("apply -f -", stdin=text)
        assert created.count(" created\n") == len(objects)
        unchanged = await kubectl("apply -f -", stdin=text)
        assert unchanged.count(" unchanged\n") == len(objects)
    changed = manifest(config_map(), deployment(replicas=2))
    assert "deployment.apps/web configured" in await kubectl("apply -f -", stdin=changed)


async def test_a_replaced_manifest_differs_in_nothing(kubectl):
    text = manifest(config_map(), deployment())
    await kubectl("create -f -", stdin=text)
    assert (await kubectl("replace -f -", stdin=text)).count(" replaced\n") == 2
    assert await kubectl("diff -f -", stdin=text) == ""
    assert (await kubectl("diff --server-side -f -", stdin=text)) == ""


async def test_what_is_created_twice_is_refused(kubectl):
    text = manifest(config_map())
    assert await kubectl("create -f -", stdin=text) == "configmap/a created\n"
    code, _, err = await kubectl.run("create", "-f", "-", stdin=text)
    assert code == 1
    assert 'Error from server (AlreadyExists): error when creating "STDIN": ' in err
    assert 'configmaps "a" already exists' in err


async def test_objects_are_shown_in_every_format(kubectl):
    await kubectl("create -f -", stdin=manifest(deployment()))
    table = (await kubectl("get deployments")).splitlines()
    assert table[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert table[1].split()[:2] == ["web", "0/1"]
    wide = (await kubectl("get deploy web -o wide")).splitlines()
    assert wide[0].split()[-3:] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert wide[1].split()[-3:] == ["c", "x", "app=web"]
    assert (await kubectl("get deploy -A")).split()[0] == "NAMESPACE"
    assert yaml.safe_load(await kubectl("get deploy web -o yaml"))["kind"] == "Deployment"
    assert json.loads(await kubectl("get deploy -o json"))["items"][0]["kind"] == "Deployment"
    assert await kubectl("get deploy -o name") == "deployment.apps/web\n"
    assert await kubectl("get deploy web -o jsonpath={.spec.replicas}") == "1"
    described = await kubectl("describe deploy web")
    assert ["Selector:", "app=web"] in [line.split() for line in described.splitlines()]
    sorted_ = await kubectl("get deploy --sort-by=.metadata.name")
    assert "web" in sorted_


async def test_objects_are_changed_in_every_way(kubectl):
    await kubectl("create -f -", stdin=manifest(config_map(), deployment()))
    assert await kubectl("label cm a x=y") == "configmap/a labeled\n"
    assert await kubectl("annotate cm a n=1") == "configmap/a annotated\n"
    assert "a" in await kubectl("get cm -l x=y")
    assert await kubectl("scale deploy web --replicas=3") == "deployment.apps/web scaled\n"
    patch = "patch deploy web --type={} -p {}"
    strategic = '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"z"}]}}}}'
    assert "patched" in await kubectl(patch.format("strategic", strategic))
    assert "patched\n" in await kubectl(patch.format("merge", '{"spec":{"replicas":4}}'))
    operation = '[{"op":"replace","path":"/spec/replicas","value":5}]'
    assert "patched" in await kubectl(patch.format("json", operation))
    again = await kubectl(patch.format("merge", '{"spec":{"replicas":5}}'))
    assert again == "deployment.apps/web patched (no change)\n"
    image = "jsonpath={.spec.template.spec.containers[*].image}/{.spec.replicas}"
    assert await kubectl(f"get deploy web -o {image}") == "z/5"
    assert "image updated" in await kubectl("set image deploy/web c=w")


async def test_objects_are_deleted_and_waited_for(kubectl):
    await kubectl("create -f -", stdin=manifest(config_map(), deployment()))
    assert await kubectl("delete cm a") == 'configmap "a" deleted\n'
    waiting = await kubectl.start("wait", "--for=delete", "deploy/web", "--timeout=20s")
    assert "deleted" in await kubectl("delete deploy web")
    assert await asyncio.wait_for(waiting.wait(), TIMEOUT_S) == 0
    await waiting.communicate()
    code, _, err = await kubectl.run("get", "cm", "a")
    assert (code, err) == (1, 'Error from server (NotFound): configmaps "a" not found\n')


async def test_a_condition_is_waited_for(kubectl, http_client):
    await kubectl("create -f -", stdin=manifest(deployment()))
    waiting = await kubectl.start("wait", "--for=condition=Available", "deploy/web")
    obj = await http_client.get(apps.DEPLOYMENT, "default", "web")
    status = {"conditions": [{"type": "Available", "status": "True"}]}
    await http_client.replace_status(apps.DEPLOYMENT, obj, status)
    out, _ = await asyncio.wait_for(waiting.communicate(), TIMEOUT_S)
    assert out == b"deployment.apps/web condition met\n"


async def test_a_watch_shows_one_object_and_a_list(kubectl):
    await kubectl("create -f -", stdin=manifest(config_map()))
    for target in (("get", "cm", "a", "-w"), ("get", "cm", "-w")):
        watching = await kubectl.start(*target)
        assert (await next_line(watching)).split() == [b"NAME", b"DATA", b"AGE"]
        assert (await next_line(watching)).split()[:1] == [b"a"]
        key = target[-2]
        patch = json.dumps({"data": {key: "v"}}, separators=(",", ":"))
        await kubectl(f"patch cm a --type=merge -p {patch}")
        assert (await next_line(watching)).split()[:1] == [b"a"]
        watching.terminate()
        await watching.communicate()


async def next_line(child):
    return await asyncio.wait_for(child.stdout.readline(), TIMEOUT_S)


async def test_server_side_apply_owns_what_it_says(kubectl):
    apply = "apply --server-side -f -"
    first = manifest(config_map(data={"a": "1", "b": "2"}))
    assert await kubectl(apply, stdin=first) == "configmap/a serverside-applied\n"
    assert await kubectl(apply, stdin=first) == "configmap/a serverside-applied\n"
    await kubectl(apply, stdin=manifest(config_map(data={"a": "1"})))
    assert await kubectl("get cm a -o jsonpath={.data}") == '{"a":"1"}'
    code, _, err = await kubectl.run(
        *f"{apply} --field-manager=other".split(), stdin=manifest(config_map(data={"a": "9"}))
    )
    assert code == 1
    assert 'conflict with "kubectl": .data.a' in err


async def test_an_unknown_field_is_refused(kubectl):
    wrong = deployment()
    wrong["spec"]["bogus"] = 1
    code, _, err = await kubectl.run("apply", "-f", "-", stdin=manifest(wrong))
    assert code == 1
    assert 'strict decoding error: unknown field "spec.bogus"' in err


async def test_kinds_are_explained_and_listed(kubectl):
    explained = await kubectl("explain deployment.spec.replicas")
    assert "FIELD: replicas <integer>" in explained
    assert "canaryTrafficPercent" in await kubectl("explain isvc.spec.predictor")
    resources = await kubectl("api-resources")
    assert "inferenceservices" in resources
    assert "serving.kserve.io/v1beta1" in await kubectl("api-versions")


async def test_the_user_may_do_everything_and_is_told_so(kubectl):
    assert await kubectl("auth can-i create pods") == "yes\n"
    assert "*.*" in await kubectl("auth can-i --list")
    assert "motorpool-admin" in await kubectl("auth whoami")


async def test_logs_are_shown(kubectl):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    await kubectl("create -f -", stdin=manifest(pod))
    assert await kubectl("logs p --tail=2") == "c 1\nc 2\n"
