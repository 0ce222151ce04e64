"""Tokens of ServiceAccounts: asked for, signed, and believed while all they stand on is there."""

import asyncio
import base64
import uuid
from datetime import timedelta
from pathlib import Path

from motorpool.api import core
from motorpool.api.errors import BadRequest, Conflict, NotFound, Unauthorized
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.apiserver.access.claims import (
    ISSUER,
    Bearer,
    Wish,
    bearer_of,
    claims_of,
    legacy_claims,
)
from motorpool.apiserver.access.signing import Claims, SigningKey, is_token
from motorpool.apiserver.authentication import User
from motorpool.apiserver.authentication import bearer_of as token_of
from motorpool.apiserver.registry import Registry
from motorpool.base.clock import rfc3339

REMEMBERED_TOKENS_MAX = 1024
BINDABLE: tuple[Kind, ...] = (core.POD, core.SECRET, core.NODE)


class AccountTokens:
    def __init__(self, registry: Registry, key_file: Path) -> None:
        self._registry = registry
        self._key_file = key_file
        self._key: SigningKey | None = None
        self._loading = asyncio.Lock()
        self._verified: dict[str, Claims] = {}
        registry.serve_below(core.SERVICE_ACCOUNT, "token", self.request)

    async def _signing_key(self) -> SigningKey:
        async with self._loading:
            if self._key is None:
                self._key = await asyncio.to_thread(SigningKey.ensure, self._key_file)
            return self._key

    # Giving

    async def request(self, namespace: str, name: str, request: Object) -> Object:
        """Answers a TokenRequest. Raises NotFound, Invalid, BadRequest, Conflict."""
        wish = Wish.of(request)
        account = await self._registry.get(core.SERVICE_ACCOUNT, namespace, name, full=False)
        bound = None
        if wish.bound is not None:
            bound = await self._bound(namespace, name, wish.bound)
        moment = self._registry.clock()
        claims = claims_of(account, wish, bound, moment=moment, token_id=str(uuid.uuid4()))
        token = (await self._signing_key()).sign(claims)
        spec: Object = {"audiences": list(wish.audiences), "expirationSeconds": wish.seconds}
        until = rfc3339(moment + timedelta(seconds=wish.seconds))
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "creationTimestamp": rfc3339(moment),
            },
            "spec": {**spec, "boundObjectRef": wish.bound},
            "status": {"token": token, "expirationTimestamp": until},
        }

    async def _bound(self, namespace: str, account: str, reference: Object) -> Object:
        said = reference.get("apiVersion") or "v1", reference.get("kind")
        kind = next((k for k in BINDABLE if (k.api_version, k.kind) == said), None)
        if kind is None:
            raise BadRequest(f"cannot bind token to object of type {said[0]}, Kind={said[1]}")
        place = namespace if kind.namespaced else ""
        found = await self._registry.get(kind, place, str(reference.get("name", "")), full=False)
        runs_as = at(found, "spec", "serviceAccountName", default="default")
        if kind is core.POD and runs_as != account:
            raise BadRequest(
                f'cannot bind token for serviceaccount "{account}" to pod running with different '
                "serviceaccount name."
            )
        wanted, actual = reference.get("uid"), found["metadata"]["uid"]
        if wanted and wanted != actual:
            raise Conflict(
                f"the UID in the bound object reference ({wanted}) does not match the UID in "
                f"record ({actual}). The object might have been deleted and then recreated"
            )
        return found

    async def lasting(self, account: Object, secret: Object) -> str:
        """A token that holds for as long as the Secret holds it."""
        return (await self._signing_key()).sign(legacy_claims(account, secret))

    # Believing

    async def authenticate(self, authorization: str) -> User:
        """Raises Unauthorized."""
        token = token_of(authorization)
        if not is_token(token):
            raise Unauthorized("Unauthorized")
        bearer = bearer_of(await self._claims(token), self._registry.clock())
        await self._check(bearer, token)
        return bearer.user

    async def _claims(self, token: str) -> Claims:
        claims = self._verified.get(token)
        if claims is None:
            claims = (await self._signing_key()).verify(token)
            if claims is None:
                raise Unauthorized("Unauthorized")
            if len(self._verified) >= REMEMBERED_TOKENS_MAX:
                self._verified.clear()
            self._verified[token] = claims
        return claims

    async def _check(self, bearer: Bearer, token: str) -> None:
        try:
            for kind, namespace, name, uid in bearer.needs:
                found = await self._registry.get(kind, namespace, name, full=False)
                if uid and found["metadata"]["uid"] != uid:
                    raise Unauthorized("Unauthorized")
            if bearer.secret:
                namespace = bearer.needs[0].namespace
                secret = await self._registry.get(core.SECRET, namespace, bearer.secret, full=False)
                if at(secret, "data", "token") != base64.b64encode(token.encode()).decode():
                    raise Unauthorized("Unauthorized")
        except NotFound:
            raise Unauthorized("Unauthorized") from None

    # For those who verify tokens by themselves

    def configuration(self, url: str) -> Object:
        return {
            "issuer": ISSUER,
            "jwks_uri": f"{url}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    async def keys(self) -> Object:
        return {"keys": [(await self._signing_key()).public()]}
