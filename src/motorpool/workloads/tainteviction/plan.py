"""When a pod has to leave its node for the node's taints. Pure.

Rules: only NoExecute drives away what runs. Who does not tolerate one of them leaves at once; who
tolerates all of them stays for the shortest of the times that its tolerations give, or for good.
"""

from collections.abc import Sequence

from motorpool.api.meta import Object, at
from motorpool.api.tolerations import tolerates


def driving_taints(node: Object) -> list[Object]:
    return [
        taint
        for taint in at(node, "spec", "taints", default=())
        if taint.get("effect") == "NoExecute"
    ]


def stays_s(pod: Object, taints: Sequence[Object]) -> float | None:
    """For how long *pod* may stay from when the taints are there; None: for good."""
    tolerations = at(pod, "spec", "tolerations", default=())
    times: list[float] = []
    for taint in taints:
        used = [each for each in tolerations if tolerates(each, taint)]
        if not used:
            return 0.0
        given = (each.get("tolerationSeconds") for each in used)
        times += [max(0.0, float(seconds)) for seconds in given if seconds is not None]
    return min(times, default=None)
