"""The API as a client of HTTP sees it, straight on the ASGI application."""

import httpx
import pytest
import yaml

from tests.apiserver.objects import DEPLOYMENTS, MAPS, TABLE, config_map, created, refusal

PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
UNKNOWN_FIELD = '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'
BAD_REVISION = (
    'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax'
)


async def test_a_bad_token_is_refused_everywhere_and_none_where_one_is_needed(app):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await http.get("/api/v1/pods")
        message = (
            'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group '
            '"" at the cluster scope'
        )
        assert refusal(answer) == (403, "Forbidden", message)
        assert answer.json()["details"] == {"kind": "pods"}
        assert (await http.get("/version")).json()["minor"] == "32"
        assert (await http.get("/readyz")).text == "ok"
        bad = {"authorization": "Bearer nobody"}
        assert (await http.get("/version", headers=bad)).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", f"{MAPS}/none", (404, "NotFound", 'configmaps "none" not found')),
        ("GET", f"{DEPLOYMENTS}/none", (404, "NotFound", 'deployments.apps "none" not found')),
        ("GET", "/apis/apps/v1/nothing",
         (404, "NotFound", "the server could not find the requested resource")),
        ("GET", "/apis/apps/v7/deployments",
         (404, "NotFound", "the server could not find the requested resource")),
        ("GET", f"{MAPS}/none/status",
         (404, "NotFound", "the server could not find the requested resource")),
        ("PUT", MAPS, (405, "MethodNotAllowed",
         "the server does not allow this method on the requested resource")),
        ("DELETE", "/api/v1/namespaces", (405, "MethodNotAllowed",
         "the server does not allow this method on the requested resource")),
        ("GET", f"{MAPS}?limit=abc",
         (400, "BadRequest", 'strconv.ParseInt: parsing "abc": invalid syntax')),
        ("GET", f"{MAPS}?labelSelector=a%20in",
         (400, "BadRequest", "unable to parse requirement: found '' expected: '('")),
        ("GET", f"{MAPS}?fieldSelector=data.a%3Db",
         (400, "BadRequest", UNKNOWN_FIELD)),
        ("GET", f"{MAPS}?resourceVersion=abc",
         (500, "", BAD_REVISION)),
        ("GET", f"{MAPS}?continue=%21%21", (400, "BadRequest",
         "continue key is not valid: illegal base64 or JSON")),
        ("DELETE", "/api/v1/namespaces/kube-system",
         (403, "Forbidden",
          'namespaces "kube-system" is forbidden: this namespace may not be deleted')),
    ],
)  # fmt: skip
async def test_a_refusal_has_the_servers_words(http, method, path, expected):
    assert refusal(await http.request(method, path)) == expected


async def test_a_path_outside_the_api_is_not_found_in_plain_text(http):
    for path in ("/nothing", "/apis/no.such.group", "/openapi/v3/apis/no.such/v1"):
        answer = await http.get(path)
        assert (answer.status_code, answer.text) == (404, "404 page not found\n")


async def test_a_refusal_without_an_object_has_details_that_are_empty(http):
    """Clients look into them without asking: kubectl debug would end in a panic."""
    for method, path in (
        ("PATCH", "/api/v1/namespaces/default/pods/a/ephemeralcontainers"),
        ("GET", "/api/v1/namespaces/default/nothings"),
        ("POST", f"{MAPS}/a"),
    ):
        answer = await http.request(method, path, json={})
        assert answer.status_code in (404, 405)
        assert answer.json()["details"] == {}


async def test_a_body_that_cannot_be_read_is_refused(http):
    answer = await http.post(MAPS, content=b"{", headers={"content-type": "application/json"})
    assert refusal(answer)[:2] == (400, "BadRequest")
    answer = await http.post(MAPS, content=b"x", headers={"content-type": "text/plain"})
    assert refusal(answer)[:2] == (415, "UnsupportedMediaType")
    answer = await http.post(MAPS, content=b"[1]")
    assert answer.status_code == 400
    answer = await http.patch(f"{MAPS}/a", json={})
    assert refusal(answer) == (415, "UnsupportedMediaType", "415: Unsupported Media Type")
    answer = await http.post(MAPS, content=b" " * (4 << 20))
    assert refusal(answer)[:2] == (413, "RequestEntityTooLarge")


