"""Serving, in KServe's words. `controllers` lists what every engine runs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motorpool.loop.runner import Context, Controller


def controllers(context: "Context") -> "list[Controller]":
    """The serving controllers, the same on the embedded engine and on a cluster."""
    from motorpool.controllers.authdelegator import reconcile as authdelegator
    from motorpool.controllers.inferenceservice import reconcile as inferenceservice
    from motorpool.controllers.storageconfig import reconcile as storageconfig

    return [
        inferenceservice.controller(context),
        authdelegator.controller(context),
        storageconfig.controller(context),
    ]
