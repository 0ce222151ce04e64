"""The authority of a cluster that has none: made once, and kept in a Secret beside the operator."""

import base64
import binascii
from datetime import datetime

from motorpool.api import core
from motorpool.api.meta import Object, at
from motorpool.base.certificates import Authority
from motorpool.controllers.servingcertificate.desired import CERTIFICATE, KEY, tls_data
from motorpool.loop.runner import Context

NAME = "motorpool-service-ca"
FIELD_MANAGER = "motorpool-serving-certificates"


class KeptAuthority:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._secrets = context.informers(core.SECRET)
        self._written: Authority | None = None

    async def get(self) -> Authority:
        """Raises ApiError."""
        namespace, now = self._context.settings.namespace, self._context.clock()
        kept = authority_of(self._secrets.get(namespace, NAME), now) or self._written
        if kept is not None and not kept.is_over(now):
            return kept
        made = Authority.new(f"motorpool-service-ca@{now:%Y-%m-%d}", now)
        await self._context.client.apply(core.SECRET, secret_of(namespace, made),
                                         manager=FIELD_MANAGER)  # fmt: skip
        self._written = made  # the cache is behind for a moment: another one would be made
        return made


def authority_of(secret: Object | None, now: datetime) -> Authority | None:
    """The one in *secret*; None where it is of no use. Pure."""
    data = at(secret, "data", default={})
    try:
        found = Authority(*(base64.b64decode(data.get(name, "")) for name in (CERTIFICATE, KEY)))
        return None if found.is_over(now) else found
    except (ValueError, binascii.Error):
        return None


def secret_of(namespace: str, authority: Authority) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "namespace": namespace},
        "type": "kubernetes.io/tls",
        "data": tls_data(authority.certificate, authority.key),
    }
