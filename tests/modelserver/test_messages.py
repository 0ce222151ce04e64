"""The compiled messages are those of the .proto files, and free of everybody else's."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from motorpool.modelserver.errors import InvalidInput
from motorpool.modelserver.protocols import messages, reflection, v2_grpc
from motorpool.modelserver.tensors import Raw, Strings, TensorSpec, Values

SCRIPT = Path(__file__).parents[2] / "scripts" / "protocols.py"
Request = messages.message("inference.ModelInferRequest")


def request(raw=(), **tensor):
    given = Request(model_name="m", raw_input_contents=list(raw))
    given.inputs.add(name="x", **{"datatype": "FP32", "shape": [2], **tensor})
    return given


def test_the_descriptors_are_what_the_proto_files_say():
    spec = importlib.util.spec_from_file_location("protocols", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = Path(messages.__file__).parent

    compiled = script.compiled()

    assert compiled == (folder / "descriptors.bin").read_bytes()


def test_they_live_beside_the_messages_of_a_client():
    from tritonclient.grpc import service_pb2

    theirs = service_pb2.ModelInferRequest(model_name="m", id="7")
    theirs.inputs.add(name="x", datatype="FP32", shape=[1])

    ours = Request.FromString(theirs.SerializeToString())

    assert (ours.model_name, ours.id, list(ours.inputs[0].shape)) == ("m", "7", [1])


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-1, 2]),
        ("INT64", "int64_contents", [-(2**62), 2]),
        ("UINT16", "uint_contents", [1, 65535]),
        ("UINT64", "uint64_contents", [1, 2**63]),
        ("FP32", "fp32_contents", [1.5, 2]),
        ("FP64", "fp64_contents", [1.1, 2]),
    ],
)
def test_numbers_come_typed(datatype, field, values):
    tensor = v2_grpc.decode_request(request(datatype=datatype, contents={field: values})).inputs[0]

    assert isinstance(tensor.content, Values)
    assert tensor.content.array.tolist() == values
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", datatype, (2,))


def test_strings_come_typed_and_raw():
    typed = request(datatype="BYTES", contents={"bytes_contents": [b"a", b"\xff"]})
    raw = request([b"\1\0\0\0a\1\0\0\0\xff"], datatype="BYTES")

    for given in (typed, raw):
        assert v2_grpc.decode_request(given).inputs[0].content == Strings([b"a", b"\xff"])


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "INT8"])
def test_numbers_come_as_bytes(datatype):
    tensor = v2_grpc.decode_request(request([b"12345678"], datatype=datatype)).inputs[0]

    assert isinstance(tensor.content, Raw)
    assert bytes(tensor.content.content) == b"12345678"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Request(model_name="m"), "Invalid number of inputs"),
        (request([b"", b""]), "1 inputs with 2 raw_input_contents"),
        (request([b"1234"], contents={"fp32_contents": [1]}), "exclude each other"),
        (request([b"\7\0\0\0a"], datatype="BYTES"), "a BYTES element is cut off"),
        (request([b"\7\0"], datatype="BYTES"), "the size of a BYTES element is cut off"),
        (request([b""], datatype="FP99"), "Unsupported data precision"),
        (request(datatype="FP16"), "comes in raw_input_contents"),
        (request(datatype="INT8", contents={"int_contents": [128]}), "Not valid ndarray"),
        (request([b""], shape=[-1]), "negative dimension"),
    ],
)
def test_what_is_no_request_is_refused(given, text):
    with pytest.raises(InvalidInput) as refusal:
        v2_grpc.decode_request(given)

    assert text in str(refusal.value)


@pytest.mark.parametrize(("text", "number"), [("", None), ("0", None), ("12", 12)])
def test_a_version_is_a_number_or_nothing(text, number):
    assert v2_grpc.version_number(text) == number


@pytest.mark.parametrize("text", ["-1", "v1", "1.0", "9" * 40])
def test_a_version_that_is_no_number_is_refused(text):
    with pytest.raises(InvalidInput, match="Invalid model version format"):
        v2_grpc.version_number(text)


def test_outputs_go_out_as_bytes():
    outputs = [
        (TensorSpec("n", "FP32", ()), np.array([[1, 2]], "<f4")),
        (TensorSpec("s", "BYTES", ()), np.array([b"ab"], object)),
    ]

    response = v2_grpc.encode_response("m", 3, "7", outputs)

    assert (response.model_name, response.model_version, response.id) == ("m", "3", "7")
    assert [list(each.shape) for each in response.outputs] == [[1, 2], [1]]
    assert list(response.raw_output_contents) == [b"\0\0\x80?\0\0\0@", b"\2\0\0\0ab"]


@pytest.mark.parametrize("service", reflection.SERVICES)
def test_reflection_describes_a_service_with_all_that_it_needs(service):
    ask = messages.message(f"{service}Request")
    reflecting = reflection.Reflection(service, [v2_grpc.SERVICE])

    listed = reflecting.answer(ask(list_services=""))
    described = reflecting.answer(ask(file_containing_symbol="tensorflow.serving.ModelSpec"))
    unknown = reflecting.answer(ask(file_by_filename="nope.proto"))
    extension = reflecting.answer(ask(all_extension_numbers_of_type="x"))

    assert [each.name for each in listed.list_services_response.service] == [v2_grpc.SERVICE]
    assert len(described.file_descriptor_response.file_descriptor_proto) == 4
    assert unknown.error_response.error_code == 5
    assert extension.error_response.error_message == "there are no extensions"


def test_probabilities_are_asked_for_by_a_parameter():
    asked = request(shape=[1], contents={"fp32_contents": [1]})
    assert not v2_grpc.decode_request(asked).probabilities

    asked.parameters["predict_proba"].bool_param = True
    assert v2_grpc.decode_request(asked).probabilities
