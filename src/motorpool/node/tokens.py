"""Tokens of one Pod's ServiceAccount: asked of the API, kept, and asked for again in time.

Rules, the kubelet's: a token is bound to its Pod and renewed when 80 % of its life are over, a day
at the latest; one that cannot be renewed is kept while it holds, and asked for again soon.
"""

from motorpool.api import core
from motorpool.api.errors import ApiError
from motorpool.api.meta import Object, at, name_of, namespace_of, uid_of
from motorpool.base.clock import Clock
from motorpool.client import Client

RENEWED_AT = 0.8
AGE_MAX_S = 24 * 3600.0
RETRY_S = 30.0
SECONDS_DEFAULT = 3600


class _Token:
    __slots__ = ("expires_at", "renew_at", "value")

    def __init__(self, value: bytes, now: float, life_s: float) -> None:
        self.value = value
        self.expires_at = now + life_s
        self.renew_at = now + min(AGE_MAX_S, RENEWED_AT * life_s)


class Tokens:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[tuple[str, int], _Token] = {}

    def renew_at(self) -> float | None:
        """When the first of them is to be asked for again; None without any."""
        return min((token.renew_at for token in self._kept.values()), default=None)

    async def token(self, pod: Object, source: Object) -> bytes:
        """For a ``serviceAccountToken`` source. Raises ApiError where there is none that holds."""
        audience = str(source.get("audience") or "")
        seconds = int(source.get("expirationSeconds") or SECONDS_DEFAULT)
        now = self._clock().timestamp()
        kept = self._kept.get((audience, seconds))
        if kept is not None and now < kept.renew_at:
            return kept.value
        try:
            answer = await self._client.create(
                core.SERVICE_ACCOUNT, _request(pod, audience, seconds), subresource="token"
            )
        except ApiError:
            if kept is None or kept.expires_at <= now:
                raise
            kept.renew_at = now + RETRY_S
            return kept.value
        value = str(answer["status"]["token"]).encode()
        life_s = float(at(answer, "spec", "expirationSeconds", default=seconds))
        self._kept[audience, seconds] = _Token(value, now, life_s)
        return value


def _request(pod: Object, audience: str, seconds: int) -> Object:
    account = str(at(pod, "spec", "serviceAccountName") or "default")
    bound = {"kind": "Pod", "apiVersion": "v1", "name": name_of(pod), "uid": uid_of(pod)}
    spec: Object = {"expirationSeconds": seconds, "boundObjectRef": bound}
    if audience:
        spec["audiences"] = [audience]
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": account, "namespace": namespace_of(pod)},
        "spec": spec,
    }
