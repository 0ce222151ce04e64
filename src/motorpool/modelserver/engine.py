"""OpenVINO: a model's file -> something that answers.

Blocking: `load` and `Slot.infer` run on worker threads (`workers`), never long on the event loop.
Must be used after a fork only: OpenVINO starts its threads with the first model.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino as ov
import structlog
from openvino.preprocess import ColorFormat, PrePostProcessor

from motorpool.modelserver import mapping, quota
from motorpool.modelserver.contract import EngineError
from motorpool.modelserver.layout import NO_LAYOUTS, Layout, Layouts, fits, from_openvino
from motorpool.modelserver.preprocess import NO_STEPS, Steps
from motorpool.modelserver.shape import NO_SHAPES, Bounds, Shapes, wanted_shapes
from motorpool.modelserver.tensors import (
    ANY,
    BF16,
    BYTES,
    INVALID,
    NAMES,
    Array,
    Dimension,
    ModelSpec,
    TensorSpec,
)

log = structlog.get_logger(__name__)

RENDER_NODES = ("/dev/dri/renderD*", "/dev/accel/accel*")


class Options(msgspec.Struct, frozen=True):
    device: str
    layouts: Layouts = NO_LAYOUTS
    shapes: Shapes = NO_SHAPES
    batch_size: Bounds | None = None  # of the dimension N, where no shape is given
    steps: Steps = NO_STEPS
    nireq: int = 0  # 0: the engine's own choice
    properties: Mapping[str, str | int | float | bool] = msgspec.field(default_factory=dict)


class Engine:
    """A compiled model. `spec` is what requests see; inputs and outputs are in order of names."""

    def __init__(self, compiled: Any, spec: ModelSpec, order: "_Order", nireq: int) -> None:
        self._compiled = compiled
        self._order = order
        self.spec = spec
        self.streams = _property(compiled, "NUM_STREAMS", 1)
        self.nireq = nireq or _property(compiled, "OPTIMAL_NUMBER_OF_INFER_REQUESTS", 1)
        # More than one inference on a stream only get into each other's way: measured on two
        # cores, ResNet-50 falls from 105 to 79 a second.
        self.parallel = min(self.nireq, self.streams)
        self.batch_most = 1

    probabilities = None  # What a model of tensors answers with is its own affair.

    def slot(self, *, on_loop: bool = False) -> "Slot":
        return Slot(self._compiled.create_infer_request(), self._order, self.spec, on_loop)


class Slot:
    """One inference at a time."""

    def __init__(self, request: Any, order: "_Order", spec: ModelSpec, on_loop: bool) -> None:
        self._request = request
        self._order = order
        self._spec = spec
        self._on_loop = on_loop

    def infer(self, arrays: Sequence[Array]) -> tuple[list[Array], float]:
        """The outputs, copied, and the engine's own seconds. Raises RuntimeError."""
        request = self._request
        for index, array in zip(self._order.inputs, arrays, strict=True):
            if array.dtype == object:
                request.set_input_tensor(index, _string_tensor(array))
                continue
            tensor = request.get_input_tensor(index)
            if tuple(tensor.shape) != array.shape:
                tensor.shape = array.shape
            np.copyto(tensor.data, array)
        if self._on_loop:
            request.infer(None, share_outputs=True)
        else:
            # On the engine's own thread: one hop more, and 5 % less work than with ours among
            # those that share it, which has to be bound to the engine's processors and back.
            request.start_async(None)
            request.wait()
        outputs = [
            self._output(index, spec)
            for index, spec in zip(self._order.outputs, self._spec.outputs, strict=True)
        ]
        # The engine's clock, which does not count our own wait for the GIL.
        return outputs, request.latency / 1000

    def _output(self, index: int, spec: TensorSpec) -> Array:
        tensor = self._request.get_output_tensor(index)
        if spec.datatype == BYTES:
            return np.array([bytes(each) for each in tensor.bytes_data.ravel()], dtype=object)
        copied: Array = tensor.data.copy()
        return copied


class _Order:
    """Where, among the model's own inputs and outputs, those of the specification stand."""

    def __init__(self, inputs: list[int], outputs: list[int]) -> None:
        self.inputs = inputs
        self.outputs = outputs


