# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.driver.host import Host


@pytest.fixture
def host() -> Host:
    """A GICv4.1 with one ITS and four CPUs, booted."""
    return Host()
