# SPDX-License-Identifier: Apache-2.0
"""A small machine for the oracle's tests."""

from collections.abc import Callable

import pytest

from gicmodel.config import GicConfig
from gicmodel.spec import AbstractGic

MakeOracle = Callable[..., AbstractGic]


@pytest.fixture
def make_oracle() -> MakeOracle:
    """An oracle whose ITSs and LPIs are enabled, with 64 DeviceIDs, 16 ICIDs and 8 vPEIDs."""

    def make(**choices: object) -> AbstractGic:
        config = GicConfig(**({"redistributors": 4} | choices))
        oracle = AbstractGic(config, devices=64, collections=16, vpes=0 if config.architecture == "3" else 8)
        for its in oracle.its:
            its.enabled = True
        for rd in range(config.redistributors):
            oracle.enable_lpis(rd)
        return oracle

    return make


@pytest.fixture
def oracle(make_oracle: MakeOracle) -> AbstractGic:
    """A GICv4.1 with individual doorbells."""
    return make_oracle(nid=False)


@pytest.fixture
def run(oracle: AbstractGic) -> Callable[..., None]:
    """Execute a command on ITS 0 that must succeed."""

    def execute(mnemonic: str, **fields: int) -> None:
        assert oracle.execute(0, mnemonic, **fields) == 0, (mnemonic, fields)

    return execute
