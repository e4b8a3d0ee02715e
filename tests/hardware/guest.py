# SPDX-License-Identifier: Apache-2.0
"""A guest with its list registers, vSGIs and vLPI, and what its hypervisor sees."""

from gicmodel.hardware import Line
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import encoding, system_register
from gicmodel.layouts.registers.its import GITS_SGIR
from tests.hardware.bench import Bench, furnish

INVALID, PENDING, ACTIVE, PENDING_AND_ACTIVE = range(4)
SPURIOUS, IDLE = 1023, 0xFF
VLPI = FIRST_LPI + 1
EOI = 1 << 9
MAINTENANCE = 25


class Guest(Bench):
    """vPE 0 is resident on PE 0 with a vLPI of priority 0xA0 mapped, both groups are enabled, nothing is masked."""

    def __init__(self, **choices: object) -> None:
        super().__init__(**choices)
        furnish(self)
        if self.config.virtual:
            self.map_vpe()
            self.map_vlpi(7, VLPI)
            if self.config.v41:
                self.run("VSGI", vINTID=3, Enable=1, Group=1, Priority=0xB)
                self.run("VSGI", vINTID=6, Enable=1, Group=0, Priority=0xA)
            self.schedule(groups=0b11)
        self.ich("HCR", En=1)
        self.ich("VMCR", VPMR=0xFF, VENG0=1, VENG1=1)

    @property
    def cpu(self):
        return self.gic.redistributors[0].cpu

    def ich(self, name: str, **fields: int) -> None:
        """Write ICH_<name>_EL2."""
        entry = system_register(f"ICH_{name}_EL2")
        self.cpu.write(entry.encoding, entry.layout.pack(**fields))

    def ich_fields(self, name: str) -> dict[str, int]:
        """Read ICH_<name>_EL2."""
        entry = system_register(f"ICH_{name}_EL2")
        return entry.layout.unpack(self.cpu.read(entry.encoding))

    def mrs(self, name: str) -> int:
        """The guest reads ICC_<name>_EL1."""
        return self.cpu.read(encoding(f"ICC_{name}_EL1"), virtual=True)

    def msr(self, name: str, value: int) -> None:
        """The guest writes ICC_<name>_EL1."""
        self.cpu.write(encoding(f"ICC_{name}_EL1"), value, virtual=True)

    def list(self, place: int, vintid: int, **fields: int) -> None:
        """Write a list register: a pending Group 1 interrupt of priority 0xA8."""
        self.ich(f"LR{place}", **{"State": PENDING, "Group": 1, "Priority": 0xA8, "vINTID": vintid} | fields)

    def listed(self, place: int) -> int:
        """The state of a list register."""
        return self.ich_fields(f"LR{place}")["State"]

    def vsgi(self, vintid: int) -> None:
        """Another vCPU sends a vSGI."""
        self.write_its("SGIR", GITS_SGIR.pack(vPEID=0, vINTID=vintid))

    def vlpi(self) -> None:
        """A device raises the vLPI."""
        self.run("INT", DeviceID=1, EventID=7)

    def lines(self) -> str:
        """What the PE sees for its vPE."""
        return "".join(line.name for line in (Line.VIRQ, Line.VFIQ) if self.gic.line(0, line))

    def misr(self) -> set[str]:
        """Why there would be a maintenance interrupt."""
        return {name for name, asked in self.ich_fields("MISR").items() if asked}

    def maintained(self) -> bool:
        """The level of the maintenance interrupt, a PPI."""
        return bool(self.read_rd("ISPENDR0") >> MAINTENANCE & 1)


def taken(guest: Guest, group: int = 1) -> list[int]:
    """What the guest takes of one group, each ended before the next is taken."""
    found = []
    while (vintid := guest.mrs(f"IAR{group}")) != SPURIOUS:
        found.append(vintid)
        guest.msr(f"EOIR{group}", vintid)
    return found
