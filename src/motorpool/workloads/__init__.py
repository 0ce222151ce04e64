"""What a cluster brings by itself: the built-in controllers, for the embedded engine only.

Each folder decides in pure files (`plan.py`, `desired.py`, `status.py` ...) and acts in
`reconcile.py`; no folder imports another. They meet in the API server, like those of Kubernetes.
"""

from collections.abc import Callable

from motorpool.loop.runner import Context, Controller
from motorpool.workloads.clusterrole import reconcile as clusterrole
from motorpool.workloads.deployment import reconcile as deployment
from motorpool.workloads.endpointslice import reconcile as endpointslice
from motorpool.workloads.garbage import reconcile as garbage
from motorpool.workloads.namespace import reconcile as namespace
from motorpool.workloads.replicaset import reconcile as replicaset
from motorpool.workloads.scheduler import reconcile as scheduler
from motorpool.workloads.serviceaccount import reconcile as serviceaccount

CONTROLLERS: tuple[Callable[[Context], Controller], ...] = (
    deployment.controller,
    replicaset.controller,
    scheduler.controller,
    endpointslice.controller,
    serviceaccount.controller,
    namespace.controller,
    garbage.controller,
    clusterrole.controller,
)
"""In the order in which an apply passes through them."""


def controllers(context: Context, *, ca_certificate: str = "") -> list[Controller]:
    """All of them; with a CA (PEM), every namespace gets its ConfigMap."""
    return [
        serviceaccount.controller(context, ca_certificate=ca_certificate)
        if build is serviceaccount.controller
        else build(context)
        for build in CONTROLLERS
    ]
