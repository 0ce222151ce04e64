import json
import struct

import numpy as np
import pytest

from motorpool.modelserver.errors import InvalidInput, MalformedJson, UnusableContent
from motorpool.modelserver.protocols.v2 import (
    decode_request,
    encode_error,
    encode_metadata,
    encode_response,
)
from motorpool.modelserver.tensors import (
    Dimension,
    InferRequest,
    ModelSpec,
    Raw,
    Strings,
    TensorSpec,
    Values,
)

NDARRAY = "Could not parse input content. Not valid ndarray detected"


def tensor(**fields):
    return {"name": "x", "shape": [2], "datatype": "FP32", **fields}


def body(*inputs, **fields):
    return json.dumps({"inputs": list(inputs), **fields}).encode()


def decoded(document, blob=b""):
    return decode_request(document + blob, str(len(document)) if blob else None)


def test_numbers_become_an_array_of_the_datatype():
    request = decoded(body(tensor(data=[1, 2.5]), id="7"))

    content = request.inputs[0].content
    assert request.id == "7"
    assert isinstance(content, Values)
    assert content.array.dtype == np.float32
    assert content.array.tolist() == [1.0, 2.5]


def test_nested_data_is_flattened_row_by_row():
    request = decoded(body(tensor(shape=[2, 2], data=[[1, 2], [3, 4]])))

    assert request.inputs[0].content.array.tolist() == [1, 2, 3, 4]


def test_text_becomes_utf8_and_is_not_decoded_from_base64():
    request = decoded(body(tensor(datatype="BYTES", data=["é", "eA=="])))

    assert request.inputs[0].content == Strings(["é".encode(), b"eA=="])


def test_blobs_are_handed_out_in_the_order_of_the_inputs():
    first = tensor(parameters={"binary_data_size": 8})
    second = tensor(name="y", datatype="INT8")

    request = decoded(body(first, second), bytes(range(10)))

    assert request.inputs[0].content == Raw(memoryview(bytes(range(8))))
    assert request.inputs[1].content == Raw(memoryview(bytes([8, 9])))


def test_an_image_without_a_size_takes_all_that_follows_the_json():
    header = b'{"inputs" : [{"name": "0", "shape": [1], "datatype": "BYTES"}]}'

    request = decode_request(header + struct.pack("<I", 3) + b"abc", "63")

    assert request.inputs[0].content == Strings([b"abc"])


def test_elements_of_bytes_carry_their_lengths():
    blob = struct.pack("<I", 1) + b"a" + struct.pack("<I", 0) + struct.pack("<I", 2) + b"bc"
    document = body(tensor(datatype="BYTES", shape=[3], parameters={"binary_data_size": len(blob)}))

    assert decoded(document, blob).inputs[0].content == Strings([b"a", b"", b"bc"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, set()),
        ({"parameters": {"binary_data_output": True}}, set()),
        ({"outputs": [{"name": "y"}]}, set()),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}]}, {"y"}),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "y"}, {"name": "z", "parameters": {"binary_data": False}}],
            },
            {"y"},
        ),
    ],
)
def test_outputs_come_as_bytes_where_they_are_listed_and_it_is_asked_for(fields, expected):
    assert decoded(body(tensor(data=[1, 2]), **fields)).binary_outputs == expected


@pytest.mark.parametrize(
    ("document", "error", "text"),
    [
        (b"", MalformedJson, "The file is not valid json - Error: The document is empty."),
        (b"{", MalformedJson, "The file is not valid json - Error: Invalid value. Offset: 1"),
        (b'{"a": nope}', MalformedJson, "The file is not valid json - Error: "),
        (b"\xff", MalformedJson, "The file is not valid json - Error: "),
        (b"[]", InvalidInput, "Request body should be JSON object"),
        (b"{}", InvalidInput, "Invalid JSON structure, missing inputs"),
        (b'{"inputs": []}', InvalidInput, "Invalid JSON structure, missing inputs"),
        (b'{"inputs": {}}', InvalidInput, "Invalid JSON structure, missing inputs"),
        (b'{"inputs": [1]}', InvalidInput, NDARRAY),
        (b"[" * 100_000, UnusableContent, "JSON nesting depth exceeds the allowed limit"),
        (body(tensor(data=[1, 2]), id=7), InvalidInput, "Could not parse request id"),
        (
            body(tensor(data=[1, 2]), parameters={"a": 1.5}),
            InvalidInput,
            "Could not parse request parameters",
        ),
        (body(tensor(data=[1, 2]), outputs=7), InvalidInput, "Could not parse output content"),
        (body(tensor(data=[1, 2]), outputs=[{}]), InvalidInput, "Could not parse output content"),
    ],
)
def test_a_document_of_another_form_is_refused(document, error, text):
    with pytest.raises(InvalidInput) as refusal:
        decoded(document)

    assert type(refusal.value) is error
    assert str(refusal.value).startswith(text)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"data": 1},
        {"data": {"a": 1}},
        {"data": ["a", "b"]},
        {"data": [True, False]},
        {"data": [1, None]},
        {"data": [[1], 2]},
        {"data": [1, 2], "name": 5},
        {"data": [1, 2], "shape": 2},
        {"data": [1, 2], "shape": [-2]},
        {"data": [1, 2], "shape": [True]},
        {"data": [1, 2], "shape": [2.0]},
        {"data": [1, 2], "datatype": 32},
        {"data": [1, 2.0], "datatype": "INT32"},
        {"data": [1, 2**31], "datatype": "INT64"},
        {"data": [1, -1], "datatype": "UINT8"},
        {"data": [1, 300], "datatype": "UINT8"},
        {"data": [1, 2**70], "datatype": "INT64"},
        {"data": [1, 0], "datatype": "BOOL"},
        {"data": [1, 0], "datatype": "BYTES"},
    ],
)
def test_an_input_of_another_form_is_no_array(fields):
    with pytest.raises(InvalidInput) as refusal:
        decoded(body(tensor(**fields)))

    assert str(refusal.value) == NDARRAY


