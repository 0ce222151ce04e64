"""What a Route's status says. Pure.

A router writes its own entry of ``status.ingress`` and leaves those of other routers alone.
"""

from motorpool.api import conditions
from motorpool.api.meta import Object, at
from motorpool.controllers.route.admission import Verdict
from motorpool.controllers.route.hosts import effective_host, router_hostname

ROUTER_NAME = "default"


def status_of(route: Object, verdict: Verdict, base_domain: str, now: str) -> Object:
    """The whole status; equal to the present one where nothing changed."""
    entries = at(route, "status", "ingress", default=())
    mine: Object = next((e for e in entries if e.get("routerName") == ROUTER_NAME), {})
    others = [entry for entry in entries if entry.get("routerName") != ROUTER_NAME]
    new: Object = {
        "host": effective_host(route, base_domain),
        "routerName": ROUTER_NAME,
        "conditions": conditions.merged(mine.get("conditions") or (), [_admitted(verdict)], now),
        "wildcardPolicy": at(route, "spec", "wildcardPolicy", default="None"),
        "routerCanonicalHostname": router_hostname(base_domain),
    }
    return {**(route.get("status") or {}), "ingress": [new, *others]}


def _admitted(verdict: Verdict) -> Object:
    if verdict.admitted:
        return {"type": "Admitted", "status": "True"}
    return {
        "type": "Admitted",
        "status": "False",
        "reason": verdict.reason,
        "message": verdict.message,
    }


def admitted_reason(route: Object) -> tuple[str, str] | None:
    """What the status says of admission now, as (status, reason); None where it says nothing."""
    for entry in at(route, "status", "ingress", default=()):
        if entry.get("routerName") == ROUTER_NAME:
            for condition in entry.get("conditions") or ():
                if condition.get("type") == "Admitted":
                    return str(condition.get("status")), str(condition.get("reason", ""))
    return None
