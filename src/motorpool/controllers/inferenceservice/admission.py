"""What is refused before anything is decided. Pure.

The definition's schema has refused what a schema can see. What it cannot see is asked here, in the
words that Motorpool's API server uses at admission, because other servers do not ask it.
"""

from motorpool.api.meta import Object, annotations_of, at
from motorpool.api.serving_fields import MODE_ANNOTATION
from motorpool.api.serving_validation import inference_service_errors
from motorpool.controllers.inferenceservice.config import Config, normalized_mode
from motorpool.controllers.inferenceservice.names import PREDICTOR
from motorpool.controllers.inferenceservice.refusal import (
    INVALID_PREDICTOR_SPEC,
    MODE_NOT_SUPPORTED,
    Refusal,
)


def admit(isvc: Object, config: Config) -> None:
    """Raises Refusal where *isvc* cannot be served, whatever else there is."""
    errors = inference_service_errors(isvc, isvc)
    if errors:
        raise Refusal(INVALID_PREDICTOR_SPEC, "; ".join(str(error) for error in errors))
    _check_mode(isvc, config)
    if at(isvc, "spec", PREDICTOR, "workerSpec") is not None:
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            "a predictor on several nodes is not supported: remove spec.predictor.workerSpec",
        )


def _check_mode(isvc: Object, config: Config) -> None:
    annotated = normalized_mode(annotations_of(isvc).get(MODE_ANNOTATION, ""))
    recorded = at(isvc, "status", "deploymentMode", default="")
    mode = recorded or annotated or config.deployment_mode
    if mode in ("Knative", "ModelMesh"):
        raise Refusal(
            MODE_NOT_SUPPORTED,
            f"deployment mode {mode} is not supported: set annotation {MODE_ANNOTATION} to "
            "Standard, or leave it out",
        )
