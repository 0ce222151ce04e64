"""Tokens of ServiceAccounts: what they say, whom they make, and when they end."""

import base64
import json

import httpx
import pytest

from motorpool.api import core
from motorpool.api.errors import BadRequest, Conflict, Invalid, NotFound, Unauthorized
from motorpool.apiserver.access.signing import SigningKey
from tests.apiserver.objects import refusal

pytestmark = pytest.mark.usefixtures("accounts")

REVIEWS = "/apis/authentication.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


@pytest.fixture
async def account(local_client):
    metadata = {"name": "sa", "namespace": "default"}
    return await local_client.create(core.SERVICE_ACCOUNT, {"metadata": metadata})


def asked(**spec):
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": "sa", "namespace": "default"},
        "spec": spec,
    }


async def token_of(client, **spec):
    request = asked(**spec)
    answer = await client.create(core.SERVICE_ACCOUNT, request, subresource="token")
    return answer["status"]["token"]


def said(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def signed_by(token, keys):
    """Verifies as another program would: from the published keys alone."""
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    def number(text):
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

    (key,) = keys["keys"]
    signed, _, signature = token.rpartition(".")
    public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    public.verify(raw, signed.encode(), padding.PKCS1v15(), SHA256())
    return True


def test_the_key_is_made_once_and_is_its_owner_s(tmp_path):
    file = tmp_path / "pki" / "sa.key"
    key = SigningKey.ensure(file)
    assert SigningKey.ensure(file).id == key.id
    assert file.stat().st_mode & 0o777 == 0o600
    token = key.sign({"sub": "x"})
    assert key.verify(token) == {"sub": "x"}
    assert key.verify(token[:-4] + "AAAA") is None
    assert key.verify(token + ".") is None
    assert key.verify("a.b.c") is None
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    assert key.verify(f"{head}.{token.split('.')[1]}.") is None


async def test_both_clients_get_tokens(client, account, accounts):
    token = await token_of(client, expirationSeconds=600)
    claims = said(token)
    assert claims["sub"] == "system:serviceaccount:default:sa"
    assert claims["exp"] - claims["iat"] == 600
    assert claims["kubernetes.io"] == {
        "namespace": "default",
        "serviceaccount": {"name": "sa", "uid": account["metadata"]["uid"]},
    }
    user = await accounts.authenticate(f"Bearer {token}")
    assert user.name == claims["sub"]
    assert user.uid == account["metadata"]["uid"]
    assert user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    )
    assert user.extra == {"authentication.kubernetes.io/credential-id": (f"JTI={claims['jti']}",)}


async def test_a_request_is_answered_with_its_defaults(http, account):
    body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
    answer = await http.post(f"{ACCOUNTS}/sa/token", json=body)
    assert answer.status_code == 201
    found = answer.json()
    assert found["spec"]["audiences"] == ["https://kubernetes.default.svc.cluster.local"]
    assert found["spec"]["expirationSeconds"] == 3600
    assert found["metadata"]["name"] == "sa"
    assert found["status"]["expirationTimestamp"] == "2026-01-01T13:00:00Z"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (599, "may not specify a duration less than 10 minutes"),
        ((1 << 32) + 1, "may not specify a duration larger than 2^32 seconds"),
    ],
)
async def test_a_life_too_short_or_too_long_is_refused(local_client, account, seconds, text):
    with pytest.raises(Invalid, match=text.replace("^", r"\^")):
        await token_of(local_client, expirationSeconds=seconds)


async def test_a_token_ends_in_time_and_with_its_account(local_client, account, accounts, clock):
    token = await token_of(local_client, expirationSeconds=600)
    clock.forward(seconds=599)
    await accounts.authenticate(f"Bearer {token}")
    clock.forward(seconds=1)
    with pytest.raises(Unauthorized):
        await accounts.authenticate(f"Bearer {token}")
    token = await token_of(local_client)
    await local_client.delete(core.SERVICE_ACCOUNT, "default", "sa")
    with pytest.raises(Unauthorized):
        await accounts.authenticate(f"Bearer {token}")
    await local_client.create(
        core.SERVICE_ACCOUNT, {"metadata": {"name": "sa", "namespace": "default"}}
    )
    with pytest.raises(Unauthorized):  # another account, whatever its name
        await accounts.authenticate(f"Bearer {token}")


