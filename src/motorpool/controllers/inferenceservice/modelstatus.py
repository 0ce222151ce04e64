"""`status.modelStatus`: what the predictor's pods say about the model. Pure.

The newest pod speaks. A failure is reported with the container's exit code and the end of its log,
and with what to do about it where that is known. It stays until the model is loaded or pods of
another revision take over, also while a download is tried again by a new container or a new pod.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from motorpool.api.conditions import condition_of, is_true
from motorpool.api.meta import Object, at, is_deleting, labels_of, name_of
from motorpool.controllers.inferenceservice.locations import IMAGE_SCHEMES, INITIALIZER
from motorpool.controllers.inferenceservice.modelcars import MODELCAR_INIT_NAME
from motorpool.controllers.inferenceservice.modelimages import MODELCAR_NAME
from motorpool.controllers.inferenceservice.names import SERVING_CONTAINERS
from motorpool.controllers.inferenceservice.refusal import Refusal

MODEL_LOAD_FAILED = "ModelLoadFailed"
RUNTIME_UNHEALTHY = "RuntimeUnhealthy"
UNSCHEDULABLE = "Unschedulable"
NO_MODEL_DIRECTORY = 'the volume holds no "models"'
"""How the node says of a model's image that it is no ModelCar."""
LOG_TAIL_CHARACTERS_MAX = 2048

IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
CONTAINER_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError",
                     "StartError")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a pod does not serve."""

    reason: str
    message: str
    location: str  # the container
    pod: str
    exit_code: int | None = None
    advice: str = ""
    time: str = ""
    revision: str = ""  # that of the pod's template

    def as_json(self, now: str) -> Object:
        info: Object = {
            "location": self.pod,
            "reason": self.reason,
            "message": self.message,
            "time": self.time or now,
        }
        if self.exit_code is not None:
            info["exitCode"] = self.exit_code
        if self.revision:
            info["modelRevisionName"] = self.revision
        return info

    @property
    def sentence(self) -> str:
        """For a condition: what happened, then the next step."""
        text = self.message.strip() or "no message"
        code = "" if self.exit_code is None else f" exited with code {self.exit_code}"
        subject = f"container {self.location}{code}" if code else f"container {self.location}"
        return f"{subject}: {text}" + (f"; {self.advice}" if self.advice else "")


def newest_first(pods: Sequence[Object]) -> list[Object]:
    """The pods that are not on their way out, the newest first."""
    living = sorted((pod for pod in pods if not is_deleting(pod)), key=name_of)
    return sorted(living, key=lambda p: p["metadata"].get("creationTimestamp") or "", reverse=True)


def failure_of(pods: Sequence[Object], sources: Sequence[str]) -> Failure | None:
    """What keeps the newest pod from serving, or None. *sources* are the model's locations."""
    for pod in newest_first(pods)[:1]:
        found = _initializer_failure(pod) or _image_failure(pod, sources) or _server_failure(pod)
        return replace(found, revision=_revision(pod)) if found is not None else None
    return None


def silence_of(pods: Sequence[Object]) -> str:
    """Where to look when the newest pod runs and its model does not answer; "" otherwise."""
    for pod in newest_first(pods)[:1]:
        for name in SERVING_CONTAINERS:
            status = _container_status(pod, "containerStatuses", name)
            if at(status, "state", "running") is not None and not at(status, "ready"):
                logs = (
                    f"kubectl logs -n {pod['metadata'].get('namespace')} {name_of(pod)} -c {name}"
                )
                return f"container {name} runs and its model does not answer yet: see {logs}"
    return ""


def placement_of(pods: Sequence[Object]) -> str:
    """Why no node takes the newest pod, and the next step; "" where one does or none was asked."""
    for pod in newest_first(pods)[:1]:
        scheduled = condition_of(pod, "PodScheduled") or {}
        if scheduled.get("status") == "False" and scheduled.get("reason") == UNSCHEDULABLE:
            text = str(scheduled.get("message") or "no node fits")
            short = "Insufficient" in text
            return f"pod {name_of(pod)} waits for a node: {text.removesuffix('.')}; " + (
                "lower spec.predictor.model.resources, or free what it asks for: kubectl describe"
                " node tells what there is" if short else
                "check nodeSelector, affinity and tolerations of spec.predictor and of its"
                " ServingRuntime"
            )  # fmt: skip
    return ""


