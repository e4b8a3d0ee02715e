# SPDX-License-Identifier: Apache-2.0
"""A guest for tests: it sets its interrupt controller up through registers, RAM and its command queue."""

from dataclasses import replace

from gicmodel.kvm import NEWEST, Vgic
from gicmodel.kvm.ites import NO_COLLECTION
from gicmodel.layouts.commands import COMMAND_BYTES, encode
from gicmodel.layouts.lpi_tables import FIRST_LPI, bit_of, byte_of
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PENDBASER, GICR_PROPBASER
from gicmodel.memory import GuestMemory

RAM_BASE = 0x4000_0000
RAM_BYTES = 0x200_0000
QUEUE = RAM_BASE + 0x1_0000
DEVICES = RAM_BASE + 0x2_0000
COLLECTIONS = RAM_BASE + 0x3_0000
CONFIGURATION = RAM_BASE + 0x4_0000
LEVEL2 = RAM_BASE + 0x10_0000
PENDING = RAM_BASE + 0x20_0000
ITTS = RAM_BASE + 0x100_0000
RAM_END = RAM_BASE + RAM_BYTES
PAGE = 0x1_0000

DEFAULT_BYTE = 0xA3
"""Priority 0xa0, enabled: what kvm-unit-tests gives an LPI."""


def without(*fixes):
    """The newest KVM with these fixes taken out."""
    return replace(NEWEST, **dict.fromkeys(fixes, False))


def offset_of(name):
    return register(name, "3").offset


def read_words(face, offset):
    """A 64-bit register as userspace reads it from a redistributor."""
    return face.user_read(offset + 4) << 32 | face.user_read(offset)


def pending_table(vcpu):
    return PENDING + 0x2_0000 * vcpu


class Guest:
    """A VM of `nr_vcpus` with one virtual ITS; tables flat unless `indirect`, EnableLPIs set, all LPIs enabled."""

    def __init__(self, nr_vcpus=4, driver=None, indirect=False, nr_its=1, behaviour=NEWEST):
        self.memory = GuestMemory(RAM_BASE, RAM_BYTES)
        self.vgic = Vgic(self.memory, nr_vcpus, driver, nr_its, behaviour)
        self.its = self.vgic.its[0]
        self.device_baser = GITS_BASER.pack(Valid=1, Indirect=indirect, Physical_Address=DEVICES, Shareability=1)
        self.collection_baser = GITS_BASER.pack(Valid=1, Physical_Address=COLLECTIONS, Shareability=1)
        self.memory.write(CONFIGURATION, bytes([DEFAULT_BYTE]) * (0x1_0000 - FIRST_LPI))
        self.set_up_redistributors()
        self.set_up_its()

    def set_up_redistributors(self):
        for vcpu, redistributor in enumerate(self.vgic.redistributors):
            propbaser = GICR_PROPBASER.pack(Physical_Address=CONFIGURATION, IDbits=15)
            redistributor.write(offset_of("GICR_PROPBASER"), propbaser)
            redistributor.write(offset_of("GICR_PENDBASER"), GICR_PENDBASER.pack(Physical_Address=pending_table(vcpu)))
            redistributor.write(offset_of("GICR_CTLR"), GICR_CTLR.pack(EnableLPIs=1), 4)

    def set_up_its(self):
        self.its.write(offset_of("GITS_BASER0"), self.device_baser)
        self.its.write(offset_of("GITS_BASER1"), self.collection_baser)
        self.its.write(offset_of("GITS_CBASER"), GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE, Size=15))
        self.its.write(offset_of("GITS_CTLR"), GITS_CTLR.pack(Enabled=1), 4)

    def command(self, mnemonic, **fields):
        """Queue one command and run it."""
        writer = self.its.read(offset_of("GITS_CWRITER"))
        for number, word in enumerate(encode(mnemonic, "3", **fields)):
            self.memory.write_u64(QUEUE + writer + 8 * number, word)
        self.its.write(offset_of("GITS_CWRITER"), (writer + COMMAND_BYTES) % 0x1_0000)

    def commands(self, words):
        """Queue many commands, uint64 [n, 4], and run them."""
        for start in range(0, len(words), 1024):
            self.its.write(offset_of("GITS_CTLR"), 0, 4)
            self.its.write(offset_of("GITS_CBASER"), GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE, Size=15))
            self.memory.write(QUEUE, words[start : start + 1024].tobytes())
            self.its.write(offset_of("GITS_CTLR"), 1, 4)
            self.its.write(offset_of("GITS_CWRITER"), len(words[start : start + 1024]) * COMMAND_BYTES)

    def mapd(self, device_id, itt_addr=ITTS, bits=8, valid=1):
        self.command("MAPD", DeviceID=device_id, Size=bits - 1, ITT_addr=itt_addr, V=valid)

    def mapc(self, icid, vcpu, valid=1):
        self.command("MAPC", ICID=icid, RDbase=vcpu, V=valid)

    def mapti(self, device_id, event_id, intid, icid):
        self.command("MAPTI", DeviceID=device_id, EventID=event_id, pINTID=intid, ICID=icid)

    def configure(self, intid, octet):
        self.memory.write_u8(CONFIGURATION + intid - FIRST_LPI, octet)

    def pending_bit(self, vcpu, intid):
        return self.memory.read_u8(pending_table(vcpu) + byte_of(intid)) >> bit_of(intid) & 1

    def set_pending_bit(self, vcpu, intid):
        address = pending_table(vcpu) + byte_of(intid)
        self.memory.write_u8(address, self.memory.read_u8(address) | 1 << bit_of(intid))

    def restart_its(self):
        """What userspace does on the destination before RESTORE_TABLES: RESET, then the table registers again."""
        self.its.reset()
        self.its.user_write(offset_of("GITS_CBASER"), GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE, Size=15))
        self.its.user_write(offset_of("GITS_BASER0"), self.device_baser)
        self.its.user_write(offset_of("GITS_BASER1"), self.collection_baser)

    def migrate_in_place(self):
        """Both saves, and the resume path on the same RAM."""
        self.its.save_tables()
        self.vgic.save_pending_tables()
        self.restart_its()
        self.its.restore_tables()
        self.enable_its()

    def enable_its(self):
        self.its.user_write(offset_of("GITS_CTLR"), GITS_CTLR.pack(Enabled=1))

    def mappings(self):
        """Everything that a save must keep: (DeviceID, EventID) -> (INTID, ICID), and ICID -> target."""
        rows = self.vgic.lpis.rows
        events = {
            (device_id, event_id): (int(rows["intid"][ite.lpi]), None if ite.icid == NO_COLLECTION else ite.icid)
            for device_id, device in self.its.devices.items()
            for event_id, ite in device.ites.items()
        }
        return events, dict(self.its.collections)
