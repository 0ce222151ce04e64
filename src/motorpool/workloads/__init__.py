"""What a cluster brings by itself: the built-in controllers, for the embedded engine only.

Each folder decides in pure files (`plan.py`, `desired.py`, `status.py` ...) and acts in
`reconcile.py`; no folder imports another. They meet in the API server, like those of Kubernetes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from motorpool.client import Client
from motorpool.loop.runner import Context, Controller
from motorpool.workloads.clusterrole import reconcile as clusterrole
from motorpool.workloads.deployment import reconcile as deployment
from motorpool.workloads.endpoints import reconcile as endpoints
from motorpool.workloads.endpointslice import reconcile as endpointslice
from motorpool.workloads.garbage import reconcile as garbage
from motorpool.workloads.horizontalpodautoscaler import reconcile as horizontalpodautoscaler
from motorpool.workloads.job import reconcile as job
from motorpool.workloads.namespace import reconcile as namespace
from motorpool.workloads.persistentvolumeclaim import reconcile as persistentvolumeclaim
from motorpool.workloads.replicaset import reconcile as replicaset
from motorpool.workloads.scheduler import reconcile as scheduler
from motorpool.workloads.serviceaccount import reconcile as serviceaccount
from motorpool.workloads.tainteviction import reconcile as tainteviction

CONTROLLERS: tuple[Callable[..., Controller], ...] = (
    deployment.controller,
    replicaset.controller,
    scheduler.controller,
    endpointslice.controller,
    endpoints.controller,
    serviceaccount.controller,
    horizontalpodautoscaler.controller,
    job.controller,
    persistentvolumeclaim.controller,
    namespace.controller,
    garbage.controller,
    clusterrole.controller,
    tainteviction.controller,
)
"""In the order in which an apply passes through them."""


def controllers(
    context: Context, *, ca_certificate: str = "", volumes_dir: Path | None = None
) -> list[Controller]:
    """All of them; with a CA (PEM), every namespace gets its ConfigMap; with a directory, claims
    get volumes in it."""
    told: dict[Callable[..., Controller], dict[str, Any]] = {
        serviceaccount.controller: {"ca_certificate": ca_certificate},
        persistentvolumeclaim.controller: {"volumes_dir": volumes_dir},
    }
    return [build(context, **told.get(build, {})) for build in CONTROLLERS]


async def install(client: Client) -> None:
    """What a cluster has from its first start."""
    await persistentvolumeclaim.install(client)
