import pytest

from motorpool.modelserver.layout import (
    Layout,
    can_hold_images,
    fits,
    from_openvino,
    parse_layouts,
)


def test_one_layout_is_both_that_of_requests_and_of_the_model():
    assert parse_layouts("nhwc").only == Layout("NHWC", "NHWC")


def test_layouts_may_go_by_the_names_of_tensors():
    layouts = parse_layouts('{"image": "NHWC:NCHW", "mask": "N...", "other": "N?W"}')

    assert layouts.only is None
    assert layouts.by_name == {
        "image": Layout("NHWC", "NCHW"),
        "mask": Layout("N...", "N..."),
        "other": Layout("N?W", "N?W"),
    }


@pytest.mark.parametrize("text", ["", "NN", "N.C", "N......", "N-C", "NHWC:", "NHWC:NCHW:NC", "{"])
def test_what_is_no_layout_is_refused(text):
    with pytest.raises(ValueError, match=r"layout|JSON"):
        parse_layouts(text)


@pytest.mark.parametrize(
    ("layout", "rank", "expected"),
    [
        ("NHWC", 4, True),
        ("NHWC", 2, False),
        ("N...", 1, True),
        ("N...C", 1, False),
        ("N?", 2, True),
    ],
)
def test_a_layout_fits_tensors_of_its_rank(layout, rank, expected):
    assert fits(Layout(layout, layout), rank) is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("[N,H,W,C]", "NHWC"), ("[...]", "N..."), ("", "N..."), ("[]", "N...")]
)
def test_openvinos_own_notation_is_understood(text, expected):
    assert from_openvino(text) == expected


@pytest.mark.parametrize(
    ("layout", "expected"), [("NHWC", True), ("N...", True), ("NCHW", False), ("NC...", False)]
)
def test_images_go_where_the_colours_come_last(layout, expected):
    assert can_hold_images(layout) is expected