def load(core: Any, file: Path, options: Options) -> Engine:
    """Reads and compiles. Raises EngineError."""
    try:
        model = core.read_model(file, config=_reading(options))
    except (RuntimeError, OSError) as error:
        raise EngineError(f"cannot read {file}: {_cause(error)}") from error
    _rename(model, (file if file.is_dir() else file.parent) / mapping.FILE)
    chosen = _chosen_layouts(model, options.layouts)
    _reshape(model, chosen, options)
    try:
        model = _preprocessed(model, chosen, options.steps)
        compiled = core.compile_model(model, options.device, _properties(options))
    except RuntimeError as error:
        raise EngineError(f"cannot compile {file} for {options.device}: {_cause(error)}") from error
    threads = _property(compiled, "INFERENCE_NUM_THREADS", 0)
    log.info("compiled", file=file.name, device=options.device, threads=threads)
    inputs = _specs(compiled.inputs, chosen)
    outputs = _specs(compiled.outputs, chosen)
    in_order = sorted(range(len(inputs)), key=lambda i: inputs[i].name)
    out_order = sorted(range(len(outputs)), key=lambda i: outputs[i].name)
    spec = ModelSpec(tuple(inputs[i] for i in in_order), tuple(outputs[i] for i in out_order))
    return Engine(compiled, spec, _Order(in_order, out_order), options.nireq)


def device_to_use(wanted: str, *, accelerators: bool) -> str:
    """AUTO costs five times as much per small inference as the CPU that it would choose anyway."""
    return "CPU" if wanted in ("", "AUTO") and not accelerators else wanted or "AUTO"


def has_accelerators() -> bool:
    """Asked of the file system, because OpenVINO needs 0.1 s to say it."""
    return any(True for pattern in RENDER_NODES for _ in Path("/").glob(pattern.removeprefix("/")))


def _rename(model: Any, file: Path) -> None:
    """Raises EngineError."""
    try:
        wanted = mapping.parse_mapping(file.read_bytes())
        for ports, names in ((model.inputs, wanted.inputs), (model.outputs, wanted.outputs)):
            own = [_name(port, index) for index, port in enumerate(ports)]
            for port, old, new in zip(ports, own, mapping.renamed(own, names), strict=True):
                if new != old:
                    port.set_names({new})
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot use {file}: {error}") from error


def threads_of(environment: Mapping[str, str], cores: int) -> dict[str, int]:
    """The engine's threads where a limit on CPUs leaves it less than the cores that it sees.

    More threads than the limit lasts for would use it up at once and then stand still together.
    """
    try:
        limit = float(environment.get("MOTORPOOL_CPU_LIMIT") or cores)
    except ValueError:
        return {}
    return {"INFERENCE_NUM_THREADS": max(1, math.ceil(limit))} if limit < cores else {}


def _chosen_layouts(model: Any, layouts: Layouts) -> dict[str, Layout]:
    """The layout of every tensor: what the user says, else what the model's file says."""
    chosen = {
        _name(port, index): _own_layout(port)
        for ports in (model.outputs, model.inputs)
        for index, port in enumerate(ports)
    }
    if layouts.only is not None:
        if len(model.inputs) != 1:
            raise EngineError("Anonymous fixed layout is invalid for models with multiple inputs")
        chosen[_name(model.inputs[0], 0)] = layouts.only
    if unknown := sorted(set(layouts.by_name) - set(chosen)):
        raise EngineError(f"Layout from config not found in model: {', '.join(unknown)}")
    return chosen | layouts.by_name


def _own_layout(port: Any) -> Layout:
    node = port.get_node()
    text = from_openvino(str(node.layout) if hasattr(node, "layout") else "")
    return Layout(text, text)


def _reshape(model: Any, chosen: dict[str, Layout], options: Options) -> None:
    """Raises EngineError."""
    inputs = {_name(port, index): port for index, port in enumerate(model.inputs)}
    ranks = {name: _rank(port) for name, port in inputs.items()}
    try:
        shapes = wanted_shapes(options.shapes, options.batch_size, ranks, chosen)
    except ValueError as error:
        raise EngineError(str(error)) from error
    bounds = {
        inputs[name]: ov.PartialShape(
            [
                own if each is None else ov.Dimension(each.low, each.high)
                for own, each in zip(inputs[name].get_partial_shape(), shape, strict=True)
            ]
        )
        for name, shape in shapes.items()
    }
    if not bounds:
        return
    try:
        model.reshape(bounds)
    except RuntimeError as error:
        raise EngineError(f"the model cannot take that shape: {_cause(error)}") from error


