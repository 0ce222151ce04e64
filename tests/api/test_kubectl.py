"""What kubectl makes of the documents, and what we make of its bodies, over a server that does no
more than remember."""

import json
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from motorpool.api import openapi
from motorpool.api.decode import decode
from tests.api.test_openapi import GROUP_VERSIONS, KINDS

pytestmark = pytest.mark.slow


def discovery(path):
    """Just enough of an API server that kubectl believes it."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    groups = sorted({k.group for k in KINDS if k.group})
    if path == "/apis":
        versions = {
            g: [
                {"groupVersion": f"{g}/{v}", "version": v}
                for v in sorted({k.version for k in KINDS if k.group == g})
            ]
            for g in groups
        }
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [
                {"name": g, "versions": versions[g], "preferredVersion": versions[g][0]}
                for g in groups
            ],
        }
    for group, version in GROUP_VERSIONS:
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        here = [k for k in KINDS if (k.group, k.version) == (group, version)]
        if path == root:
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{group}/{version}" if group else version,
                "resources": [
                    {
                        "name": k.plural,
                        "singularName": k.singular,
                        "namespaced": k.namespaced,
                        "kind": k.kind,
                        "verbs": list(k.verbs),
                        "shortNames": list(k.short_names),
                    }
                    for k in here
                ],
            }
        if path == f"/openapi/v3{root}":
            return openapi.document(group, version, here)
    if path == "/openapi/v3":
        roots = [f"apis/{g}/{v}" if g else f"api/{v}" for g, v in GROUP_VERSIONS]
        return {"paths": {r: {"serverRelativeURL": f"/openapi/v3/{r}?hash=X"} for r in roots}}
    return None


@contextmanager
def server():
    """Serves discovery and the documents; keeps objects by path; notes the writes."""
    writes = []
    objects = {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, status, body, content_type="application/json"):
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def do_GET(self):
            path = urlsplit(self.path).path
            if path == "/openapi/v2":
                self.answer(200, openapi.V2_MINIMAL, openapi.V2_CONTENT_TYPE)
                return
            found = discovery(path) or objects.get(path)
            if found is not None:
                self.answer(200, found)
            else:
                status = {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                          "reason": "NotFound", "code": 404, "message": "not found"}  # fmt: skip
                self.answer(404, status)

        def body(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if "patch" in self.headers["Content-Type"]:
                return json.loads(content)
            return decode(content, self.headers["Content-Type"]).object

        def do_POST(self):
            split = urlsplit(self.path)
            obj = self.body()
            writes.append(("POST", split.path, split.query, (self.headers["Content-Type"], obj)))
            objects[f"{split.path}/{obj['metadata']['name']}"] = obj
            self.answer(201, obj)

        def do_PATCH(self):
            split = urlsplit(self.path)
            writes.append(("PATCH", split.path, self.headers["Content-Type"], self.body()))
            self.answer(200, objects[split.path])

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", writes
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


@pytest.fixture
def kubectl(tmp_path):
    program = shutil.which("kubectl")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("kubectl is not on PATH")
        pytest.skip("kubectl is not on PATH")
    with server() as (url, writes):

        def run(*arguments, stdin=""):
            environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": "/dev/null"}
            return subprocess.run(
                [program, "--server", url, *arguments],
                input=stdin, capture_output=True, text=True, env=environment, timeout=60,
                check=False,
            )  # fmt: skip

        run.writes = writes
        yield run


def manifest(image="i", **spec):
    container = {"name": "c", "image": image, "ports": [{"containerPort": 80}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    return json.dumps({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    })  # fmt: skip


def widget(size):
    return json.dumps({"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"name": "w"},
                       "spec": {"size": size}})  # fmt: skip


def test_kubectl_applies_built_in_and_custom_kinds_with_the_right_patches(kubectl):
    for made in (manifest(), widget(1)):
        result = kubectl("apply", "-f", "-", stdin=made)
        assert (result.returncode, result.stderr) == (0, "")
    assert all("fieldValidation=Strict" in query for _, _, query, _ in kubectl.writes)

    for changed in (manifest("new"), widget(2)):
        result = kubectl("apply", "-f", "-", stdin=changed)
        assert (result.returncode, result.stderr) == (0, "")

    patches = [(content, body) for method, _, content, body in kubectl.writes if method == "PATCH"]
    assert [content for content, _ in patches] == [
        "application/strategic-merge-patch+json", "application/merge-patch+json",
    ]  # fmt: skip
    spec = patches[0][1]["spec"]["template"]["spec"]
    assert spec == {
        "$setElementOrder/containers": [{"name": "c"}],
        "containers": [{"image": "new", "name": "c"}],
    }


def test_kubectl_applies_a_list(kubectl):
    items = [json.loads(manifest()), json.loads(widget(1))]
    made = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})

    result = kubectl("apply", "-f", "-", stdin=made)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split("\n")[:2] == ["deployment.apps/d created", "widget.ex.io/w created"]


def test_kubectl_explains(kubectl):
    result = kubectl("explain", "deployment.spec.template.spec.containers")
    assert result.returncode == 0, result.stderr
    assert "readinessProbe\t<Probe>" in result.stdout
    assert "FIELD: containers <[]Container>" in result.stdout

    result = kubectl("explain", "widget.spec")
    assert "What is wanted" in result.stdout
    assert "size\t<integer>" in result.stdout
    assert "In units" in result.stdout


def without_empty(value):
    """Go writes some empty parts in one of the two forms and not in the other."""
    if isinstance(value, dict):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    return value


@pytest.mark.parametrize(
    "command",
    [
        "namespace zz",
        "deployment web --image=nginx:1 --replicas=0 --port=80",
        "secret generic s --from-literal=a=b",
        "configmap c --from-literal=a=b",
        "serviceaccount robot",
        "service clusterip web --tcp=80:http",
        "service nodeport web2 --tcp=5678:8080 --node-port=30001",
    ],
)
def test_a_protobuf_body_of_kubectl_holds_what_its_yaml_would(kubectl, command):
    wanted = kubectl("create", *command.split(), "--dry-run=client", "-o", "json")
    made = kubectl("create", *command.split())

    assert (made.returncode, made.stderr) == (0, "")
    _, _, query, (content_type, obj) = kubectl.writes[-1]
    assert content_type == "application/vnd.kubernetes.protobuf"
    assert "fieldValidation=Strict" in query
    assert without_empty(obj) == without_empty(json.loads(wanted.stdout))
