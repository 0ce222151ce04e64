"""What pods request and nodes offer, as numbers. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TypeAlias

from motorpool.api.meta import Object, at
from motorpool.api.quantity import BadQuantity, parse

Amounts: TypeAlias = Mapping[str, Decimal]
"""Resource name -> amount: cores, bytes, pieces."""


def amount(quantity: str | float) -> Decimal:
    """``500m`` -> 0.5, ``1Gi`` -> 1073741824. Raises ValueError."""
    try:
        return parse(quantity)
    except BadQuantity:
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
