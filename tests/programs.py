"""Real programs that tests run."""

import importlib.util
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


def without(*modules: str) -> pytest.MarkDecorator:
    """A mark that skips where one of these is not installed; looks without importing."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