async def test_a_token_bound_to_a_pod_ends_with_it(local_client, account, accounts):
    metadata = {"name": "p", "namespace": "default"}
    containers = [{"name": "c", "image": "x"}]
    spec = {"serviceAccountName": "sa", "nodeName": "n", "containers": containers}
    pod = await local_client.create(core.POD, {"metadata": metadata, "spec": spec})
    uid = pod["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}
    token = await token_of(local_client, boundObjectRef=reference)
    user = await accounts.authenticate(f"Bearer {token}")
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert user.extra["authentication.kubernetes.io/pod-uid"] == (uid,)
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n",)
    with pytest.raises(Conflict):
        await token_of(local_client, boundObjectRef={**reference, "uid": "other"})
    with pytest.raises(NotFound):
        await token_of(local_client, boundObjectRef={**reference, "name": "none"})
    with pytest.raises(BadRequest, match="cannot bind token to object of type v1, Kind=Service"):
        await token_of(local_client, boundObjectRef={**reference, "kind": "Service"})
    await local_client.delete(core.POD, "default", "p", grace_s=0)
    with pytest.raises(Unauthorized):
        await accounts.authenticate(f"Bearer {token}")


async def test_a_token_for_others_is_no_key_to_the_api(http, local_client, account):
    token = await token_of(local_client, audiences=["vault"])
    headers = {"authorization": f"Bearer {token}"}
    assert (await http.get("/version", headers=headers)).status_code == 401
    review = {"spec": {"token": token, "audiences": ["vault", "x"]}}
    status = (await http.post(f"{REVIEWS}/tokenreviews", json=review)).json()["status"]
    assert status["authenticated"] is True
    assert status["audiences"] == ["vault"]
    review = {"spec": {"token": token}}
    status = (await http.post(f"{REVIEWS}/tokenreviews", json=review)).json()["status"]
    assert status == {"user": {}, "error": "invalid bearer token"}


async def test_what_an_account_may_do_is_what_its_bindings_say(http, local_client, account):
    headers = {"authorization": f"Bearer {await token_of(local_client)}"}
    answer = await http.get("/api/v1/namespaces/default/pods", headers=headers)
    assert refusal(answer)[0] == 403
    assert 'User "system:serviceaccount:default:sa" cannot list' in refusal(answer)[2]
    assert (await http.get("/apis", headers=headers)).status_code == 200


async def test_others_verify_tokens_by_the_published_keys(http, local_client, account):
    token = await token_of(local_client)
    found = await http.get("/.well-known/openid-configuration")
    assert found.json()["issuer"] == said(token)["iss"]
    assert found.json()["jwks_uri"].endswith("/openid/v1/jwks")
    keys = await http.get("/openid/v1/jwks")
    assert keys.headers["content-type"] == "application/jwk-set+json"
    assert signed_by(token, keys.json())
    refused = await http.get("/openid/v1/jwks", headers={"accept": "application/json"})
    assert refused.status_code == 406


async def test_a_lasting_token_ends_with_its_secret(local_client, account, accounts):
    metadata = {
        "name": "t",
        "namespace": "default",
        "annotations": {"kubernetes.io/service-account.name": "sa"},
    }
    secret = {"metadata": metadata, "type": "kubernetes.io/service-account-token"}
    created = await local_client.create(core.SECRET, secret)
    token = await accounts.lasting(account, created)
    with pytest.raises(Unauthorized):
        await accounts.authenticate(f"Bearer {token}")
    data = {"token": base64.b64encode(token.encode()).decode()}
    await local_client.patch(core.SECRET, "default", "t", {"data": data})
    user = await accounts.authenticate(f"Bearer {token}")
    assert user.name == "system:serviceaccount:default:sa"
    await local_client.delete(core.SECRET, "default", "t")
    with pytest.raises(Unauthorized):
        await accounts.authenticate(f"Bearer {token}")


async def test_a_token_s_secret_names_its_account(local_client):
    secret = {
        "metadata": {"name": "t", "namespace": "default"},
        "type": "kubernetes.io/service-account-token",
    }
    with pytest.raises(Invalid, match=r"metadata.annotations\[kubernetes.io/service-account.name"):
        await local_client.create(core.SECRET, secret)


async def test_the_http_header_may_be_anything(app):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        for text in ("Bearer", "Basic eA==", "Bearer eyJ.e30.x", "Bearer eyJ.\xff.x", "x"):
            headers = {"authorization": text.encode("latin-1")}
            assert (await http.get("/version", headers=headers)).status_code == 401
