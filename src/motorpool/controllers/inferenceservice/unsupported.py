"""What a user asks for and does not get yet, said where the user looks. Pure.

The rest of the InferenceService is served; a condition of severity Info lists what is left out.
"""

from collections.abc import Sequence

from motorpool.api.meta import Object, at, labels_of
from motorpool.controllers.inferenceservice.agents import logger_of
from motorpool.controllers.inferenceservice.exposure import AUTH_ANNOTATION, wants_authentication
from motorpool.controllers.inferenceservice.labels import VISIBILITY_LABEL
from motorpool.controllers.inferenceservice.locations import downloads
from motorpool.controllers.inferenceservice.names import COMPONENTS

FIELDS_IGNORED = "FieldsIgnored"

_FIELDS = {
    "canaryTrafficPercent": "requests are not split: use two InferenceServices and a weighted "
    "Route",
}
_SCALING = ("scaleTarget", "scaleMetric", "autoScaling")


def ignored_condition(
    isvc: Object,
    *,
    autoscaling: bool,
    is_exposed: bool = False,
    agents: bool = False,
    further: Sequence[str] = (),
) -> Object | None:
    """The condition that lists what has no effect, or None; *further* are others' findings."""
    found = [*_ignored_metadata(isvc, is_exposed=is_exposed), *further]
    for component in COMPONENTS:
        spec = at(isvc, "spec", component, default={})
        path = f"spec.{component}"
        found += [f"{path}.{name}: {effect}" for name, effect in _FIELDS.items() if spec.get(name)]
        found += _ignored_agent(spec, path, agents=agents)
        if spec.get("storageContainerName") and not downloads(isvc, [component]):
            found.append(f"{path}.storageContainerName: nothing is downloaded")
        if not autoscaling:
            found += _ignored_scaling(spec, path)
    if not found:
        return None
    return {
        "type": FIELDS_IGNORED,
        "status": "True",
        "severity": "Info",
        "reason": "NotSupported",
        "message": "; ".join(found),
    }


def _ignored_metadata(isvc: Object, *, is_exposed: bool) -> list[str]:
    found = []
    wants_auth = wants_authentication(isvc)
    if wants_auth:
        found.append(
            f"annotation {AUTH_ANNOTATION}: requests are not authenticated, and nothing is exposed "
            "that should be"
        )
    if labels_of(isvc).get(VISIBILITY_LABEL) == "exposed" and not is_exposed:
        text = "create a Route to expose the model"
        found.append(f"label {VISIBILITY_LABEL}: {text}{' to everybody' if wants_auth else ''}")
    return found


def _ignored_agent(spec: Object, path: str, *, agents: bool) -> list[str]:
    found = []
    if spec.get("logger") and not (agents and logger_of(spec)):
        where = f"{path}.logger" + (".storage" if agents else "")
        found.append(f"{where}: requests are not logged")
    if spec.get("batcher") and not agents:
        found.append(f"{path}.batcher: requests are not batched")
    return found


def _ignored_scaling(spec: Object, path: str) -> list[str]:
    fields = [name for name in _SCALING if spec.get(name)]
    if int(spec.get("maxReplicas") or 0) > max(1, int(spec.get("minReplicas") or 1)):
        fields.append("maxReplicas")
    if not fields:
        return []
    return [f"{path}.{', '.join(fields)}: there is no autoscaler, minReplicas holds"]
