"""The addresses of Pods: each has one of its own from 127.64.0.0/10, which needs no privilege.

Rules: the range starts where a hash of the data directory says, so that two platforms on one
machine rarely meet; where they do, an address that anything listens on is passed over. An address
is kept in ``pods/UID/pod.json`` for as long as the Pod's directory is there.
"""

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from motorpool.base.loopback import can_bind, first_offset, is_ordinary, listening_addresses

NETWORK = ipaddress.IPv4Network("127.64.0.0/10")
BLOCK = 1024  # neighbouring data directories start at least so far apart, or at the same place
TRIES_MAX = 65536


class NoAddressError(OSError):
    """Every address that was tried is in use."""


class Addresses:
    def __init__(self, data_dir: Path, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next = first_offset(str(data_dir.resolve()), NETWORK, BLOCK)

    def allocate(self) -> str:
        """An address that nobody uses. Raises NoAddressError."""
        listening = listening_addresses()
        for _ in range(TRIES_MAX):
            self._next = (self._next + 1) % NETWORK.num_addresses
            address = str(NETWORK[self._next])
            if not is_ordinary(address) or address in self._taken or address in listening:
                continue
            if can_bind(address):
                self._taken.add(address)
                return address
        raise NoAddressError(f"no free address in {NETWORK}")

    def take(self, address: str) -> None:
        """Notes an address that a Pod already has."""
        self._taken.add(address)

    def release(self, address: str) -> None:
        self._taken.discard(address)
