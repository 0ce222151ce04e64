"""Events on objects: what happened, in words, where the user looks.

The same event again raises its count instead of making a new object, as client-go's recorder does.
Recording never waits and never fails its caller: a bounded queue is written out in the background,
and what does not fit is counted and logged.
"""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import structlog

from motorpool.api import core
from motorpool.api.errors import ApiError, NotFound
from motorpool.api.meta import Object
from motorpool.base.clock import Clock, now, rfc3339
from motorpool.client import Client

log = structlog.get_logger(__name__)

QUEUE_SIZE_MAX = 1000
KNOWN_EVENTS_MAX = 4096


@dataclass(frozen=True, slots=True)
class _Happening:
    obj: Object
    type: str
    reason: str
    message: str
    component: str


class EventRecorder:
    def __init__(self, client: Client, clock: Clock = now) -> None:
        self._client = client
        self._clock = clock
        self._queue: asyncio.Queue[_Happening] = asyncio.Queue(QUEUE_SIZE_MAX)
        self._counts: OrderedDict[str, int] = OrderedDict()

    def record(
        self,
        obj: Object,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        component: str = "motorpool",
    ) -> None:
        """Notes what happened to *obj*. *message* names the next step where there is one."""
        try:
            self._queue.put_nowait(_Happening(obj, type_, reason, message, component))
        except asyncio.QueueFull:
            log.warning("event dropped", reason=reason, message=message)

    async def run(self) -> None:
        """Writes events until cancelled."""
        while True:
            happening = await self._queue.get()
            try:
                await self._write(happening)
            except (ApiError, OSError) as error:
                log.warning("event not written", reason=happening.reason, error=str(error))

    async def _write(self, happening: _Happening) -> None:
        event = _event(happening, rfc3339(self._clock()))
        namespace, name = event["metadata"]["namespace"], event["metadata"]["name"]
        count = self._counts.pop(name, 0) + 1
        self._counts[name] = count
        while len(self._counts) > KNOWN_EVENTS_MAX:
            self._counts.popitem(last=False)
        if count > 1:
            patch = {"count": count, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._client.patch(core.EVENT, namespace, name, patch)
            except NotFound:
                self._counts[name] = 1
            else:
                return
        try:
            await self._client.create(core.EVENT, event)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            # A recorder before this one wrote it: go on counting.
            existing = await self._client.get(core.EVENT, namespace, name)
            self._counts[name] = int(existing.get("count", 1)) + 1
            patch = {"count": self._counts[name], "lastTimestamp": event["lastTimestamp"]}
            await self._client.patch(core.EVENT, namespace, name, patch)


def _event(happening: _Happening, moment: str) -> Object:
    obj, metadata = happening.obj, happening.obj["metadata"]
    involved = {
        "kind": obj.get("kind"),
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "apiVersion": obj.get("apiVersion"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    identity = "\0".join(
        (str(metadata.get("uid")), happening.type, happening.reason, happening.message)
    )
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:230]}.{digest}",
            "namespace": metadata.get("namespace") or "default",
        },
        "involvedObject": {key: value for key, value in involved.items() if value},
        "type": happening.type,
        "reason": happening.reason,
        "message": happening.message,
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "source": {"component": happening.component},
        "reportingComponent": happening.component,
        "reportingInstance": "",
    }
