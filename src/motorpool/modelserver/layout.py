"""What each dimension of a tensor means, in OpenVINO Model Server's notation. Pure.

`NHWC` names four dimensions, `?` is one without a name, `...` any number of them. `A:B` says that
requests come in A while the model's file has B: a transposition is put between them.
"""

import re
from typing import Any, NamedTuple

import msgspec

UNNAMED = "N..."
"""What is assumed where neither the command line nor the model's file says anything."""


class Layout(NamedTuple):
    request: str
    model: str


class Layouts(msgspec.Struct, frozen=True):
    """The layouts that a user asked for: of the only input, or of tensors by name."""

    only: Layout | None = None
    by_name: dict[str, Layout] = msgspec.field(default_factory=dict)


NO_LAYOUTS = Layouts()


def parse_layouts(text: str) -> Layouts:
    """Raises ValueError where *text* is neither a layout nor a JSON object of layouts."""
    if not text.lstrip().startswith("{"):
        return Layouts(only=_layout(text))
    try:
        names: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"is no JSON object: {error}") from None
    return Layouts(by_name={name: _layout(str(value)) for name, value in names.items()})


def can_hold_images(layout: str) -> bool:
    """Whether a 4-D tensor of *layout* can mean images by height, width and colour."""
    return layout in ("NHWC", "N...", "...")


def names_image_dimensions(layout: str) -> bool:
    """Whether *layout* says for certain where height and width are."""
    return layout == "NHWC"


def fits(layout: Layout, rank: int) -> bool:
    """Whether a tensor of *rank* dimensions can have that layout."""
    return all(_takes(part, rank) for part in layout)


def from_openvino(text: str) -> str:
    """`NHWC` for OpenVINO's own `[N,H,W,C]`; `N...` for a model that does not say."""
    letters = "".join(text.strip("[]").split(","))
    return UNNAMED if letters in ("", "...") else letters


def _layout(text: str) -> Layout:
    parts = re.sub(r"\s", "", text).upper().split(":")
    if len(parts) > 2 or not all(map(_is_layout, parts)):
        raise ValueError("the layout is in wrong format; write for example NHWC:NCHW")
    return Layout(parts[0], parts[-1])


def _takes(part: str, rank: int) -> bool:
    letters = part.replace("...", "")
    return len(letters) <= rank if "..." in part else len(letters) == rank


def _is_layout(part: str) -> bool:
    letters = part.replace("...", "", 1)
    named = letters.replace("?", "")
    return (
        bool(part) and re.fullmatch(r"[A-Z]*", named) is not None and len(set(named)) == len(named)
    )
