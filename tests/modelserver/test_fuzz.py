"""Whatever comes, the parsers answer with a request or with a refusal: never with anything else.

MOTORPOOL_FUZZ_EXAMPLES makes the run longer than a test's.
"""

import json
import os
import struct

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motorpool.modelserver.errors import InferError
from motorpool.modelserver.protocols import messages, tfs_grpc, v1, v2, v2_grpc
from motorpool.modelserver.tensors import Dimension, ModelSpec, TensorSpec, prepared

bounded = settings(
    max_examples=int(os.environ.get("MOTORPOOL_FUZZ_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

ANY = Dimension(0)
SPECS = [
    ModelSpec((TensorSpec("x", "FP32", (Dimension(1, 1), Dimension(4, 4))),), ()),
    ModelSpec((TensorSpec("x", "INT8", (ANY, ANY)), TensorSpec("y", "BYTES", (ANY,))), ()),
    ModelSpec((TensorSpec("x", "FP32", (ANY, ANY, ANY, Dimension(3, 3)), "NHWC"),), ()),
]
specs = st.sampled_from(SPECS)
names = st.sampled_from(["x", "y", "", "\ud800"])
datatypes = st.sampled_from([*v2_grpc.FIELDS, "FP16", "BF16", "FP99", ""])
sizes = st.one_of(
    st.integers(-2, 5), st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64, 10**30]), st.booleans()
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.just({"b64": "YQ=="}),
)
documents = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
tensors = st.fixed_dictionaries(
    {"name": names | documents, "shape": st.lists(sizes, max_size=4) | documents},
    optional={
        "datatype": datatypes | documents,
        "data": documents,
        "parameters": st.fixed_dictionaries({"binary_data_size": sizes | documents}) | documents,
    },
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors | documents, max_size=3) | documents},
    optional={
        "id": documents,
        "outputs": documents,
        "parameters": documents,
        "instances": documents,
    },
)


def ready(request, spec):
    for each in prepared(request, spec):
        assert each is not None


@bounded
@given(requests, st.binary(max_size=40), st.sampled_from([None, "0", "5", "-1", "1e3", "²"]), specs)
def test_v2_takes_or_refuses_any_json(document, blob, length, spec):
    text = json.dumps(document).encode()
    try:
        ready(v2.decode_request(text + blob, length or (str(len(text)) if blob else None)), spec)
    except InferError as refusal:
        assert str(refusal)


@bounded
@given(st.binary(max_size=200), st.none() | st.text(max_size=5), specs)
def test_v2_takes_or_refuses_any_bytes(body, length, spec):
    try:
        ready(v2.decode_request(body, length), spec)
    except InferError as refusal:
        assert str(refusal)


@bounded
@given(requests | documents, specs)
def test_v1_takes_or_refuses_any_json(document, spec):
    try:
        request, _ = v1.decode_predict(json.dumps(document).encode(), spec)
        ready(request, spec)
    except InferError as refusal:
        assert str(refusal)


@bounded
@given(
    datatypes,
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=4),
    st.lists(st.binary(max_size=20), max_size=2),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    specs,
)
def test_grpc_takes_or_refuses_any_message(datatype, shape, raw, numbers, spec):
    request = messages.message("inference.ModelInferRequest")(raw_input_contents=raw)
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    if numbers:
        tensor.contents.int_contents.extend(numbers)
        tensor.contents.fp32_contents.extend(numbers)
    try:
        ready(v2_grpc.decode_request(request), spec)
    except InferError as refusal:
        assert str(refusal)


@bounded
@given(st.binary(max_size=200), specs)
def test_grpc_takes_or_refuses_any_bytes(content, spec):
    for name, decode in (
        ("inference.ModelInferRequest", v2_grpc.decode_request),
        ("tensorflow.serving.PredictRequest", tfs_grpc.decode_predict),
    ):
        try:
            ready(decode(messages.message(name).FromString(content)), spec)
        except (InferError, messages.DecodeError) as refusal:
            assert str(refusal)


@bounded
@given(
    st.integers(0, 30),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=4),
    st.binary(max_size=40),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    specs,
)
def test_tensorflow_serving_takes_or_refuses_any_message(dtype, shape, content, numbers, spec):
    request = messages.message("tensorflow.serving.PredictRequest")()
    tensor = request.inputs["x"]
    tensor.dtype = dtype
    tensor.tensor_content = content
    tensor.int_val.extend(numbers)
    tensor.half_val.extend(numbers)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    try:
        ready(tfs_grpc.decode_predict(request), spec)
    except InferError as refusal:
        assert str(refusal)


@bounded
@given(st.lists(st.binary(max_size=9), max_size=5), st.integers(0, 60))
def test_strings_survive_the_way_there_and_back_and_a_cut_is_seen(elements, cut):
    blob = v2.blob_of(np.array(elements, dtype=object))
    assert v2.framed(memoryview(blob)).elements == elements
    try:
        found = v2.framed(memoryview(blob[:cut])).elements
    except InferError as refusal:
        assert "cut off" in str(refusal)
    else:
        assert found == elements[: len(found)]
    assert len(blob) == sum(struct.calcsize("<I") + len(each) for each in elements)
