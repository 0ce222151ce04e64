"""How models get to where servers look: what a component's storage adds to its pod. Pure.

- `oci://` and `oci+native://`: an image volume or a ModelCar sidecar; `modelimages` decides. The
  pull policy is that of a container image: Always for `latest`, else IfNotPresent.
- `pvc://claim/path`: the claim itself, mounted at that path.
- every other scheme: an init container `storage-initializer` that downloads into an emptyDir, so
  that its log and its failures show where a KServe user looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from motorpool.api.meta import Object, annotations_of, at
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.credentials import Credentials
from motorpool.controllers.inferenceservice.initializer import downloaded
from motorpool.controllers.inferenceservice.locations import (
    CLAIM_SCHEME,
    DOWNLOADED_SCHEMES,
    IMAGE_SCHEMES,
    Injection,
    Location,
    locations_of,
)
from motorpool.controllers.inferenceservice.modelcars import modelcars
from motorpool.controllers.inferenceservice.modelimages import (
    NATIVE,
    NATIVE_SCHEME,
    ImageModes,
    image_mode,
    image_mount,
    image_volume,
)
from motorpool.controllers.inferenceservice.names import PREDICTOR
from motorpool.controllers.inferenceservice.refusal import INVALID_PREDICTOR_SPEC, Refusal
from motorpool.controllers.inferenceservice.storagecontainers import storage_container
from motorpool.controllers.inferenceservice.storagespec import of_storage_spec

PVC_VOLUME = "kserve-pvc-source"
READ_ONLY_ANNOTATION = "storage.kserve.io/readonly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What storage depends on besides the InferenceService."""

    config: Config
    secret: Object | None = None  # with the storage configuration; only `storage:` reads it
    credentials: Credentials = field(default_factory=Credentials)  # of the service account
    containers: Sequence[Object] = ()  # the ClusterStorageContainers
    modes: ImageModes = field(default_factory=ImageModes)


def injected(isvc: Object, component: str, stores: Stores) -> Injection:
    """What the storage of a component adds to its pod. Raises Refusal."""
    read_only = annotations_of(isvc).get(READ_ONLY_ANNOTATION, "true").lower() != "false"
    named = str(at(isvc, "spec", component, "storageContainerName", default=""))
    locations = locations_of(isvc, component)
    storage = at(isvc, "spec", component, "model", "storage")
    if component == PREDICTOR and not locations and storage is not None:
        location, env = of_storage_spec(isvc, storage, stores.config, stores.secret)
        overlay = storage_container([location.uri], named, stores.containers)
        own = Credentials(env=env)
        return downloaded([location], stores.config, own, overlay=overlay, read_only=read_only)
    volumes: list[Object] = []
    mounts: list[Object] = []
    fetched: list[Location] = []
    cars: list[Location] = []
    claims = 0
    for location in locations:
        if location.uri.startswith(IMAGE_SCHEMES):
            _check_image(location.uri, stores.config)
            if image_mode(location.uri, isvc, stores.config, stores.modes) == NATIVE:
                volumes.append(image_volume(location))
                mounts.append(image_mount(location))
            else:
                cars.append(location)
        elif location.uri.startswith(CLAIM_SCHEME):
            volume, mount = _claim(location, claims, read_only=read_only)
            claims += 1
            volumes.append(volume)
            mounts.append(mount)
        else:
            fetched.append(location)
    rest = _fetched(fetched, named, stores, read_only=read_only) if fetched else Injection()
    _check_nesting(cars, locations)
    beside = modelcars(cars, stores.config)
    return replace(
        beside,
        volumes=[*volumes, *rest.volumes, *_without(beside.volumes, rest.volumes, "name")],
        # A directory that a sidecar links into is its to write, also where a download is in it.
        mounts=[*mounts, *_without(rest.mounts, beside.mounts, "mountPath"), *beside.mounts],
        init_containers=[*rest.init_containers, *beside.init_containers],
    )


def _without(entries: Sequence[Object], others: Sequence[Object], key: str) -> list[Object]:
    taken = {other[key] for other in others}
    return [entry for entry in entries if entry[key] not in taken]


def _check_nesting(cars: Sequence[Location], locations: Sequence[Location]) -> None:
    """A ModelCar's path is a link into its image, which nothing else can be put into."""
    for car in cars:
        for other in locations:
            if other is not car and f"{other.path}/".startswith(f"{car.path}/"):
                raise Refusal(
                    INVALID_PREDICTOR_SPEC,
                    f"{other.path} of {other.uri} is inside the model of {car.uri}: give each a "
                    "mountPath of its own",
                )


def _fetched(
    locations: Sequence[Location], named: str, stores: Stores, *, read_only: bool
) -> Injection:
    overlay = storage_container([one.uri for one in locations], named, stores.containers)
    if not overlay:
        for location in locations:
            _check_scheme(location.uri)
    return downloaded(
        locations, stores.config, stores.credentials, overlay=overlay, read_only=read_only
    )


def _check_image(uri: str, config: Config) -> None:
    if not config.oci_enabled and not uri.startswith(NATIVE_SCHEME):
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"storageUri {uri} is not supported: set storageInitializer.enableModelcar to "
            "true in ConfigMap inferenceservice-config",
        )
    if not uri.partition("://")[2]:
        raise Refusal(INVALID_PREDICTOR_SPEC, f"storageUri {uri} names no image: add one")


def _check_scheme(uri: str) -> None:
    """Raises Refusal where the configuration's own initializer cannot fetch *uri*."""
    if "://" in uri and not uri.startswith(DOWNLOADED_SCHEMES):
        known = " ".join((*IMAGE_SCHEMES, CLAIM_SCHEME, *DOWNLOADED_SCHEMES))
        raise Refusal(
            INVALID_PREDICTOR_SPEC,
            f"storageUri {uri} is not supported: use one of {known}, or create a "
            "ClusterStorageContainer that supports it",
        )


def _claim(location: Location, number: int, *, read_only: bool) -> tuple[Object, Object]:
    claim, _, path = location.uri.removeprefix(CLAIM_SCHEME).partition("/")
    if not claim:
        raise Refusal(
            INVALID_PREDICTOR_SPEC, f"storageUri {location.uri} names no claim: pvc://CLAIM/PATH"
        )
    name = PVC_VOLUME if number == 0 else f"{PVC_VOLUME}-{number}"
    volume = {
        "name": name,
        "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only},
    }
    mount = {"name": name, "mountPath": location.path, "readOnly": read_only}
    if path.strip("/"):
        mount["subPath"] = path.strip("/")
    return volume, mount
