# SPDX-License-Identifier: Apache-2.0
"""A host for tests: RAM, a GIC and its driver, and the commands that the driver wrote, read back from the rings."""

from typing import NamedTuple

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.hardware import Gic
from gicmodel.layouts.commands import COMMAND_BYTES, format_command
from gicmodel.layouts.registers.by_name import NamedRegisters, RegisterFrame
from gicmodel.layouts.registers.its import GITS_CBASER, ITS_REGISTERS
from gicmodel.layouts.registers.redistributor import REDISTRIBUTOR_REGISTERS
from gicmodel.memory import PAGE_BYTES, GuestMemory

RAM, RAM_BYTES = 0x8000_0000, 0x1000_0000


class Write(NamedTuple):
    """A write of a register: `face` is "ITS 0" or "RD 2", `before` what the register read as until then."""

    face: str
    register: str
    value: int
    before: int


class TracedFace:
    """A register face that notes each write in `trace`."""

    def __init__(self, real: RegisterFrame, name: str, registers: dict[int, str], trace: list[Write]) -> None:
        self._real, self._name, self._registers, self._trace = real, name, registers, trace

    def read(self, offset: int, size: int) -> int:
        return self._real.read(offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        self._trace.append(Write(self._name, self._registers[offset], value, self._real.read(offset, size)))
        self._real.write(offset, value, size)


class TracedPort:
    """The registers of a GIC as a driver gets them, with every write in `trace`."""

    def __init__(self, gic: Gic) -> None:
        its_names = {register.offset: register.name for register in ITS_REGISTERS}
        rd_names = {register.offset: register.name for register in REDISTRIBUTOR_REGISTERS}
        self.trace: list[Write] = []
        self.its = [TracedFace(face, f"ITS {n}", its_names, self.trace) for n, face in enumerate(gic.its)]
        self.redistributors = [
            TracedFace(face, f"RD {n}", rd_names, self.trace) for n, face in enumerate(gic.redistributors)
        ]


class Host:
    """`choices` are GicConfig's; four CPUs unless it says otherwise."""

    def __init__(self, *, lpi_id_bits: int = 16, boot: bool = True, **choices: object) -> None:
        config = GicConfig(**({"redistributors": 4} | choices))  # type: ignore[arg-type]
        self.memory = GuestMemory(RAM, RAM_BYTES)
        self.gic = Gic(config, self.memory)
        self.allocator = PageAllocator(self.memory, RAM, RAM + RAM_BYTES)
        self.driver = self.new_driver(lpi_id_bits)
        self._read = [0] * config.its
        if boot:
            self.driver.probe()
            for its in range(config.its):
                self.words(its)

    def new_driver(self, lpi_id_bits: int = 16) -> GicDriver:
        """A driver that has done nothing yet."""
        config = self.gic.config
        bases = [config.redistributor_frames(n) for n in range(config.redistributors)]
        self.port = TracedPort(self.gic)
        return GicDriver(
            self.port,
            self.allocator,
            lpi_id_bits,
            config.vpe_id_bits,
            redistributor_bases=bases,
            relax=self.gic.step,
        )

    def its(self, name: str, its: int = 0) -> int:
        """The register of an ITS."""
        return NamedRegisters(self.gic.its[its], self.gic.config.architecture).read(name)

    def rd(self, name: str, cpu: int = 0) -> int:
        """The register of a redistributor."""
        return NamedRegisters(self.gic.redistributors[cpu], self.gic.config.architecture).read(name)

    def writes(self, *registers: str) -> list[Write]:
        """The driver's writes since the last call; of some registers only, if any are named."""
        written = [write for write in self.port.trace if not registers or write.register in registers]
        self.port.trace.clear()
        return written

    def words(self, its: int = 0) -> list[tuple[int, ...]]:
        """The commands of an ITS that were published since the last call, as words dw0 to dw3."""
        cbaser = GITS_CBASER.unpack(self.its("GITS_CBASER", its))
        size = (cbaser["Size"] + 1) * PAGE_BYTES
        start, end = self._read[its], self.its("GITS_CWRITER", its)
        self._read[its] = end
        offsets = range(start, end if start <= end else end + size, COMMAND_BYTES)
        slots = [self.memory.view(cbaser["Physical_Address"] + offset % size, 4, np.uint64) for offset in offsets]
        return [tuple(int(word) for word in slot) for slot in slots]

    def commands(self, its: int = 0) -> list[str]:
        """`words` as text."""
        return [format_command(words, self.gic.config.architecture) for words in self.words(its)]

    def mnemonics(self, its: int = 0) -> str:
        """`commands` without their fields."""
        return " ".join(command.split()[0] for command in self.commands(its))
