# SPDX-License-Identifier: Apache-2.0
"""The sources of Linux that are on this machine."""

import os
from pathlib import Path
from typing import TypeVar

import pytest

from gicmodel.fuzzing.peers.linux.driver.peer import LinuxDriver
from gicmodel.fuzzing.peers.linux.driver.port import LinuxPort
from gicmodel.fuzzing.peers.linux.kvm.peer import LinuxKvm
from gicmodel.fuzzing.peers.linux.peer import LinuxPeer
from gicmodel.fuzzing.peers.linux.source import newest_installed
from tests.conftest import missing

P = TypeVar("P", bound=LinuxPeer)


def built(peer: P) -> P:
    """The peer, once all that it needs is there."""
    peer.require()
    return peer


@pytest.fixture(scope="session")
def linux_source() -> Path:
    """GICMODEL_LINUX_SOURCE, or the newest in /usr/src."""
    given = os.environ.get("GICMODEL_LINUX_SOURCE")
    where = Path(given) if given else newest_installed()
    if where is None:
        missing("no source of Linux in /usr/src (Debian: linux-source), and no GICMODEL_LINUX_SOURCE")
    return where


@pytest.fixture(scope="session")
def peer(linux_source: Path) -> LinuxKvm:
    """Its KVM, built."""
    return built(LinuxKvm(linux_source))


@pytest.fixture(scope="session")
def driver_peer(linux_source: Path) -> LinuxDriver:
    """Its ITS driver, built."""
    return built(LinuxDriver(linux_source))


@pytest.fixture(scope="session")
def port_peer(linux_source: Path) -> LinuxPort:
    """The same driver, for `gicmodel.driver` to be compared with."""
    return built(LinuxPort(linux_source))
