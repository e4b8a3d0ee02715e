# SPDX-License-Identifier: Apache-2.0
"""Each known difference between QEMU 7.2 and the model, shown: a mask that nothing needs is a hole."""

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers.qemu.differences import AVOIDED, COMPARED, COMPARED_EACH, NEVER_DONE
from gicmodel.fuzzing.peers.qemu.process import BINARY, ITS_BASE, QemuProcess
from gicmodel.fuzzing.peers.qemu.twins import UNMAPPED, Twins
from gicmodel.fuzzing.programs.universe import words
from gicmodel.hardware.bus import DISTRIBUTOR_BASE
from gicmodel.lab.geometry import Geometry
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CREADR, GITS_CTLR, GITS_CWRITER
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_PROPBASER

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.needs(BINARY),
]

FLAT, TWO_LEVEL = Geometry(), Geometry(indirect=True)
REDISTRIBUTOR_BASE = GicConfig.qemu().redistributor_base


@pytest.fixture
def boot():
    peers = []

    def new(geometry=FLAT):
        peers.append(QemuProcess())
        return Twins(peers[-1], GicConfig.qemu("4.0"), geometry)

    yield new
    for peer in peers:
        peer.close()


def send(twins, *commands):
    """Also commands that `Twins.run` would leave out."""
    twins.run_words(np.array([words(command, "4.0") for command in commands], np.uint64))


def register_differences(twins):
    return [tuple(difference) for difference in twins.different_registers()]


def stall_differences(twins):
    return [tuple(difference) for difference in twins.stalls]


def mapped(twins, itt=None, **event):
    """A device of 16 events with one mapped event, a collection, and a vPE with one mapped event."""
    send(
        twins,
        ("MAPD", {"DeviceID": 0, "Size": 3, "ITT_addr": itt or twins.placement.itts[0], "V": 1}),
        ("MAPC", {"ICID": 0, "RDbase": 0, "V": 1}),
        ("MAPC", {"ICID": 1, "RDbase": 1, "V": 1}),
        ("MAPTI", {"DeviceID": 0, "EventID": 0, "pINTID": 8192, "ICID": 0} | event),
        ("VMAPP", {"vPEID": 0, "RDbase": 0, "V": 1, "VPT_addr": twins.placement.vpts[0], "VPT_size": 15}),
        ("VMAPTI", {"DeviceID": 0, "EventID": 1, "vPEID": 0, "vINTID": 8192, "Doorbell": 1023}),
    )
    return twins


def pending_last(twins):
    """PendingLast of redistributor 0 after its vPE has left: the model's, QEMU's."""
    twins.deschedule(0, doorbell=False, pending_last=False)
    model, qemu = twins.redistributors[0].read("GICR_VPENDBASER"), twins.qemu.read(REDISTRIBUTOR_BASE + 0x2_0078, 8)
    return model >> 61 & 1, qemu >> 61 & 1


SHOWN = set()


def shows(name):
    """The test shows that known difference."""

    def mark(test):
        SHOWN.add(name)
        return test

    return mark


@pytest.mark.parametrize("known", AVOIDED, ids=lambda known: known.mnemonic)
def test_an_avoided_command_is_taken_differently(boot, known):
    twins = mapped(boot())
    send(twins, ("MAPD", {"DeviceID": 1, "Size": 3, "ITT_addr": UNMAPPED, "V": 1}))
    command = {
        "MAPD": ("MAPD", {"DeviceID": 0, "Size": 16, "V": 0}),
        "VMAPP": ("VMAPP", {"vPEID": 0, "VPT_size": 16, "V": 0}),
        "MAPC": ("MAPC", {"ICID": 2, "RDbase": 0x1_0000, "V": 1}),
        "VMOVI": ("VMOVI", {"DeviceID": 1, "EventID": 0, "vPEID": 0, "D": 1, "Doorbell": 0}),
    }[known.mnemonic]
    assert twins.differences() == []
    twins.run([command])
    assert twins.differences() == []
    send(twins, command)
    assert twins.differences() != []


