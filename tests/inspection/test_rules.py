# SPDX-License-Identifier: Apache-2.0
"""For every finding a machine that has it, and one that nearly has it."""

import pytest

from gicmodel.inspection.linux.devices import KernelDevice, KernelEvent, KernelView, KernelVpe
from gicmodel.inspection.rules import RULES, find
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR, GITS_TYPER
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_PROPBASER, GICR_VPENDBASER_V40
from tests.inspection.machine import (
    BASE,
    COLLECTIONS,
    CONFIGURATION,
    DEVICES,
    END,
    ITT8,
    ITT16,
    LEVEL2,
    PENDING0,
    PENDING1,
    QUEUE,
    SPARE,
    VCONF,
    VPT0,
    VPT1,
    Machine,
    SavedGuest,
)

HOST, INDIRECT, GUEST = Machine, lambda: Machine(indirect=True), SavedGuest
TWO_LEVEL_GUEST = lambda: SavedGuest(indirect=True)  # noqa: E731
# finding: (machine, what gives it the finding, what nearly does)
CASES = {
    "device-out-of-range": (
        HOST,
        lambda m: m.set("GITS0", "TYPER", GITS_TYPER, Devbits=3),
        lambda m: m.set("GITS0", "TYPER", GITS_TYPER, Devbits=4),
    ),
    "itt-size": (
        HOST,
        lambda m: m.set("GITS0", "TYPER", GITS_TYPER, ID_bits=0),
        lambda m: m.set("GITS0", "TYPER", GITS_TYPER, ID_bits=1),
    ),
    "intid-out-of-range": (
        HOST,
        lambda m: m.physical(ITT8, 0, 8191, icid=0),
        lambda m: m.physical(ITT8, 0, 65535, icid=0),
    ),
    "event-unmapped-collection": (
        HOST,
        lambda m: m.physical(ITT8, 0, 8192, icid=2),
        lambda m: m.physical(ITT8, 0, 8192, icid=1),
    ),
    "event-unmapped-vpe": (
        HOST,
        lambda m: m.virtual(ITT16, 0, 8194, vpe=2),
        lambda m: m.virtual(ITT16, 0, 8194, vpe=0),
    ),
    "intid-shared": (
        HOST,
        lambda m: m.virtual(ITT16, 0, 8193, vpe=0),
        lambda m: m.virtual(ITT16, 0, 8193, vpe=1),
    ),
    "collection-rdbase": (HOST, lambda m: m.collection(1, 2), lambda m: m.collection(1, 0)),
    "collection-lpis-off": (
        HOST,
        lambda m: m.set("GICR0", "CTLR", GICR_CTLR, EnableLPIs=0),
        lambda m: m.set("GICR1", "CTLR", GICR_CTLR, EnableLPIs=0),
    ),
    "collection-duplicate": (
        GUEST,
        lambda m: m.collection(0, 1, slot=2),
        lambda m: m.collection(0, 1, slot=3),
    ),
    "vpe-rdbase": (HOST, lambda m: m.vpe(1, VPT1, RDbase=2), lambda m: m.vpe(1, VPT1, RDbase=0)),
    "vpt-size": (
        HOST,
        lambda m: m.vpe(1, VPT1, RDbase=1, VPT_size=12),
        lambda m: m.vpe(1, VPT1, RDbase=1, VPT_size=13),
    ),
    "vpt-shared": (HOST, lambda m: m.vpe(1, VPT0, RDbase=1), lambda m: m.vpe(1, SPARE, RDbase=1)),
    "doorbell-no-lpi": (
        HOST,
        lambda m: m.virtual(ITT8, 1, 8193, vpe=0, doorbell=1022),
        lambda m: m.virtual(ITT8, 1, 8193, vpe=0, doorbell=1023),
    ),
    "table-invalid": (
        HOST,
        lambda m: m.set("GITS0", "BASER1", GITS_BASER, Valid=0),
        lambda m: (
            m.set("GITS0", "BASER1", GITS_BASER, Valid=0),
            m.set("GITS0", "CTLR", GITS_CTLR, Enabled=0),
        ),
    ),
    "chain-broken": (
        GUEST,
        lambda m: m.event(ITT8, 0, 8192, 0, next=2),
        lambda m: m.event(ITT8, 0, 8192, 0, next=3),
    ),
    "chain-leaves-table": (
        GUEST,
        lambda m: m.event(ITT8, 3, 8194, 0, next=1),
        lambda m: m.event(ITT8, 3, 8194, 0, next=0),
    ),
    "chain-skips": (
        GUEST,
        lambda m: m.event(ITT8, 0, 8192, 0, next=0),
        lambda m: m.event(ITT8, 1, 0, 0, next=2),
    ),
    "pending-disabled": (
        HOST,
        lambda m: (m.pend(PENDING0, 8192), m.configure(CONFIGURATION, 8192, enable=0)),
        lambda m: (m.pend(PENDING1, 8192), m.configure(CONFIGURATION, 8193, enable=0)),
    ),
    "pending-unconfigured": (
        HOST,
        lambda m: (m.pend(PENDING0, 8192), m.holes.append((CONFIGURATION, CONFIGURATION + 1))),
        lambda m: (m.pend(PENDING0, 8193), m.holes.append((CONFIGURATION, CONFIGURATION + 1))),
    ),
    "pending-unmapped": (HOST, lambda m: m.pend(VPT0, 8194), lambda m: m.pend(VPT1, 8194)),
    "pending-beyond-idbits": (HOST, lambda m: m.pend(VPT0, 65536), lambda m: m.pend(VPT0, 65535)),
    "pending-lpis-off": (
        HOST,
        lambda m: (m.pend(PENDING1, 8192), m.set("GICR1", "CTLR", GICR_CTLR, EnableLPIs=0)),
        lambda m: (m.pend(PENDING0, 8192), m.set("GICR1", "CTLR", GICR_CTLR, EnableLPIs=0)),
    ),
    "pending-reserved": (HOST, lambda m: m.pend(PENDING0, 8191), lambda m: m.pend(PENDING0, 8192)),
    "resident-unmapped": (
        HOST,
        lambda m: m.set("GICR1", "VPENDBASER", GICR_VPENDBASER_V40, Valid=1, Physical_Address=SPARE),
        lambda m: m.set("GICR1", "VPENDBASER", GICR_VPENDBASER_V40, Valid=0, Physical_Address=SPARE),
    ),
    "resident-twice": (
        HOST,
        lambda m: [
            m.set(frame, "VPENDBASER", GICR_VPENDBASER_V40, Valid=1, Physical_Address=VPT0)
            for frame in ("GICR0", "GICR1")
        ],
        lambda m: [m.set(frame, "VPENDBASER", GICR_VPENDBASER_V40, Valid=1) for frame in ("GICR0", "GICR1")],
    ),
    "queue-stalled": (
        HOST,
        lambda m: (m.command(1, "INT", DeviceID=9), m.queue(1, 2, stalled=1)),
        lambda m: (m.command(1, "INT", DeviceID=9), m.queue(1, 2)),
    ),
    "queue-offset": (
        HOST,
        lambda m: (m.set("GITS0", "CBASER", GITS_CBASER, Size=0), m.queue(0, 128)),
        lambda m: (m.set("GITS0", "CBASER", GITS_CBASER, Size=0), m.queue(127, 127)),
    ),
    "queue-its-disabled": (
        HOST,
        lambda m: (m.command(0, "SYNC"), m.queue(0, 1), m.set("GITS0", "CTLR", GITS_CTLR, Enabled=0)),
        lambda m: (m.command(0, "SYNC"), m.queue(1, 1), m.set("GITS0", "CTLR", GITS_CTLR, Enabled=0)),
    ),
    "queue-behind": (
        HOST,
        lambda m: (m.command(1, "SYNC"), m.queue(1, 2)),
        lambda m: (m.command(1, "SYNC"), m.queue(1, 2, stalled=1)),
    ),
    "queue-unknown-command": (
        HOST,
        lambda m: (m.memory.write_u64(QUEUE, 0x23), m.queue(0, 1)),
        lambda m: (m.memory.write_u64(QUEUE, 0x21), m.queue(0, 1)),
    ),
    "overlap": (HOST, lambda m: m.device(16, ITT8), lambda m: m.device(16, ITT8 + 0x100)),
    "res0": (
        HOST,
        lambda m: m.memory.write_u8(COLLECTIONS + 7, 0x80),
        lambda m: m.memory.write_u8(COLLECTIONS + 8 * 4, 1),
    ),
    "level1-res0": (INDIRECT, lambda m: m.level1(0, LEVEL2, extra=1), lambda m: m.level1(0, LEVEL2)),
    "level1-misaligned": (INDIRECT, lambda m: m.level1(0, LEVEL2 + 0x1000), lambda m: m.level1(1, SPARE)),
    "level1-shared": (INDIRECT, lambda m: m.level1(1, LEVEL2), lambda m: m.level1(1, SPARE)),
    "table-misaligned": (
        HOST,
        lambda m: m.set("GITS0", "CBASER", GITS_CBASER, Physical_Address=SPARE + 0x1000, Size=0),
        lambda m: m.set("GITS0", "CBASER", GITS_CBASER, Physical_Address=SPARE, Size=0),
    ),
    "table-absent": (
        HOST,
        lambda m: m.holes.append((DEVICES + 0xF000, DEVICES + 0x10000)),
        lambda m: m.holes.append((SPARE, SPARE + 0x10000)),
    ),
    "itt-absent": (
        HOST,
        lambda m: m.holes.append((ITT16 + 47, ITT16 + 48)),
        lambda m: m.holes.append((ITT16 + 48, ITT16 + 49)),
    ),
    "pending-absent": (
        HOST,
        lambda m: m.holes.append((PENDING1 + 0x1FFF, PENDING1 + 0x2000)),
        lambda m: m.holes.append((PENDING1 + 0x2000, PENDING1 + 0x2001)),
    ),
    "configuration-absent": (
        HOST,
        lambda m: m.holes.append((CONFIGURATION + 0xDFFF, CONFIGURATION + 0xE000)),
        lambda m: m.holes.append((CONFIGURATION + 0xE000, CONFIGURATION + 0xE001)),
    ),
    "idbits-too-small": (
        HOST,
        lambda m: [m.set(frame, "PROPBASER", GICR_PROPBASER, IDbits=12) for frame in ("GICR0", "GICR1")],
        lambda m: [m.set(frame, "PROPBASER", GICR_PROPBASER, IDbits=13) for frame in ("GICR0", "GICR1")],
    ),
    "propbaser-differs": (
        HOST,
        lambda m: m.set("GICR1", "PROPBASER", GICR_PROPBASER, IDbits=14),
        lambda m: m.set("GICR1", "PROPBASER", GICR_PROPBASER, Shareability=2),
    ),
}


