"""Who holds which cluster address: given out from a block of a loopback range, and held until the
Service is gone.

Rules: the block starts where a hash of the data directory says, so that two platforms on one
machine rarely meet; where they do, an address that anything listens on is passed over. The first
addresses of a block are left to those who choose theirs, the very first to the API's own Service.
"""

import random
from collections.abc import Callable, Iterable, Iterator

from motorpool.api import core
from motorpool.api.clusterips import NETWORK
from motorpool.api.errors import FieldError, InternalError
from motorpool.api.meta import Object, at
from motorpool.apiserver.refusals import invalid
from motorpool.base.loopback import first_offset, is_ordinary, listening_addresses

BLOCK = 4096
CHOSEN = 16  # addresses at the start of a block that are never given out
TRIES_MAX = 65536


class ServiceAddresses:
    def __init__(
        self,
        data_dir: str = "",
        source: random.Random | None = None,
        in_use: Callable[[], set[str]] = listening_addresses,
    ) -> None:
        self._first = first_offset(data_dir, NETWORK, BLOCK)
        self._random = source or random.Random()
        self._in_use = in_use
        self._held: set[str] = set()

    def hold(self, services: Iterable[Object]) -> None:
        for service in services:
            self._held.update(addresses_of(service))

    def release(self, service: Object) -> None:
        self._held.difference_update(addresses_of(service))

    def allocate(self) -> str:
        in_use = self._in_use()
        for address in self._candidates():
            if is_ordinary(address) and address not in self._held and address not in in_use:
                self._held.add(address)
                return address
        raise InternalError(
            "Internal error occurred: failed to allocate a serviceIP: range is full"
        )

    def own(self) -> str:
        """For the API's own Service: the first of the block that nobody uses."""
        in_use = self._in_use() | self._held
        firsts = (str(NETWORK[self._first + number]) for number in range(1, CHOSEN))
        return next((address for address in firsts if address not in in_use), "")

    def _candidates(self) -> Iterator[str]:
        """The block from anywhere in it, so that an address is not given out again soon; then
        what follows the block."""
        start = self._random.randrange(CHOSEN, BLOCK)
        inside = [*range(start, BLOCK), *range(CHOSEN, start)]
        for number in [*inside, *range(BLOCK, TRIES_MAX)]:
            yield str(NETWORK[(self._first + number) % NETWORK.num_addresses])

    def claim(self, service: Object, address: str) -> None:
        """Takes the address that a user chose."""
        if address in self._held:
            text = f"failed to allocate IP {address}: provided IP is already allocated"
            error = FieldError.invalid("spec.clusterIPs", [address], text)
            raise invalid(core.SERVICE, str(service["metadata"].get("name", "")), error)
        self._held.add(address)


def addresses_of(service: Object) -> list[str]:
    found = at(service, "spec", "clusterIPs", default=()) or [at(service, "spec", "clusterIP")]
    return [address for address in found if address and address != "None"]


def allocate_addresses(service: Object, addresses: ServiceAddresses) -> None:
    """Gives a new Service its cluster address, unless it is headless or a mere name."""
    spec = service.setdefault("spec", {})
    if spec.get("type") == "ExternalName":
        return
    chosen = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
    if not chosen:
        chosen = addresses.allocate()
    elif chosen != "None":
        addresses.claim(service, chosen)
    spec["clusterIP"] = chosen
    spec["clusterIPs"] = [chosen]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
