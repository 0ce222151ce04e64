"""Gives Routes their host and says which of them the router serves."""

from collections.abc import Iterable, Sequence

from motorpool.api import core
from motorpool.api import route as route_api
from motorpool.api.meta import Object, ObjectKey, is_deleting, key_of
from motorpool.base.clock import rfc3339
from motorpool.controllers.route.admission import Verdict, admit
from motorpool.controllers.route.hosts import effective_host, host_patch
from motorpool.controllers.route.ports import backend_names, port_problem
from motorpool.controllers.route.status import admitted_reason, status_of
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context, Controller

BY_HOST = "host"
BY_SERVICE = "service"


def controller(context: Context) -> Controller:
    reconciler = _Reconciler(context)
    sources = {
        reconciler.routes: reconciler.keys,
        reconciler.services: reconciler.keys_of_service,
    }
    return Controller("route", sources, reconciler.reconcile)


class _Reconciler:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._base_domain = context.settings.base_domain
        self.routes = context.informers(route_api.ROUTE)
        self.services = context.informers(core.SERVICE)
        self.routes.add_index(BY_HOST, lambda route: (self._host(route),))
        self.routes.add_index(BY_SERVICE, _services_of)
        self._port_problems: dict[ObjectKey, str] = {}  # those told, by Route

    def keys(self, change: Change) -> Iterable[ObjectKey]:
        """The Route itself and all that share a host that it has or had."""
        keys = [key_of(change.object)]
        if change.old is None or change.new is None or _claim(change.old) != _claim(change.new):
            for route in (change.old, change.new):
                if route is not None:
                    keys += [key_of(rival) for rival in self._sharing(self._host(route))]
        return dict.fromkeys(keys)

    def keys_of_service(self, change: Change) -> Iterable[ObjectKey]:
        service = str(key_of(change.object))
        return [key_of(route) for route in self.routes.by_index(BY_SERVICE, service)]

    async def reconcile(self, key: ObjectKey) -> None:
        route = self.routes.get(*key)
        if route is None or is_deleting(route):
            self._port_problems.pop(key, None)
            return
        self._tell_port_problem(key, route)
        patch = host_patch(route, self._base_domain)
        if patch is not None:
            route = await self._context.client.patch(
                route_api.ROUTE, key.namespace, key.name, patch
            )
        rivals = [rival for rival in self._sharing(self._host(route)) if key_of(rival) != key]
        verdict = admit([route, *rivals], self._base_domain)[key]
        now = rfc3339(self._context.clock())
        status = status_of(route, verdict, self._base_domain, now)
        if status == route.get("status"):
            return
        await self._context.client.replace_status(route_api.ROUTE, route, status)
        self._tell(route, verdict)

    def _tell(self, route: Object, verdict: Verdict) -> None:
        if not verdict.admitted and admitted_reason(route) != ("False", verdict.reason):
            self._context.events.record(
                route, "Warning", verdict.reason, verdict.message, component="router"
            )

    def _tell_port_problem(self, key: ObjectKey, route: Object) -> None:
        found = [self.services.get(key.namespace, name) for name in backend_names(route)]
        problem = port_problem(route, [service for service in found if service is not None])
        if problem and problem != self._port_problems.get(key):
            self._context.events.record(
                route, "Warning", "TargetPortNotFound", problem, component="router"
            )
        self._port_problems[key] = problem

    def _host(self, route: Object) -> str:
        return effective_host(route, self._base_domain).lower()

    def _sharing(self, host: str) -> Sequence[Object]:
        return [r for r in self.routes.by_index(BY_HOST, host) if not is_deleting(r)]


def _services_of(route: Object) -> Iterable[str]:
    return [str(ObjectKey(key_of(route).namespace, name)) for name in backend_names(route)]


def _claim(route: Object) -> Object:
    """The part of a Route that another's admission depends on."""
    return {**(route.get("spec") or {}), "deleting": is_deleting(route)}
