"""The V1 protocol: what a body means, and how answers look."""

import json

import numpy as np
import pytest

from motorpool.modelserver.errors import InvalidInput, MalformedJson
from motorpool.modelserver.protocols.v1 import Form, decode_predict, encode_predict
from motorpool.modelserver.tensors import Dimension, ModelSpec, TensorSpec, prepared

ANY = Dimension(0)
FOUR = Dimension(4, 4)
TABLE = ModelSpec(
    (TensorSpec("input-0", "FP64", (ANY, FOUR)),),
    (TensorSpec("output-0", "INT64", (ANY,)),),
    rows=True,
    columns=("a", "b", "c", "d"),
)
PAIR = ModelSpec(
    (
        TensorSpec("a", "INT32", (ANY, Dimension(2, 2))),
        TensorSpec("b", "INT32", (ANY, Dimension(2, 2))),
    ),
    (TensorSpec("sum", "INT32", (ANY, ANY)), TensorSpec("twice", "INT32", (ANY, ANY))),
)


def arrays(document, spec):
    request, form = decode_predict(json.dumps(document).encode(), spec)
    return form, [array.tolist() for array in prepared(request, spec)]


def test_instances_are_the_rows_of_the_only_input():
    assert arrays({"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]}, TABLE) == (
        Form.ROWS,
        [[[1, 2, 3, 4], [5, 6, 7, 8]]],
    )


def test_named_instances_are_put_in_the_order_of_the_models_columns():
    form, (rows,) = arrays({"instances": [{"d": 4, "c": 3, "b": 2, "a": 1}]}, TABLE)

    assert (form, rows) == (Form.ROWS, [[1, 2, 3, 4]])


def test_named_instances_fill_several_inputs():
    document = {"instances": [{"a": [1, 2], "b": [3, 4]}, {"a": [5, 6], "b": [7, 8]}]}

    assert arrays(document, PAIR) == (Form.ROWS, [[[1, 2], [5, 6]], [[3, 4], [7, 8]]])


def test_columns_are_whole_tensors():
    document = {"inputs": {"a": [[1, 2]], "b": [[3, 4]]}}

    assert arrays(document, PAIR) == (Form.COLUMNS, [[[1, 2]], [[3, 4]]])


def test_inputs_of_a_table_are_instances_by_another_name():
    assert arrays({"inputs": [[1, 2, 3, 4]]}, TABLE) == (Form.ROWS, [[[1, 2, 3, 4]]])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "should be JSON object"),
        ({}, "expected instances or inputs"),
        ({"instances": [[1]], "inputs": [[1]]}, "both instances and inputs"),
        ({"instances": 7}, "Expected instances to be a list"),
        ({"instances": []}, "Expected instances to be a list"),
        ({"instances": [[1, 2, 3, 4], [1, 2]]}, "Not valid ndarray"),
        ({"instances": [[1, 2, 3]]}, r"Invalid input shape - Expected: \(-1,4\); Actual: \(1,3\)"),
        ({"instances": [1, 2, 3, 4]}, "Invalid number of shape dimensions"),
        ({"instances": [["a", 2, 3, None]]}, "Not valid ndarray"),
        ({"instances": [[{"b64": "%"}] * 4]}, "b64 is no base64"),
        ({"instances": [{"a": 1}, {"b": 1}]}, "the same names"),
    ],
)
def test_a_wrong_body_is_refused_with_what_is_wrong(document, message):
    with pytest.raises(InvalidInput, match=message):
        arrays(document, TABLE)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(body):
    with pytest.raises(MalformedJson):
        decode_predict(body, TABLE)


def test_one_output_stands_bare():
    outputs = [(TABLE.outputs[0], np.array([2, 0]))]

    assert encode_predict(Form.ROWS, outputs) == b'{"predictions":[2,0]}'
    assert encode_predict(Form.COLUMNS, outputs) == b'{"outputs":[2,0]}'


def test_several_outputs_come_by_name_for_each_row_or_as_a_whole():
    outputs = [
        (PAIR.outputs[0], np.array([[1], [2]])),
        (PAIR.outputs[1], np.array([[3], [4]])),
    ]

    assert json.loads(encode_predict(Form.ROWS, outputs)) == {
        "predictions": [{"sum": [1], "twice": [3]}, {"sum": [2], "twice": [4]}]
    }
    assert json.loads(encode_predict(Form.COLUMNS, outputs)) == {
        "outputs": {"sum": [[1], [2]], "twice": [[3], [4]]}
    }


def test_strings_come_as_text_and_other_bytes_as_base64():
    labels = np.array([[b"setosa", b"\xff"]], object)

    assert encode_predict(Form.ROWS, [(TABLE.outputs[0], labels)]) == (
        b'{"predictions":[["setosa",{"b64":"/w=="}]]}'
    )
