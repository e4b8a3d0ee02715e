# SPDX-License-Identifier: Apache-2.0
"""Every command that the driver encodes, word by word.

The VMAPP of GICv4.1 is checked with the command that Arm's bare-metal example sends to the FVP model; the other words
follow from the field positions of Linux' its_encode_* functions.
"""

import numpy as np
import pytest

from gicmodel.driver import commands
from gicmodel.driver.commands import Commands, command, within
from gicmodel.layouts.commands import (
    CLEAR,
    DISCARD,
    INT,
    INV,
    INVALL,
    INVDB,
    MAPC,
    MAPD,
    MAPTI,
    MOVI,
    VINVALL,
    VMAPP,
    VMAPP_V40,
    VMAPTI,
    VMOVI,
    VMOVP,
    VSGI,
)
from tests.driver.host import Host

EVENT = {"DeviceID": 0x42, "EventID": 7}
MAPPED = {"vPEID": 0x11, "RDbase": 2, "VPT_addr": 0x9001_0000, "VPT_size": 15, "V": 1}

GOLDEN = [
    (command(MAPD, DeviceID=0x42, Size=4, ITT_addr=0x8_0001_2300, V=1), (0x4200000008, 4, 0x8000000800012300, 0)),
    (command(MAPD, DeviceID=0x42, Size=4, ITT_addr=0x9000_0000), (0x4200000008, 4, 0x90000000, 0)),
    (command(MAPC, ICID=3, RDbase=2, V=1), (0x09, 0, 0x8000000000020003, 0)),
    (command(MAPC, ICID=3, RDbase=0x2F12_0000 >> 16, V=1), (0x09, 0, 0x800000002F120003, 0)),
    (command(MAPTI, **EVENT, pINTID=8200, ICID=3), (0x420000000A, 0x0000200800000007, 3, 0)),
    (command(MOVI, **EVENT, ICID=5), (0x4200000001, 7, 5, 0)),
    (command(INT, **EVENT), (0x4200000003, 7, 0, 0)),
    (command(CLEAR, **EVENT), (0x4200000004, 7, 0, 0)),
    (command(INV, **EVENT), (0x420000000C, 7, 0, 0)),
    (command(DISCARD, **EVENT), (0x420000000F, 7, 0, 0)),
    (command(INVALL, ICID=3), (0x0D, 0, 3, 0)),
    (commands.sync(2), (0x05, 0, 0x20000, 0)),
    (
        command(VMAPP, **MAPPED, VCONF_addr=0x9000_0000, Default_Doorbell=8300, Alloc=1),
        (0x90000129, 0x000000110000206C, 0x8000000000020000, 0x9001000F),
    ),
    (command(VMAPP, vPEID=0x11, Alloc=1), (0x129, 0x1100000000, 0, 0)),
    (command(VMAPP, vPEID=0x11), (0x29, 0x1100000000, 0, 0)),
    (command(VMAPP_V40, **MAPPED), (0x29, 0x1100000000, 0x8000000000020000, 0x9001000F)),
    (command(VMAPP_V40, vPEID=0x11), (0x29, 0x1100000000, 0, 0)),
    (
        command(VMAPTI, **EVENT, vPEID=0x11, vINTID=8192, Doorbell=1023),
        (0x420000002A, 0x1100000007, 0x000003FF00002000, 0),
    ),
    (command(VMOVI, **EVENT, vPEID=0x12, D=1, Doorbell=1023), (0x4200000021, 0x1200000007, 0x000003FF00000001, 0)),
    (
        command(VMOVP, vPEID=0x11, RDbase=5, DB=1, Default_Doorbell=8300),
        (0x22, 0x1100000000, 0x8000000000050000, 0x206C),
    ),
    (command(VMOVP, vPEID=0x11, RDbase=5, SeqNum=9, ITSList=0b11), (0x900000022, 0x1100000003, 0x50000, 0)),
    (
        command(VSGI, vPEID=0x11, vINTID=6, Enable=1, Group=1, Priority=0xA),
        (0x0000000600A00523, 0x1100000000, 0, 0),
    ),
    (command(VSGI, vPEID=0x11, vINTID=6, Clear=1), (0x0000000600000223, 0x1100000000, 0, 0)),
    (commands.vsync(0x11), (0x25, 0x1100000000, 0, 0)),
    (command(VINVALL, vPEID=0x11), (0x2D, 0x1100000000, 0, 0)),
    (command(INVDB, vPEID=0x11), (0x2E, 0x1100000000, 0, 0)),
]


@pytest.mark.parametrize(("encoded", "words"), GOLDEN)
def test_golden_words(encoded: Commands, words: tuple[int, ...]) -> None:
    assert encoded.dtype == np.uint64
    assert [tuple(map(int, row)) for row in encoded] == [words]


def test_the_fvp_trace_differs_in_ptz_only() -> None:
    """PTZ is never set: a vPE that is mapped again has a VPT that is not empty."""
    host = Host()
    (vpe,) = host.driver.vpes.create_vm(1).vpes
    ours = VMAPP.unpack(host.words()[0])
    fvp = VMAPP.unpack((0x80090329, 0x2000, 0x8000000000000000, 0x800A000E))
    given = {"VCONF_addr": vpe.vm.vprop_page, "VPT_addr": vpe.vpt_page, "Default_Doorbell": vpe.doorbell_intid}
    assert ours == fvp | given | {"VPT_size": 15, "PTZ": 0}


def test_an_array_of_events_gives_the_same_commands_as_one_by_one() -> None:
    events = np.arange(5)
    operands = [{"EventID": n, "vPEID": 0x10 + n, "vINTID": 8192 + n * 3} for n in (events, *events.tolist())]
    many, *single = (command(VMAPTI, DeviceID=0x42, Doorbell=1023, **of) for of in operands)
    assert many.shape == (5, 4)
    np.testing.assert_array_equal(many, np.concatenate(single))


def test_vsyncs_name_each_vpe_once() -> None:
    assert [int(word) >> 32 for word in commands.vsync(np.array([7, 3, 7]))[:, 1]] == [3, 7]


def test_an_operand_too_wide_for_its_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MAPTI\.ICID"):
        command(MAPTI, pINTID=8192, ICID=0x1_0000)
    with pytest.raises(ValueError, match=r"MAPTI\.EventID"):
        command(MAPTI, EventID=np.array([1, 1 << 32]), pINTID=8192)


@pytest.mark.parametrize(
    ("values", "inside"),
    [(0, True), (3, True), (4, False), (-1, False), (np.array([0, 3]), True), (np.array([0, 4]), False)],
)
def test_within(values: int, inside: bool) -> None:
    assert within(values, 4) is inside