def not_saved(iidr):
    def change(machine):
        for table in (DEVICES, COLLECTIONS):
            machine.memory.zero(table, 0x1_0000)
        machine.queue(3, 3)
        machine.registers["GITS0"]["IIDR"] = iidr

    return change


def kernel(device=8, itt=ITT8, intid=8192, broken=None, doubt=""):
    """What a kernel's structures say of one event; the machine's tables have device 8, event 0, INTID 8192 there."""

    def change(machine):
        events = [KernelEvent(0, intid, 0), KernelEvent(1, 8201, 0, 8193, KernelVpe(0, VPT0, VCONF, 0, True))]
        other = KernelDevice(16, ITT16, 4, True, [KernelEvent(0, 8202, 0, 8194, KernelVpe(1, VPT1, VCONF, 1, True))])
        devices = [KernelDevice(device, itt, 4, True, events, doubt=doubt), other]
        machine.kernel = KernelView("a test", {0: devices}, {} if broken is None else {0: broken})

    return change


CASES |= {
    "kernel-differs": (HOST, kernel(intid=8193), kernel()),
    "kernel-list-broken": (HOST, kernel(broken="the list breaks"), kernel()),
    "mapping-doubtful": (HOST, kernel(doubt="a twin has its LPIs"), kernel()),
    "table-too-small": (HOST, kernel(device=0x2000), kernel(device=0x1FFF)),
    "groups-disabled": (
        HOST,
        lambda m: m.registers["GICD"].update(CTLR=0x10),
        lambda m: m.registers["GICD"].update(CTLR=0x12),
    ),
    "lpis-without-tables": (
        HOST,
        lambda m: m.set("GICR0", "PENDBASER", GICR_PENDBASER, Physical_Address=0),
        lambda m: m.set("GICR0", "PENDBASER", GICR_PENDBASER, Physical_Address=PENDING0),
    ),
    "queue-without-memory": (
        HOST,
        lambda m: m.set("GITS0", "CBASER", GITS_CBASER, Valid=0),
        lambda m: (m.set("GITS0", "CBASER", GITS_CBASER, Valid=0), m.set("GITS0", "CTLR", GITS_CTLR, Enabled=0)),
    ),
    "table-twice": (
        HOST,
        lambda m: m.registers["GITS0"].update(BASER3=m.baser(4, 8, COLLECTIONS)),
        lambda m: m.registers["GITS0"].update(BASER3=m.baser(4, 8, COLLECTIONS, Valid=0)),
    ),
    "register-value": (
        HOST,
        lambda m: m.registers["GITS0"].update(BASER3=m.baser(3, 8, COLLECTIONS)),
        lambda m: m.registers["GITS0"].update(BASER3=m.baser(0, 8, 0, Valid=0)),
    ),
}
CASES["tables-not-saved"] = (GUEST, not_saved(0x4B00_043B), not_saved(0x4A00_043B))


