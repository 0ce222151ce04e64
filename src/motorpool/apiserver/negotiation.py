"""Which form of an answer a client asks for. Pure."""

from typing import Literal, NamedTuple, TypeAlias

from motorpool.api.errors import NotAcceptable

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

Shape: TypeAlias = Literal["Object", "Table", "PartialObjectMetadata"]

_SHAPES: dict[str, Shape] = {
    "": "Object",
    "Table": "Table",
    "PartialObjectMetadata": "PartialObjectMetadata",
    "PartialObjectMetadataList": "PartialObjectMetadata",
}


class Form(NamedTuple):
    media: str = JSON
    shape: Shape = "Object"


class Clause(NamedTuple):
    media: str
    parameters: dict[str, str]


def clauses_of(accept: str) -> list[Clause]:
    """What an Accept header lists, the most wanted first."""
    found: list[tuple[float, Clause]] = []
    for text in accept.split(","):
        media, *rest = (part.strip() for part in text.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest if part)
        quality = parameters.pop("q", "1")
        try:
            weight = float(quality)
        except ValueError:
            weight = 0.0
        if media:
            found.append((weight, Clause(media.lower(), parameters)))
    found.sort(key=lambda pair: -pair[0])
    return [clause for weight, clause in found if weight > 0]


def form_of(accept: str) -> Form:
    """The first form in *accept* that the server can make. Raises NotAcceptable.

    Protobuf is not among them; every client that prefers it takes JSON as well.
    """
    if not accept:
        return Form()
    for media, parameters in clauses_of(accept):
        if media in ("*/*", "application/*"):
            media = JSON
        shape = _SHAPES.get(parameters.get("as", ""))
        if shape is None or media not in (JSON, YAML):
            continue
        if shape != "Object" and parameters.get("v", "v1") != "v1":
            continue
        return Form(media, shape)
    available = ", ".join((JSON, YAML, PROTOBUF))
    raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {available}")
