"""What all tests share: where the reference data lies, and hypothesis without a clock."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("default")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def collectable() -> None:
    """Let `gc.collect` look at what the test makes and at nothing else.

    Of all that a run of the tests has made by then, a full collection takes half a second.
    """
    gc.freeze()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference instances and data: ``$CIM_SHARED_DIR``, or ``../shared`` beside the checkout."""
    folder = Path(os.environ.get("CIM_SHARED_DIR", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"reference data not found at {folder}: set CIM_SHARED_DIR")
    return folder
