# SPDX-License-Identifier: Apache-2.0
"""An external abort at every access of every command: it stalls, it has changed nothing, and Retry completes it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.its_tables import DTE, LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_VPROPBASER
from tests.hardware.bench import (
    COLLECTION_TABLES,
    DEVICE_TABLES,
    DOORBELL,
    NO_DOORBELL,
    OUTSIDE,
    UNIT,
    Bench,
    furnished,
)

LPI, VLPI = FIRST_LPI + 3, FIRST_LPI + 5
EVENT, VIRTUAL = {"DeviceID": 1, "EventID": 7}, {"DeviceID": 1, "EventID": 8}
FAR_ICID = 600
"""Its entry is in the second level 2 page, and so is that of FAR_VPE."""
FAR_VPE = 130
FAR_VPE_V40 = 600


def everything(architecture: str = "4.1", **choices: object) -> Bench:
    """Two-level tables; pending tables and VPTs are RAM; event 7 is an LPI and event 8 a vLPI with a doorbell."""
    choices = {"svpet": 0, "nid": False} | choices
    immediate = {"vpt_writeback": "immediate", "pending_writeback": "immediate"}
    bench = furnished(architecture=architecture, indirect=True, **(immediate | choices))
    bench.run("MAPD", DeviceID=1, Size=13, ITT_addr=bench.itt(1), V=1)
    bench.run("MAPC", ICID=FAR_ICID, RDbase=1, V=1)
    bench.map_lpi(7, LPI)
    bench.run("INT", **EVENT)
    if architecture != "3":
        bench.map_vpe(0, 0)
        bench.map_vpe(far_vpe(architecture), 1, VPT_addr=bench.vpt(1))
        bench.map_vlpi(8, VLPI)
        bench.run("INT", **VIRTUAL)
        bench.run("VMOVI", **VIRTUAL, D=1, Doorbell=DOORBELL)
    return bench


def far_vpe(architecture: str) -> int:
    return FAR_VPE if architecture == "4.1" else FAR_VPE_V40


@contextmanager
def fault(bench: Bench, what: str) -> Iterator[None]:
    """Software has made something lie outside RAM, and repairs it in the end."""
    name, *rest = what.split()
    page = int(rest[0]) if rest else 0
    poke = {
        "DTE": (DEVICE_TABLES, LEVEL1.pack(Valid=1, Physical_Address=OUTSIDE)),
        "CTE": (COLLECTION_TABLES + 8 * page, LEVEL1.pack(Valid=1, Physical_Address=OUTSIDE)),
        "VTE": (bench.vpe_table() + 8 * page, LEVEL1.pack(Valid=1, Physical_Address=OUTSIDE)),
        "VPE": (bench.vpe_table(1) + 8 * page, LEVEL1.pack(Valid=1, Physical_Address=OUTSIDE)),
        "ITE": (DEVICE_TABLES + 0x1000 + 8, DTE.pack(Valid=1, Size=13, ITT_addr=OUTSIDE)),
        "VPT": (vpe_entry(bench, page), vpt_outside(bench, page)),
    }
    if name in poke:
        address, value = poke[name]
        before = bench.memory.read_u64(address)
        bench.memory.write_u64(address, value)
        yield
        bench.memory.write_u64(address, before)
    elif name == "PENDING":
        move_pending_table(bench, page, OUTSIDE)
        yield
        move_pending_table(bench, page, bench.pending_table(page))
    else:
        assert name in REGISTERS, what
        with register_fault(bench, name):
            yield


REGISTERS = {"BASER0": DEVICE_TABLES, "BASER1": COLLECTION_TABLES, "BASER2": 0, "VPROPBASER": 0}


@contextmanager
def register_fault(bench: Bench, name: str) -> Iterator[None]:
    """Level 1 of a table is outside RAM."""
    tables = REGISTERS | {"BASER2": bench.vpe_table(), "VPROPBASER": bench.vpe_table(1)}
    for address in (OUTSIDE, tables[name]):
        if name == "VPROPBASER":
            for rd in range(bench.config.redistributors):
                bench.write_rd(name, GICR_VPROPBASER.pack(Valid=1, Indirect=1, Physical_Address=address), rd)
        else:
            bench.enable_its(False)
            bench.write_its(name, GITS_BASER.pack(Valid=1, Indirect=1, Physical_Address=address))
            bench.enable_its(True)
        if address == OUTSIDE:
            yield


def move_pending_table(bench: Bench, rd: int, address: int) -> None:
    bench.enable_lpis(False, rd)
    bench.write_rd("PENDBASER", GICR_PENDBASER.pack(Physical_Address=address), rd)
    bench.enable_lpis(True, rd)


def vpe_entry(bench: Bench, page: int) -> int:
    """Where the ITS's entry of vPE 0, or of the far one, is."""
    size = 32 if bench.config.v41 else 8
    return bench.vpe_table() + 0x1000 + page * (far_vpe(bench.config.architecture) * size)


