# SPDX-License-Identifier: Apache-2.0
"""A board whose PEs take interrupts: system registers and those of distributor and redistributors by name."""

from gicmodel.layouts.registers.by_name import NamedRegisters, encoding, system_register
from gicmodel.layouts.registers.cpu_interface import ICC_SGI1R_EL1
from tests.hardware.bench import Bench, furnish

SPURIOUS = 1023
IDLE = 0xFF


class Pes(Bench):
    """Furnished, as `furnished` does. Every interrupt is of Group 1, has priority 0xA0 and is enabled.

    Every PE takes both groups whatever the priority. PPIs and SPIs are level-sensitive, SPIs go to PE 0.
    """

    def __init__(self, **choices: object) -> None:
        super().__init__(**choices)
        furnish(self)
        self.gicd = NamedRegisters(self.gic.distributor, self.config.architecture)
        self.gicr = [NamedRegisters(face, self.config.architecture) for face in self.gic.redistributors]
        self.gicd.set("GICD_CTLR", EnableGrp0=1, EnableGrp1=1)
        words = range(1, 1 + self.config.spis // 32)
        for rows, frame, of in [(self.gicr, "GICR", (0,)), ([self.gicd], "GICD", words)]:
            for row in rows:
                for n in of:
                    row.write(f"{frame}_IGROUPR{n}", 0xFFFF_FFFF)
                    row.write(f"{frame}_ISENABLER{n}", 0xFFFF_FFFF)
                    for quarter in range(8 * n, 8 * n + 8):
                        row.write(f"{frame}_IPRIORITYR{quarter}", 0xA0A0_A0A0)
        for pe in range(self.config.redistributors):
            self.msr("PMR", 0xF8, pe)
            self.msr("IGRPEN0", 1, pe)
            self.msr("IGRPEN1", 1, pe)

    def mrs(self, name: str, pe: int = 0) -> int:
        """Read ICC_<name>_EL1."""
        return self.gic.redistributors[pe].cpu.read(encoding(f"ICC_{name}_EL1"))

    def msr(self, name: str, value: int, pe: int = 0) -> None:
        """Write ICC_<name>_EL1."""
        self.gic.redistributors[pe].cpu.write(encoding(f"ICC_{name}_EL1"), value)

    def fields(self, name: str, pe: int = 0) -> dict[str, int]:
        """The fields of ICC_<name>_EL1."""
        return system_register(f"ICC_{name}_EL1").layout.unpack(self.mrs(name, pe))

    def iar(self, pe: int = 0) -> int:
        """Acknowledge a Group 1 interrupt."""
        return self.mrs("IAR1", pe)

    def eoi(self, intid: int, pe: int = 0) -> None:
        """End a Group 1 interrupt."""
        self.msr("EOIR1", intid, pe)

    def sgi(self, intid: int, pe: int = 0, *, name: str = "SGI1R", **fields: int) -> None:
        """Generate an SGI."""
        self.msr(name, ICC_SGI1R_EL1.pack(INTID=intid, **fields), pe)

    def line(self, intid: int, level: bool, pe: int = 0) -> None:
        """The input of a PPI or SPI."""
        if intid < 32:
            self.gic.redistributors[pe].set_line(intid, level)
        else:
            self.gic.distributor.set_line(intid, level)

    def priority(self, intid: int, value: int, pe: int = 0) -> None:
        """The priority of an SGI, PPI or SPI."""
        face, first = (self.gic.redistributors[pe], 0x1_0400) if intid < 32 else (self.gic.distributor, 0x400)
        face.write(first + intid, value, 1)

    def group0(self, intid: int, pe: int = 0) -> None:
        """Put an interrupt in Group 0."""
        registers, name = self._word(intid, pe)
        registers.write(name.format("IGROUPR"), registers.read(name.format("IGROUPR")) & ~(1 << intid % 32))

    def edge(self, intid: int, pe: int = 0) -> None:
        """Make a PPI or SPI edge-triggered."""
        registers, frame = (self.gicr[pe], "GICR") if intid < 32 else (self.gicd, "GICD")
        name = f"{frame}_ICFGR{intid // 16}"
        registers.write(name, registers.read(name) | 2 << 2 * (intid % 16))

    def route(self, intid: int, **fields: int) -> None:
        """GICD_IROUTER<n>."""
        self.gicd.set(f"GICD_IROUTER{intid}", **fields)

    def hypervisor(self, pe: int) -> None:
        """The hypervisor of a PE lets virtual interrupts of Group 1 come to its guest."""
        for name, fields in (("HCR", {"En": 1}), ("VMCR", {"VPMR": 0xF8, "VENG1": 1})):
            entry = system_register(f"ICH_{name}_EL2")
            self.gic.redistributors[pe].cpu.write(entry.encoding, entry.layout.pack(**fields))

    def state(self, intid: int, pe: int = 0) -> tuple[bool, bool]:
        """(pending, active) as the registers show."""
        registers, name = self._word(intid, pe)
        pending, active = (registers.read(name.format(what)) >> intid % 32 & 1 for what in ("ISPENDR", "ISACTIVER"))
        return bool(pending), bool(active)

    def _word(self, intid: int, pe: int) -> tuple[NamedRegisters, str]:
        if intid < 32:
            return self.gicr[pe], "GICR_{}0"
        return self.gicd, f"GICD_{{}}{intid // 32}"
