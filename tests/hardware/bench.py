# SPDX-License-Identifier: Apache-2.0
"""A GIC on a bench: commands that go in through RAM and CWRITER, and the tables that they leave in RAM."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from gicmodel.layouts.commands import COMMAND_BYTES, encode
from gicmodel.layouts.its_tables import CTE, DTE, ITE, VPE_CONFIGURATION, VTE
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_CREADR, GITS_CWRITER
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER, GICR_VPENDBASER_V40, GICR_VPROPBASER_V40
from gicmodel.memory import PAGE_BYTES
from tests.hardware.board import DOORBELL, INTID_BITS, Board

QUEUE_SLOTS = PAGE_BYTES // COMMAND_BYTES
NO_DOORBELL = 1023


class Bench(Board):
    """A board whose commands and mappings are one call each; `choices` as for `Board`."""

    def __init__(self, **choices: object) -> None:
        super().__init__(**choices)  # type: ignore[arg-type]
        self._next = [0] * self.config.its

    # Commands.

    def queue_command(self, mnemonic: str, its: int = 0, **fields: int) -> int:
        """Write a command into the next slot of the ring, not CWRITER; its offset."""
        return self.queue_words(encode(mnemonic, self.config.architecture, **fields), its)

    def queue_words(self, words: tuple[int, ...], its: int = 0) -> int:
        """The same for any four words."""
        offset = self._next[its] % QUEUE_SLOTS * COMMAND_BYTES
        self.memory.write(self.queue(its) + offset, np.array(words, np.uint64).tobytes())
        self._next[its] += 1
        return offset

    def ring(self, its: int = 0, retry: int = 0) -> None:
        """Write CWRITER: everything that was queued is published."""
        offset = self._next[its] % QUEUE_SLOTS * COMMAND_BYTES
        self.write_its("CWRITER", GITS_CWRITER.pack(Offset=offset, Retry=retry), its)

    def run(self, mnemonic: str, its: int = 0, **fields: int) -> None:
        """A command that must succeed."""
        self.queue_command(mnemonic, its, **fields)
        self.ring(its)
        self.step()
        assert self.gic.errors == [], [str(error) for error in self.gic.errors]
        assert self.creadr(its) == (self._next[its] % QUEUE_SLOTS * COMMAND_BYTES, 0)

    def refused(self, mnemonic: str, its: int = 0, **fields: int) -> int:
        """A command that must fail and change nothing but the queue's state; its error number.

        If the queue stalls, it is made to go on behind the command.
        """
        offset = self.queue_command(mnemonic, its, **fields)
        with self.unchanged():
            self.ring(its)
        (error,) = self.gic.errors
        assert (error.its, error.offset) == (its, offset)
        self.gic.clear_errors()
        if self.creadr(its) == (offset, 1):
            self.memory.write(self.queue(its) + offset, np.array(encode("SYNC", RDbase=self.rdbase(0)), np.uint64))
            self.ring(its, retry=1)
        assert self.creadr(its) == (self._next[its] % QUEUE_SLOTS * COMMAND_BYTES, 0)
        return error.number

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """No byte of RAM and no pending bit that a redistributor holds changes; it may take up another VPT."""
        ram, slots = self.memory.octets.tobytes(), self.gic.machine.slots.copy()
        yield
        assert self.memory.octets.tobytes() == ram
        held = slots.any(axis=1)
        assert np.array_equal(self.gic.machine.slots[held], slots[held])

    def creadr(self, its: int = 0) -> tuple[int, int]:
        """(Offset, Stalled)."""
        fields = GITS_CREADR.unpack(self.read_its("CREADR", its))
        return fields["Offset"], fields["Stalled"]

    # Mappings.

    def map_device(self, device_id: int = 1, its: int = 0) -> None:
        """MAPD: 32 events, in an ITT of the device's own."""
        self.run("MAPD", its, DeviceID=device_id, Size=4, ITT_addr=self.itt(device_id), V=1)

    def map_lpi(self, event_id: int, intid: int, icid: int = 0, device_id: int = 1, its: int = 0) -> None:
        """MAPTI."""
        self.run("MAPTI", its, DeviceID=device_id, EventID=event_id, pINTID=intid, ICID=icid)

    def map_vlpi(self, event_id: int, vintid: int, vpe_id: int = 0, its: int = 0, **fields: int) -> None:
        """VMAPTI of device 1 without a doorbell, unless `fields` say otherwise."""
        where = {"DeviceID": 1, "EventID": event_id, "vINTID": vintid, "vPEID": vpe_id, "Doorbell": NO_DOORBELL}
        self.run("VMAPTI", its, **(where | fields))

    def map_vpe(self, vpe_id: int = 0, rd: int = 0, its: int = 0, **fields: int) -> None:
        """VMAPP with a VPT, and in GICv4.1 a configuration table and default doorbell, of the vPE's own."""
        where = {"vPEID": vpe_id, "V": 1, "RDbase": self.rdbase(rd)}
        where |= {"VPT_addr": self.vpt(vpe_id), "VPT_size": INTID_BITS - 1}
        if self.config.v41:
            where |= {"Alloc": 1, "VCONF_addr": self.vconf(vpe_id), "Default_Doorbell": DOORBELL + vpe_id}
        self.run("VMAPP", its, **(where | fields))

    def unmap_vpe(self, vpe_id: int = 0, its: int = 0, **fields: int) -> None:
        """VMAPP V=0, in GICv4.1 the last."""
        self.run("VMAPP", its, **({"vPEID": vpe_id} | ({"Alloc": 1} if self.config.v41 else {}) | fields))

    # Residency.

    def schedule(self, vpe_id: int = 0, rd: int = 0, groups: int = 0b10) -> bool:
        """Make a vPE resident, group 1 enabled; Valid as it then reads. Bit n of `groups` enables virtual Group n."""
        if self.config.v41:
            enables = {"VGrp0En": groups & 1, "VGrp1En": groups >> 1}
            self.write_rd("VPENDBASER", GICR_VPENDBASER.pack(Valid=1, vPEID=vpe_id, **enables), rd)
        else:
            table = GICR_VPROPBASER_V40.pack(Physical_Address=self.vconf(vpe_id), IDbits=INTID_BITS - 1)
            self.write_rd("VPROPBASER", table, rd)
            vpendbaser = GICR_VPENDBASER_V40.pack(Valid=1, PendingLast=1, Physical_Address=self.vpt(vpe_id))
            self.write_rd("VPENDBASER", vpendbaser, rd)
        return bool(self.vpendbaser(rd)["Valid"])

    def deschedule(self, rd: int = 0, *, doorbell: int = 0, pending_last: int = 0) -> int:
        """Write Valid=0 and these bits, the rest as it is; PendingLast as it then reads."""
        layout = GICR_VPENDBASER if self.config.v41 else GICR_VPENDBASER_V40
        request = {"Valid": 0, "PendingLast": pending_last} | ({"Doorbell": doorbell} if self.config.v41 else {})
        self.write_rd("VPENDBASER", layout.pack(**(self.vpendbaser(rd) | request)), rd)
        return self.vpendbaser(rd)["PendingLast"]

    def vpendbaser(self, rd: int = 0) -> dict[str, int]:
        """GICR_VPENDBASER's fields."""
        layout = GICR_VPENDBASER if self.config.v41 else GICR_VPENDBASER_V40
        return layout.unpack(self.read_rd("VPENDBASER", rd))

    # Tables in RAM.

    def dte(self, device_id: int, its: int = 0) -> dict[str, int]:
        return DTE.unpack(self.memory.read_u64(self.device_table(its) + device_id * DTE.bytes))

    def cte(self, icid: int, its: int = 0) -> dict[str, int]:
        return CTE.unpack(self.memory.read_u64(self.collection_table(its) + icid * CTE.bytes))

    def ite(self, event_id: int, device_id: int = 1) -> dict[str, int]:
        words = ITE.words_of(self.memory.read(self.itt(device_id) + event_id * ITE.bytes, ITE.bytes))
        return ITE.unpack(words[0])

    def vpe(self, vpe_id: int = 0, its: int = 0) -> dict[str, int]:
        layout = VPE_CONFIGURATION if self.config.v41 else VTE
        words = layout.words_of(self.memory.read(self.vpe_table(its) + vpe_id * layout.bytes, layout.bytes))
        return layout.unpack(words[0])

    def set_bit(self, table: int, intid: int) -> None:
        """Software sets a bit of a pending table in RAM."""
        self.memory.write_u8(table + intid // 8, self.memory.read_u8(table + intid // 8) | 1 << intid % 8)

    def bit(self, table: int, intid: int) -> int:
        """A bit of a pending table in RAM."""
        return self.memory.read_u8(table + intid // 8) >> intid % 8 & 1

    def configure(self, table: int, intid: int, byte: int) -> None:
        """Software writes an LPI's configuration byte."""
        self.memory.write_u8(table + intid - FIRST_LPI, byte)


def furnished(**choices: object) -> Bench:
    """A booted bench: on every ITS n device n + 1 is mapped, and collections 0 and 1 to redistributors 0 and 1."""
    bench = Bench(**choices)
    for its in range(bench.config.its):
        bench.map_device(1 + its, its)
        for icid in (0, 1):
            bench.run("MAPC", its, ICID=icid, RDbase=bench.rdbase(icid), V=1)
    return bench
