"""The composition root of `motorpool operator`: the serving controllers against any Kubernetes.

Several may run; the one that holds the Lease works. Losing it ends the process: whatever restarts
it starts it with empty caches.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motorpool.api.kinds import Kind
    from motorpool.client.http import HttpClient
    from motorpool.client.kubeconfig import Access
    from motorpool.loop.runner import Context, Controller

LEASE_NAME = "motorpool-operator"
KINDS_CHECKED_S = 60.0


class _Changed(Exception):
    """The controllers begin anew, with what the cluster serves now."""


class OperatorFailed(Exception):
    """What keeps the operator from working, in one line; *hint* is the next step."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    kubeconfig: Path | None = None  # None: the Pod that this runs in
    context: str = ""
    namespace: str = "redhat-ods-applications"
    identity: str = ""
    oci_mode: str = "auto"


def run(options: Options, on_leading: Callable[[str], None]) -> None:
    """Works until SIGINT or SIGTERM. Raises OperatorFailed."""
    import uvloop

    access = _access(options)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_signalled(access, options, on_leading))


def _access(options: Options) -> "Access":
    from motorpool.client.kubeconfig import KubeconfigError, in_cluster, read_kubeconfig

    try:
        if options.kubeconfig is not None:
            return read_kubeconfig(options.kubeconfig, options.context)
        return in_cluster(os.environ)
    except KubeconfigError as error:
        hint = "name a kubeconfig with --kubeconfig or $KUBECONFIG"
        raise OperatorFailed(str(error), hint=hint) from error


async def _until_signalled(
    access: "Access", options: Options, on_leading: Callable[[str], None]
) -> None:
    from motorpool.loop.lease import LeaseLost

    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(_lead(access, options, on_leading))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return
    except LeaseLost as error:
        hint = "start it again: it then waits for its turn"
        raise OperatorFailed(str(error), hint=hint) from error


async def _lead(access: "Access", options: Options, on_leading: Callable[[str], None]) -> None:
    from motorpool.client.http import HttpClient
    from motorpool.loop.lease import Election

    identity = options.identity or f"{socket.gethostname()}_{os.getpid()}"
    async with HttpClient(access, manager="motorpool-operator") as client:
        election = Election(client, namespace=options.namespace, name=LEASE_NAME, identity=identity)

        async def work() -> None:
            on_leading(identity)
            while True:
                with contextlib.suppress(_Changed):
                    await _work(client, options)

        await election.lead(work)


async def _work(client: "HttpClient", options: Options) -> None:
    from motorpool.controllers import controllers
    from motorpool.loop import runner
    from motorpool.loop.cluster import Cluster
    from motorpool.loop.events import EventRecorder
    from motorpool.loop.informer import Informers
    from motorpool.loop.kinds import LiveKinds
    from motorpool.loop.runner import Context, Settings

    informers, events = Informers(client), EventRecorder(client)
    cluster = Cluster.of_version(await client.version())
    settings = Settings(namespace=options.namespace, cluster=cluster, oci_mode=options.oci_mode)
    served = await served_kinds(client)
    context = Context(
        client=client,
        informers=informers,
        events=events,
        settings=settings,
        kinds=LiveKinds(served),
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informers.run(), name="informers")
            tasks.create_task(events.run(), name="events")
            for controller in [*controllers(context), *_certificates(context)]:
                tasks.create_task(runner.run(controller), name=controller.name)
            tasks.create_task(_watch_kinds(client, served), name="kinds")
    except* _Changed as group:
        raise _Changed from group


def _certificates(context: "Context") -> "list[Controller]":
    """What makes serving certificates, where nobody else does: OpenShift does, `up` does."""
    from motorpool.api.route import ROUTE
    from motorpool.controllers.servingcertificate import reconcile as servingcertificate

    is_openshift = any(kind.kind == ROUTE.kind for kind in context.kinds)
    if is_openshift or context.settings.cluster.is_embedded:
        return []
    return servingcertificate.controllers(context)


async def served_kinds(client: "HttpClient") -> "list[Kind]":
    """Which of the kinds that not every cluster has are served here."""
    from motorpool.controllers.inferenceservice import childkinds, hardware

    found = []
    for kind in (*childkinds.OPTIONAL, *hardware.KINDS):
        resources = await client.resources(kind.group, kind.version)
        if any(resource.get("name") == kind.plural for resource in resources):
            found.append(kind)
    return found


async def _watch_kinds(client: "HttpClient", served: "list[Kind]") -> None:
    """Raises _Changed once the cluster serves others of these kinds."""
    import structlog

    from motorpool.api.errors import ApiError

    log = structlog.get_logger(__name__)
    while True:
        await asyncio.sleep(KINDS_CHECKED_S)
        try:
            now = await served_kinds(client)
        except (ApiError, OSError) as error:
            log.warning("the served kinds cannot be read", error=str(error))
            continue
        if now != served:
            log.info("other kinds are served now, beginning anew", kinds=[str(k) for k in now])
            raise _Changed
