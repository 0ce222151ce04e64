"""The init container `storage-initializer`, which downloads models into the pod. Pure.

Its fields are, from weak to strong: the configuration's, the credentials', and those of the
ClusterStorageContainer that was chosen. Name and arguments are always the platform's.
"""

from collections.abc import Sequence

from motorpool.api.meta import Object
from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.credentials import Credentials, with_ca_bundle
from motorpool.controllers.inferenceservice.locations import (
    INITIALIZER,
    Injection,
    Location,
    common_directory,
    provision_volume,
)
from motorpool.controllers.inferenceservice.merge import merged


def downloaded(
    locations: Sequence[Location],
    config: Config,
    credentials: Credentials,
    *,
    overlay: Object,
    read_only: bool,
) -> Injection:
    """What fetching *locations* adds to a pod; *overlay* is the chosen container, or {}."""
    root = common_directory(locations)
    name = provision_volume(root)
    initializer = config.initializer
    trusted = with_ca_bundle(credentials, config)
    container: Object = {
        "name": INITIALIZER,
        "image": initializer.image,
        "args": [part for location in locations for part in (location.uri, location.path)],
        "resources": {
            kind: dict(values)
            for kind, values in (("requests", initializer.requests), ("limits", initializer.limits))
            if values
        },
        "volumeMounts": [{"name": name, "mountPath": root}, *trusted.mounts],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "imagePullPolicy": "IfNotPresent",
    }
    if trusted.env:
        container["env"] = list(trusted.env)
    kept = {key: value for key, value in overlay.items() if key not in ("name", "args")}
    return Injection(
        volumes=[{"name": name, "emptyDir": {}}, *trusted.volumes],
        mounts=[{"name": name, "mountPath": root, "readOnly": read_only}],
        init_containers=[merged(container, kept)],
    )
