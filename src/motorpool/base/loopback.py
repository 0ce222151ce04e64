"""This machine's loopback addresses: where a search for free ones starts, and who listens where.

The whole of 127.0.0.0/8 is this machine's, so anyone may take any address of it. Platforms on one
machine start at places that a hash of their data directory says, and pass over what is in use.
"""

import errno
import hashlib
import socket
from ipaddress import IPv4Network
from pathlib import Path

FIRST_UNPRIVILEGED = 1024
PROBED = "127.191.255.254"
"""Where ports are tried that need a privilege: the last address of the Services, rarely in use."""


def first_offset(data_dir: str, network: IPv4Network, block: int) -> int:
    """Where in *network* that directory's addresses start, a multiple of *block*. Pure."""
    digest = hashlib.sha256(data_dir.encode()).digest()
    blocks = network.num_addresses // block
    return int.from_bytes(digest[:8], "big") % blocks * block


def is_ordinary(address: str) -> bool:
    """Neither the first nor the last of a network of 256, which look like no host's. Pure."""
    return address.rpartition(".")[2] not in ("0", "255")


def listening_addresses() -> set[str]:
    """Every local IPv4 address that a socket is bound to."""
    found = set()
    for name in ("tcp", "udp"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            address = line.split()[1].partition(":")[0]
            found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


def can_bind(address: str, port: int = 0) -> bool:
    """Whether nobody has it; *port* 0 asks for the address alone."""
    return _refusal(address, port) == 0


class Permissions:
    """Which ports this process, and Envoy with it, may listen on; each is tried once."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    def __call__(self, port: int) -> bool:
        if port >= FIRST_UNPRIVILEGED:
            return True
        if port not in self._known:
            self._known[port] = _refusal(PROBED, port) != errno.EACCES
        return self._known[port]


def _refusal(address: str, port: int) -> int:
    """The error of binding there; 0 where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Envoy's own listener: ports that merely wait out old connections are free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0