def is_replacement(pods: Sequence[Object]) -> bool:
    """Whether the newest pod is of a revision that serves nowhere yet, and another one does."""
    living = newest_first(pods)
    serving = {_revision(pod) for pod in living if _is_serving(pod)}
    return bool(serving) and _revision(living[0]) not in serving


def model_status(
    pods: Sequence[Object], *, ready: bool, failure: Failure | None, old: Object, now: str
) -> Object:
    """The new modelStatus; *old* is the last one, whose failure time stays while it is the same."""
    living = newest_first(pods)
    total = sum(1 for pod in living if _is_serving(pod))
    if not living:
        return {**_status("InProgress", "Pending", old, total=0), **_kept_failure(old)}
    if ready and (failure is None or not is_replacement(pods)):
        return _loaded(total)
    if failure is not None:
        status = _status("BlockedByFailedLoad", "FailedToLoad", old, total=total)
        status["copies"]["failedCopies"] = 1
        status["lastFailureInfo"] = _kept_time(failure.as_json(now), old.get("lastFailureInfo"))
        return status
    loading = any(
        at(status, "state", "running") is not None
        for status in at(living[0], "status", "initContainerStatuses", default=())
        if _brings_model(str(status.get("name")))
    )
    target = "Loading" if loading else "Pending"
    kept = _kept_failure(old, _revision(living[0]))
    return {**_status("InProgress", target, old, total=total), **kept}


def refused_status(refusal: Refusal, old: Object, now: str) -> Object:
    """The modelStatus while the spec cannot be carried out."""
    info = {"reason": refusal.reason, "message": refusal.message, "time": now}
    return {
        "transitionStatus": "InvalidSpec",
        "states": _states("FailedToLoad", old, serving=True),
        "lastFailureInfo": _kept_time(info, old.get("lastFailureInfo")),
    }


def stopped_status() -> Object:
    return {
        "transitionStatus": "UpToDate",
        "states": {"activeModelState": "", "targetModelState": ""},
        "copies": {"failedCopies": 0, "totalCopies": 0},
    }


def _kept_failure(old: Object, revision: str = "") -> Object:
    """The last failure, while what failed is tried again; *revision* is that of the new pod."""
    info = old.get("lastFailureInfo") or {}
    failed = info.get("modelRevisionName")
    return {"lastFailureInfo": info} if failed and revision in ("", failed) else {}


def _revision(pod: Object) -> str:
    return labels_of(pod).get("pod-template-hash", "")


def _loaded(total: int) -> Object:
    return {
        "transitionStatus": "UpToDate",
        "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        "copies": {"failedCopies": 0, "totalCopies": total},
    }


def _status(transition: str, target: str, old: Object, *, total: int) -> Object:
    return {
        "transitionStatus": transition,
        "states": _states(target, old, serving=total > 0),
        "copies": {"failedCopies": 0, "totalCopies": total},
    }


def _states(target: str, old: Object, *, serving: bool) -> Object:
    """A new target leaves the model that is still served the active one."""
    was_loaded = at(old, "states", "activeModelState") == "Loaded"
    active = "Loaded" if was_loaded and serving else "Pending"
    return {"activeModelState": active, "targetModelState": target}


def _kept_time(info: Object, old: Object | None) -> Object:
    if old and {**old, "time": ""} == {**info, "time": ""}:
        return {**info, "time": old.get("time", info["time"])}
    return info


def _is_serving(pod: Object) -> bool:
    return at(pod, "status", "phase") == "Running" and is_true(pod, "Ready")


def _initializer_failure(pod: Object) -> Failure | None:
    for status in at(pod, "status", "initContainerStatuses", default=()):
        name = str(status.get("name"))
        ended = _bad_end(status) if _brings_model(name) else None
        if ended is None:
            continue
        advice = "check storageUri and its credentials"
        if name != INITIALIZER:
            advice = "check spec.predictor.model.storageUri: the image must hold /models and sh"
        return _ended(ended, pod, name, MODEL_LOAD_FAILED, advice)
    return None


def _brings_model(init_container: str) -> bool:
    return init_container == INITIALIZER or init_container.startswith(MODELCAR_INIT_NAME)