def vpt_outside(bench: Bench, page: int) -> int:
    """The first word of that entry with its VPT outside RAM."""
    word = bench.memory.read_u64(vpe_entry(bench, page))
    if bench.config.v41:
        return word & 0xFFF0_0000_0000_FFFF | OUTSIDE
    return word & ~(0xF_FFFF_FFFF << 6) | OUTSIDE >> 16 << 6


PHYSICAL = {
    "MAPD": ({"DeviceID": 2, "ITT_addr": 0x8000_0000, "V": 1}, "BASER0, DTE"),
    "MAPC": ({"ICID": 2, "V": 1}, "BASER1, CTE"),
    "MAPTI": (EVENT | {"pINTID": LPI + 1}, "BASER0, DTE, ITE"),
    "MAPI": ({"DeviceID": 1, "EventID": LPI}, "BASER0, DTE, ITE"),
    "MOVI": (EVENT | {"ICID": FAR_ICID}, "BASER0, DTE, ITE, BASER1, CTE 0, CTE 1, PENDING 0, PENDING 1"),
    "INT": (EVENT, "BASER0, DTE, ITE, BASER1, CTE, PENDING 0"),
    "CLEAR": (EVENT, "BASER0, DTE, ITE, BASER1, CTE, PENDING 0"),
    "DISCARD": (EVENT, "BASER0, DTE, ITE, BASER1, CTE, PENDING 0"),
    "INV": (EVENT, "BASER0, DTE, ITE, BASER1, CTE"),
    "INVALL": ({"ICID": FAR_ICID}, "BASER1, CTE 1"),
    "MOVALL": ({"RDbase": 0, "RDbase2": 1}, "PENDING 0, PENDING 1"),
}
VMAPP = {"vPEID": 2, "V": 1, "VPT_size": 13, "VPT_addr": 0x8000_0000 + 0x39_0000 + 2 * UNIT}
MAP_V = {"DeviceID": 1, "EventID": 9, "Doorbell": NO_DOORBELL}
LOOKUP = "BASER0, DTE, ITE, BASER2, VTE"
VIRTUAL_COMMANDS = {
    "VMAPTI": (MAP_V | {"vINTID": VLPI}, "BASER0, DTE, ITE"),
    "VMAPI": (MAP_V | {"EventID": VLPI}, "BASER0, DTE, ITE"),
    "INT": (VIRTUAL, f"{LOOKUP}, VPT"),
    "CLEAR": (VIRTUAL, f"{LOOKUP}, VPT"),
    "DISCARD": (VIRTUAL, f"{LOOKUP}, VPT"),
    "INV": (VIRTUAL, LOOKUP),
    "VINVALL": ({}, "BASER2, VTE"),
}
V40_COMMANDS = {
    "VMOVI": (VIRTUAL | {"vPEID": FAR_VPE_V40}, f"{LOOKUP} 0, VTE 1, VPT 0, VPT 1"),
    "VMOVP": ({"RDbase": 1}, "BASER2, VTE"),
    "VMAPP": (VMAPP, "BASER2, VTE"),
}
V41_COMMANDS = {
    "VMOVI": (VIRTUAL | {"vPEID": FAR_VPE}, f"{LOOKUP} 0, VTE 1, VPT 0, VPT 1"),
    "VMOVP": ({"RDbase": 1}, "BASER2, VTE, VPROPBASER, VPE"),
    "VMAPP": (VMAPP | {"Alloc": 1, "Default_Doorbell": 1023}, "BASER2, VTE, VPROPBASER, VPE"),
    "VSYNC": ({}, "BASER2, VTE"),
    "INVDB": ({}, "BASER2, VTE"),
    "VSGI": ({"Enable": 1}, "BASER2, VTE, VPT"),
    "INV": (VIRTUAL, "VPROPBASER, VPE"),
    "VINVALL": ({}, "VPROPBASER, VPE"),
}
UNMAP = {"4.0": ({}, "BASER2, VTE"), "4.1": ({"Alloc": 1}, "BASER2, VTE, VPROPBASER, VPE")}


