"""The command line: kube-rbac-proxy's flags, as far as they have a meaning here. Pure.

A flag that would protect more than we do is refused, not ignored: whoever sets it relies on it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

EVERY_ADDRESS = ("", "0.0.0.0", "::")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class UsageError(ValueError):
    """What is wrong with the command line, in one line."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    listen: Address
    upstream: Address
    config_file: Path
    certificate: Path
    key: Path
    health_port: int = 0  # 0: none
    speaks_h2c: bool = False  # to the upstream, and HTTP/1.1 otherwise
    upstream_timeout_s: float = 0.0  # how long it may be silent; 0: an hour
    user_header: str = ""  # "": it is not told who calls
    groups_header: str = ""
    groups_separator: str = "|"
    ignored_paths: tuple[str, ...] = ()
    kubeconfig: Path | None = None


def parse(argv: Sequence[str], *, pod_ip: str = "") -> Settings:
    """Raises UsageError. *pod_ip*: the address of a pod that shares this machine's network."""
    found = _parser().parse_args([_unboxed(arg) for arg in argv])
    for name in ("config_file", "tls_cert_file", "tls_private_key_file"):
        if not getattr(found, name):
            raise UsageError(f"--{name.replace('_', '-')} is required")
    tells = found.auth_header_fields_enabled
    return Settings(
        listen=_of_pod(_address(found.secure_listen_address, "--secure-listen-address"), pod_ip),
        upstream=_upstream(found.upstream, pod_ip),
        config_file=Path(found.config_file),
        certificate=Path(found.tls_cert_file),
        key=Path(found.tls_private_key_file),
        health_port=found.proxy_endpoints_port,
        speaks_h2c=found.upstream_force_h2c,
        upstream_timeout_s=_seconds(found.upstream_timeout),
        user_header=found.auth_header_user_field_name.lower() if tells else "",
        groups_header=found.auth_header_groups_field_name.lower() if tells else "",
        groups_separator=found.auth_header_groups_field_separator,
        ignored_paths=tuple(p.strip() for p in found.ignore_paths.split(",") if p.strip()),
        kubeconfig=Path(found.kubeconfig) if found.kubeconfig else None,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="motorpool.authproxy", allow_abbrev=False)
    parser.add_argument("--secure-listen-address", default=":8443", help="HOST:PORT, with TLS")
    parser.add_argument("--proxy-endpoints-port", type=int, default=0, help="/healthz, with TLS")
    parser.add_argument("--upstream", required=True, help="http://HOST:PORT of the server")
    parser.add_argument("--upstream-force-h2c", type=_flag, nargs="?", const=True, default=False)
    parser.add_argument("--upstream-timeout", default="0", help="how long it may be silent: 30s")
    parser.add_argument("--config-file", help="what a caller must be allowed to do")
    parser.add_argument("--tls-cert-file", help="PEM; read again when it changes")
    parser.add_argument("--tls-private-key-file", help="PEM")
    parser.add_argument(
        "--auth-header-fields-enabled", type=_flag, nargs="?", const=True, default=False
    )
    parser.add_argument("--auth-header-user-field-name", default="x-remote-user")
    parser.add_argument("--auth-header-groups-field-name", default="x-remote-groups")
    parser.add_argument("--auth-header-groups-field-separator", default="|")
    parser.add_argument("--ignore-paths", default="", help="comma-separated; open to everybody")
    parser.add_argument("--kubeconfig", default="", help="else $KUBECONFIG, else the pod's account")
    parser.add_argument("--v", "-v", type=int, default=0, help="taken, and without effect")
    return parser


def _unboxed(arg: str) -> str:
    """Go's flags take one dash or two."""
    return f"-{arg}" if arg.startswith("-") and not arg.startswith("--") and len(arg) > 2 else arg


def _flag(text: str) -> bool:
    words = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return words[text.lower()]


def _address(text: str, flag: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{flag}: {text!r} is no HOST:PORT")
    return Address(host.strip("[]"), int(port))


def _upstream(text: str, pod_ip: str) -> Address:
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
        raise UsageError(f"--upstream: {text!r} is no http://HOST:PORT")
    try:
        port = parts.port or 80
    except ValueError:
        raise UsageError(f"--upstream: {text!r} has no such port") from None
    if pod_ip and parts.hostname in LOOPBACK:
        # The containers of a pod share its address, not this machine's loopback.
        return Address(pod_ip, port)
    return Address(parts.hostname, port)


def _of_pod(address: Address, pod_ip: str) -> Address:
    if address.host in EVERY_ADDRESS:
        return Address(pod_ip or "0.0.0.0", address.port)
    return address


def _seconds(text: str) -> float:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    for unit, factor in units.items():
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdecimal():
            return float(number) * factor
    if text.isdecimal():
        return float(text)
    raise UsageError(f"--upstream-timeout: {text!r} is no time: 30s, 5m")
