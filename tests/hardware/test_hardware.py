# SPDX-License-Identifier: Apache-2.0
"""The package's public names, each imported from its module when it is first used."""

import pytest

import gicmodel.hardware
from gicmodel.config import GicConfig


def test_a_name_is_that_of_its_module():
    assert gicmodel.hardware.GicConfig is GicConfig
    assert all(getattr(gicmodel.hardware, name) for name in gicmodel.hardware.__all__)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"'gicmodel.hardware' has no attribute 'Gicv5'"):
        gicmodel.hardware.Gicv5  # noqa: B018