async def test_pages_of_a_list(http):
    for name in "abcde":
        await created(http, MAPS, config_map(name))
    first = (await http.get(MAPS, params={"limit": "2"})).json()
    assert first["metadata"]["remainingItemCount"] == 3
    token = first["metadata"]["continue"]
    await created(http, MAPS, config_map("f"))
    second = (await http.get(MAPS, params={"limit": "9", "continue": token})).json()
    names = [item["metadata"]["name"] for item in first["items"] + second["items"]]
    assert names == ["a", "b", "c", "d", "e"]
    assert "continue" not in second["metadata"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    answer = await http.get(MAPS, params={"continue": token, "resourceVersion": "5"})
    assert answer.status_code == 400


async def test_a_list_of_a_future_revision_is_too_early(http, monkeypatch):
    monkeypatch.setattr("motorpool.apiserver.shelf.FUTURE_WAIT_S", 0.01)
    answer = await http.get(MAPS, params={"resourceVersion": "99999"})
    assert refusal(answer)[:2] == (504, "Timeout")
    assert answer.headers["retry-after"] == "1"


async def test_an_old_page_is_gone_after_compaction(http, store):
    for name in "abcd":
        await created(http, MAPS, config_map(name))
    token = (await http.get(MAPS, params={"limit": "1"})).json()["metadata"]["continue"]
    await created(http, MAPS, config_map("e"))
    await created(http, MAPS, config_map("f"))
    await store.compact(keep_s=0, keep_revisions=1)
    answer = await http.get(MAPS, params={"limit": "1", "continue": token})
    assert refusal(answer)[:2] == (410, "Expired")
    rest = {"limit": "9", "continue": answer.json()["metadata"]["continue"]}
    items = (await http.get(MAPS, params=rest)).json()["items"]
    assert [item["metadata"]["name"] for item in items] == list("bcdef")


async def test_lists_of_built_in_kinds_name_the_kind_once(http):
    await created(http, MAPS, config_map())
    listed = (await http.get(MAPS)).json()
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert "kind" not in listed["items"][0]
    assert (await http.get(MAPS, params={"labelSelector": "x=y"})).json()["items"] == []


async def test_an_answer_comes_in_the_form_asked_for(http):
    await created(http, MAPS, config_map(data={"k": "v"}))
    table = (await http.get(MAPS, headers={"accept": TABLE})).json()
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:2] == ["a", 1]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    partial = (await http.get(f"{MAPS}/a", headers={"accept": PARTIAL})).json()
    assert set(partial) == {"kind", "apiVersion", "metadata"}
    text = (await http.get(f"{MAPS}/a", headers={"accept": "application/yaml"})).text
    assert yaml.safe_load(text)["data"] == {"k": "v"}
    answer = await http.get(MAPS, headers={"accept": "application/xml"})
    assert refusal(answer)[:2] == (406, "NotAcceptable")
    preferring = "application/vnd.kubernetes.protobuf,application/json"
    assert (await http.get(MAPS, headers={"accept": preferring})).status_code == 200


async def test_a_large_answer_is_compressed_and_a_small_one_is_not(http):
    for number in range(3):
        await created(http, MAPS, config_map(f"a{number}", data={"k": "v" * 60_000}))
    large = await http.get(MAPS)
    assert large.headers["content-encoding"] == "gzip"
    assert len(large.json()["items"]) == 3
    small = await http.get(f"{MAPS}/a0")
    assert "content-encoding" not in small.headers


async def test_discovery_names_every_kind_in_both_formats(http):
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    first = await http.get("/apis", headers={"accept": accept})
    assert "as=APIGroupDiscoveryList" in first.headers["content-type"]
    groups = {item["metadata"]["name"]: item for item in first.json()["items"]}
    deployments = groups["apps"]["versions"][0]["resources"][0]
    assert deployments["subresources"][1]["responseKind"]["kind"] == "Scale"
    again = await http.get(
        "/apis", headers={"accept": accept, "if-none-match": first.headers["etag"]}
    )
    assert again.status_code == 304
    assert "content-type" not in again.headers
    assert (await http.get("/api")).json()["versions"] == ["v1"]
    names = [g["name"] for g in (await http.get("/apis")).json()["groups"]]
    assert set(names) == set(groups)
    resources = (await http.get("/apis/apps/v1")).json()["resources"]
    scale = next(r for r in resources if r["name"] == "deployments/scale")
    assert (scale["group"], scale["version"]) == ("autoscaling", "v1")


async def test_openapi_documents_are_kept_by_their_hash(http):
    index = (await http.get("/openapi/v3")).json()["paths"]
    url = index["apis/apps/v1"]["serverRelativeURL"]
    document = await http.get(url)
    assert document.headers["cache-control"] == "public, immutable"
    patch = document.json()["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    kind = patch["patch"]["x-kubernetes-group-version-kind"]
    assert kind == {"group": "apps", "version": "v1", "kind": "Deployment"}
    kept = await http.get(url, headers={"if-none-match": document.headers["etag"]})
    assert kept.status_code == 304
    moved = await http.get("/openapi/v3/apis/apps/v1?hash=OLD")
    assert (moved.status_code, moved.headers["location"]) == (301, url)
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    old = await http.get("/openapi/v2", headers={"accept": accept})
    assert old.content == b"\x0a\x032.0"


async def test_head_has_no_body(http):
    answer = await http.head("/")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_health_is_being_able_to_read_the_store(http, store):
    verbose = await http.get("/livez", params={"verbose": ""})
    assert verbose.text.splitlines() == ["[+]ping ok", "[+]store ok", "livez check passed"]
    assert (await http.get("/readyz/ping")).text == "ok"
    await store.close()
    for check in ("healthz", "livez", "readyz"):
        answer = await http.get(f"/{check}")
        assert answer.status_code == 500
        assert "[-]store failed: the server is shutting down" in answer.text
