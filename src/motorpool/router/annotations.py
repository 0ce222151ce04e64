"""The annotations by which a Route tunes the router. Pure.

A value that does not parse counts as absent, as on OpenShift: the default stays.
"""

import hashlib
import ipaddress
import re
from collections.abc import Mapping

from motorpool.api.meta import ObjectKey
from motorpool.router.table import Balance, Cookie, Forwarding

PREFIX = "haproxy.router.openshift.io/"

_DURATION = re.compile(r"([1-9][0-9]*)(us|ms|s|m|h|d)?")
_UNIT_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_DURATION_MS_MAX = 2_147_483_647
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HSTS = re.compile(
    r"max-age=[0-9]+(?:\s*;\s*(?:includeSubDomains|preload)){0,2}\s*;?", re.IGNORECASE
)


def duration_ms(text: str | None, default_ms: int) -> int:
    """*text* without a unit means milliseconds. At least 1, at most what 31 bits hold."""
    match = _DURATION.fullmatch(text or "")
    if match is None:
        return default_ms
    amount_us = int(match[1]) * _UNIT_US[match[2] or "ms"]
    return max(1, min(amount_us // 1_000, _DURATION_MS_MAX))


def balance(annotations: Mapping[str, str], default: Balance) -> Balance:
    match annotations.get(PREFIX + "balance"):
        case "roundrobin" | "leastconn" | "source" | "random" as chosen:
            return chosen
    return default


def forwarding(annotations: Mapping[str, str]) -> Forwarding:
    match annotations.get(PREFIX + "set-forwarded-headers"):
        case "replace" | "if-none" | "never" as chosen:
            return chosen
    return "append"


def allowed_sources(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses and networks separated by single spaces; one bad one voids the list."""
    text = annotations.get(PREFIX + "ip_allowlist", annotations.get(PREFIX + "ip_whitelist", ""))
    if not text:
        return ()
    try:
        networks = [ipaddress.ip_network(part, strict=False) for part in text.split(" ")]
    except ValueError:
        return ()
    return tuple(str(network) for network in networks)


def hsts(annotations: Mapping[str, str]) -> str:
    text = annotations.get(PREFIX + "hsts_header", "").strip()
    return text if _HSTS.fullmatch(text) else ""


def rewrite_target(annotations: Mapping[str, str]) -> str:
    text = annotations.get(PREFIX + "rewrite-target", "")
    return text if text.startswith("/") and not re.search(r"\s", text) else ""


def cookie(route: ObjectKey, annotations: Mapping[str, str], *, secure_only: bool) -> Cookie | None:
    """The sticky cookie: its generated name is the one that OpenShift's router gives.

    *secure_only*: the route answers over TLS alone, so that browsers may keep the cookie to TLS.
    """
    if annotations.get(PREFIX + "disable_cookies", "").lower() == "true":
        return None
    name = annotations.get("router.openshift.io/cookie_name", "")
    if not _COOKIE_NAME.fullmatch(name):
        seed = f" {route.namespace}:{route.name}"
        name = hashlib.md5(seed.encode(), usedforsecurity=False).hexdigest()
    if not secure_only:
        return Cookie(name)
    same_site = annotations.get("router.openshift.io/cookie-same-site", "")
    if same_site not in ("Lax", "Strict", "None"):
        same_site = "None"
    return Cookie(name, (("Secure", ""), ("SameSite", same_site)))