def _image_failure(pod: Object, sources: Sequence[str]) -> Failure | None:
    for status in _all_statuses(pod):
        waiting = at(status, "state", "waiting", default={})
        reason, text = waiting.get("reason"), str(waiting.get("message") or "")
        # A volume that cannot be mounted has no reason of its own, only words.
        mount_failed = reason == "ContainerCreating" and bool(text)
        if reason not in (*IMAGE_REASONS, *CONTAINER_REASONS) and not mount_failed:
            continue
        image = str(status.get("image") or "")
        reason, text = _before_back_off(str(reason), text)
        model = _model_image(str(reason), text, image, sources)
        if model and model not in text:
            text = f"{model}: {text}"
        text = text or image
        return Failure(
            reason=MODEL_LOAD_FAILED if model else RUNTIME_UNHEALTHY,
            message=text if mount_failed else f"{reason}: {text}".removesuffix(": "),
            location=str(status.get("name") or ""),
            pod=name_of(pod),
            advice=_advice(str(reason), text, is_model=bool(model)),
        )
    return None


def _before_back_off(reason: str, text: str) -> tuple[str, str]:
    """What a back-off waits for, where it says so: the failure stays the same between two tries."""
    _, found, cause = text.partition(": ErrImagePull: ")
    return ("ErrImagePull", cause) if reason == "ImagePullBackOff" and found else (reason, text)


def _model_image(reason: str, text: str, image: str, sources: Sequence[str]) -> str:
    """The model's image where it is what cannot be pulled, and not the server's."""
    references = [uri.partition("://")[2] for uri in sources if uri.startswith(IMAGE_SCHEMES)]
    for reference in references:
        if reference and reference in text:
            return reference
    if references and NO_MODEL_DIRECTORY in text:
        return references[0]
    is_pull = reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
    names_server = bool(image) and image in text
    return references[0] if references and is_pull and not names_server else ""


def _advice(reason: str, text: str, *, is_model: bool) -> str:
    if "sandbox" in text:
        return (
            "make `podman run` work for the user who runs motorpool, or serve the model with an "
            "image that needs no podman: `motorpool runtimes ls`"
        )
    if is_model and NO_MODEL_DIRECTORY in text:
        return (
            "a ModelCar holds its model under /models: `motorpool modelcar build` puts it there; "
            "else correct spec.predictor.model.storageUri"
        )
    if is_model:
        return "check spec.predictor.model.storageUri, or build, pull or push that image"
    if reason in IMAGE_REASONS:
        return "check the image of the ServingRuntime"
    if reason == "ContainerCreating":
        return "check the volumes of the ServingRuntime and of the InferenceService"
    return "check the container in the ServingRuntime"


def _server_failure(pod: Object) -> Failure | None:
    for name in (*SERVING_CONTAINERS, MODELCAR_NAME):
        ended = _bad_end(_container_status(pod, "containerStatuses", name))
        if ended is not None:
            advice = f"see kubectl logs -n {pod['metadata'].get('namespace')} {name_of(pod)}"
            return _ended(ended, pod, name, MODEL_LOAD_FAILED, f"{advice} -c {name}")
    return None


def _ended(ended: Object, pod: Object, container: str, reason: str, advice: str) -> Failure:
    text = str(ended.get("message") or ended.get("reason") or "")
    return Failure(
        reason=reason,
        message=text[-LOG_TAIL_CHARACTERS_MAX:],
        location=container,
        pod=name_of(pod),
        exit_code=ended.get("exitCode"),
        advice=advice,
        time=str(ended.get("finishedAt") or ""),
    )


def _bad_end(status: Object | None) -> Object | None:
    """How the container ended, if it ended badly and has not become ready since.

    One that is started again and again keeps its failure in between, or the status would flap.
    """
    if status is None or status.get("ready"):
        return None
    ended = at(status, "state", "terminated") or at(status, "lastState", "terminated")
    if ended is None and at(status, "state", "waiting", "reason") == "CrashLoopBackOff":
        return {}
    if ended is None or ended.get("exitCode") == 0:
        return None
    return dict(ended)


def _all_statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _container_status(pod: Object, field: str, name: str) -> Object | None:
    for status in at(pod, "status", field, default=()):
        if status.get("name") == name:
            return dict(status)
    return None
