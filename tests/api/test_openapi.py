import json
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from motorpool.api import apps, core, openapi, scheme
from motorpool.api.kinds import STATUS, Kind

WIDGET = Kind(
    group="ex.io", version="v1", kind="Widget", plural="widgets", singular="widget",
    is_custom=True, subresources=(STATUS,),
    schema=lambda: {
        "type": "object",
        "description": "A thing with a size",
        "properties": {
            "spec": {
                "type": "object",
                "description": "What is wanted",
                "properties": {"size": {"type": "integer", "description": "In units"}},
            }
        },
    },
)  # fmt: skip
KINDS = (*scheme.KINDS, WIDGET)
GROUP_VERSIONS = sorted({(kind.group, kind.version) for kind in KINDS})


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


@pytest.mark.parametrize(("group", "version"), GROUP_VERSIONS)
def test_every_kind_has_a_patch_that_validates_fields(group, version):
    found = openapi.document(group, version, KINDS)

    for kind in (k for k in KINDS if (k.group, k.version) == (group, version)):
        gvk = {"group": group, "version": version, "kind": kind.kind}
        patches = [
            item["patch"]
            for item in found["paths"].values()
            if item.get("patch", {}).get("x-kubernetes-group-version-kind") == gvk
        ]
        assert patches
        for patch in patches:
            assert {"fieldValidation", "force"} <= {p["name"] for p in patch["parameters"]}
            strategic = "application/strategic-merge-patch+json"
            assert (strategic in patch["requestBody"]["content"]) != kind.is_custom
        named = [
            name
            for name, schema in found["components"]["schemas"].items()
            if gvk in schema.get("x-kubernetes-group-version-kind", [])
        ]
        assert named == [openapi.type_name(kind)]


@pytest.mark.parametrize(("group", "version"), GROUP_VERSIONS)
def test_every_reference_leads_somewhere(group, version):
    found = openapi.document(group, version, KINDS)

    schemas = found["components"]["schemas"]
    missing = {r for r in references(found) if r.rpartition("/")[2] not in schemas}
    assert missing == set()
    assert "x-motorpool" not in json.dumps(found)


def test_lists_say_how_they_merge():
    found = openapi.document("apps", "v1", [apps.DEPLOYMENT])

    containers = found["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"][
        "containers"
    ]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["items"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}


def test_the_paths_are_those_of_the_kind():
    assert sorted(openapi.document("ex.io", "v1", [WIDGET])["paths"]) == [
        "/apis/ex.io/v1/namespaces/{namespace}/widgets",
        "/apis/ex.io/v1/namespaces/{namespace}/widgets/{name}",
        "/apis/ex.io/v1/namespaces/{namespace}/widgets/{name}/status",
        "/apis/ex.io/v1/widgets",
    ]
    assert "/api/v1/namespaces/{name}/finalize" in openapi.document("", "v1", [core.NAMESPACE])[
        "paths"
    ]  # fmt: skip


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
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def do_POST(self):
            split = urlsplit(self.path)
            obj = self.body()
            writes.append(("POST", split.path, split.query, ""))
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_kubectl_applies_a_list(kubectl):
    items = [json.loads(manifest()), json.loads(widget(1))]
    made = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})

    result = kubectl("apply", "-f", "-", stdin=made)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split("\n")[:2] == ["deployment.apps/d created", "widget.ex.io/w created"]


@pytest.mark.slow
def test_kubectl_explains(kubectl):
    result = kubectl("explain", "deployment.spec.template.spec.containers")
    assert result.returncode == 0, result.stderr
    assert "readinessProbe\t<Probe>" in result.stdout
    assert "FIELD: containers <[]Container>" in result.stdout

    result = kubectl("explain", "widget.spec")
    assert "What is wanted" in result.stdout
    assert "size\t<integer>" in result.stdout
    assert "In units" in result.stdout
