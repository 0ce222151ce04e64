"""A running proxy for tests: the real program with the real Envoy, before a server of the test."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from motorpool.base.certificates import Authority
from tests.authproxy.standin_api import StandInApi
from tests.platform import eventually

CONFIG = """
authorization:
  resourceAttributes:
    namespace: ns
    apiGroup: serving.kserve.io
    apiVersion: v1beta1
    resource: inferenceservices
    name: digits
    verb: get
"""
HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Proxy:
    directory: Path
    process: "subprocess.Popen[bytes]"
    port: int
    health_port: int

    def client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        context.check_hostname = False
        return context

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log()
        return answers(self.health_port, self.client_context())

    def log(self) -> str:
        return (self.directory / "log").read_text()


def answers(port: int, context: ssl.SSLContext) -> bool:
    try:
        with (
            socket.create_connection((HOST, port), timeout=2) as plain,
            context.wrap_socket(plain) as secured,
        ):
            secured.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return secured.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def write_certificate(directory: Path, authority: Authority, name: str = "svc.ns.svc") -> None:
    issued = authority.issue([name], datetime.now(UTC))
    for file, content in (("tls.crt", issued.certificate), ("tls.key", issued.key)):
        new = directory / f"{file}.new"
        new.write_bytes(content)
        new.replace(directory / file)


@contextlib.contextmanager
def running(
    directory: Path, api: StandInApi, upstream_port: int, *flags: str, ready: bool = True
) -> Iterator[Proxy]:
    authority = Authority.new("tests", datetime.now(UTC))
    (directory / "ca.crt").write_bytes(authority.certificate)
    write_certificate(directory, authority)
    (directory / "config.yaml").write_text(CONFIG)
    port, health = free_port(), free_port()
    command = command_of(directory, port, health, upstream_port, flags)
    environment = {**os.environ, "KUBECONFIG": str(api.kubeconfig(directory / "kubeconfig"))}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    proxy = Proxy(directory, process, port, health)
    try:
        if ready:
            eventually(proxy.is_up, what="the proxy answers", deadline_s=20)
        yield proxy
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(40)


def command_of(
    directory: Path, port: int, health: int, upstream_port: int, flags: Sequence[str]
) -> list[str]:
    return [
        sys.executable, "-m", "motorpool.authproxy",
        f"--secure-listen-address={HOST}:{port}", f"--proxy-endpoints-port={health}",
        f"--upstream=http://{HOST}:{upstream_port}",
        f"--config-file={directory / 'config.yaml'}",
        f"--tls-cert-file={directory / 'tls.crt'}",
        f"--tls-private-key-file={directory / 'tls.key'}",
        "--auth-header-fields-enabled=true", "--v=4", *flags,
    ]  # fmt: skip
