"""What a user asks for and does not get yet, said where the user looks. Pure.

The rest of the InferenceService is served; a condition of severity Info lists what is left out.
"""

from collections.abc import Sequence

from motorpool.api.meta import Object, annotations_of, at, labels_of
from motorpool.api.serving_fields import (
    AUTH_ANNOTATION,
    protected_components,
    wants_authentication,
)
from motorpool.controllers.inferenceservice.agents import logger_of
from motorpool.controllers.inferenceservice.labels import VISIBILITY_LABEL
from motorpool.controllers.inferenceservice.locations import downloads
from motorpool.controllers.inferenceservice.names import COMPONENTS, PREDICTOR

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
    lacks_a_route: bool = False,
    further: Sequence[str] = (),
) -> Object | None:
    """The condition that lists what has no effect, or None; *further* are others' findings."""
    own = _ignored_metadata(isvc, is_exposed=is_exposed, lacks_a_route=lacks_a_route)
    found = [*own, *further]
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


def _ignored_metadata(isvc: Object, *, is_exposed: bool, lacks_a_route: bool) -> list[str]:
    found = []
    asked = annotations_of(isvc).get(AUTH_ANNOTATION, "")
    if asked.lower() not in ("true", "false", ""):
        found.append(
            f"annotation {AUTH_ANNOTATION}: '{asked}' is neither true nor false, and the model "
            "answers everybody who reaches it"
        )
    if wants_authentication(isvc) and PREDICTOR not in protected_components(isvc):
        found.append(
            f"annotation {AUTH_ANNOTATION}: it protects the transformer, and not the predictor "
            "from those who reach its Service in the cluster"
        )
    if lacks_a_route and not is_exposed:
        found.append(
            f"annotation {AUTH_ANNOTATION}: the pods speak TLS, so that no Ingress or HTTPRoute is "
            "made; create one that speaks TLS to port https of the Service, or label it "
            f"{VISIBILITY_LABEL}: exposed where Routes are served"
        )
    elif labels_of(isvc).get(VISIBILITY_LABEL) == "exposed" and not is_exposed:
        found.append(f"label {VISIBILITY_LABEL}: create a Route to expose the model")
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
