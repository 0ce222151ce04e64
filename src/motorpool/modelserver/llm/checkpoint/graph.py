"""A graph in the engine's own format: operations are appended, and the whole is one XML text.

The text is written here and not through the engine's Python API, because a constant then is no
more than an offset into the file of weights: building the graph of a model of 70 GB takes
milliseconds and no memory, and needs no engine.

Rules:
  1. An operation's types and shapes are for the engine to infer; what is wrong shows as it reads.
  2. Small constants with the same value are one constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from motorpool.modelserver.llm.checkpoint.blob import Blob, Bytes, Source

_CONSTANTS = {"float32": "f32", "int64": "i64", "int32": "i32", "bool": "boolean", "uint8": "u8"}

Attribute = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Value:
    """One output of one operation."""

    layer: int
    port: int


class Graph:
    """Layers and edges; weights go to *blob*."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self._layers: list[str] = []
        self._edges: list[str] = []
        self._ends: list[tuple[str, str, Value]] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._names = count()

    def parameter(self, name: str, kind: str, shape: Sequence[int]) -> Value:
        dims = ",".join("?" if n < 0 else str(n) for n in shape)
        return self._layer(
            "Parameter", "opset1", {"shape": dims, "element_type": kind}, (), 1, name=name
        )[0]

    def op(
        self,
        kind: str,
        *inputs: Value,
        version: str = "opset1",
        info: str = "",
        **attributes: Attribute,
    ) -> Value:
        return self._layer(kind, version, attributes, inputs, 1, info=info)[0]

    def split(self, value: Value, axis: int, lengths: Sequence[int]) -> list[Value]:
        inputs = (value, self.ints(axis), self.ints(list(lengths)))
        return self._layer("VariadicSplit", "opset1", {}, inputs, len(lengths))

    def top(self, value: Value, k: int) -> list[Value]:
        """The *k* greatest along the last axis, and their indices."""
        attributes: dict[str, Attribute] = {
            "axis": -1,
            "mode": "max",
            "sort": "value",
            "index_element_type": "i64",
            "stable": False,
        }
        return self._layer("TopK", "opset11", attributes, (value, self.ints(k)), 2)

    def result(self, name: str, value: Value) -> None:
        self._ends.append(("Result", name, value))

    def assign(self, variable: str, value: Value) -> None:
        self._ends.append(("Assign", variable, value))

    def constant(self, array: npt.NDArray[np.generic]) -> Value:
        """A small one, which is compared with those there are."""
        array = np.asarray(array, order="C")
        data = array.tobytes()
        key = (array.dtype.name, array.shape, data)
        found = self._constants.get(key)
        if found is None:
            found = self.weight(Bytes(data), _CONSTANTS[array.dtype.name], array.shape)
            self._constants[key] = found
        return found

    def ints(self, values: int | Sequence[int]) -> Value:
        return self.constant(np.array(values, np.int64))

    def floats(self, values: float | Sequence[float]) -> Value:
        return self.constant(np.array(values, np.float32))

    def weight(self, source: Source, kind: str, shape: Sequence[int]) -> Value:
        return self.weight_at(self.blob.add(source), source.size, kind, shape)

    def weight_at(self, offset: int, size: int, kind: str, shape: Sequence[int]) -> Value:
        """Of *size* bytes that are in the blob already."""
        attributes: dict[str, Attribute] = {
            "element_type": kind,
            "shape": ",".join(map(str, shape)),
            "offset": offset,
            "size": size,
        }
        return self._layer("Const", "opset1", attributes, (), 1)[0]

    def xml(self) -> str:
        for kind, name, value in self._ends:
            if kind == "Result":
                self._layer(kind, "opset1", {}, (value,), 0, name=name)
            else:
                self._layer(kind, "opset6", {"variable_id": name}, (value,), 1)
        self._ends.clear()
        layers, edges = "\n".join(self._layers), "\n".join(self._edges)
        return (
            f'<?xml version="1.0"?>\n<net name="checkpoint" version="11">\n<layers>\n{layers}\n'
            f"</layers>\n<edges>\n{edges}\n</edges>\n<rt_info/>\n</net>\n"
        )

    def _layer(
        self,
        kind: str,
        version: str,
        attributes: dict[str, Attribute],
        inputs: Sequence[Value],
        outputs: int,
        **about: str,
    ) -> list[Value]:
        number = len(self._layers)
        name = about.get("name") or f"{kind}_{number}"
        data = "".join(f" {key}={quoteattr(_text(value))}" for key, value in attributes.items())
        ports_in = "".join(f'<port id="{i}"/>' for i in range(len(inputs)))
        first = len(inputs)
        extra = f' names="{name}"' if kind == "Parameter" else ""
        names = f' output_names="{name}"' if kind == "Result" else ""
        ports_out = "".join(
            f'<port id="{first + i}" precision="dynamic"{extra}/>' for i in range(outputs)
        )
        self._layers.append(
            f'<layer id="{number}" name="{name}" type="{kind}" version="{version}"{names}>'
            + (f"<data{data}/>" if data else "")
            + (
                f'<rt_info><attribute name="{about["info"]}" version="0"/></rt_info>'
                if about.get("info")
                else ""
            )
            + (f"<input>{ports_in}</input>" if inputs else "")
            + (f"<output>{ports_out}</output>" if outputs else "")
            + "</layer>"
        )
        for port, source in enumerate(inputs):
            self._edges.append(
                f'<edge from-layer="{source.layer}" from-port="{source.port}" '
                f'to-layer="{number}" to-port="{port}"/>'
            )
        return [Value(number, first + i) for i in range(outputs)]


def _text(value: Attribute) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
