"""An InferenceService hears which engine its Pod has: the Pod's events are two objects away."""

import structlog

from motorpool.api.errors import ApiError, NotFound
from motorpool.api.meta import Object, at, namespace_of
from motorpool.api.serving import INFERENCE_SERVICE
from motorpool.client import Client
from motorpool.loop.events import EventRecorder

LABEL = "serving.kserve.io/inferenceservice"
log = structlog.get_logger(__name__)


async def tell_service(client: Client, events: EventRecorder, pod: Object, message: str) -> None:
    """Nothing where the Pod is nobody's, or its InferenceService is gone."""
    name = at(pod, "metadata", "labels", LABEL)
    if not name:
        return
    try:
        service = await client.get(INFERENCE_SERVICE, namespace_of(pod), str(name))
    except NotFound:
        return
    except (ApiError, OSError) as error:
        log.warning("the InferenceService is not told", name=name, error=str(error))
        return
    events.record(service, "Normal", "EngineChosen", message, component="kubelet")
