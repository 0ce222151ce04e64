"""What the router serves, as a value in our words: hosts, paths, backends, endpoints. Pure.

`routes.py` makes one from objects, `envoy.py` says it in Envoy's dialect. Two equal tables make the
same configuration, byte for byte.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from motorpool.api.meta import ObjectKey

Balance: TypeAlias = Literal["random", "roundrobin", "leastconn", "source"]
Forwarding: TypeAlias = Literal["append", "replace", "if-none", "never"]
Insecure: TypeAlias = Literal["None", "Allow", "Redirect"]


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Backend:
    """One Service behind a route, with those of its endpoints that are ready."""

    service: str
    weight: int
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Cookie:
    """Keeps a client on one endpoint."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()  # beyond path and HttpOnly


@dataclass(frozen=True, slots=True)
class HeaderAction:
    """Sets a header, or deletes it where *value* is None."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Tls:
    """The client's side ends at the router."""

    insecure: Insecure = "None"  # what plain HTTP gets
    certificate: str = ""  # PEM; "" means the router's own
    key: str = ""


@dataclass(frozen=True, slots=True)
class PodTls:
    """The pods speak TLS, and show who they are."""

    names: tuple[str, ...]  # of their Services; a pod's certificate bears one
    authority: str = ""  # PEM that vouches for them, whatever their names; "" means the platform's


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One admitted Route."""

    key: ObjectKey
    host: str
    path: str = ""
    backends: tuple[Backend, ...]
    balance: Balance = "random"
    speaks_h2c: bool = False  # to the pods
    cookie: Cookie | None = None
    idle_timeout_ms: int = 30_000
    tunnel_timeout_ms: int = 3_600_000
    rewrite_target: str = ""
    forwarding: Forwarding = "append"
    allowed_sources: tuple[str, ...] = ()  # CIDRs; none means everyone
    hsts: str = ""
    request_headers: tuple[HeaderAction, ...] = ()
    response_headers: tuple[HeaderAction, ...] = ()
    tls: Tls | None = None
    pod_tls: PodTls | None = None

    @property
    def cluster(self) -> str:
        return str(self.key)


@dataclass(frozen=True, slots=True)
class Forward:
    """One TCP port of a Service's cluster address."""

    service: ObjectKey
    address: str
    port: int
    endpoints: tuple[Endpoint, ...]
    is_sticky: bool = False  # a client's address decides which endpoint it gets

    @property
    def name(self) -> str:
        """Of its cluster; no Route's has two slashes."""
        return f"service/{self.service}:{self.port}"

    @property
    def place(self) -> tuple[str, int]:
        return self.address, self.port


@dataclass(frozen=True, slots=True)
class Table:
    entries: tuple[Entry, ...] = ()
    """By host, then the most specific path first; no two with the same host and path."""
    forwards: tuple[Forward, ...] = ()
    """By address and port; no two with the same."""
