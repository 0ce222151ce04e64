"""Which Routes the router serves, and why not the others. Pure.

Rules
- The oldest Route has a host and path, whatever its namespace; the next oldest succeeds it.
- Routes of one host share it by path, across namespaces too, as MicroShift has it.
- A passthrough Route has its host alone: the router cannot see paths inside TLS.
- Only an admitted Route stands in another's way.
"""

from collections.abc import Iterable
from typing import NamedTuple

from motorpool.api.meta import Object, ObjectKey, annotations_of, at, key_of, uid_of
from motorpool.api.route_rules import NON_DNS_HOST, host_errors
from motorpool.controllers.route.hosts import effective_host


class Verdict(NamedTuple):
    reason: str = ""  # "" means admitted
    message: str = ""

    @property
    def admitted(self) -> bool:
        return not self.reason


ADMITTED = Verdict()


def admit(routes: Iterable[Object], base_domain: str) -> dict[ObjectKey, Verdict]:
    """The verdict on each of the Routes that name the same host."""
    verdicts: dict[ObjectKey, Verdict] = {}
    winners: list[Object] = []
    for route in sorted(routes, key=_age):
        verdict = _own_verdict(route, base_domain)
        if verdict.admitted:
            verdict = _rival_verdict(route, winners, base_domain)
        if verdict.admitted:
            winners.append(route)
        verdicts[key_of(route)] = verdict
    return verdicts


def _age(route: Object) -> tuple[str, str]:
    return str(at(route, "metadata", "creationTimestamp", default="")), uid_of(route)


def _own_verdict(route: Object, base_domain: str) -> Verdict:
    """What the Route by itself deserves."""
    host = effective_host(route, base_domain)
    if not host:
        return Verdict("NoHostValue", "the route names no host; set spec.host")
    lenient = annotations_of(route).get(NON_DNS_HOST) == "true"
    errors = host_errors(host, any_label_length=lenient)
    if errors:
        return Verdict("InvalidHost", f"host '{host}' is no DNS name: {errors[0]}")
    if at(route, "spec", "wildcardPolicy") == "Subdomain":
        text = "wildcard routes are not allowed; set spec.wildcardPolicy to None"
        return Verdict("RouteNotAdmitted", text)
    termination = at(route, "spec", "tls", "termination", default="edge")
    if termination not in ("edge", "reencrypt"):
        text = f"this router serves plain, edge and reencrypt routes only, not '{termination}'"
        return Verdict("RouteNotAdmitted", text)
    if at(route, "spec", "tls", "externalCertificate", "name"):
        text = "this router reads no certificates from Secrets; put them into spec.tls"
        return Verdict("ExternalCertificateValidationFailed", text)
    return ADMITTED


def _rival_verdict(route: Object, winners: Iterable[Object], base_domain: str) -> Verdict:
    for winner in winners:
        if _path(winner) == _path(route) or _is_passthrough(winner) or _is_passthrough(route):
            return _claimed(route, winner, effective_host(route, base_domain))
    return ADMITTED


def _claimed(route: Object, winner: Object, host: str) -> Verdict:
    mine, theirs = key_of(route), key_of(winner)
    if mine.namespace == theirs.namespace:
        return Verdict(
            "HostAlreadyClaimed", f"route {theirs.name} already exposes {host} and is older"
        )
    text = f"a route in another namespace holds {host} and is older than {mine.name}"
    return Verdict("HostAlreadyClaimed", text)


def _path(route: Object) -> str:
    return at(route, "spec", "path", default="") or "/"


def _is_passthrough(route: Object) -> bool:
    return bool(at(route, "spec", "tls", "termination") == "passthrough")