def cases() -> list[tuple[str, str, dict[str, int], str]]:
    """(architecture, mnemonic, fields, what lies outside RAM)."""
    groups = [("3", PHYSICAL), *((v, VIRTUAL_COMMANDS) for v in ("4.0", "4.1"))]
    groups += [("4.0", V40_COMMANDS), ("4.1", V41_COMMANDS)]
    groups += [(architecture, {"VMAPP": unmap}) for architecture, unmap in UNMAP.items()]
    return [
        (architecture, mnemonic, fields, what)
        for architecture, commands in groups
        for mnemonic, (fields, places) in commands.items()
        for what in places.split(", ")
    ]


@pytest.mark.parametrize(("architecture", "mnemonic", "fields", "what"), cases())
def test_abort(architecture, mnemonic, fields, what):
    bench = everything(architecture)
    offset = bench.queue_command(mnemonic, **fields)
    with fault(bench, what):
        with bench.unchanged():
            bench.ring()
        assert bench.creadr() == (offset, 1)
        assert [error.number & 0xFF for error in bench.gic.errors] == [0xFE]
    bench.gic.clear_errors()
    bench.ring(retry=1)
    assert bench.gic.errors == []
    assert bench.creadr() == (offset + COMMAND_BYTES, 0)


def test_vmapp_aborts_when_the_vpt_is_outside_ram():
    """Hardware takes the VPT as pending state (PTZ = 0), or clears it, so it must be there."""
    bench = furnished()
    for ptz in (0, 1):
        fields = {"V": 1, "Alloc": 1, "PTZ": ptz, "VPT_size": 13, "VPT_addr": OUTSIDE, "Default_Doorbell": 1023}
        assert bench.refused("VMAPP", **fields) == 0x0129FE


def test_a_table_that_ends_beyond_ram_aborts_there_only():
    bench = furnished()
    bench.enable_its(False)
    bench.write_its("BASER0", GITS_BASER.pack(Valid=1, Page_Size=2, Size=0, Physical_Address=bench.memory.end - UNIT))
    bench.enable_its(True)
    bench.run("MAPD", DeviceID=UNIT // 8 - 1, ITT_addr=bench.itt(), V=1)
    assert bench.memory.read_u64(bench.memory.end - 8) != 0


@pytest.mark.parametrize("rd", [0, 1])
def test_a_doorbell_that_cannot_be_stored_is_an_abort_after_the_vlpi_is_pending(rd):
    """The vLPI and its doorbell are two accesses; the first is not undone."""
    bench = everything()
    bench.run("VMOVP", RDbase=rd)
    bench.run("CLEAR", **VIRTUAL)
    with fault(bench, f"PENDING {rd}"):
        bench.queue_command("INT", **VIRTUAL)
        bench.ring()
        assert [error.number for error in bench.gic.errors] == [0x0103FE]
    assert bench.bit(bench.vpt(), VLPI) == 1


@pytest.mark.parametrize(
    ("architecture", "mnemonic", "fields", "what"),
    [
        ("3", "MOVI", EVENT | {"ICID": FAR_ICID}, "PENDING 1"),
        ("4.0", "VMOVI", VIRTUAL | {"vPEID": FAR_VPE_V40}, "VPT 1"),
        ("4.1", "VMOVI", VIRTUAL | {"vPEID": FAR_VPE}, "VPT 1"),
    ],
)
def test_where_nothing_is_pending_a_move_needs_no_pending_table_at_the_target(architecture, mnemonic, fields, what):
    bench = everything(architecture)
    bench.run("CLEAR", DeviceID=fields["DeviceID"], EventID=fields["EventID"])
    with fault(bench, what):
        bench.queue_command(mnemonic, **fields)
        bench.ring()
        assert bench.gic.errors == []
