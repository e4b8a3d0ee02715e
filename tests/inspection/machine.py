# SPDX-License-Identifier: Apache-2.0
"""Small machines whose RAM is written entry by entry, to be damaged one bit at a time."""

import numpy as np

from gicmodel.images.segments import Segment
from gicmodel.inspection import Dump, inspect
from gicmodel.layouts.commands import encode
from gicmodel.layouts.its_tables import CTE, DTE, INTTYPE_PHYSICAL, INTTYPE_VIRTUAL, ITE, LEVEL1, NO_DOORBELL, VTE
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE
from gicmodel.layouts.lpi_tables import LPI_CONFIGURATION, bit_of, byte_of
from gicmodel.layouts.registers.distributor import GICD_TYPER
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CREADR, GITS_CTLR, GITS_CWRITER, GITS_TYPER
from gicmodel.layouts.registers.redistributor import (
    GICR_CTLR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_TYPER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER_V40,
)
from gicmodel.memory import GuestMemory

BASE = 0x4000_0000
KIB64 = 0x1_0000
QUEUE, DEVICES, COLLECTIONS, VPES, CONFIGURATION, PENDING0, PENDING1, VPT0, VPT1, VCONF, LEVEL2, SPARE = (
    BASE + n * KIB64 for n in range(12)
)
ITT8, ITT16 = BASE + 12 * KIB64, BASE + 12 * KIB64 + 0x1000
END = BASE + 13 * KIB64
LPIS = range(8192, 8256)
"""The LPIs and vLPIs that are enabled."""


class Machine:
    """A host with two redistributors, two vPEs and two devices; `registers` and `memory` are to be changed."""

    def __init__(self, indirect=False):
        self.memory = GuestMemory(BASE, END - BASE)
        self.holes = []
        self.kernel = None
        self.indirect = indirect
        self.registers = {
            "GITS0": {
                "CTLR": GITS_CTLR.pack(Enabled=1),
                "TYPER": GITS_TYPER.pack(Virtual=1, Devbits=15, ID_bits=15, ITT_entry_size=ITE.bytes - 1, VMOVP=1),
                "CBASER": GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE, Size=15),
                "CREADR": 0,
                "CWRITER": 0,
                "BASER0": self.baser(1, DTE.bytes, DEVICES, Indirect=indirect),
                "BASER1": self.baser(4, CTE.bytes, COLLECTIONS),
                "BASER2": self.baser(2, VTE.bytes, VPES),
            },
            "GICR0": self.redistributor(0, PENDING0, VPT0),
            "GICR1": self.redistributor(1, PENDING1, VPT1),
            "GICD": {"TYPER": GICD_TYPER.pack(IDbits=15, LPIS=1)},
        }
        if indirect:
            self.level1(0, LEVEL2)
        self.fill()

    def fill(self):
        self.device(8, ITT8)
        self.device(16, ITT16)
        self.physical(ITT8, 0, 8192, icid=0)
        self.virtual(ITT8, 1, 8193, vpe=0, doorbell=8200)
        self.virtual(ITT16, 0, 8194, vpe=1)
        for icid in range(2):
            self.collection(icid, icid)
        for number, vpt in enumerate((VPT0, VPT1)):
            self.vpe(number, vpt, RDbase=number)
        for table in (CONFIGURATION, VCONF):
            for intid in LPIS:
                self.configure(table, intid)

    @staticmethod
    def baser(kind, entry_bytes, address, **fields):
        entry = {"Type": kind, "Entry_Size": entry_bytes - 1, "Physical_Address": address, "Page_Size": 2}
        return GITS_BASER.pack(**({"Valid": 1} | entry | fields))

    @staticmethod
    def redistributor(number, pending, vpt):
        return {
            "TYPER": GICR_TYPER.pack(Processor_Number=number, Last=number == 1, VLPIS=1),
            "CTLR": GICR_CTLR.pack(EnableLPIs=1),
            "PROPBASER": GICR_PROPBASER.pack(Physical_Address=CONFIGURATION, IDbits=15),
            "PENDBASER": GICR_PENDBASER.pack(Physical_Address=pending),
            "VPROPBASER": GICR_VPROPBASER_V40.pack(Physical_Address=VCONF, IDbits=15),
            "VPENDBASER": GICR_VPENDBASER_V40.pack(Physical_Address=vpt),
        }

    def device_place(self, device_id):
        return (LEVEL2 if self.indirect else DEVICES) + device_id * DTE.bytes

    def device(self, device_id, itt, size=1, **fields):
        self.memory.write_u64(
            self.device_place(device_id), DTE.pack(**({"Valid": 1} | fields), ITT_addr=itt, Size=size)
        )

    def level1(self, index, page, **fields):
        word = LEVEL1.pack(Valid=1, Physical_Address=page)
        self.memory.write_u64(DEVICES + index * LEVEL1.bytes, word | fields.get("extra", 0))

    def physical(self, itt, event, intid, icid):
        entry = ITE.build(Valid=1, IntType=INTTYPE_PHYSICAL, IntID=intid, ICID=icid, Doorbell=NO_DOORBELL)
        self.memory.write(itt + event * ITE.bytes, entry)

    def virtual(self, itt, event, intid, vpe, doorbell=NO_DOORBELL):
        entry = ITE.build(Valid=1, IntType=INTTYPE_VIRTUAL, IntID=intid, vPEID=vpe, Doorbell=doorbell)
        self.memory.write(itt + event * ITE.bytes, entry)

    def collection(self, icid, rdbase):
        self.memory.write_u64(COLLECTIONS + icid * CTE.bytes, CTE.pack(Valid=1, RDbase=rdbase))

    def vpe(self, number, vpt, RDbase, VPT_size=15):
        self.memory.write_u64(
            VPES + number * VTE.bytes, VTE.pack(Valid=1, VPT_addr=vpt, VPT_size=VPT_size, RDbase=RDbase)
        )

    def configure(self, table, intid, enable=1):
        self.memory.write_u8(table + intid - 8192, LPI_CONFIGURATION.pack(Enable=enable, Priority=0xA0))

    def pend(self, table, intid):
        place = table + byte_of(intid)
        self.memory.write_u8(place, self.memory.read_u8(place) | 1 << bit_of(intid))

    def command(self, slot, mnemonic, **fields):
        words = encode(mnemonic, "4.0", **fields)
        self.memory.write(QUEUE + 32 * slot, np.array(words, "<u8").view(np.uint8))

    def queue(self, creadr, cwriter, stalled=0):
        self.registers["GITS0"]["CREADR"] = GITS_CREADR.pack(Offset=32 * creadr, Stalled=stalled)
        self.registers["GITS0"]["CWRITER"] = GITS_CWRITER.pack(Offset=32 * cwriter)

    def set(self, frame, name, layout, **fields):
        value = self.registers[frame][name]
        self.registers[frame][name] = layout.pack(**(layout.unpack(value) | fields))

    def segments(self):
        bounds = [BASE, *(bound for hole in sorted(self.holes) for bound in hole), END]
        pieces = [(start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=True) if start < end]
        octets = self.memory.octets
        return [Segment(start, octets[start - BASE : end - BASE], start - BASE) for start, end in pieces]

    def inspect(self, **options):
        return inspect(Dump(self.segments()), self.registers, kernel=self.kernel, **options)


