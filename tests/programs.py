"""Real programs that tests run."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """The path of *name*; without it the test is skipped, except under CI, where it fails."""
    found = shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed, and CI must run this test")
    pytest.skip(f"{name} is not installed")
