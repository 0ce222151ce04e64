"""The addresses of Pods: each has one of its own from 127.64.0.0/10, which needs no privilege.

Rules: the range starts where a hash of the data directory says, so that two platforms on one
machine rarely meet; where they do, an address that anything listens on is passed over. An address
is kept in ``pods/UID/pod.json`` for as long as the Pod's directory is there.
"""

import hashlib
import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path

NETWORK = ipaddress.ip_network("127.64.0.0/10")
BLOCK = 1024  # neighbouring data directories start at least so far apart, or at the same place
TRIES_MAX = 65536


class NoAddressError(OSError):
    """Every address that was tried is in use."""


class Addresses:
    def __init__(self, data_dir: Path, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next = first_offset(str(data_dir.resolve()))

    def allocate(self) -> str:
        """An address that nobody uses. Raises NoAddressError."""
        listening = listening_addresses()
        for _ in range(TRIES_MAX):
            self._next = (self._next + 1) % NETWORK.num_addresses
            address = NETWORK[self._next]
            last = int(address) & 0xFF
            text = str(address)
            if last in (0, 255) or text in self._taken or text in listening:
                continue
            if _can_bind(text):
                self._taken.add(text)
                return text
        raise NoAddressError(f"no free address in {NETWORK}")

    def take(self, address: str) -> None:
        """Notes an address that a Pod already has."""
        self._taken.add(address)

    def release(self, address: str) -> None:
        self._taken.discard(address)


def first_offset(data_dir: str) -> int:
    """Where the search starts. Pure."""
    digest = hashlib.sha256(data_dir.encode()).digest()
    blocks = NETWORK.num_addresses // BLOCK
    return int.from_bytes(digest[:8], "big") % blocks * BLOCK


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


def _can_bind(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
