"""Mapped files' pages that this process has no more use for.

The engine keeps weights in an order of its own once it has used them, and the file that they came
from stays mapped and counted as this process' memory, twice the model in all. The pages are in the
kernel's cache, where other pods find them; what is read again is mapped again.
"""

import ctypes
import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_S = 0.1  # a core reads some 300 MB of weights in that time


@contextmanager
def letting_go(path: Path) -> Iterator[None]:
    """Meanwhile and at the end: else the peak would be the model twice."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(EVERY_S):
            let_go(path)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        let_go(path)


def let_go(path: Path) -> int:
    """Unmaps no address; returns the bytes that need not be resident any more."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    total = 0
    for start, end in _mappings(path):
        if libc.madvise(start, end - start, mmap.MADV_DONTNEED) == 0:
            total += end - start
    return total


def _mappings(path: Path) -> Iterator[tuple[int, int]]:
    """Of the file, and unwritten: what was written to privately would be lost."""
    wanted = str(path.resolve())
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights, _, _, _, *name = line.split(maxsplit=5)
        if name and name[0] == wanted and "w" not in rights:
            start, end = addresses.split("-")
            yield int(start, 16), int(end, 16)
