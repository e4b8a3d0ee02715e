# SPDX-License-Identifier: Apache-2.0
"""Small traces of a machine with flat tables: one vPE, one device, and the memory they live in."""

import re
from pathlib import Path

from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR
from gicmodel.layouts.registers.redistributor import (
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER_V40,
)

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu"

DEVICE_TABLE, COLLECTION_TABLE, VPE_TABLE, QUEUE = 0x4010_0000, 0x4011_0000, 0x4012_0000, 0x4013_0000
CONFIGURATION, PENDING, ITT, VCONF, VPT = 0x4014_0000, 0x4015_0000, 0x4016_0000, 0x4017_0000, 0x4018_0000
DEVICE, EVENT, VIRTUAL_EVENT, LPI, VLPI, DOORBELL = 0x10, 0, 1, 0x2000, 0x2001, 0x2002
QUEUE_BYTES = 4096


class Log:
    """A trace being written, a line an event, as QEMU's log backend does."""

    def __init__(self, path):
        self.path = path
        self.lines = []

    def write(self):
        """Put the lines into the file."""
        self.path.write_text("".join(f"{line}\n" for line in self.lines))
        return self.path

    def its(self, offset, data, size=8):
        self.lines.append(f"gicv3_its_write GICv3 ITS write: offset {offset:#x} data {data:#x} size {size}")

    def redistributor(self, offset, data, size=8, cpu=0):
        self.lines.append(
            f"gicv3_redist_write GICv3 redistributor {cpu:#x} write: "
            f"offset {offset:#x} data {data:#x} size {size} secure 0"
        )

    def command(self, text, event=None):
        mnemonic = (event or text.split()[0]).lower()
        self.lines.append(f"gicv3_its_cmd_{mnemonic} GICv3 ITS: command {text}")

    def process(self, slot):
        self.lines.append(f"gicv3_its_process_command GICv3 ITS: processing command at offset {slot:#x}: 0x5")

    def fault(self, device=DEVICE):
        self.lines.append(f"gicv3_its_dte_read_fault GICv3 ITS: Device Table read for DeviceID {device:#x}: faulted")

    def msi(self, event, device=DEVICE):
        self.lines.append(
            "gicv3_its_translation_write GICv3 ITS TRANSLATER write: "
            f"offset 0x40 data {event:#x} size 4 requester_id {device:#x}"
        )

    def iar(self, intid, cpu=0):
        self.lines.append(f"gicv3_icc_iar1_read GICv3 ICC_IAR1 read cpu {cpu:#x} value {intid:#x}")

    def virtual_iar(self, intid, cpu=0):
        self.lines.append(f"gicv3_icv_iar_read GICv3 ICV_IAR1 read cpu {cpu:#x} value {intid:#x}")

    def cwriter(self, offset):
        self.its(0x88, offset, 4)

    def setup(self, enable=True):
        """Tables, queue, LPIs of redistributor 0."""
        self.its(0x100, GITS_BASER.pack(Valid=1, Physical_Address=DEVICE_TABLE))
        self.its(0x108, GITS_BASER.pack(Valid=1, Physical_Address=COLLECTION_TABLE))
        self.its(0x110, GITS_BASER.pack(Valid=1, Physical_Address=VPE_TABLE))
        self.its(0x80, GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE))
        self.its(0x88, 0)
        self.redistributor(0x70, GICR_PROPBASER.pack(Physical_Address=CONFIGURATION, IDbits=15))
        self.redistributor(0x78, GICR_PENDBASER.pack(Physical_Address=PENDING))
        self.redistributor(0x0, 1, 4)
        if enable:
            self.enable()

    def enable(self):
        self.its(0x0, GITS_CTLR.pack(Enabled=1), 4)

    def mappings(self):
        """The five commands that map the device's two events, one of them to a vLPI of vPE 0."""
        self.command(f"MAPD DeviceID {DEVICE:#x} Size 0x1 ITT_addr {ITT >> 8:#x} V 1")
        self.command("MAPC ICID 0x0 RDbase 0x0 V 1")
        self.command(f"MAPTI DeviceID {DEVICE:#x} EventID {EVENT:#x} ICID 0x0 pINTID {LPI:#x}")
        self.command(f"VMAPP vPEID 0x0 RDbase 0x0 V 1 VPT_addr {VPT >> 16:#x} VPT_size 0xf")
        self.command(
            f"VMAPI DeviceID {DEVICE:#x} EventID {VIRTUAL_EVENT:#x} vPEID 0x0 "
            f"vINTID {VLPI:#x} Dbell_pINTID {DOORBELL:#x}",
            event="VMAPTI",
        )

    def schedule(self):
        self.redistributor(0x20070, GICR_VPROPBASER_V40.pack(Physical_Address=VCONF, IDbits=15))
        self.redistributor(0x20078, GICR_VPENDBASER_V40.pack(Valid=1, PendingLast=1, Physical_Address=VPT))

    def drop(self, pattern):
        """Forget the only line that matches."""
        (line,) = [line for line in self.lines if re.search(pattern, line)]
        self.lines.remove(line)
