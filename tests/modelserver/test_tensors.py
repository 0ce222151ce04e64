import numpy as np
import pytest

from motorpool.modelserver.errors import InvalidInput
from motorpool.modelserver.tensors import (
    Dimension,
    Images,
    InferRequest,
    InputTensor,
    ModelSpec,
    Raw,
    Strings,
    TensorSpec,
    Values,
    prepared,
)


def fixed(*sizes):
    return tuple(Dimension(size, size) for size in sizes)


IMAGE = TensorSpec("0", "FP32", fixed(1, 224, 224, 3), "NHWC")
PAIR = TensorSpec("p", "FP32", (Dimension(0), Dimension(2, 4)))


def given(name="p", datatype="FP32", shape=(1, 2), content=None):
    content = Values(np.zeros(2, np.float32)) if content is None else content
    return InputTensor(name, datatype, shape, content)


def arrays(*tensors, inputs=(PAIR,)):
    return prepared(InferRequest(list(tensors)), ModelSpec(tuple(inputs), ()))


def test_arrays_come_in_the_order_of_the_model_whatever_that_of_the_request():
    other = TensorSpec("q", "INT8", fixed(1))

    first, second = arrays(
        given("q", "INT8", (1,), Raw(memoryview(b"\5"))), given(), inputs=(PAIR, other)
    )

    assert first.shape == (1, 2)
    assert second.tolist() == [5]


def test_encoded_images_wait_for_their_decoder():
    content = Strings([b"jpeg"])

    assert arrays(given("0", "BYTES", (1,), content), inputs=(IMAGE,)) == [Images(IMAGE, [b"jpeg"])]


@pytest.mark.parametrize(
    ("tensors", "spec", "text"),
    [
        ((given(), given("q")), PAIR, "Invalid number of inputs - Expected: 1; Actual: 2"),
        ((given("q"),), PAIR, "Missing input with specific name - Required input: p"),
        (
            (given(datatype="INT8"),),
            PAIR,
            "Invalid input precision - Expected: FP32; Actual: INT8; input name: p",
        ),
        (
            (given(datatype="BYTES", content=Strings([])),),
            PAIR,
            "Invalid input precision - Expected: FP32; Actual: BYTES; input name: p",
        ),
        (
            (given("0", shape=(1, 3)),),
            IMAGE,
            (
                "Invalid number of shape dimensions - "
                "Expected: (1,224,224,3); Actual: (1,3); input name: 0"
            ),
        ),
        (
            (given("0", shape=(2, 224, 224, 3)),),
            IMAGE,
            "Invalid input batch size - Expected: 1; Actual: 2; input name: 0",
        ),
        (
            (given("0", shape=(1, 224, 224, 4)),),
            IMAGE,
            "Invalid input shape - Expected: (1,224,224,3); Actual: (1,224,224,4); input name: 0",
        ),
        (
            (given(shape=(1, 5)),),
            PAIR,
            "Invalid input shape - Expected: (-1,[2~4]); Actual: (1,5); input name: p",
        ),
        (
            (given(shape=(2, 2)),),
            PAIR,
            (
                "Invalid number of values in tensor proto container - "
                "Expected: 4 values; Actual: 2 values; input name: p"
            ),
        ),
        (
            (given(content=Raw(memoryview(b"1234567"))),),
            PAIR,
            (
                "Invalid content size of tensor proto - "
                "Expected: 8 bytes; Actual: 7 bytes; input name: p"
            ),
        ),
        (
            (given("0", "BYTES", (1, 1, 1, 1), Strings([b""])),),
            IMAGE,
            (
                "Invalid number of shape dimensions - "
                "Expected number of input shape dimensions: 1; Actual: 4; input name: 0"
            ),
        ),
        (
            (given("0", "BYTES", (2,), Strings([b"", b""])),),
            IMAGE,
            "Invalid input batch size - Expected: 1; Actual: 2; input name: 0",
        ),
        (
            (given("0", "BYTES", (1,), Strings([])),),
            IMAGE,
            (
                "Invalid number of values in tensor proto container - "
                "Expected: 1 values; Actual: 0 values; input name: 0"
            ),
        ),
        (
            (given("0", "BYTES", (1,), Strings([b""])),),
            TensorSpec("0", "FP32", fixed(1, 3, 8, 8), "NCHW"),
            "Received binary image input but resource not configured to accept NHWC layout",
        ),
    ],
)
def test_what_the_model_does_not_take_is_refused_in_its_own_words(tensors, spec, text):
    with pytest.raises(InvalidInput) as refusal:
        arrays(*tensors, inputs=(spec,))

    assert str(refusal.value) == text
