# SPDX-License-Identifier: Apache-2.0
"""A command queue or an ITT that starts below guest RAM and reaches into it: KVM looks at each entry on its own."""

import pytest

from gicmodel.kvm import KvmError
from gicmodel.layouts.commands import encode
from gicmodel.layouts.kvm_abi import KVM_ITE
from gicmodel.layouts.registers.its import GITS_CBASER
from tests.kvm.guest import PAGE, RAM_BASE, RAM_END, Guest, offset_of

BELOW = RAM_BASE - PAGE


@pytest.mark.parametrize(("queue", "place", "end"), [(BELOW, PAGE, PAGE + 0x20), (RAM_END - PAGE, 0, PAGE + 0x20)])
def test_the_commands_in_ram_are_executed(queue, place, end):
    """Linux vgic_its_process_commands skips those that it cannot read, one by one."""
    guest = Guest()
    guest.its.write(offset_of("GITS_CTLR"), 0, 4)
    guest.its.write(offset_of("GITS_CBASER"), GITS_CBASER.pack(Valid=1, Physical_Address=queue, Size=31))
    guest.its.write(offset_of("GITS_CTLR"), 1, 4)
    for number, word in enumerate(encode("MAPC", "3", ICID=1, RDbase=2, V=1)):
        guest.memory.write_u64(queue + place + 8 * number, word)
    guest.its.write(offset_of("GITS_CWRITER"), end)
    assert guest.its.read(offset_of("GITS_CREADR")) == end
    assert guest.its.collections == {1: 2}


def test_an_event_whose_entry_is_in_ram_is_saved():
    guest = Guest()
    guest.mapd(0, RAM_BASE - 0x100, bits=16)
    guest.mapc(0, 0)
    guest.mapti(0, 0x20, 8192, 0)
    guest.its.save_tables()
    assert guest.memory.read_u64(RAM_BASE) == KVM_ITE.pack(pINTID=8192, ICID=0)
    guest.restart_its()
    with pytest.raises(KvmError, match="EFAULT"):
        guest.its.restore_tables()
