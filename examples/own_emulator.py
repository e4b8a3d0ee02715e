# SPDX-License-Identifier: Apache-2.0
"""A GIC for one's own CPU emulator: loads and stores by address, MRS and MSR by encoding, and a wire for interrupts.

The emulator is as small as one can be: its CPU runs Python functions in place of instructions, but reaches memory and
system registers, and takes interrupts between two of them, as one that decodes A64 would.
"""

from collections.abc import Callable

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.hardware import Bus, Gic, Line
from gicmodel.layouts.registers.by_name import encoding, register
from gicmodel.memory import GuestMemory

GICD, GICR, ITS = 0x0800_0000, 0x080A_0000, 0x0900_0000
RAM = 0x4000_0000
TIMER, UART = 27, 33
"""A PPI and an SPI."""
DISK = 0x42
"""A DeviceID: who writes GITS_TRANSLATER."""


class Machine:
    """RAM and the GIC on one bus, and a CPU."""

    def __init__(self) -> None:
        self.ram = GuestMemory(RAM, 16 << 20)
        self.gic = Gic(GicConfig(redistributors=1, redistributor_base=GICR), self.ram)
        self.bus = Bus(self.gic, distributor_base=GICD, its_base=ITS)
        self.cpu = Cpu(self)
        self.gic.on_line(self.line_changed)

    def line_changed(self, pe: int, line: Line, level: bool) -> None:
        """The GIC's output goes high or low: called on a change, so nobody has to ask."""
        if line is Line.IRQ:
            self.cpu.irq = level

    def load(self, address: int, size: int) -> int:
        """What a load of `size` bytes gets. ExternalAbort, which is the CPU's exception, where there is nothing."""
        if self.ram.covers(address, size):
            return int.from_bytes(self.ram.read(address, size), "little")
        return self.bus.read(address, size)

    def store(self, address: int, value: int, size: int, device_id: int = 0) -> None:
        """A store of the CPU's, or of the device with this DeviceID."""
        if self.ram.covers(address, size):
            self.ram.write(address, value.to_bytes(size, "little"))
        else:
            self.bus.write(address, value, size, device_id=device_id)


class Cpu:
    """Its instructions are the methods below; after each it takes interrupts, if there are any and it may."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.interface = machine.gic.redistributors[0].cpu
        self.irq = False
        self.masked = True
        self.vector: Callable[[Cpu], None] = lambda cpu: None

    def ldr(self, address: int, size: int = 4) -> int:
        """LDR, LDRB."""
        value = self.machine.load(address, size)
        self.end_of_instruction()
        return value

    def str(self, address: int, value: int, size: int = 4) -> None:
        """STR, STRB."""
        self.machine.store(address, value, size)
        self.end_of_instruction()

    def mrs(self, name: str) -> int:
        """MRS. UndefinedRegister, which is the CPU's exception, for what the GIC does not have."""
        value = self.interface.read(encoding(name))
        self.end_of_instruction()
        return value

    def msr(self, name: str, value: int) -> None:
        """MSR."""
        self.interface.write(encoding(name), value)
        self.end_of_instruction()

    def nop(self) -> None:
        """Time passes: a GIC that works in steps does one."""
        self.machine.gic.step()
        self.end_of_instruction()

    def unmask(self) -> None:
        """MSR DAIFClr, #2."""
        self.masked = False
        self.end_of_instruction()

    def end_of_instruction(self) -> None:
        """IRQ exceptions, in each of which IRQs are masked."""
        while self.irq and not self.masked:
            self.masked = True
            self.vector(self)
            self.masked = False


def enable(cpu: Cpu, intid: int, priority: int) -> None:
    """What a kernel does for a PPI or SPI."""
    base, frame = (GICR, "GICR") if intid < 32 else (GICD, "GICD")
    word, bit = intid // 32, 1 << intid % 32
    cpu.str(base + register(f"{frame}_IGROUPR{word}").offset, bit)
    cpu.str(base + register(f"{frame}_IPRIORITYR{intid // 4}").offset + intid % 4, priority, 1)
    cpu.str(base + register(f"{frame}_ISENABLER{word}").offset, bit)


def interrupted(cpu: Cpu) -> None:
    """The kernel's vector."""
    intid = cpu.mrs("ICC_IAR1_EL1")
    print(f"interrupt {intid}, running priority {cpu.mrs('ICC_RPR_EL1'):#x}")
    if intid in wires:
        wires[intid](False)  # the device is content
    cpu.msr("ICC_EOIR1_EL1", intid)


machine = Machine()
cpu = machine.cpu
wires = {
    TIMER: lambda level: machine.gic.redistributors[0].set_line(TIMER, level),
    UART: lambda level: machine.gic.distributor.set_line(UART, level),
}

cpu.str(GICD + register("GICD_CTLR").offset, 0b10)
cpu.str(GICR + register("GICR_WAKER").offset, 0)
enable(cpu, TIMER, 0x80)
enable(cpu, UART, 0xA0)
cpu.msr("ICC_PMR_EL1", 0xFF)
cpu.msr("ICC_IGRPEN1_EL1", 1)
cpu.vector = interrupted

# A kernel's ITS driver, as long as a page, is here the package's own; it could run on the emulated CPU as well.
driver = GicDriver(machine.gic, PageAllocator(machine.ram, RAM, machine.ram.end))
driver.probe()
disk = driver.lpis.create_device(DISK, 4)
driver.lpis.activate(disk, 2)

wires[UART](True)
wires[TIMER](True)
print("IRQ while masked:", cpu.irq)
cpu.unmask()
machine.store(ITS + register("GITS_TRANSLATER").offset, 2, 4, device_id=DISK)
cpu.nop()
print("IRQ at the end:", cpu.irq)
