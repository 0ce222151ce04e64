"""Whatever is sent to a path of our own OpenAPI documents, the answer is never our fault.

The documents say which paths, methods, parameters and kinds there are; the bodies are drawn from
the schemas, and often made wrong. Bounded: some thousand requests, the same ones on every run.
"""

import json
import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

EXAMPLES = 1500
WORDS = ["a", "default", "web", "", "-1", "0", "1", "999999999999", "All", "x=y", "a in (b)", "ü"]
VALUES = [None, True, 0, -1, 2**63, 1.5, "", "a", "1Gi", "50%", [], {}, [None], {"a": None}, [[]]]
PATCHES = ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]
BODIES = [b"", b"{", b"[]", b"null", b"\xff", b'{"metadata":1}', b'{"metadata":{"name":7}}']


@pytest.fixture
async def operations(http):
    """Every (path, method, parameter names, schema, schemas) that the documents hold."""
    found = []
    for url in (await http.get("/openapi/v3")).json()["paths"].values():
        document = (await http.get(url["serverRelativeURL"])).json()
        schemas = document.get("components", {}).get("schemas", {})
        found += [
            (path, method, item[method], schemas)
            for path, item in document["paths"].items()
            for method in ("get", "post", "put", "patch", "delete")
            if method in item
        ]
    assert len(found) > 100
    return found


def drawn(schema, schemas, source, depth=0):
    """A value for *schema*, or, now and then, something else."""
    if source.random() < 0.08 or depth > 7:
        return source.choice(VALUES)
    if "allOf" in schema:
        schema = schema["allOf"][0]
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        chosen = [name for name in properties if source.random() < (0.9 if depth == 0 else 0.3)]
        chosen += [name for name in schema.get("required", ()) if name not in chosen]
        value = {
            name: drawn(properties.get(name, {}), schemas, source, depth + 1) for name in chosen
        }
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            value[source.choice(WORDS)] = drawn(extra, schemas, source, depth + 1)
        return value
    if kind == "array":
        items = schema.get("items", {})
        return [drawn(items, schemas, source, depth + 1) for _ in range(source.randrange(3))]
    if kind == "integer":
        return source.choice([0, 1, 5, 80, 8080, -1])
    if kind == "boolean":
        return source.random() < 0.5
    return source.choice(["a", "web", "TCP", "1", "10m", "example.com/a", ""])


def body_of(operation, method, schemas, name, source):
    if method in ("get", "delete"):
        return source.choice([b"", b"", *BODIES]) if method == "delete" else b""
    if source.random() < 0.1:
        return source.choice(BODIES)
    gvk = operation["x-kubernetes-group-version-kind"]
    wanted = [s for n, s in schemas.items() if n.endswith(f".{gvk['kind']}")]
    value = drawn(wanted[0], schemas, source) if wanted else {"spec": source.choice(VALUES)}
    if isinstance(value, dict):
        value["kind"] = gvk["kind"]
        value["apiVersion"] = f"{gvk['group']}/{gvk['version']}".lstrip("/")
        if source.random() < 0.8:
            metadata = value.get("metadata")
            value["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "name": name}
    return json.dumps(value).encode()


async def ask(http, operation, seed):
    path, method, described, schemas = operation
    source = random.Random(seed)
    name = source.choice(["web", "a", "nothing"])
    path = path.replace("{namespace}", "default").replace("{name}", name)
    query = {
        parameter["name"]: source.choice(WORDS)
        for parameter in described.get("parameters", ())
        if parameter.get("in") == "query" and source.random() < 0.1
    }
    query.pop("watch", None)
    headers = {}
    if method == "patch":
        headers["content-type"] = f"application/{source.choice(PATCHES)}"
        if headers["content-type"].endswith("yaml"):
            query.setdefault("fieldManager", "tests")
    body = body_of(described, method, schemas, name, source)
    answer = await http.request(method.upper(), path, params=query, content=body, headers=headers)
    # A few 500s are the API's own words for a client's mistake; a defect is told as InternalError.
    fault = answer.status_code >= 500 and answer.json().get("reason") == "InternalError"
    ours = fault and "resourceVersion should not be set" not in answer.text
    assert not ours, f"{method} {path} {query} {headers} {body!r}: {answer.text}"
    return answer.status_code


async def test_no_request_makes_the_server_fail(http, operations):
    codes = []
    asked = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, len(operations) - 1), st.integers(0, 2**32))
    def draw(position, seed):
        asked.append((position, seed))

    draw()
    for position, seed in asked:
        codes.append(await ask(http, operations[position], seed))
    assert len(codes) >= EXAMPLES // 2
    assert {200, 201, 404, 422} <= set(codes)
