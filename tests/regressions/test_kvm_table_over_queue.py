# SPDX-License-Identifier: Apache-2.0
"""A guest's table over its command queue: KVM fetches a command only after the one before it has run."""

import numpy as np
import pytest

from gicmodel.layouts.commands import encode
from gicmodel.layouts.registers.its import GITS_BASER
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER
from tests.kvm.guest import ITTS, QUEUE, Guest, offset_of

MAPD_9 = encode("MAPD", "3", DeviceID=9, Size=3, ITT_addr=ITTS, V=1)


def commands(*rows):
    return np.array(rows, np.uint64)


@pytest.fixture
def guest():
    """The device table is where the queue is: the DTE of device n is word n of the queue."""
    guest = Guest()
    guest.its.write(offset_of("GITS_CTLR"), 0, 4)
    guest.its.write(offset_of("GITS_BASER0"), GITS_BASER.pack(Valid=1, Physical_Address=QUEUE))
    guest.its.write(offset_of("GITS_CTLR"), 1, 4)
    return guest


def test_mapd_that_unmaps_zeroes_a_word_of_the_next_command(guest):
    """Word 6 is dw2 of the second MAPD, which unmaps device 9 then."""
    guest.mapd(9)
    guest.commands(commands(encode("MAPD", "3", DeviceID=6, V=0), MAPD_9))
    assert not guest.its.devices


def test_of_another_command_nothing_is_left(guest):
    """Word 4 is dw0 of the second command, in a run of its own."""
    guest.commands(commands(encode("MAPD", "3", DeviceID=4, V=0), encode("MAPC", "3", ICID=1, V=1)))
    assert not guest.its.collections


def test_the_commands_after_the_changed_one_are_what_they_were(guest):
    rows = [encode("MAPD", "3", DeviceID=6, V=0), MAPD_9, encode("MAPD", "3", DeviceID=7, ITT_addr=ITTS, V=1)]
    guest.commands(commands(*rows))
    assert list(guest.its.devices) == [7]


def test_discard_zeroes_the_next_command(guest):
    """The ITT lies over the queue too: its entry 4 is dw0 of the next command."""
    guest.mapc(0, 0)
    guest.mapd(100, QUEUE)
    guest.mapti(100, 4, 8200, 0)
    guest.commands(commands(encode("DISCARD", "3", DeviceID=100, EventID=4), encode("MAPC", "3", ICID=1, V=1)))
    assert list(guest.its.collections) == [0]


def test_mapti_takes_a_pending_bit_out_of_the_next_command():
    """INTID 8192 is bit 0 of byte 0x400 of the pending table: there MAPC's opcode, 9, becomes MAPD's, 8."""
    guest = Guest()
    guest.vgic.dist.set_pendbaser(0, GICR_PENDBASER.pack(Physical_Address=QUEUE))
    guest.mapc(0, 0)
    guest.mapd(0)
    rows = [encode("SYNC", "3")] * 32
    rows[31] = encode("MAPTI", "3", DeviceID=0, EventID=0, pINTID=8192, ICID=0)
    guest.commands(commands(*rows, encode("MAPC", "3", ICID=1, V=1), encode("MAPC", "3", ICID=2, V=1)))
    assert list(guest.its.collections) == [0, 2]
    assert (guest.its.devices[0].num_eventid_bits, guest.its.devices[0].ites) == (1, {})
