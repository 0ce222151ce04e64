"""What shapes a model takes, in OpenVINO Model Server's notation. Pure.

`(1,3,224,224)` fixes every dimension, `-1` leaves one open, `200:500` bounds it. `auto` leaves all
open: where OpenVINO Model Server loads the model anew for each shape that comes, this server loads
it once for all of them, so that no request waits for a load.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from motorpool.modelserver.layout import Layout

SIZE_MOST = 2**31 - 1


class Bounds(NamedTuple):
    """One dimension; `high` is -1 where it has no end."""

    low: int
    high: int


ANY_SIZE = Bounds(0, -1)

Shape = tuple[Bounds, ...]


class Shapes(msgspec.Struct, frozen=True):
    """The shapes that a user asked for: of the only input, or of inputs by name. None: auto."""

    given: bool = False
    only: Shape | None = None
    by_name: dict[str, Shape | None] = msgspec.field(default_factory=dict)


NO_SHAPES = Shapes()


def parse_shapes(text: str) -> Shapes:
    """Raises ValueError where *text* is neither a shape nor a JSON object of shapes."""
    if not text.lstrip().startswith("{"):
        return Shapes(True, only=_shape(text))
    try:
        names: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"is no JSON object: {error}") from None
    if not names:
        raise ValueError("the shape is in wrong format: it names no input")
    return Shapes(True, by_name={name: _shape(str(value)) for name, value in names.items()})


def parse_batch_size(text: str) -> Bounds:
    """Raises ValueError."""
    text = text.strip()
    if text == "auto":
        return ANY_SIZE
    if text == "0":
        raise ValueError("should be a number from 1, a range as 1:8, or auto")
    return _bounds(text)


def wanted_shapes(
    shapes: Shapes,
    batch_size: Bounds | None,
    ranks: Mapping[str, int | None],
    layouts: Mapping[str, Layout],
) -> dict[str, tuple[Bounds | None, ...]]:
    """The shape of each input in the model's layout; None for a dimension that stays as it is.

    *ranks* names the inputs. Raises ValueError with OpenVINO Model Server's texts.
    """
    if not shapes.given:
        return {} if batch_size is None else _batches(batch_size, ranks, layouts)
    by_name = dict(shapes.by_name)
    if not by_name:
        if len(ranks) != 1:
            raise ValueError("Anonymous fixed shape is invalid for models with multiple inputs")
        by_name = {next(iter(ranks)): shapes.only}
    if unknown := sorted(set(by_name) - set(ranks)):
        raise ValueError(f"Shape from config not found in model: {', '.join(unknown)}")
    return {
        name: _in_model(_with_rank(shape, ranks[name], name), layouts[name])
        for name, shape in by_name.items()
    }


def _batches(
    batch_size: Bounds, ranks: Mapping[str, int | None], layouts: Mapping[str, Layout]
) -> dict[str, tuple[Bounds | None, ...]]:
    found: dict[str, tuple[Bounds | None, ...]] = {}
    for name, rank in ranks.items():
        place = layouts[name].model.find("N")
        if not rank or place < 0 or "." in layouts[name].model[:place]:
            raise ValueError(f"batch_size: the layout of {name} has no dimension N")
        found[name] = tuple(batch_size if index == place else None for index in range(rank))
    return found


def _with_rank(shape: Shape | None, rank: int | None, name: str) -> Shape:
    if shape is None:
        if rank is None:
            raise ValueError(f"the rank of {name} is unknown; give its shape instead of auto")
        return (ANY_SIZE,) * rank
    if rank is not None and len(shape) != rank:
        raise ValueError(f"the shape of {name} has {len(shape)} dimensions, the model {rank}")
    return shape


def _in_model(shape: Shape, layout: Layout) -> Shape:
    """*shape*, which is in the layout of requests, in that of the model's file."""
    if layout.request == layout.model or len(layout.request) != len(shape):
        return shape
    return tuple(shape[layout.request.index(letter)] for letter in layout.model)


def _shape(text: str) -> Shape | None:
    text = re.sub(r"\s", "", text)
    if text == "auto":
        return None
    if text[:1] in "([" and text[-1:] in ")]":
        text = text[1:-1]
    # One comma may end it, as in Python.
    return tuple(_bounds(part) for part in text.removesuffix(",").split(",")) if text else ()


def _bounds(text: str) -> Bounds:
    if text == "-1":
        return ANY_SIZE
    match = re.fullmatch(r"([0-9]{1,10})(?::([0-9]{1,10}))?", text)
    if match is None:
        raise ValueError("the shape is in wrong format; write for example (1,3,200:500,-1)")
    low, high = int(match[1]), int(match[2] or match[1])
    if not low <= high <= SIZE_MOST:
        raise ValueError("the shape is in wrong format: a range goes from low to high")
    return Bounds(low, high)
