"""Which ClusterStorageContainer fetches a model. Pure.

The first one, by name, that is in use, runs as an init container and supports every URI; or the one
that the component names. Where none fits, the configuration's own image fetches what it knows.
Several URIs are fetched by one container only where it says that it takes several.
"""

import re
from collections.abc import Sequence

from motorpool.api.meta import Object, at, name_of
from motorpool.controllers.inferenceservice.refusal import (
    INVALID_CONFIGURATION,
    INVALID_PREDICTOR_SPEC,
    Refusal,
)

IN_POD = "initContainer"


def storage_container(uris: Sequence[str], named: str, containers: Sequence[Object]) -> Object:
    """The container of the one that fetches *uris*; {} where none does. Raises Refusal."""
    if named:
        return _named(uris, named, containers)
    for candidate in sorted(containers, key=name_of):
        if not _obstacle(candidate, uris):
            return dict(at(candidate, "spec", "container", default={}))
    return {}


def _named(uris: Sequence[str], name: str, containers: Sequence[Object]) -> Object:
    found = next((one for one in containers if name_of(one) == name), None)
    if found is None:
        problem = "does not exist: create it, or correct storageContainerName"
    else:
        problem = _obstacle(found, uris)
    if found is None or problem:
        raise Refusal(INVALID_PREDICTOR_SPEC, f"ClusterStorageContainer {name} {problem}")
    return dict(at(found, "spec", "container", default={}))


def _obstacle(candidate: Object, uris: Sequence[str]) -> str:
    """Why *candidate* cannot fetch *uris*, as what to change; "" where it can."""
    spec = candidate.get("spec") or {}
    if candidate.get("disabled"):
        return "is disabled: set its disabled to false"
    if (spec.get("workloadType") or IN_POD) != IN_POD:
        return f"is for {spec['workloadType']}: set its spec.workloadType to {IN_POD}"
    for uri in uris:
        if not _supports(candidate, uri):
            return f"does not support {uri}: it supports {_formats(spec) or 'no URI'}"
    if len(uris) > 1 and not spec.get("supportsMultiModelDownload"):
        return (
            f"takes one URI and not {len(uris)}: set its spec.supportsMultiModelDownload to true "
            "if it takes several"
        )
    return ""


def _supports(candidate: Object, uri: str) -> bool:
    for form in at(candidate, "spec", "supportedUriFormats", default=()):
        prefix, pattern = form.get("prefix"), form.get("regex")
        if prefix and uri.startswith(prefix):
            return True
        try:
            # Anywhere in the URI, as Go's MatchString has it.
            if pattern and re.search(pattern, uri):
                return True
        except re.error as error:
            raise Refusal(
                INVALID_CONFIGURATION,
                f"ClusterStorageContainer {name_of(candidate)}: {pattern} is no regular "
                f"expression ({error}): correct spec.supportedUriFormats",
            ) from error
    return False


def _formats(spec: Object) -> str:
    forms = spec.get("supportedUriFormats") or ()
    return ", ".join(str(form.get("prefix") or form.get("regex") or "") for form in forms)