def findings(machine):
    return find(machine.inspect())


def changed(make, change):
    machine = make()
    change(machine)
    return findings(machine)


@pytest.mark.parametrize("make", [HOST, INDIRECT, GUEST, TWO_LEVEL_GUEST])
def test_machines_are_clean(make):
    assert findings(make()).told == []


def test_every_rule_has_its_two_machines():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("identifier", CASES)
def test_a_machine_that_has_it(identifier):
    make, breaks, _ = CASES[identifier]
    found = changed(make, breaks)
    assert found.counts.get(identifier), found.told
    told = next(finding for finding in found.told if finding.rule.identifier == identifier)
    assert told.sentence == " ".join(told.sentence.split())
    assert told.address < END
    assert told.offset in (-1, told.address - BASE)


@pytest.mark.parametrize("identifier", CASES)
def test_a_machine_that_nearly_has_it(identifier):
    make, _, nearly = CASES[identifier]
    assert identifier not in changed(make, nearly).counts


def test_errors_come_first_and_rules_are_cited():
    found = changed(HOST, lambda m: (m.pend(PENDING0, 8191), m.collection(1, 2), m.vpe(1, VPT0, RDbase=2)))
    severities = [finding.rule.severity for finding in found.told]
    assert severities == sorted(severities)
    assert all(rule.source and rule.text.endswith(".") for rule in RULES.values())


