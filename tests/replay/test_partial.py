# SPDX-License-Identifier: Apache-2.0
"""A trace that began late, lacks a class of events or whose commands never ran proves nothing, and is said to."""

import os
import re
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.images.qemu_trace import read_trace
from gicmodel.images.segments import Segment
from gicmodel.layouts.registers.by_name import NamedRegisters
from gicmodel.replay import replay, survey
from gicmodel.replay.replayer import MOST_NAMES, Replayer
from tests.images.qemu_trace.places import DATA
from tests.replay.tracelog import CONFIGURATION, DEVICE, EVENT, ITT, LPI, PENDING, VIRTUAL_EVENT, VPT


def without(log, pattern):
    log.lines = [line for line in log.lines if not re.search(pattern, line)]
    return log.write()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("gicv3_redist_write", "no line is a gicv3_redist_write, but the ITS works"),
        ("gicv3_its_cmd|offset 0x88 data 0xa0", "no line is a gicv3_its_cmd_*, but LPIs are acknowledged"),
        ("gicv3_its_translation_write", "no line is a gicv3_its_translation_write, but LPIs are acknowledged"),
        ("gicv3_its_(write|cmd)", "no line is a gicv3_its_write, but the ITS works"),
        ("gicv3_i.._iar", "nothing was judged"),
        ("offset 0x100 ", "line 9: a command maps, but no write sets GITS_BASER0: the trace began after power-on"),
        ("offset 0x108 ", "a command maps, but no write sets GITS_BASER1"),
        ("offset 0x110 ", "a command maps, but no write sets GITS_BASER2"),
        ("redistributor.*offset 0x70 ", "EnableLPIs is set, but no write sets GICR_PROPBASER"),
        ("redistributor.*offset 0x78 ", "EnableLPIs is set, but no write sets GICR_PROPBASER and GICR_PENDBASER"),
        ("redistributor.*offset 0x0 ", "an LPI is acknowledged where no write has set GICR_CTLR.EnableLPIs"),
    ],
)
def test_what_a_trace_lacks_is_named(running, pattern, reason):
    assert replay(running.write()).verdict == "equal"
    outcome = replay(without(running, pattern))
    assert outcome.verdict == "partial"
    assert any(reason in line for line in (*outcome.partial, *outcome.unjudged))


def verdict(path):
    try:
        return replay(path).verdict
    except UnusableInput:
        return "refused"


@pytest.mark.parametrize("first", range(1, 18))
def test_a_trace_from_any_later_moment_is_never_equal(running, first):
    """Cut off its beginning, one line after the other, as long as it holds all of an interrupt's way."""
    running.lines = running.lines[first:]
    assert verdict(running.write()) in ("partial", "refused")


def test_commands_that_never_ran_are_refused(log):
    log.setup(enable=False)
    log.mappings()
    with pytest.raises(UnusableInput, match="line 9: an ITS command, but no write enables the ITS for it"):
        replay(log.write())


@pytest.mark.parametrize("offset", [0x0, 0x80, 0x88, 0x100])
def test_commands_before_a_write_that_does_not_enable_the_its_are_refused(log, offset):
    """What is enabled later is another queue: these commands ran before the trace began."""
    log.setup(enable=False)
    log.mappings()
    log.its(offset, 0, 4)
    log.enable()
    with pytest.raises(UnusableInput, match="line 9: an ITS command, but no write enables the ITS for it"):
        replay(log.write())


def test_a_slot_that_is_not_the_next_is_refused(log):
    log.setup()
    log.process(1)
    log.command("SYNC")
    with pytest.raises(UnusableInput, match="line 10: the ITS is at the command at 0x20, but the commands before end"):
        replay(log.write())


@pytest.mark.parametrize(("creadr", "fine"), [(0xA0, True), (0xA1, True), (0x80, False), (0, False)])
def test_a_read_of_creadr_says_where_the_its_is(running, creadr, fine):
    running.lines.append(f"gicv3_its_read GICv3 ITS read: offset 0x90 data {creadr:#x} size 8")
    if fine:
        assert replay(running.write()).verdict == "equal"
    else:
        with pytest.raises(UnusableInput, match=f"line 22: the ITS is at the command at {creadr:#x}, but"):
            replay(running.write())


def test_slots_that_follow_each_other_are_fine(log):
    log.setup(enable=False)
    for slot in range(3):
        log.process(slot)
        log.command("SYNC")
    log.enable()
    log.cwriter(3 * 32)
    log.process(3)
    log.command("SYNC")
    log.cwriter(4 * 32)
    assert replay(log.write()).commands == 4


def test_a_command_that_stalled_was_not_executed(log):
    log.setup()
    log.mappings()
    log.cwriter(5 * 32)
    log.command(f"DISCARD DeviceID {DEVICE:#x} EventID {EVENT:#x}")
    log.fault()
    log.cwriter(6 * 32)
    log.msi(EVENT)
    log.iar(LPI)
    assert replay(log.write()).verdict == "equal"
    log.command(f"DISCARD DeviceID {DEVICE:#x} EventID {EVENT:#x}")
    log.cwriter(6 * 32)
    log.msi(EVENT)
    log.iar(LPI)
    outcome = replay(log.write())
    assert [event.line for event in outcome.not_pending] == [len(log.lines)]


def test_the_stalls_of_qemu_are_followed(tmp_path):
    """As far as the trace shows them: the fault of a table's write, with which the next MAPD stalls, is not traced."""
    text = (DATA / "stall.trace").read_text()
    shown, _, _ = text.partition("gicv3_its_process_command GICv3 ITS: processing command at offset 0x4")
    (tmp_path / "gic.trace").write_text(shown)
    assert replay(tmp_path / "gic.trace").commands == 6
    (tmp_path / "gic.trace").write_text(text)
    with pytest.raises(UnusableInput, match="but the commands before end at 0xa0"):
        replay(tmp_path / "gic.trace")