class SavedGuest(Machine):
    """A guest of two vCPUs after KVM_DEV_ARM_ITS_SAVE_TABLES."""

    def fill(self):
        its = self.registers["GITS0"]
        its["TYPER"] = GITS_TYPER.pack(Devbits=15, ID_bits=15, ITT_entry_size=KVM_ITE.bytes - 1)
        del its["BASER2"]
        for frame in ("GICR0", "GICR1"):
            del self.registers[frame]["VPROPBASER"], self.registers[frame]["VPENDBASER"]
        self.registers["guest"] = {"ram_base": BASE, "vcpus": 2}
        self.device(8, ITT8, next=8)
        self.device(16, ITT16)
        self.event(ITT8, 0, 8192, 0, next=1)
        self.event(ITT8, 1, 8193, 1, next=2)
        self.event(ITT8, 3, 8194, 0)
        self.event(ITT16, 2, 8195, 1)
        self.collection(0, 0)
        self.collection(1, 1)
        for intid in LPIS:
            self.configure(CONFIGURATION, intid)

    def device(self, device_id, itt, size=1, **fields):
        self.memory.write_u64(self.device_place(device_id), KVM_DTE.pack(V=1, ITT_addr=itt, Size=size, **fields))

    def event(self, itt, event, intid, icid, **fields):
        self.memory.write_u64(itt + 8 * event, KVM_ITE.pack(pINTID=intid, ICID=icid, **fields))

    def collection(self, icid, rdbase, slot=None):
        place = COLLECTIONS + 8 * (icid if slot is None else slot)
        self.memory.write_u64(place, KVM_CTE.pack(V=1, RDBase=rdbase, ICID=icid))
