"""NVIDIA GPUs, asked of the driver's own library.

Through ctypes: it is eight functions of a stable C interface, and the library comes with the
driver, so a package could only wrap what is there or not.

Rules: the library stays initialized between two questions, because starting a sleeping GPU takes
seconds; where a question fails it is closed, and opened anew at the next. A single GPU that does
not answer is left out: it has fallen off the bus, the others have not.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from ctypes import byref, c_char, c_int, c_uint, c_ulonglong, c_void_p
from pathlib import Path

from motorpool.node.accelerators.device import NVIDIA, Device
from motorpool.node.accelerators.labels import nvidia_family

LIBRARY = "libnvidia-ml.so.1"
TEXT_BYTES_MAX = 96
_MIB = 1024 * 1024
_SHARED_NODES = (
    "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/dxg",
)  # fmt: skip


class NvmlError(Exception):
    """A function of the library answered with an error."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function} answers {code}")
        self.code = code


class _Memory(ctypes.Structure):
    _fields_ = (("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong))


class Nvml:
    def __init__(self, library: str = LIBRARY, dev: Path = Path("/dev")) -> None:
        self._name = library
        self._dev = dev
        self._library: ctypes.CDLL | None = None

    def devices(self) -> list[Device]:
        """Every GPU that answers; none where there is no driver. Raises NvmlError."""
        if self._library is None and not self._open():
            return []
        try:
            return list(self._devices())
        except NvmlError:
            self.close()
            raise

    def close(self) -> None:
        if self._library is not None:
            with contextlib.suppress(NvmlError):
                self._call("nvmlShutdown")
            self._library = None

    def _open(self) -> bool:
        try:
            self._library = ctypes.CDLL(self._name)
        except OSError:
            return False
        try:
            self._call("nvmlInit_v2")
        except NvmlError:
            self._library = None
            raise
        return True

    def _devices(self) -> Iterator[Device]:
        count = c_uint()
        self._call("nvmlDeviceGetCount_v2", byref(count))
        driver = self._text("nvmlSystemGetDriverVersion")
        cuda = c_int()
        self._call("nvmlSystemGetCudaDriverVersion", byref(cuda))
        shared = _driver_facts(driver, cuda.value)
        for index in range(count.value):
            with contextlib.suppress(NvmlError):
                yield self._device(index, shared)

    def _device(self, index: int, shared: dict[str, str]) -> Device:
        handle, memory, minor = c_void_p(), _Memory(), c_uint()
        self._call("nvmlDeviceGetHandleByIndex_v2", c_uint(index), byref(handle))
        self._call("nvmlDeviceGetMemoryInfo", handle, byref(memory))
        self._call("nvmlDeviceGetMinorNumber", handle, byref(minor))
        major, lesser = c_int(), c_int()
        self._call("nvmlDeviceGetCudaComputeCapability", handle, byref(major), byref(lesser))
        own = {
            "gpu.family": nvidia_family(major.value, lesser.value),
            "gpu.compute.major": str(major.value),
            "gpu.compute.minor": str(lesser.value),
        }
        nodes = (f"/dev/nvidia{minor.value}", *_SHARED_NODES)
        return Device(
            resource=NVIDIA,
            id=self._text("nvmlDeviceGetUUID", handle),
            index=index,
            product=self._text("nvmlDeviceGetName", handle),
            memory_mib=memory.total // _MIB,
            nodes=tuple(node for node in nodes if (self._dev / node[5:]).exists()),
            facts={**shared, **own},
        )

    def _text(self, function: str, *arguments: c_void_p) -> str:
        buffer = (c_char * TEXT_BYTES_MAX)()
        self._call(function, *arguments, buffer, c_uint(TEXT_BYTES_MAX))
        return os.fsdecode(buffer.value)

    def _call(self, function: str, *arguments: object) -> None:
        found: Callable[..., int] | None = getattr(self._library, function, None)
        code = found(*arguments) if found is not None else -1
        if code:
            raise NvmlError(function, code)


def _driver_facts(driver: str, cuda: int) -> dict[str, str]:
    """Labels about the driver: *cuda* is 12040 for 12.4."""
    major, minor = cuda // 1000, cuda % 1000 // 10
    parts = [*driver.split("."), "", "", ""]
    return {
        "cuda.driver-version.full": driver,
        "cuda.driver-version.major": parts[0],
        "cuda.driver-version.minor": parts[1],
        "cuda.driver-version.revision": parts[2],
        "cuda.runtime-version.full": f"{major}.{minor}",
        "cuda.runtime-version.major": str(major),
        "cuda.runtime-version.minor": str(minor),
    }
