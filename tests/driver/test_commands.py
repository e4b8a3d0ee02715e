# SPDX-License-Identifier: Apache-2.0
"""Every command that the driver encodes, word by word.

The VMAPP of GICv4.1 is checked with the command that Arm's bare-metal example sends to the FVP model; the other words
follow from the field positions of Linux' its_encode_* functions.
"""

import numpy as np
import pytest

from gicmodel.driver import commands
from gicmodel.driver.commands import Commands, within
from gicmodel.layouts.commands import VMAPP

GOLDEN = [
    (commands.mapd(0x42, 5, 0x8_0001_2300), (0x4200000008, 4, 0x8000000800012300, 0)),
    (commands.mapd_unmap(0x42, 5, 0x9000_0000), (0x4200000008, 4, 0x90000000, 0)),
    (commands.mapc(3, 2), (0x09, 0, 0x8000000000020003, 0)),
    (commands.mapc(3, 0x2F12_0000 >> 16), (0x09, 0, 0x800000002F120003, 0)),
    (commands.mapti(0x42, 7, 8200, 3), (0x420000000A, 0x0000200800000007, 3, 0)),
    (commands.movi(0x42, 7, 5), (0x4200000001, 7, 5, 0)),
    (commands.int_(0x42, 7), (0x4200000003, 7, 0, 0)),
    (commands.clear(0x42, 7), (0x4200000004, 7, 0, 0)),
    (commands.inv(0x42, 7), (0x420000000C, 7, 0, 0)),
    (commands.discard(0x42, 7), (0x420000000F, 7, 0, 0)),
    (commands.invall(3), (0x0D, 0, 3, 0)),
    (commands.sync(2), (0x05, 0, 0x20000, 0)),
    (
        commands.vmapp(0x11, 2, 0x9001_0000, 0x9000_0000, 16, 8300, alloc=True),
        (0x90000129, 0x000000110000206C, 0x8000000000020000, 0x9001000F),
    ),
    (commands.vmapp_unmap(0x11, alloc=True), (0x129, 0x1100000000, 0, 0)),
    (commands.vmapp_unmap(0x11, alloc=False), (0x29, 0x1100000000, 0, 0)),
    (commands.vmapp_v40(0x11, 2, 0x9001_0000, 16), (0x29, 0x1100000000, 0x8000000000020000, 0x9001000F)),
    (commands.vmapp_unmap_v40(0x11), (0x29, 0x1100000000, 0, 0)),
    (commands.vmapti(0x42, 7, 0x11, 8192, 1023), (0x420000002A, 0x1100000007, 0x000003FF00002000, 0)),
    (commands.vmovi(0x42, 7, 0x12), (0x4200000021, 0x1200000007, 0x000003FF00000001, 0)),
    (commands.vmovp(0x11, 5, 8300), (0x22, 0x1100000000, 0x8000000000050000, 0x206C)),
    (commands.vmovp_v40(0x11, 5, 9, 0b11), (0x900000022, 0x1100000003, 0x50000, 0)),
    (commands.vsgi(0x11, 6, True, 1, 0xA0, clear=False), (0x0000000600A00523, 0x1100000000, 0, 0)),
    (commands.vsgi(0x11, 6, False, 0, 0, clear=True), (0x0000000600000223, 0x1100000000, 0, 0)),
    (commands.vsync(0x11), (0x25, 0x1100000000, 0, 0)),
    (commands.vinvall(0x11), (0x2D, 0x1100000000, 0, 0)),
    (commands.invdb(0x11), (0x2E, 0x1100000000, 0, 0)),
]


@pytest.mark.parametrize(("command", "words"), GOLDEN)
def test_golden_words(command: Commands, words: tuple[int, ...]) -> None:
    assert command.dtype == np.uint64
    assert [tuple(map(int, row)) for row in command] == [words]


def test_the_fvp_trace_differs_in_ptz_only() -> None:
    """PTZ is never set: a vPE that is mapped again has a VPT that is not empty."""
    ours = commands.vmapp(0, 0, 0x800A_0000, 0x8009_0000, 15, 8192, alloc=True)[0]
    fvp = (0x80090329, 0x2000, 0x8000000000000000, 0x800A000E)
    assert VMAPP.unpack(fvp) == VMAPP.unpack(ours) | {"PTZ": 1}


def test_an_array_of_events_gives_the_same_commands_as_one_by_one() -> None:
    events = np.arange(5)
    many = commands.vmapti(0x42, events, 0x10 + events, 8192 + events * 3, 1023)
    single = [commands.vmapti(0x42, int(n), 0x10 + int(n), 8192 + int(n) * 3, 1023) for n in events]
    assert many.shape == (5, 4)
    np.testing.assert_array_equal(many, np.concatenate(single))


def test_vsyncs_name_each_vpe_once() -> None:
    assert [int(word) >> 32 for word in commands.vsync(np.array([7, 3, 7]))[:, 1]] == [3, 7]


def test_an_operand_too_wide_for_its_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MAPTI\.ICID"):
        commands.mapti(0, 0, 8192, 0x1_0000)
    with pytest.raises(ValueError, match=r"MAPTI\.EventID"):
        commands.mapti(0, np.array([1, 1 << 32]), 8192, 0)


@pytest.mark.parametrize(
    ("values", "inside"),
    [(0, True), (3, True), (4, False), (-1, False), (np.array([0, 3]), True), (np.array([0, 4]), False)],
)
def test_within(values: int, inside: bool) -> None:
    assert within(values, 4) is inside
