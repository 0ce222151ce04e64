import re

import pytest

from motorpool.modelserver.layout import Layout
from motorpool.modelserver.shape import (
    ANY_SIZE,
    Bounds,
    parse_batch_size,
    parse_shapes,
    wanted_shapes,
)

PLAIN = {"x": Layout("N...", "N...")}
TURNED = {"x": Layout("NHWC", "NCHW")}


def fixed(*sizes):
    return tuple(Bounds(size, size) for size in sizes)


@pytest.mark.parametrize("text", ["(1,3,-1,2:5)", "[1, 3, -1, 2:5]", "1,3,-1,2:5"])
def test_a_shape_has_fixed_open_and_bounded_dimensions(text):
    assert parse_shapes(text).only == (*fixed(1, 3), ANY_SIZE, Bounds(2, 5))


def test_shapes_may_be_given_by_name():
    shapes = parse_shapes('{"x": "(1,2)", "y": "auto"}')

    assert shapes.by_name == {"x": fixed(1, 2), "y": None}


def test_a_shape_of_requests_is_turned_into_the_layout_of_the_model():
    wanted = wanted_shapes(parse_shapes("(1,224,112,3)"), None, {"x": 4}, TURNED)

    assert wanted == {"x": fixed(1, 3, 224, 112)}


def test_auto_opens_every_dimension():
    assert wanted_shapes(parse_shapes("auto"), None, {"x": 2}, PLAIN) == {"x": (ANY_SIZE,) * 2}


@pytest.mark.parametrize(
    ("text", "bounds"), [("4", Bounds(4, 4)), ("1:8", Bounds(1, 8)), ("auto", ANY_SIZE)]
)
def test_a_batch_size_changes_the_dimension_n_alone(text, bounds):
    shapes = wanted_shapes(
        parse_shapes("auto").__class__(), parse_batch_size(text), {"x": 2}, PLAIN
    )

    assert shapes == {"x": (bounds, None)}


def test_a_shape_wins_over_a_batch_size():
    wanted = wanted_shapes(parse_shapes("(7,7)"), parse_batch_size("2"), {"x": 2}, PLAIN)

    assert wanted == {"x": fixed(7, 7)}


@pytest.mark.parametrize(
    ("shapes", "ranks", "message"),
    [
        ("(1)", {"x": 1, "y": 1}, "Anonymous fixed shape is invalid for models with multiple"),
        ('{"z": "(1)"}', {"x": 1}, "Shape from config not found in model: z"),
        ("(1,2)", {"x": 4}, "has 2 dimensions, the model 4"),
        ("auto", {"x": None}, "the rank of x is unknown"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shapes, ranks, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        wanted_shapes(parse_shapes(shapes), None, ranks, PLAIN)


@pytest.mark.parametrize("text", ["(1,x)", "(5:2)", "(1,,2)", "(-2)", "99999999999"])
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(ValueError, match="the shape is in wrong format"):
        parse_shapes(text)
