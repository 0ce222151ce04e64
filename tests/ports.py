"""Ports and addresses for servers that must be told theirs.

A port that the kernel gives and takes back is any program's again, and the next connection may have
it. These are below those that the kernel gives; no process is given one twice in a row, and each
process begins somewhere else.
"""

import itertools
import os
import socket

FIRST, LAST = 10_000, 32_000
_numbers = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """One of 127.0.0.1 that nobody listens on."""
    for number in _numbers:
        port = FIRST + number % (LAST - FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("without end")


def own_address(number: int) -> str:
    """A loopback address of this process alone, beyond those of Pods; *number* is below 8."""
    offset = (os.getpid() * 8 + number) % (1 << 22)
    return f"127.{128 + (offset >> 16)}.{offset >> 8 & 255}.{offset & 255}"
