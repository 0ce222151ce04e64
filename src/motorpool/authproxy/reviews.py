"""Asks the API whose a token is, and whether he may: a TokenReview, then a SubjectAccessReview.

It blocks, and is for a thread. How to reach the API is read anew each time: the token of a pod is
replaced as it grows old, and an API that was started anew may have another port.
"""

import http.client
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from motorpool.authproxy.rules import Rule
from motorpool.client.kubeconfig import Access, KubeconfigError, in_cluster, read_kubeconfig

TIMEOUT_S = 3.0
ANSWER_BYTES_MAX = 1 << 20


class Unreachable(Exception):
    """The API gave no answer."""


class NotPermitted(Exception):
    """The API does not let this pod ask."""


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    groups: Sequence[str] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    caller: Caller | None  # None: the token is nobody's
    allowed: bool = False


class Reviews:
    """Both questions about one token, over one connection."""

    def __init__(self, rule: Rule, kubeconfig: Path | None) -> None:
        self._rule = rule
        named = os.environ.get("KUBECONFIG", "")
        self._kubeconfig = kubeconfig or (Path(named) if named else None)

    def __call__(self, token: str) -> Answer:
        """Raises Unreachable, NotPermitted."""
        try:
            access = self._access()
            connection = _connection(access)
        except (KubeconfigError, OSError) as error:
            raise Unreachable(str(error)) from error
        try:
            caller = _caller(_ask(connection, access, *_token_review(token)))
            if caller is None:
                return Answer(None)
            said = _ask(connection, access, *_access_review(caller, self._rule))
        finally:
            connection.close()
        return Answer(
            caller, allowed=said.get("allowed") is True and said.get("denied") is not True
        )

    def _access(self) -> Access:
        if self._kubeconfig is not None:
            return read_kubeconfig(self._kubeconfig)
        return in_cluster(os.environ)


def _connection(access: Access) -> http.client.HTTPConnection:
    parts = urlsplit(access.server)
    if isinstance(access.tls, ssl.SSLContext):
        return http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT_S, context=access.tls
        )
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)


def _token_review(token: str) -> tuple[str, dict[str, Any]]:
    spec = {"token": token}
    return "authentication.k8s.io", {"kind": "TokenReview", "spec": spec}


def _access_review(caller: Caller, rule: Rule) -> tuple[str, dict[str, Any]]:
    spec: dict[str, Any] = {
        "user": caller.name,
        "groups": list(caller.groups),
        "resourceAttributes": dict(rule.attributes),
    }
    if caller.uid:
        spec["uid"] = caller.uid
    if caller.extra:
        spec["extra"] = {key: list(values) for key, values in caller.extra.items()}
    return "authorization.k8s.io", {"kind": "SubjectAccessReview", "spec": spec}


def _ask(
    connection: http.client.HTTPConnection, access: Access, group: str, review: dict[str, Any]
) -> dict[str, Any]:
    """The status of the review."""
    body = json.dumps({"apiVersion": f"{group}/v1", "metadata": {}, **review}).encode()
    token = access.token or (access.token_file.read_text().strip() if access.token_file else "")
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        path = f"/apis/{group}/v1/{review['kind'].lower()}s"
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        raw = response.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(str(error) or type(error).__name__) from error
    if response.status in (401, 403):
        raise NotPermitted(f"the API refuses a {review['kind']}: {response.status}")
    if response.status not in (200, 201):
        raise Unreachable(f"the API answers a {review['kind']} with {response.status}")
    try:
        status = json.loads(raw)["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"the API answers a {review['kind']} with no status") from error
    if not isinstance(status, dict):
        raise Unreachable(f"the API answers a {review['kind']} with no status")
    return status


def _caller(status: dict[str, Any]) -> Caller | None:
    user = status.get("user")
    if status.get("authenticated") is not True or not isinstance(user, dict):
        return None
    name = str(user.get("username") or "")
    if not name:
        return None
    return Caller(
        name,
        tuple(map(str, user.get("groups") or ())),
        str(user.get("uid") or ""),
        {str(k): tuple(map(str, v)) for k, v in (user.get("extra") or {}).items()},
    )
