"""The protocols' protobuf messages: classes made from `descriptors.bin`.

In a pool of our own, so that a program which also has a client's classes of the same messages can
use both. `scripts/protocols.py` compiles the `*.proto` beside this file into `descriptors.bin`.
"""

from pathlib import Path
from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

__all__ = ["POOL", "DecodeError", "files", "message", "service"]

POOL = descriptor_pool.DescriptorPool()


def files() -> list[Any]:
    """The compiled files as FileDescriptorProto, each after those that it imports."""
    content = Path(__file__).with_name("descriptors.bin").read_bytes()
    return list(descriptor_pb2.FileDescriptorSet.FromString(content).file)


def message(name: str) -> Any:
    """The class of the message with that full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def service(name: str) -> Any:
    return POOL.FindServiceByName(name)


for _file in files():
    POOL.AddSerializedFile(cast("Any", _file).SerializeToString())