@pytest.mark.parametrize("datatype", ["FP16", "FP8", "fp32", ""])
def test_a_datatype_that_json_cannot_carry_is_refused(datatype):
    with pytest.raises(InvalidInput) as refusal:
        decoded(body(tensor(datatype=datatype, data=[1, 2])))

    assert str(refusal.value) == (
        "Could not parse input content. Unsupported data precision detected"
    )


@pytest.mark.parametrize(
    ("fields", "blob", "error", "text"),
    [
        (
            {"parameters": {"binary_data_size": 9}},
            b"12345678",
            InvalidInput,
            "Received buffer size is smaller than binary_data_size parameter indicates",
        ),
        (
            {},
            b"1234567",
            InvalidInput,
            "Received buffer size is smaller than binary_data_size parameter indicates",
        ),
        (
            {"parameters": {"binary_data_size": -1}},
            b"1",
            InvalidInput,
            "binary_data_size parameter is invalid and cannot be parsed",
        ),
        (
            {"parameters": {"binary_data_size": "8"}},
            b"12345678",
            InvalidInput,
            "binary_data_size parameter is invalid and cannot be parsed",
        ),
        (
            {"parameters": {"binary_data_size": 8}, "data": [1, 2]},
            b"12345678",
            UnusableContent,
            "Request contains values both in binary data and in content value",
        ),
        ({"datatype": "BYTES", "shape": [2]}, b"1", InvalidInput, NDARRAY),
        ({"datatype": "BYTES", "shape": [1]}, b"\1\0\0", InvalidInput, NDARRAY),
        ({"datatype": "BYTES", "shape": [1]}, b"\2\0\0\0a", InvalidInput, NDARRAY),
    ],
)
def test_bytes_that_do_not_fit_are_refused(fields, blob, error, text):
    with pytest.raises(InvalidInput) as refusal:
        decoded(body(tensor(**fields)), blob)

    assert type(refusal.value) is error
    assert str(refusal.value).startswith(text)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        ("99", "Inference-Header-Content-Length header exceeds actual payload length"),
        ("x", "Inference-Header-Content-Length header is invalid and couldn't be parsed"),
        ("-1", "Inference-Header-Content-Length header is invalid and couldn't be parsed"),
    ],
)
def test_a_wrong_length_of_the_json_is_refused(length, text):
    with pytest.raises(UnusableContent) as refusal:
        decode_request(b"{}", length)

    assert str(refusal.value) == text


Y = TensorSpec("y", "FP32", (Dimension(1, 1), Dimension(2, 2)))
Z = TensorSpec("z", "INT64", (Dimension(0),))

RESPONSE = """{
    "model_name": "m",
    "id": "a\\"b",
    "model_version": "3",
    "outputs": [{
            "name": "y",
            "shape": [1, 2],
            "datatype": "FP32",
            "data": [0.10000000149011612, 1.0]
        }, {
            "name": "z",
            "shape": [1],
            "datatype": "INT64",
            "data": [-5]
        }]
}"""


def test_a_response_is_laid_out_as_the_model_server_prints_it():
    outputs = [(Y, np.array([[0.1, 1]], np.float32)), (Z, np.array([-5]))]

    content, end = encode_response("m", 3, InferRequest([], id='a"b'), outputs)

    assert content.decode() == RESPONSE
    assert end is None


def test_an_output_asked_for_as_bytes_follows_the_json():
    array = np.array([[0.1, 1]], np.float32)
    request = InferRequest([], binary_outputs=frozenset({"y"}))

    content, end = encode_response("m", 1, request, [(Y, array), (Z, np.array([-5]))])

    document = json.loads(content[:end])
    assert document["outputs"][0] == {
        "name": "y",
        "shape": [1, 2],
        "datatype": "FP32",
        "parameters": {"binary_data_size": 8},
    }
    assert document["outputs"][1]["data"] == [-5]
    assert content[end:] == array.tobytes()


def test_metadata_is_one_line_and_shows_what_is_not_fixed_as_minus_one():
    spec = ModelSpec((TensorSpec("0", "FP32", (Dimension(1, 1), Dimension(2, 9))),), (Y,))

    assert encode_metadata("m", [1, 2], spec) == (
        b'{"name":"m","versions":["1","2"],"platform":"OpenVINO",'
        b'"inputs":[{"name":"0","datatype":"FP32","shape":[1,-1]}],'
        b'"outputs":[{"name":"y","datatype":"FP32","shape":[1,2]}]}'
    )


def test_an_error_is_an_object_of_one_key():
    assert encode_error('no "x"') == b'{"error":"no \\"x\\""}'
