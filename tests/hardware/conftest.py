# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.hardware.bench import Bench, furnished
from tests.hardware.guest import Guest
from tests.hardware.pe import Pes


@pytest.fixture
def bench() -> Bench:
    """A GICv4.1 with one ITS and four redistributors, furnished."""
    return furnished()


@pytest.fixture
def pes() -> Pes:
    """PEs that take interrupts."""
    return Pes()


@pytest.fixture
def guest() -> Guest:
    """A guest of GICv4.1."""
    return Guest()