def test_a_redistributor_that_was_not_set_up_breaks_nothing():
    def change(machine):
        for frame in ("GICR0", "GICR1"):
            machine.set(frame, "CTLR", GICR_CTLR, EnableLPIs=0)
        machine.set("GICR1", "PROPBASER", GICR_PROPBASER, IDbits=0)

    assert not {"idbits-too-small", "propbaser-differs"} & changed(HOST, change).counts.keys()


def test_of_a_rule_broken_often_the_first_ones_are_told_and_all_are_counted():
    found = changed(HOST, lambda m: [m.pend(VPT0, intid) for intid in range(9000, 9500)])
    assert found.counts["pending-unmapped"] == 500
    assert sum(finding.rule.identifier == "pending-unmapped" for finding in found.told) == 100


STALLS = [
    ("INT", {"DeviceID": 9}, "device 0x9 is not mapped"),
    ("INT", {"DeviceID": 8, "EventID": 4}, "EventID 0x4 is beyond the 2 bits of device 0x8"),
    ("INT", {"DeviceID": 8, "EventID": 3}, "event 3 of device 0x8 is not mapped"),
    ("MAPD", {"DeviceID": 0x10000, "V": 1}, "DeviceID 0x10000 is wider than the 16 bits of GITS0"),
    ("MAPD", {"DeviceID": 0x2000, "V": 1}, "DeviceID 0x2000 is beyond the 0x2000 entries of GITS0_BASER0"),
    ("MAPD", {"DeviceID": 1, "Size": 16, "V": 1}, "Size asks for EventIDs of 17 bits; GITS0 has 16"),
    ("MAPTI", {"DeviceID": 8, "pINTID": 8191}, "INTID 8191 is no LPI of 16 bits"),
    ("MAPI", {"DeviceID": 8, "EventID": 1}, "INTID 1 is no LPI of 16 bits"),
    ("VMAPTI", {"DeviceID": 8, "vINTID": 5}, "vINTID 5 is no LPI"),
    ("MAPC", {"ICID": 2, "RDbase": 7, "V": 1}, "RDbase 0x7 is no redistributor"),
    ("MAPC", {"ICID": 2, "RDbase": 7}, "no reason is seen in the tables"),
    ("MOVI", {"DeviceID": 8, "ICID": 5}, "collection 5 is not mapped"),
    ("MOVI", {"DeviceID": 8, "EventID": 1}, "event 1 of device 0x8 is virtual"),
    ("VSYNC", {"vPEID": 3}, "vPE 3 is not mapped"),
    ("VMAPP", {"vPEID": 1, "V": 1}, "vPE 1 is mapped already"),
    ("MOVALL", {"RDbase2": 9}, "RDbase2 0x9 is no redistributor"),
]


