"""What TensorFlow Serving's REST tells of models: states and signatures. Pure.

Predictions are V1's: see `v1`.
"""

from typing import Any, NamedTuple

import msgspec

from motorpool.modelserver.tensors import BYTES, ModelSpec, TensorSpec

SIGNATURE = "serving_default"
METHOD = ""
SIGNATURE_TYPE = "type.googleapis.com/tensorflow.serving.SignatureDefMap"

DATA_TYPES = {
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "FP16": "DT_HALF",
    "BF16": "DT_BFLOAT16",
    "INT8": "DT_INT8",
    "INT16": "DT_INT16",
    "INT32": "DT_INT32",
    "INT64": "DT_INT64",
    "UINT8": "DT_UINT8",
    "UINT16": "DT_UINT16",
    "UINT32": "DT_UINT32",
    "UINT64": "DT_UINT64",
    "BOOL": "DT_BOOL",
    BYTES: "DT_STRING",
}
"""The protocol's datatypes by TensorFlow's names."""

OK = 0
UNKNOWN = 2
CODES = {OK: "OK", UNKNOWN: "UNKNOWN"}


class VersionStatus(NamedTuple):
    number: int
    state: str
    code: int  # OK, or UNKNOWN where it could not be loaded


def status(versions: list[VersionStatus]) -> dict[str, Any]:
    return {
        "model_version_status": [
            {
                "version": str(each.number),
                "state": each.state,
                "status": {"error_code": CODES[each.code], "error_message": CODES[each.code]},
            }
            for each in versions
        ]
    }


def encode_status(versions: list[VersionStatus]) -> bytes:
    return msgspec.json.encode(status(versions))


def encode_config(models: dict[str, list[VersionStatus]]) -> bytes:
    return msgspec.json.encode({name: status(versions) for name, versions in models.items()})


def encode_config_error(text: str) -> bytes:
    # Laid out like this, and only here.
    return b'{\n\t"error": %b\n}' % msgspec.json.encode(text)


def encode_metadata(name: str, version: int, spec: ModelSpec) -> bytes:
    return msgspec.json.encode(
        {
            "modelSpec": {"name": name, "signatureName": "", "version": str(version)},
            "metadata": {
                "signature_def": {
                    "@type": SIGNATURE_TYPE,
                    "signatureDef": {
                        SIGNATURE: {
                            "inputs": {each.name: _info(each) for each in spec.inputs},
                            "outputs": {each.name: _info(each) for each in spec.outputs},
                            "methodName": METHOD,
                        }
                    },
                }
            },
        }
    )


def _info(tensor: TensorSpec) -> dict[str, Any]:
    dims = [{"size": str(size), "name": ""} for size in tensor.wire_shape]
    return {
        "dtype": DATA_TYPES.get(tensor.datatype, "DT_INVALID"),
        "tensorShape": {"dim": dims, "unknownRank": False},
        "name": tensor.name,
    }
