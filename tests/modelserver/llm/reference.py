"""The program that defines the architectures; tests that need it are skipped without, but in CI."""

import os
from functools import cache
from typing import Any

import pytest


@cache
def load_reference() -> tuple[Any, Any]:
    """torch and transformers."""
    try:
        import torch
        import transformers
    except ModuleNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{error.name} is not installed: requirements-reference.txt")
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    return torch, transformers
