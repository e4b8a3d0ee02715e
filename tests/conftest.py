# SPDX-License-Identifier: Apache-2.0
"""Settings of the whole suite."""

import importlib
import os
import shutil
from types import ModuleType
from typing import NoReturn

import pytest
from hypothesis import settings

# The first call of a kernel compiles it, so no example has a deadline.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("nightly", max_examples=20_000, deadline=None)
if not os.environ.get("CI"):
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def missing(reason: str) -> NoReturn:
    """A test needs what is not on this machine: it is skipped on a user's, and fails where CI=true, which has all."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def needed(module: str) -> ModuleType:
    """A module that a test needs, or `missing`."""
    try:
        return importlib.import_module(module)
    except ImportError:
        missing(f"{module} is not installed")


def needs_program(program: str) -> None:
    """A program that a test runs, or `missing`."""
    if shutil.which(program) is None:
        missing(f"{program} is not installed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.needs("PROGRAM", ...)`: these programs, or `missing`."""
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            needs_program(program)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes by their length: an archive has the time in it, and all workers must collect the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None