@shows("a command queue outside RAM")
def test_a_command_queue_outside_ram(boot):
    twins = boot()
    twins.enable_its(0, False)
    twins.its[0].write("GITS_CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=UNMAPPED))
    twins.its[0].write("GITS_CWRITER", 0)
    twins.enable_its(0, True)
    twins.its[0].write("GITS_CWRITER", 0x40)
    assert register_differences(twins) == [("GITS_CREADR of 0", GITS_CREADR.pack(Stalled=1), 0x40)]


@shows("a VPT outside RAM")
def test_a_vpt_outside_ram(boot):
    twins = mapped(boot())
    vmapp = ("VMAPP", {"vPEID": 1, "RDbase": 0, "V": 1, "VPT_addr": UNMAPPED, "VPT_size": 15})
    vmapti = ("VMAPTI", {"DeviceID": 0, "EventID": 2, "vPEID": 1, "vINTID": 8192, "Doorbell": 1023})
    send(twins, vmapp, vmapti, ("INT", {"DeviceID": 0, "EventID": 2}))
    assert stall_differences(twins) == [("GITS_CREADR of 0", 8 * 32 | 1, 9 * 32)]


@shows("INT with a collection table page outside RAM")
@pytest.mark.parametrize(
    ("mnemonic", "qemu_stalls"), [("INT", False), ("CLEAR", False), ("DISCARD", False), ("INV", True)]
)
def test_a_collection_table_page_outside_ram(boot, mnemonic, qemu_stalls):
    twins = boot(TWO_LEVEL)
    second = LEVEL1.pack(Valid=1, Physical_Address=UNMAPPED)
    twins.memory.write_u64(twins.placement.tables[0][1].address + LEVEL1.bytes, second)
    mapped(twins, ICID=600)
    send(twins, (mnemonic, {"DeviceID": 0, "EventID": 0}))
    expected = [] if qemu_stalls else [("GITS_CREADR of 0", 6 * 32 | 1, 7 * 32)]
    assert stall_differences(twins) == expected


@shows("GITS_CWRITER without Retry after a stall")
def test_a_stalled_queue_resumes(boot):
    twins = boot()
    twins.renew_queue = lambda: None
    mapped(twins, itt=UNMAPPED)
    stalled = 3 * 32 | 1
    assert stall_differences(twins) == []
    assert twins.qemu.read(ITS_BASE + 0x90, 8) == twins.its[0].read("GITS_CREADR") == stalled
    twins.memory.write(twins.placement.queues[0] + 3 * 32, bytes(3 * 32))
    twins.its[0].write("GITS_CWRITER", 6 * 32)
    assert register_differences(twins) == [("GITS_CREADR of 0", stalled, 6 * 32 | 1)]
    twins.its[0].write("GITS_CWRITER", GITS_CWRITER.pack(Offset=6 * 32, Retry=1))
    assert register_differences(twins) == [("GITS_CREADR of 0", 6 * 32, 6 * 32 | 1)]


@shows("a write of GITS_CREADR")
def test_a_write_of_creadr(boot):
    twins = boot()
    twins.enable_its(0, False)
    twins.its[0].write("GITS_CREADR", 0x20)
    assert register_differences(twins) == [("GITS_CREADR of 0", 0, 0x20)]


@shows("GICR_PROPBASER and GICR_PENDBASER while LPIs are enabled")
@pytest.mark.parametrize("layout", [GICR_PROPBASER, GICR_PENDBASER])
def test_lpi_base_registers_while_lpis_are_enabled(boot, layout):
    twins = boot()
    before, after = twins.redistributors[1].read(layout.name), layout.pack(Physical_Address=0x9000_0000)
    twins.redistributors[1].write(layout.name, after)
    assert register_differences(twins) == [(f"{layout.name} of 1", before, after)]


@shows("a level 1 table of 64 pages of 64 KiB")
@pytest.mark.parametrize("pages", [63, 64, 65])
def test_a_level_1_table_of_64_pages(boot, pages):
    twins = boot()
    twins.enable_its(0, False)
    (level1,) = twins.placement.queues
    table = {"Physical_Address": level1, "Size": pages - 1, "Page_Size": 2, "Indirect": 1, "Valid": 1}
    level2 = LEVEL1.pack(Valid=1, Physical_Address=twins.placement.tables[0][0].entries)
    twins.memory.write_u64(level1, level2)
    twins.its[0].write("GITS_BASER0", GITS_BASER.pack(**table))
    queue = {"Physical_Address": twins.placement.itts[2], "Size": 15, "Valid": 1}
    twins.its[0].write("GITS_CBASER", GITS_CBASER.pack(**queue))
    twins.enable_its(0, True)
    mapd = words(("MAPD", {"DeviceID": 3, "Size": 3, "ITT_addr": twins.placement.itts[0], "V": 1}), "4.0")
    twins.memory.write(twins.placement.itts[2], np.array(mapd, "<u8").view(np.uint8))
    twins.its[0].write("GITS_CWRITER", 0x20)
    differences = twins.differences()
    assert [difference.qemu for difference in differences] == [0] * len(differences)
    assert bool(differences) == (pages == 64)


@shows("RES0 bits in a level 1 entry")
def test_res0_bits_in_a_level_1_entry(boot):
    twins = boot(TWO_LEVEL)
    level1 = twins.placement.tables[0][0].address
    twins.memory.write_u64(level1, twins.memory.read_u64(level1) | 0x18)
    send(twins, ("MAPD", {"DeviceID": 0, "Size": 3, "ITT_addr": twins.placement.itts[0], "V": 1}))
    entries = twins.placement.tables[0][0].entries
    model = {int(difference.where, 0) - entries: difference.model for difference in twins.differences()}
    qemu = {int(difference.where, 0) - entries - 0x18: difference.qemu for difference in twins.differences()}
    written = dict(enumerate(twins.memory.read(entries, 4)))
    assert {offset: byte for offset, byte in model.items() if byte} == written
    assert {offset: byte for offset, byte in qemu.items() if byte} == written


@shows("MOVI of an INTID beyond GICR_PROPBASER.IDbits")
def test_movi_beyond_id_bits(boot):
    twins = boot()
    beyond = 60000
    for rd in (0, 1):
        twins.redistributors[rd].write("GICR_CTLR", 0)
        propbaser = GICR_PROPBASER.pack(Physical_Address=twins.placement.lpi_configuration, IDbits=13)
        twins.redistributors[rd].write("GICR_PROPBASER", propbaser)
        twins.redistributors[rd].write("GICR_CTLR", 1)
    mapped(twins, pINTID=beyond)
    twins.memory.write_u8(twins.placement.pending_tables[0] + beyond // 8, 1)
    send(twins, ("MOVI", {"DeviceID": 0, "EventID": 0, "ICID": 1}))
    moved = [(f"{twins.placement.pending_tables[rd] + beyond // 8:#x}", 1 - rd, rd) for rd in (0, 1)]
    assert [tuple(difference) for difference in twins.differences()] == moved


@shows("a vLPI enabled without an invalidation")
@pytest.mark.parametrize("invalidate", [False, True])
def test_a_vlpi_enabled_without_an_invalidation(boot, invalidate):
    twins = mapped(boot())
    twins.make_resident(0, twins.placement.vpts[0], twins.placement.vconfs[0], 16)
    send(twins, ("INT", {"DeviceID": 0, "EventID": 1}))
    twins.set_virtual_configuration(twins.placement.vconfs[0], 8192, 0xA1)
    if invalidate:
        send(twins, ("VINVALL", {"vPEID": 0}))
    assert pending_last(twins) == (1, int(invalidate))


@shows("a vPE moved while it is resident")
@pytest.mark.parametrize("home", [0, 1])
def test_a_vpe_moved_while_it_is_resident(boot, home):
    twins = boot()
    twins.set_virtual_configuration(twins.placement.vconfs[0], 8192, 0xA1)
    mapped(twins)
    twins.make_resident(0, twins.placement.vpts[0], twins.placement.vconfs[0], 16)
    send(twins, ("VMOVP", {"vPEID": 0, "RDbase": home}), ("INT", {"DeviceID": 0, "EventID": 1}))
    assert pending_last(twins) == (1, int(home == 0))
    assert twins.differences() == []


@pytest.mark.parametrize(
    ("name", "value", "masked"),
    [
        ("GITS_CTLR", GITS_CTLR.pack(ImDe=1), GITS_CTLR.pack(ImDe=1)),
        ("GITS_CWRITER", 1 << 40, 1 << 40),
        ("GITS_CBASER", 1 << 62, 1 << 62),
        ("GITS_BASER0", 0x0107_0000_0000_0000, 0),
    ],
)
def test_bits_of_its_registers_that_are_not_compared(boot, name, value, masked):
    twins = boot()
    twins.enable_its(0, False)
    twins.its[0].write(name, value)
    offset, size = {
        "GITS_CTLR": (0, 4),
        "GITS_CWRITER": (0x88, 8),
        "GITS_CBASER": (0x80, 8),
        "GITS_BASER0": (0x100, 8),
    }[name]
    assert (twins.its[0].read(name) ^ twins.qemu.read(ITS_BASE + offset, size)) & ~COMPARED[name] == masked


@pytest.mark.parametrize(
    ("name", "value", "model", "qemu"),
    [
        ("GICD_IPRIORITYR8", 0xFFFF_FFFF, 0xF8F8_F8F8, 0xFFFF_FFFF),
        ("GICD_IROUTER32", (1 << 64) - 1, 0xFF_80FF_FFFF, (1 << 64) - 1),
    ],
)
def test_bits_of_registers_of_spis_that_are_not_compared(boot, name, value, model, qemu):
    twins, entry = boot(), register(name)
    twins.distributor.write(name, value)
    seen = twins.qemu.read(DISTRIBUTOR_BASE + entry.offset, entry.bits // 8)
    assert (twins.distributor.read(name), seen) == (model, qemu)
    mask = COMPARED_EACH["IPRIORITYR" if entry.bits == 32 else "IROUTER"]
    assert (model ^ seen) & mask == 0
    assert twins.differences() == []


def test_inputs_and_registers_of_interrupts_are_compared(boot):
    twins = boot()
    twins.set_line(1, 20, 1)
    twins.set_line(0, 40, 1)
    twins.set_priority(2, 3, 0x88)
    assert twins.differences() == []
    twins.gic.redistributors[1].set_line(20, False)
    twins.gic.distributor.write(register("GICD_ISACTIVER1").offset, 1 << 9, 4)
    twins.redistributors[2].write("GICR_IPRIORITYR0", 0)
    twins.qemu.write(REDISTRIBUTOR_BASE + 2 * 0x4_0000 + register("GICR_IPRIORITYR0").offset, 0x1000_0000, 4)
    assert [tuple(difference) for difference in twins.differences()] == [
        ("GICD_ISACTIVER1 of GICD", 1 << 9, 0),
        ("GICD_ICACTIVER1 of GICD", 1 << 9, 0),
        ("GICR_ISPENDR0 of GICR1", 0, 1 << 20),
        ("GICR_ICPENDR0 of GICR1", 0, 1 << 20),
        ("GICR_IPRIORITYR0 of GICR2", 0, 0x1000_0000),
    ]


def test_ptz_reads_back(boot):
    twins = boot()
    twins.redistributors[0].write("GICR_CTLR", 0)
    twins.redistributors[0].write("GICR_PENDBASER", GICR_PENDBASER.pack(PTZ=1))
    qemu = twins.qemu.read(REDISTRIBUTOR_BASE + 0x78, 8)
    assert qemu ^ twins.redistributors[0].read("GICR_PENDBASER") == GICR_PENDBASER.pack(PTZ=1)


def test_every_known_difference_is_shown():
    assert set(NEVER_DONE) == SHOWN
