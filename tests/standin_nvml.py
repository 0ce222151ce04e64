"""An NVIDIA driver's management library to test with, and what it says of this machine's GPUs.

A program under test loads it as it would the real one: by its name, from LD_LIBRARY_PATH.
"""

import subprocess
from pathlib import Path

from tests.programs import program

A100 = "GPU-{0}|NVIDIA A100-SXM4-40GB|40960|{0}|8|0"


def compile_library(directory: Path) -> Path:
    compiler = program("gcc")
    library = directory / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("standin_nvml.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True
    )
    return library


class Driver:
    def __init__(self, library: Path, state: Path) -> None:
        self.library = library
        self.state = state

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find it."""
        return {"STANDIN_NVML": str(self.state), "LD_LIBRARY_PATH": str(self.library.parent)}

    def has(self, *lines: str | int) -> None:
        """Each a GPU by its number, or a line as the library reads it."""
        found = [A100.format(line) if isinstance(line, int) else line for line in lines]
        written = self.state.with_suffix(".new")
        written.write_text("".join(f"{line}\n" for line in found))
        written.replace(self.state)
