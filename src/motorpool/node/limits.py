"""What a container may use of the machine, from its ``resources``. Pure.

The limit on CPUs is told to the programs too: libraries start a thread for every core that the
machine has, and threads that share too small a quota only stop each other.
"""

import math
from collections.abc import Mapping

from motorpool.api.meta import Object, at
from motorpool.api.quantity import BadQuantity, parse
from motorpool.node.supervisor.cgroups import Limits

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
CPU_LIMIT = "MOTORPOOL_CPU_LIMIT"
"""The limit in cores, such as "1.5", for servers that count their threads themselves."""


def limits_of(container: Object) -> Limits:
    """What the API has let pass as a quantity; anything else limits nothing."""
    return Limits(
        cpu_milli=_amount(container, "limits", "cpu", 1000),
        cpu_request_milli=_amount(container, "requests", "cpu", 1000),
        memory_bytes=_amount(container, "limits", "memory", 1),
    )


def thread_environment(container: Object) -> Mapping[str, str]:
    """The variables that say how many threads are of use; none where nothing is limited."""
    milli = limits_of(container).cpu_milli
    if not milli:
        return {}
    threads = str(max(1, math.ceil(milli / 1000)))
    return {CPU_LIMIT: f"{milli / 1000:g}", **dict.fromkeys(THREAD_VARIABLES, threads)}


def _amount(container: Object, side: str, name: str, scale: int) -> int:
    value = at(container, "resources", side, name)
    try:
        return math.ceil(parse(value) * scale) if value is not None else 0
    except BadQuantity:
        return 0
