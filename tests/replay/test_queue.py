# SPDX-License-Identifier: Apache-2.0
"""Traced commands reach the ring, whatever the order of a command and the CWRITER write that published it."""

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import read_trace
from gicmodel.layouts.commands import encode
from gicmodel.layouts.registers.its import GITS_CBASER
from gicmodel.replay.replayer import Replayer
from gicmodel.replay.survey import survey
from tests.replay.tracelog import DEVICE, EVENT, ITT, LPI, QUEUE, QUEUE_BYTES

SLOTS = QUEUE_BYTES // 32


def fed(log):
    path = log.write()
    replayer = Replayer(path, survey(path), image=None)
    for event in read_trace(path):
        replayer.feed(event)
    replayer.finish()
    return replayer


def pending(replayer):
    return replayer.memory.read_u8(0x4015_0000 + LPI // 8)


def slot(replayer, number):
    return tuple(replayer.memory.read_u64(QUEUE + 32 * number + 8 * word) for word in range(4))


def test_commands_before_their_cwriter_write(log):
    log.setup()
    log.mappings()
    log.cwriter(5 * 32)
    log.msi(EVENT)
    replayer = fed(log)
    assert pending(replayer) == 1
    assert replayer.gic.its[0].read(0x90) == replayer.gic.its[0].read(0x88) == 5 * 32
    expected = encode("MAPD", "4.0", DeviceID=DEVICE, Size=1, ITT_addr=ITT, V=1)
    assert slot(replayer, 0) == expected


def test_commands_after_their_cwriter_write(log):
    log.setup()
    log.cwriter(5 * 32)
    log.mappings()
    log.msi(EVENT)
    replayer = fed(log)
    assert pending(replayer) == 1
    assert replayer.gic.its[0].read(0x90) == replayer.gic.its[0].read(0x88) == 5 * 32


@pytest.mark.parametrize("enable_first", [True, False])
def test_commands_queued_while_disabled_run_when_the_its_is_enabled(log, enable_first):
    log.setup(enable=False)
    log.cwriter(5 * 32)
    if enable_first:
        log.enable()
        log.mappings()
    else:
        log.mappings()
        log.enable()
    log.msi(EVENT)
    replayer = fed(log)
    assert pending(replayer) == 1
    assert replayer.gic.its[0].read(0x90) == 5 * 32


@pytest.mark.parametrize("half", [0, 4])
def test_cwriter_by_halves(log, half):
    log.setup()
    log.mappings()
    log.its(0x88 + half, 0 if half else 5 * 32, 4)
    log.cwriter(5 * 32)
    assert fed(log).gic.its[0].read(0x90) == 5 * 32


def test_the_ring_wraps(log):
    log.setup()
    for number in range(SLOTS + 3):
        log.command("SYNC")
        log.cwriter((number + 1) % SLOTS * 32)
    assert fed(log).gic.its[0].read(0x90) == 3 * 32


def test_a_command_that_the_its_lacks_is_skipped(log):
    log.setup()
    log.lines.append("gicv3_its_cmd_unknown GICv3 ITS: unknown command 0x23")
    log.cwriter(32)
    log.mappings()
    log.cwriter(6 * 32)
    log.msi(EVENT)
    replayer = fed(log)
    assert slot(replayer, 0) == (0x23, 0, 0, 0)
    assert pending(replayer) == 1


def test_a_command_that_the_trace_lacks_is_noticed_at_the_next_write(log):
    log.setup()
    log.mappings()
    log.drop("MAPTI")
    log.cwriter(5 * 32)
    with pytest.raises(UnusableInput, match=r"line 14: .*GITS_CWRITER was set to 0x0.*end at 0x80"):
        fed(log)


def test_commands_that_the_trace_lacks_are_noticed_at_the_end(log):
    log.setup()
    log.cwriter(2 * 32)
    with pytest.raises(UnusableInput, match=r"line 10: GITS_CWRITER was set to 0x40.*end at 0x0"):
        fed(log)


def test_an_offset_outside_the_ring_promises_nothing(log):
    log.setup()
    log.cwriter(QUEUE_BYTES)
    log.cwriter(0)
    log.mappings()
    log.cwriter(5 * 32)
    assert fed(log).gic.its[0].read(0x90) == 5 * 32


def test_a_command_before_there_is_a_queue(log):
    log.enable()
    log.command("SYNC")
    with pytest.raises(UnusableInput, match=r"line 2: an ITS command, but GITS_CBASER.Valid is 0"):
        fed(log)


def test_a_queue_outside_ram(log):
    log.setup(enable=False)
    log.its(0x80, GITS_CBASER.pack(Valid=1, Physical_Address=1 << 50))
    log.enable()
    log.command("SYNC")
    with pytest.raises(UnusableInput, match="line 11: the command queue is outside RAM"):
        fed(log)


def test_a_new_queue_starts_at_its_beginning(log):
    log.setup()
    log.mappings()
    log.cwriter(5 * 32)
    log.its(0x0, 0, 4)
    log.its(0x80, GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE + QUEUE_BYTES))
    log.cwriter(0)
    log.enable()
    log.command(f"CLEAR DeviceID {DEVICE:#x} EventID {EVENT:#x}")
    log.cwriter(32)
    replayer = fed(log)
    assert slot(replayer, SLOTS) == encode("CLEAR", "4.0", DeviceID=DEVICE, EventID=EVENT)


def test_an_operand_too_wide_for_its_field(log):
    log.setup()
    log.command("MAPC ICID 0x10000 RDbase 0x0 V 1")
    with pytest.raises(UnusableInput, match=r"line 10: MAPC\.ICID: 0x10000"):
        fed(log)


def test_a_write_beyond_the_frames_of_a_redistributor_reaches_no_other(log):
    log.setup()
    log.redistributor(0x14, 0, 4, cpu=1)
    log.redistributor(4 * 0x1_0000 + 0x78, 0x4444_0000, cpu=0)
    redistributors = fed(log).gic.redistributors
    assert len(redistributors) == 2
    assert redistributors[1].read(0x78) == 0
