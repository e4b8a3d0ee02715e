# SPDX-License-Identifier: Apache-2.0
"""Logs to start from."""

import pytest

from tests.replay.tracelog import EVENT, LPI, VIRTUAL_EVENT, VLPI, Log


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "gic.trace")


@pytest.fixture
def running(log):
    """A log of a machine whose events are mapped and whose vPE is resident; an interrupt of each has come and gone."""
    log.setup()
    log.mappings()
    log.cwriter(5 * 32)
    log.schedule()
    log.msi(EVENT)
    log.msi(VIRTUAL_EVENT)
    log.iar(LPI)
    log.virtual_iar(VLPI)
    return log