@pytest.mark.parametrize(("mnemonic", "fields", "reason"), STALLS)
def test_a_stalled_command_gets_its_likely_reason(mnemonic, fields, reason):
    found = changed(HOST, lambda m: (m.command(3, mnemonic, **fields), m.queue(3, 4, stalled=1)))
    (stalled,) = [finding for finding in found.told if finding.rule.identifier == "queue-stalled"]
    assert stalled.sentence.startswith(f"GITS0 stalled at {mnemonic} ")
    assert stalled.sentence.endswith(f": {reason}")
    assert stalled.address == QUEUE + 3 * 32


def test_a_device_without_a_level_2_page():
    found = changed(INDIRECT, lambda m: (m.command(0, "MAPD", DeviceID=0x2000, V=1), m.queue(0, 1, stalled=1)))
    assert found.told[0].sentence.endswith(": GITS0_BASER0 has no level 2 page for DeviceID 0x2000")


def test_tables_that_begin_at_one_address_are_told_apart():
    """Three redistributors with one pending table: the second was said to overlap itself."""
    machine = HOST()
    machine.registers["GICR2"] = machine.redistributor(2, PENDING0, VPT1)
    machine.registers["GICR1"] = machine.redistributor(1, PENDING0, VPT1)
    sentences = [one.sentence for one in find(machine.inspect()).told if one.rule.identifier == "overlap"]
    name = "LPI pending table of GICR{} at " + hex(PENDING0)
    assert sentences == [f"{name.format(n)} overlaps {name.format(n - 1)}" for n in (1, 2)]


def test_a_guest_that_saved_its_tables_or_has_done_nothing_gets_no_warning():
    guest = SavedGuest()
    guest.queue(3, 3)
    guest.registers["GITS0"]["IIDR"] = 0x4B00_043B
    assert findings(guest).told == []
    not_saved(0x4B00_043B)(guest)
    guest.queue(0, 0)
    assert "tables-not-saved" not in findings(guest).counts


@pytest.mark.parametrize(("frame", "register"), [("GICR0", "PROPBASER"), ("GICR0", "VPROPBASER")])
def test_a_configuration_table_whose_address_is_not_given_lacks_no_byte(frame, register):
    """Registers were read on one CPU of a healthy machine; the dump has the table of the other, and all bytes."""
    machine = HOST()
    machine.pend(PENDING0, 8192)
    machine.pend(VPT0, 8193)
    machine.pend(VPT1, 8194)
    del machine.registers[frame][register]
    assert "pending-unconfigured" not in find(machine.inspect()).counts