def test_a_fault_of_a_message_stalls_nothing(running):
    running.msi(EVENT)
    running.fault()
    running.command(f"DISCARD DeviceID {DEVICE:#x} EventID {EVENT:#x}")
    running.cwriter(6 * 32)
    running.msi(EVENT)
    running.iar(LPI)
    assert len(replay(running.write()).not_pending) == 1


@pytest.mark.parametrize("name", ["partial.log", "crlf.log", "glued.log"])
def test_commands_alone_are_no_trace(name):
    with pytest.raises(UnusableInput, match=r"from power-on|at power-on"):
        replay(DATA / name)


def test_the_beginning_of_a_trace_judges_nothing():
    outcome = replay(DATA / "stampz.log")
    assert (outcome.events, outcome.verdict) == (37, "partial")
    assert outcome.unjudged[0].startswith("nothing was judged")


def test_glued_events_are_fed_and_counted(running):
    running.lines[3] = f"[    1.5] Booting {running.lines[3]}"
    running.lines[11] = f"login: {running.lines[11]}"
    outcome = replay(running.write())
    assert (outcome.verdict, outcome.events, outcome.unknown) == ("equal", 21, {})
    assert (outcome.traced.glued, tuple(outcome.traced.first_glued)) == (2, (4, "Booting"))


def test_a_console_of_many_words_stays_small(running):
    running.lines += [f"word{n} is no event" for n in range(1000)]
    outcome = replay(running.write())
    assert len(outcome.unknown) == MOST_NAMES + 1
    assert outcome.unknown["others"] == 1000 - MOST_NAMES


def test_pes_are_numbered_by_what_the_trace_tells(running):
    """sbsa-ref has eight PEs with one Aff1: RDbase 9 is affinity 0x101."""
    running.lines += (DATA / "sbsa.trace").read_text().splitlines()
    running.redistributor(0x70, CONFIGURATION | 15, cpu=0x101)
    running.redistributor(0x78, PENDING + 0x1_0000 * 16, cpu=0x101)
    running.redistributor(0x0, 1, 4, cpu=0x101)
    running.command("MAPC ICID 0x0 RDbase 0x9 V 1")
    running.cwriter(6 * 32)
    running.msi(EVENT)
    running.iar(LPI, cpu=0x101)
    outcome = replay(running.write())
    assert (outcome.traced.config.redistributors, outcome.traced.assumed, outcome.verdict) == (12, False, "equal")


def test_a_file_that_changes_between_its_two_readings_is_refused(running, monkeypatch):
    path = running.write()
    shorter = [*read_trace(path)][:-1]
    monkeypatch.setattr(sys.modules["gicmodel.replay.replay"], "read_trace", lambda path, file: iter(shorter))
    with pytest.raises(UnusableInput, match="has 20 lines when read again and had 21"):
        replay(path)


def test_a_trace_may_come_through_a_pipe(running, tmp_path):
    text = running.write().read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(text,))
    writer.start()
    assert replay(tmp_path / "pipe") == replay(running.path)
    writer.join()


def fed(log):
    """What has been fed all of a trace."""
    path = log.write()
    replayer = Replayer(path, survey(path), None)
    for event in read_trace(path):
        replayer.feed(event)
    return replayer


def test_sgis_and_ppis_are_set_up_as_the_trace_has_it(running):
    running.redistributor(0x1_0100, 1 << 27, 4)
    running.redistributor(0x1_041B, 0xA0, 1)
    registers = NamedRegisters(fed(running).gic.redistributors[0], "4.0")
    assert registers.read("GICR_ISENABLER0") == 1 << 27
    assert registers.read("GICR_IPRIORITYR6") == 0xA0 << 24


def ram_of(log):
    """What the model itself leaves in RAM."""
    replayer = fed(log)
    return np.array(replayer.memory.read(0x4010_0000, 0x10_0000), copy=True)


def segments(ram, *holes):
    """The RAM as segments, without the pages of `holes`."""
    cuts = sorted({0, ram.size, *(edge for start, size in holes for edge in (start, start + size))})
    pieces = [(low, high) for low, high in pairwise(cuts) if (low, high - low) not in holes]
    return [Segment(0x4010_0000 + low, ram[low:high]) for low, high in pieces]


def test_bytes_that_the_image_lacks_are_not_compared(running):
    running.msi(VIRTUAL_EVENT)
    running.msi(EVENT)
    ram = np.frombuffer(ram_of(running), np.uint8)
    whole = replay(running.path, Dump(segments(ram)))
    assert whole.verdict == "equal"
    vpt = VPT - 0x4010_0000
    page = replay(running.path, Dump(segments(ram, (vpt, 0x1000))))
    assert page.verdict == "equal"
    assert (page.compared["vpts"].bytes, page.compared["vpts"].absent) == (0x1000, 0x1000)
    assert page.compared["itts"] == whole.compared["itts"]
    none = replay(running.path, Dump(segments(ram, (vpt, 0x2000))))
    assert (none.compared["vpts"].bytes, none.compared["vpts"].different, none.verdict) == (0, 0, "partial")
    assert none.unjudged == ("nothing was compared of vpts: the image holds none of its 8192 bytes",)


def test_a_difference_counts_although_other_tables_are_absent(running):
    outcome = replay(running.write(), Dump([Segment(ITT, np.zeros(0x1000, np.uint8))]))
    assert outcome.compared["itts"].different
    assert outcome.compared["vpts"].absent
    assert outcome.verdict == "different"
