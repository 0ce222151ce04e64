"""How the heavy libraries come into this process: without what no server needs of them.

Nearly all of the time between exec and the first answer is imports, and libraries import on the
way what only people at a terminal use: converters of models, builders of graphs, coloured
tracebacks, texts for `help()`. While a server imports, such modules count as not installed where
their importer can do without, and as empty where it cannot. Afterwards they are what they were:
whoever imports them then gets the real ones.

Starts nothing that would not survive a fork.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# As not installed; each is imported with `except ImportError`.
ABSENT = (
    "openvino.tools.ovc",  # openvino: the converter of models of other frameworks
    "rich",  # structlog: tracebacks in colours
    "better_exceptions",  # structlog
    "dotenv",  # granian's command line
)
# As empty: imported to be there for others.
EMPTY = (
    *(f"openvino.opset{number}" for number in range(1, 18)),  # builders of graphs
    "numpy._core._add_newdocs",  # docstrings
    "numpy._core._add_newdocs_scalars",
)


def prepare() -> None:
    """For this process and whatever it imports from now on."""
    # OpenBLAS starts a thread for each core when numpy is imported; the engine does not use it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # OpenVINO's import reports itself over the network, from a thread, where this module exists.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


@contextlib.contextmanager
def of_a_server() -> Iterator[None]:
    """In the ``with`` block imports leave out what a server does not need."""
    stand_ins: dict[str, ModuleType | None] = dict.fromkeys(ABSENT)
    stand_ins |= {name: ModuleType(name) for name in EMPTY}
    placed = {name: each for name, each in stand_ins.items() if name not in sys.modules}
    sys.modules.update(placed)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, stand_in in placed.items():
            _take_away(name, stand_in)


def _take_away(name: str, stand_in: ModuleType | None) -> None:
    if sys.modules.get(name, stand_in) is stand_in:
        sys.modules.pop(name, None)
    package, _, own = name.rpartition(".")
    holder = sys.modules.get(package)
    # `from package import own` has made it an attribute, which would hide the real one.
    if holder is not None and stand_in is not None and vars(holder).get(own) is stand_in:
        delattr(holder, own)


def map_openvino() -> None:
    """Maps and links OpenVINO's libraries, which lets go of the GIL where its import does not.

    A hint only: where they have other names, the import finds them by itself.
    """
    import ctypes
    from importlib.util import find_spec

    found = find_spec("openvino")
    for place in (found and found.submodule_search_locations) or ():
        libraries = Path(place, "libs")
        load = ctypes.CDLL(None).dlopen
        load.restype = ctypes.c_void_p
        for pattern in ("libopenvino.so*", "libopenvino_intel_cpu_plugin.so"):
            for library in sorted(libraries.glob(pattern))[:1]:
                load(os.fsencode(library), os.RTLD_NOW)
