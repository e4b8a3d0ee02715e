# SPDX-License-Identifier: Apache-2.0
"""A replay judges: what was not pending, what the unknown lines are, which GIC wrote the trace."""

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER_V40
from gicmodel.replay import replay, survey
from tests.replay.tracelog import DEVICE, DOORBELL, EVENT, LPI, VIRTUAL_EVENT, VLPI, VPT


def not_pending(log):
    return [(event.intid, event.virtual) for event in replay(log.write()).not_pending]


def deschedule(log):
    log.redistributor(0x20078, GICR_VPENDBASER_V40.pack(Physical_Address=VPT))


def test_acknowledges_of_pending_interrupts(running):
    outcome = replay(running.write())
    assert (outcome.events, outcome.commands, outcome.msis, outcome.acknowledges) == (21, 5, 2, 2)
    assert outcome.not_pending == ()
    assert outcome.verdict == "equal"


@pytest.mark.parametrize(("event", "intid"), [(EVENT, LPI), (VIRTUAL_EVENT, VLPI)])
def test_an_acknowledge_without_its_message(running, event, intid):
    running.drop(f"TRANSLATER.*data {event:#x} ")
    assert not_pending(running) == [(intid, event == VIRTUAL_EVENT)]
    assert replay(running.path).verdict != "equal"


def test_an_acknowledge_clears_what_it_takes(running):
    running.iar(LPI)
    running.virtual_iar(VLPI)
    assert not_pending(running) == [(LPI, False), (VLPI, True)]


def test_an_acknowledge_by_the_wrong_pe(running):
    running.msi(EVENT)
    running.iar(LPI, cpu=1)
    assert not_pending(running) == [(LPI, False)]


@pytest.mark.parametrize("intid", [0, 27, 8191, 1023])
def test_only_lpis_are_judged(running, intid):
    running.iar(intid)
    running.virtual_iar(intid)
    outcome = replay(running.write())
    assert outcome.acknowledges == 4
    assert outcome.not_pending == ()


def test_an_intid_that_is_no_vlpi_came_through_a_list_register(running):
    running.virtual_iar(VLPI + 1)
    assert not_pending(running) == []


def test_a_vlpi_that_was_discarded_can_no_longer_be_acknowledged_as_one(running):
    running.command(f"DISCARD DeviceID {DEVICE:#x} EventID {VIRTUAL_EVENT:#x}")
    running.cwriter(6 * 32)
    running.virtual_iar(VLPI)
    assert not_pending(running) == []


def test_a_guest_acknowledge_without_a_resident_vpe_is_of_a_software_interrupt(running):
    deschedule(running)
    running.virtual_iar(VLPI)
    running.virtual_iar(VLPI, cpu=1)
    assert not_pending(running) == []


def test_an_individual_doorbell_is_a_physical_lpi(running):
    deschedule(running)
    running.msi(VIRTUAL_EVENT)
    running.iar(DOORBELL)
    running.schedule()
    running.virtual_iar(VLPI)
    assert not_pending(running) == []


def test_what_an_earlier_owner_left_in_an_itt_or_vpt_is_gone(running):
    running.msi(VIRTUAL_EVENT)
    deschedule(running)
    running.command(f"MAPD DeviceID {DEVICE:#x} Size 0x1 ITT_addr 0x401600 V 0")
    running.command("VMAPP vPEID 0x0 RDbase 0x0 V 0 VPT_addr 0x0 VPT_size 0x0")
    running.command(f"MAPD DeviceID {DEVICE:#x} Size 0x1 ITT_addr 0x401600 V 1")
    running.command(f"VMAPP vPEID 0x0 RDbase 0x0 V 1 VPT_addr {VPT >> 16:#x} VPT_size 0xf")
    running.command("VSYNC")
    running.cwriter(10 * 32)
    running.msi(EVENT)
    running.iar(LPI)
    running.schedule()
    running.command(
        f"VMAPI DeviceID {DEVICE:#x} EventID {VIRTUAL_EVENT:#x} vPEID 0x0 vINTID {VLPI:#x} Dbell_pINTID 0x3ff",
        event="VMAPTI",
    )
    running.cwriter(11 * 32)
    running.virtual_iar(VLPI)
    assert not_pending(running) == [(LPI, False), (VLPI, True)]


def test_a_second_mapd_keeps_the_itt(running):
    running.command(f"MAPD DeviceID {DEVICE:#x} Size 0x1 ITT_addr 0x401600 V 1")
    running.cwriter(6 * 32)
    running.msi(EVENT)
    running.iar(LPI)
    assert not_pending(running) == []


def test_unknown_lines_are_counted_by_name(running):
    running.lines += ["gicv3_icc_eoir_write GICv3 ICC_EOIR1 write cpu 0x0 value 0x2000"] * 2 + ["qemu: terminating"]
    outcome = replay(running.write())
    assert outcome.unknown == {"gicv3_icc_eoir_write": 2, "qemu:": 1}
    assert outcome.verdict == "equal"
    assert outcome.events == 24


def test_no_known_event_is_no_trace(log):
    log.lines = ["Linux version 6.12", "gic: hello"]
    with pytest.raises(UnusableInput, match="none of its 2 lines"):
        replay(log.write())


def test_the_survey_of_a_gicv4(running):
    running.redistributor(0x14, 0, 4, cpu=0x102)
    traced = survey(running.write())
    assert (traced.events, traced.config.architecture, traced.config.redistributors) == (22, "4.0", 16 + 2 + 1)


def test_the_survey_of_a_gicv3(running):
    running.lines = [line for line in running.lines if not ("0x2007" in line or "vmap" in line)]
    running.iar(27, cpu=3)
    traced = survey(running.write())
    assert (traced.events, traced.config.architecture, traced.config.redistributors) == (18, "3", 4)


def test_more_pes_than_qemu_can_have(running):
    running.iar(27, cpu=0x2000)
    with pytest.raises(UnusableInput, match="line 22: affinity 0x2000 is PE 512"):
        replay(running.write())


def test_progress_ends_at_the_total(running):
    reports = []
    replay(running.write(), progress=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (21, 21)
