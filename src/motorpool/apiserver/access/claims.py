"""What the token of a ServiceAccount says, and whom it makes of its bearer. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from motorpool.api import core
from motorpool.api.errors import FieldError, Invalid, Unauthorized, invalid
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.apiserver.access.signing import Claims
from motorpool.apiserver.authentication import User

ISSUER = "https://kubernetes.default.svc.cluster.local"
LEGACY_ISSUER = "kubernetes/serviceaccount"
SECONDS, SECONDS_MIN, SECONDS_MAX = 3600, 600, 1 << 32

_EXTRA = "authentication.kubernetes.io/"
_LEGACY = "kubernetes.io/serviceaccount/"
_BOUND: dict[str, Kind] = {"pod": core.POD, "secret": core.SECRET, "node": core.NODE}


class Bound(NamedTuple):
    """An object without which a token is worth nothing."""

    kind: Kind
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Wish:
    """A TokenRequest's spec with its defaults."""

    audiences: tuple[str, ...]
    seconds: int
    bound: Object | None

    @classmethod
    def of(cls, request: Object) -> "Wish":
        """Raises Invalid."""
        spec = request.get("spec") or {}
        seconds = spec.get("expirationSeconds")
        seconds = SECONDS if seconds is None else seconds
        if not isinstance(seconds, int) or seconds < SECONDS_MIN:
            raise _invalid(seconds, "may not specify a duration less than 10 minutes")
        if seconds > SECONDS_MAX:
            raise _invalid(seconds, "may not specify a duration larger than 2^32 seconds")
        audiences = tuple(spec.get("audiences") or (ISSUER,))
        return cls(audiences, seconds, spec.get("boundObjectRef"))


def _invalid(seconds: object, text: str) -> Invalid:
    error = FieldError.invalid("spec.expirationSeconds", seconds, text)
    return invalid("TokenRequest", "authentication.k8s.io", "", [error])


def claims_of(
    account: Object, wish: Wish, bound: Object | None, *, moment: datetime, token_id: str
) -> Claims:
    """*bound* is the object that the wish names."""
    metadata = account["metadata"]
    now = int(moment.timestamp())
    about: Object = {
        "namespace": metadata["namespace"],
        "serviceaccount": _reference(account),
    }
    if bound is not None:
        about[bound["kind"].lower()] = _reference(bound)
        node = at(bound, "spec", "nodeName") if bound["kind"] == "Pod" else None
        if node:
            about["node"] = {"name": node}
    return {
        "aud": list(wish.audiences),
        "exp": now + wish.seconds,
        "iat": now,
        "iss": ISSUER,
        "jti": token_id,
        "kubernetes.io": about,
        "nbf": now,
        "sub": subject_of(metadata["namespace"], metadata["name"]),
    }


def legacy_claims(account: Object, secret: Object) -> Claims:
    """Of a token that ends only with its Secret."""
    metadata = account["metadata"]
    return {
        "iss": LEGACY_ISSUER,
        f"{_LEGACY}namespace": metadata["namespace"],
        f"{_LEGACY}secret.name": secret["metadata"]["name"],
        f"{_LEGACY}service-account.name": metadata["name"],
        f"{_LEGACY}service-account.uid": metadata["uid"],
        "sub": subject_of(metadata["namespace"], metadata["name"]),
    }


def subject_of(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def _reference(obj: Object) -> Object:
    return {"name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}


class Bearer(NamedTuple):
    user: User
    needs: Sequence[Bound]
    """What must still be there, with that uid ("" for any)."""
    secret: str = ""
    """The Secret that must still hold the token."""


def bearer_of(claims: Claims, moment: datetime) -> Bearer:
    """Raises Unauthorized where the token is not, or no longer, ours."""
    now = moment.timestamp()
    if claims.get("iss") == LEGACY_ISSUER:
        return _legacy_bearer(claims)
    is_ours = claims.get("iss") == ISSUER and isinstance(claims.get("kubernetes.io"), dict)
    if not is_ours or not claims.get("nbf", 0) <= now + 1 or not now < claims.get("exp", 0):
        raise Unauthorized("Unauthorized")
    about = claims["kubernetes.io"]
    namespace, account = about["namespace"], about["serviceaccount"]
    needs = [Bound(core.SERVICE_ACCOUNT, namespace, account["name"], account["uid"])]
    extra: dict[str, tuple[str, ...]] = {f"{_EXTRA}credential-id": (f"JTI={claims['jti']}",)}
    for name, kind in _BOUND.items():
        reference = about.get(name)
        if reference is None:
            continue
        uid = reference.get("uid", "")
        if uid:
            place = namespace if kind.namespaced else ""
            needs.append(Bound(kind, place, reference["name"], uid))
        if name != "secret":
            extra[f"{_EXTRA}{name}-name"] = (reference["name"],)
            if uid:
                extra[f"{_EXTRA}{name}-uid"] = (uid,)
    user = _user(namespace, account["name"], account["uid"], extra, tuple(claims["aud"]))
    return Bearer(user, needs)


def _legacy_bearer(claims: Claims) -> Bearer:
    namespace, name, uid, secret = (
        str(claims.get(_LEGACY + field, ""))
        for field in ("namespace", "service-account.name", "service-account.uid", "secret.name")
    )
    needs = [Bound(core.SERVICE_ACCOUNT, namespace, name, uid)]
    return Bearer(_user(namespace, name, uid, {}, ()), needs, secret)


def _user(
    namespace: str,
    name: str,
    uid: str,
    extra: dict[str, tuple[str, ...]],
    audiences: tuple[str, ...],
) -> User:
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    )
    return User(subject_of(namespace, name), groups, uid, extra, audiences)
