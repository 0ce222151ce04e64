"""The ModelCar sidecar: a model's image as a container beside the server. Pure.

The sidecar links the model's path to the root directory of its own shell, as the others see it
under /proc, and sleeps. An init container of the same image runs first: it has the image pulled
before the server starts, and says early that an image holds no model.

The link is made anew at every start of the sidecar, over whatever link a former life left: the
volume outlives its containers.
"""

import posixpath
import shlex
from collections.abc import Sequence

from motorpool.api.meta import Object
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.locations import (
    PROVISION_VOLUME,
    Injection,
    Location,
    provision_volume,
)
from motorpool.controllers.inferenceservice.modelimages import MODELCAR_NAME
from motorpool.controllers.inferenceservice.names import MODEL_PATH
from motorpool.controllers.inferenceservice.refusal import INVALID_PREDICTOR_SPEC, Refusal

MODELCAR_INIT_NAME = "modelcar-init"
MODELCARS_MAX = 10
ASYNC_START = {"name": "MODEL_INIT_MODE", "value": "async"}
"""Tells a server that its model may appear after its start."""

# Kubernetes writes $ for $$: the shell's own number is $$$$ here.
_LINK = "ln -sfn /proc/$$$$/root/models {path} && while :; do sleep 3600; done"
_CHECK = (
    'set -- /models/*; if [ -e "$1" ]; then echo the image holds a model in /models; '
    "else echo {image} holds nothing in /models >&2; exit 1; fi"
)


def modelcars(locations: Sequence[Location], config: Config) -> Injection:
    """What *locations*, all of them images, add to a pod. Raises Refusal."""
    if not locations:
        return Injection()
    if len(locations) > MODELCARS_MAX:
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"{len(locations)} models as images are more than {MODELCARS_MAX}: leave some out",
        )
    for location in locations:
        if posixpath.dirname(location.path) == "/":
            raise Refusal(
                INVALID_PREDICTOR_SPEC,
                f"the model of {location.uri} cannot be at {location.path}: give it a mountPath "
                "two directories deep, such as /mnt/models",
            )
    mounts = {_mount(one)["mountPath"]: _mount(one) for one in locations}
    return Injection(
        volumes=[{"name": mount["name"], "emptyDir": {}} for mount in mounts.values()],
        mounts=list(mounts.values()),
        init_containers=[
            _container(MODELCAR_INIT_NAME, number, one, config, script=_check_script(one))
            for number, one in enumerate(locations)
        ],
        containers=[
            {
                **_container(MODELCAR_NAME, number, one, config, script=_link_script(one)),
                "volumeMounts": [_mount(one)],
                **_user(config),
            }
            for number, one in enumerate(locations)
        ],
        server={"env": [ASYNC_START], **_user(config)},
        pod={"shareProcessNamespace": True},
    )


def _mount(location: Location) -> Object:
    """The directory above the model: the model's own path is the link."""
    parent = posixpath.dirname(location.path)
    name = PROVISION_VOLUME if location.path == MODEL_PATH else provision_volume(parent)
    return {"name": name, "mountPath": parent, "readOnly": False}


def _container(
    name: str, number: int, location: Location, config: Config, *, script: str
) -> Object:
    """Without a pull policy: the API's own is Always for `latest`."""
    resources = {"cpu": config.modelcar_cpu, "memory": config.modelcar_memory}
    return {
        "name": f"{name}-{number}" if number else name,
        "image": _image(location),
        "command": ["sh", "-c"],
        "args": [script],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _link_script(location: Location) -> str:
    link = _LINK.format(path=shlex.quote(location.path))
    if location.path == MODEL_PATH:
        return link
    return f"mkdir -p {shlex.quote(posixpath.dirname(location.path))} && {link}"


def _check_script(location: Location) -> str:
    return _CHECK.format(image=shlex.quote(_image(location)))


def _image(location: Location) -> str:
    return location.uri.partition("://")[2]


def _user(config: Config) -> Object:
    """One user for all, or /proc would not let one container into the other."""
    if config.modelcar_uid is None:
        return {}
    return {"securityContext": {"runAsUser": config.modelcar_uid}}
