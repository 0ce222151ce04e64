"""Between the rows of the store and objects: encodes, decodes, and remembers what it decoded.

An object is decoded once per revision and then shared by everyone who reads that revision: lists,
watches, in-process clients. The resourceVersion is the row's revision and is not in its bytes.
"""

from collections import OrderedDict

import msgspec

from motorpool.api.meta import Object
from motorpool.store import Row

REMEMBERED_OBJECTS_MAX = 8192
REMEMBERED_BYTES_MAX = 1 << 20  # encoded; decoded they take some ten times that

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Object] = msgspec.json.Decoder(dict)


def encode(obj: Object) -> bytes:
    """The bytes for the store. *obj* holds no resourceVersion."""
    return _encoder.encode(obj)


def fresh(obj: Object) -> Object:
    """A deep copy, in JSON's own types only. Raises TypeError for what is no JSON."""
    return _decoder.decode(_encoder.encode(obj))


class ObjectMemory:
    """Decoded rows by revision; the least recently used are forgotten."""

    def __init__(self) -> None:
        self._objects: OrderedDict[int, tuple[Object, int]] = OrderedDict()
        self._bytes = 0

    def of(self, row: Row) -> Object:
        """The shared object of *row*."""
        found = self._objects.get(row.revision)
        if found is not None:
            self._objects.move_to_end(row.revision)
            return found[0]
        obj = _decoder.decode(row.value)
        self.keep(row, obj)
        return obj

    def keep(self, row: Row, obj: Object) -> None:
        """Remembers *obj* as the decoded *row*, and puts the row's revision into it."""
        obj["metadata"]["resourceVersion"] = str(row.revision)
        self._objects[row.revision] = (obj, len(row.value))
        self._bytes += len(row.value)
        while len(self._objects) > REMEMBERED_OBJECTS_MAX or self._bytes > REMEMBERED_BYTES_MAX:
            _, (_, size) = self._objects.popitem(last=False)
            self._bytes -= size
