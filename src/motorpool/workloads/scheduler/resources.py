"""What pods request and nodes offer, as numbers. Pure."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TypeAlias

from motorpool.api.meta import Object, at

Amounts: TypeAlias = Mapping[str, Decimal]
"""Resource name -> amount: cores, bytes, pieces."""

_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")
_FACTORS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{sign: Decimal(1000) ** power for power, sign in enumerate("kMGTPE", 1)},
    **{f"{sign}i": Decimal(1024) ** power for power, sign in enumerate("KMGTPE", 1)},
}


@lru_cache(maxsize=1024)
def amount(quantity: str | int | float) -> Decimal:
    """``500m`` -> 0.5, ``1Gi`` -> 1073741824. Raises ValueError."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None or match[2] not in _FACTORS:
        raise ValueError(f"no quantity: {quantity!r}")
    try:
        return Decimal(match[1]) * _FACTORS[match[2]]
    except InvalidOperation:
        raise ValueError(f"no quantity: {quantity!r}") from None


def amounts(quantities: Mapping[str, str] | None) -> dict[str, Decimal]:
    return {name: amount(quantity) for name, quantity in (quantities or {}).items()}


def total(many: Iterable[Amounts]) -> dict[str, Decimal]:
    result: dict[str, Decimal] = {}
    for each in many:
        for name, value in each.items():
            result[name] = result.get(name, Decimal(0)) + value
    return result


def requests_of(pod: Object) -> dict[str, Decimal]:
    """What *pod* needs at once, itself counted as one of the node's ``pods``.

    Containers run together and add up. Init containers run one at a time before them, beside the
    sidecars that were started earlier, so that the largest of them counts where it is larger.
    """
    running = total(_requests(each) for each in at(pod, "spec", "containers", default=()))
    sidecars: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    for container in at(pod, "spec", "initContainers", default=()):
        own = total((sidecars, _requests(container)))
        peak = _larger(peak, own)
        if container.get("restartPolicy") == "Always":
            sidecars = own
    needed = _larger(total((running, sidecars)), peak)
    overhead = amounts(at(pod, "spec", "overhead"))
    return total((needed, overhead, {"pods": Decimal(1)}))


def _requests(container: Object) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    return {**amounts(resources.get("limits")), **amounts(resources.get("requests"))}


def _larger(one: Amounts, other: Amounts) -> dict[str, Decimal]:
    zero = Decimal(0)
    return {name: max(one.get(name, zero), other.get(name, zero)) for name in {**one, **other}}
