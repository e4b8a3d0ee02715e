# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.hardware.bench import Bench, furnished


@pytest.fixture
def bench() -> Bench:
    """A GICv4.1 with one ITS and four redistributors, furnished."""
    return furnished()
