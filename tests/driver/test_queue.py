# SPDX-License-Identifier: Apache-2.0
"""The command queue: wrap, full, batches, a stall, and an ITS that does not read it."""

import numpy as np
import pytest

from gicmodel.driver import DriverError, commands
from gicmodel.driver.queue import QUEUE_BYTES
from gicmodel.layouts.commands import INV
from gicmodel.layouts.registers.its import GITS_CREADR
from tests.driver.host import Host

SLOTS = QUEUE_BYTES // 32


def test_a_single_operation_is_published_and_read_at_once(host: Host) -> None:
    before = host.its("GITS_CWRITER")
    host.driver.gic.its[0].send(commands.sync(0)[:0], commands.sync(1), commands.sync(2))
    assert host.its("GITS_CWRITER") == host.its("GITS_CREADR") == before + 64
    assert host.commands() == ["SYNC RDbase=0x1", "SYNC RDbase=0x2"]


def test_a_batch_is_published_once_at_its_end(host: Host) -> None:
    before = host.its("GITS_CWRITER")
    with host.driver.gic.batch():
        host.driver.gic.its[0].send(commands.sync(1))
        with host.driver.gic.batch():
            host.driver.gic.its[0].send(commands.sync(2))
        assert host.its("GITS_CWRITER") == before
    assert host.commands() == ["SYNC RDbase=0x1", "SYNC RDbase=0x2"]


def test_a_batch_that_fails_still_publishes_what_it_wrote(host: Host) -> None:
    def fail_after_one_command() -> None:
        with host.driver.gic.batch():
            host.driver.gic.its[0].send(commands.sync(1))
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_one_command()
    assert host.commands() == ["SYNC RDbase=0x1"]


def test_the_ring_wraps(host: Host) -> None:
    queue = host.driver.gic.its[0].queue
    start = host.its("GITS_CWRITER") // 32
    queue.send(commands.sync(np.zeros(SLOTS - start - 2, np.int64)))
    host.words()
    host.memory.clear_dirty()
    targets = [0, 1, 2, 3, 3, 2]
    queue.send(commands.sync(np.array(targets)))
    assert host.its("GITS_CWRITER") == host.its("GITS_CREADR") == 4 * 32
    assert [int(line.split("=")[1], 16) for line in host.commands()] == targets
    pages = host.memory.dirty_pages().tolist()
    assert queue.base + QUEUE_BYTES - 0x1000 in pages
    assert queue.base in pages
    assert host.memory.read_u64(queue.base + QUEUE_BYTES - 32 + 16) == 1 << 16, "the last slot holds the second command"
    assert host.memory.read_u64(queue.base + 16) == 2 << 16, "the first slot holds the third"


def test_a_full_ring_is_published_before_more_is_written() -> None:
    """One slot stays empty, and CREADR equal to CWRITER keeps meaning an empty queue."""
    host = Host(commands_per_step=100)
    queue = host.driver.gic.its[0].queue
    start = host.its("GITS_CWRITER")
    with host.driver.gic.batch():
        queue.send(commands.sync(np.zeros(SLOTS - 1, np.int64)))
        assert host.its("GITS_CWRITER") == start
        queue.send(commands.sync(1))
        assert host.its("GITS_CWRITER") == (start - 32) % QUEUE_BYTES == host.its("GITS_CREADR")
    assert host.its("GITS_CREADR") == start


def test_more_commands_than_the_ring_holds_are_all_executed_in_order(host: Host) -> None:
    device = host.driver.lpis.create_device(5, 8192)
    host.driver.lpis.activate(device, np.arange(8192), np.arange(8192) % 4)
    assert host.gic.errors == []
    for event in (0, 1, 4095, 8191):
        host.gic.its[0].translate(5, event)
        assert host.gic.redistributors[event % 4].cpu.acknowledge() == device.lpi_base + event
    assert host.driver.gic.commands_issued["MAPTI"] == 8192


def test_a_stall_names_the_command_and_stays(host: Host) -> None:
    creadr = host.its("GITS_CREADR")
    for _ in range(2):
        with pytest.raises(DriverError, match=f"EIO: ITS 0 stalled at {creadr:#x} on INV DeviceID=0x7 EventID=0x3"):
            host.driver.gic.its[0].send(commands.command(INV, DeviceID=7, EventID=3))
    assert host.its("GITS_CREADR") == creadr | GITS_CREADR.pack(Stalled=1)


def test_an_its_that_does_not_read_its_queue_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(commands_per_step=1)
    monkeypatch.setattr("gicmodel.driver.port._POLLS", 3)
    host.driver.gic.its[0].send(commands.sync(0))
    with pytest.raises(DriverError, match="ETIMEDOUT: GITS_CREADR stays"):
        host.driver.gic.its[0].send(commands.sync(np.zeros(5, np.int64)))


def test_commands_are_counted_by_mnemonic() -> None:
    host = Host(its=2, redistributors=2)
    assert +host.driver.gic.commands_issued == {"MAPC": 4, "INVALL": 4, "SYNC": 8}
    host.driver.gic.its[1].send(commands.sync(np.array([0, 1, 0])))
    assert host.driver.gic.commands_issued["SYNC"] == 11
