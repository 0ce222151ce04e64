"""What a user asks for and does not get yet, said where the user looks. Pure.

The rest of the InferenceService is served; a condition of severity Info lists what is left out.
"""

from motorpool.api.meta import Object, annotations_of, at, labels_of
from motorpool.controllers.inferenceservice.names import COMPONENTS

FIELDS_IGNORED = "FieldsIgnored"

_FIELDS = {
    "logger": "requests are not logged",
    "batcher": "requests are not batched",
    "storageContainerName": "the platform's own storage-initializer is used",
}
_SCALING = ("scaleTarget", "scaleMetric", "autoScaling")


def ignored_condition(isvc: Object, *, autoscaling: bool) -> Object | None:
    """The condition that lists what has no effect, or None."""
    found = _ignored_metadata(isvc)
    for component in COMPONENTS:
        spec = at(isvc, "spec", component, default={})
        path = f"spec.{component}"
        found += [f"{path}.{name}: {effect}" for name, effect in _FIELDS.items() if spec.get(name)]
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


def _ignored_metadata(isvc: Object) -> list[str]:
    found = []
    if annotations_of(isvc).get("security.opendatahub.io/enable-auth", "").lower() == "true":
        found.append(
            "annotation security.opendatahub.io/enable-auth: requests are not authenticated"
        )
    if labels_of(isvc).get("networking.kserve.io/visibility") == "exposed":
        found.append("label networking.kserve.io/visibility: create a Route to expose the model")
    return found


def _ignored_scaling(spec: Object, path: str) -> list[str]:
    fields = [name for name in _SCALING if spec.get(name)]
    if int(spec.get("maxReplicas") or 0) > max(1, int(spec.get("minReplicas") or 1)):
        fields.append("maxReplicas")
    if not fields:
        return []
    return [f"{path}.{', '.join(fields)}: there is no autoscaler, minReplicas holds"]