def _rank(port: Any) -> int | None:
    rank = port.get_partial_shape().rank
    return int(rank.get_length()) if rank.is_static else None


def _preprocessed(model: Any, chosen: dict[str, Layout], steps: Steps) -> Any:
    if steps and len(model.inputs) != 1:
        raise EngineError("precision, color_format, mean, scale need a model with one input")
    processor = PrePostProcessor(model)
    changed = [
        _change_layout(info(index), port, chosen[_name(port, index)])
        for ports, info in ((model.inputs, processor.input), (model.outputs, processor.output))
        for index, port in enumerate(ports)
    ]
    if steps:
        _add_steps(processor.input(0), steps)
    return processor.build() if steps or any(changed) else model


def _add_steps(info: Any, steps: Steps) -> None:
    """Types first, because only then has a pixel the fractions that mean and scale need."""
    tensor, process = info.tensor(), info.preprocess()
    if steps.precision:
        tensor.set_element_type(getattr(ov.Type, steps.precision.request))
        process.convert_element_type(getattr(ov.Type, steps.precision.model))
    if steps.colours:
        tensor.set_color_format(getattr(ColorFormat, steps.colours.request))
        process.convert_color(getattr(ColorFormat, steps.colours.model))
    for numbers, step in ((steps.mean, process.mean), (steps.scale, process.scale)):
        if numbers:
            step(numbers[0] if len(numbers) == 1 else list(numbers))


def _change_layout(info: Any, port: Any, layout: Layout) -> bool:
    """Whether that made a difference."""
    if layout == _own_layout(port):
        return False
    rank = port.get_partial_shape().rank
    if rank.is_static and not fits(layout, rank.get_length()):
        raise EngineError(
            f"Layout incompatible with given shape - layout {layout.request}:{layout.model}, "
            f"shape {port.get_partial_shape()}"
        )
    info.tensor().set_layout(ov.Layout(layout.request))
    info.model().set_layout(ov.Layout(layout.model))
    return True


def _specs(ports: Sequence[Any], chosen: dict[str, Layout]) -> list[TensorSpec]:
    return [
        TensorSpec(name, _datatype(port), _shape(port), chosen[name].request)
        for port, name in ((port, _name(port, index)) for index, port in enumerate(ports))
    ]


def _name(port: Any, index: int) -> str:
    names: set[str] = port.get_names()
    return str(port.get_any_name()) if names else f"out_{index}"


def _datatype(port: Any) -> str:
    kind = port.get_element_type()
    if kind == ov.Type.string:
        return BYTES
    if kind == ov.Type.bf16:
        return BF16
    if kind in (ov.Type.i4, ov.Type.u4, ov.Type.u1):
        return INVALID
    return NAMES.get(np.dtype(kind.to_dtype()), INVALID)


def _shape(port: Any) -> tuple[Dimension, ...]:
    partial = port.get_partial_shape()
    if partial.rank.is_dynamic:
        raise EngineError(f"the rank of {port} is unknown; give the model a shape")
    return tuple(
        Dimension(
            each.get_min_length(), ANY if each.get_max_length() < 0 else each.get_max_length()
        )
        for each in partial
    )


def _string_tensor(array: Array) -> Any:
    tensor = ov.Tensor(ov.Type.string, ov.Shape(array.shape))
    tensor.bytes_data = array.astype(np.bytes_)
    return tensor


def _reading(options: Options) -> dict[str, str | int | float | bool]:
    """What decides already how a file is read: whether it stays mapped."""
    return {name: value for name, value in options.properties.items() if name == "ENABLE_MMAP"}


def _properties(options: Options) -> dict[str, str | int | float | bool]:
    properties = dict(options.properties)
    if not {"NUM_STREAMS", "PERFORMANCE_HINT"} & set(properties):
        properties["PERFORMANCE_HINT"] = "LATENCY"
    if options.device == "CPU":
        # A thread that is bound to a processor waits while ours, which reads the next request, or
        # another server has it; and all the others wait for that one.
        properties.setdefault("ENABLE_CPU_PINNING", False)
        if (processors := quota.processors()) is not None:
            properties.setdefault("INFERENCE_NUM_THREADS", processors)
    return properties


def _property(compiled: Any, name: str, default: int) -> int:
    try:
        return int(compiled.get_property(name))
    except RuntimeError:  # Not every device knows every property.
        return default


def _cause(error: Exception) -> str:
    """The last sentence of OpenVINO's message: what comes before are its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
