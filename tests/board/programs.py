# SPDX-License-Identifier: Apache-2.0
"""Flat binaries of a few instructions for a whole board."""

from gicmodel.board import addresses
from gicmodel.board import encodings as enc
from gicmodel.board.image import FLAT_OFFSET
from gicmodel.layouts.registers.by_name import encoding, register
from tests.board import assembly as asm

ENTRY = addresses.RAM_BASE + FLAT_OFFSET
VECTORS = addresses.RAM_BASE + 0x10_0000
SYSTEM_OFF, SYSTEM_RESET, CPU_ON = 0x8400_0008, 0x8400_0009, 0xC400_0003
UART, SCRATCH, VALUE = 20, 21, 22
"""Registers that programs keep for that."""
_DAIFCLR_I = 0xD503_42FF


def show(text: str) -> list[int]:
    """Write to the UART."""
    words = asm.mov(UART, addresses.UART_BASE)
    for character in text:
        words += [*asm.mov(VALUE, ord(character)), asm.store32(VALUE, UART)]
    return words


def firmware(function: int, *arguments: int) -> list[int]:
    """Call PSCI."""
    return [
        *asm.mov(0, function),
        *(word for n, argument in enumerate(arguments, 1) for word in asm.mov(n, argument)),
        asm.HVC,
    ]


def power_off() -> list[int]:
    return firmware(SYSTEM_OFF)


def spin(iterations: int) -> list[int]:
    """Two instructions so many times."""
    subs, bne = 0xF100_0400 | SCRATCH << 5 | SCRATCH, 0x54FF_FFE1
    return [*asm.mov(SCRATCH, iterations), subs, bne]


def store(address: int, value: int, wide: bool = False) -> list[int]:
    instruction = asm.store64(VALUE, SCRATCH) if wide else asm.store32(VALUE, SCRATCH)
    return [*asm.mov(SCRATCH, address), *asm.mov(VALUE, value), instruction]


def set_system(name: str | int, value: int) -> list[int]:
    """MSR of a value; ICC_* by name."""
    return [*asm.mov(VALUE, value), asm.msr(encoding(name) if isinstance(name, str) else name, VALUE)]


def handler(words: list[int]) -> list[int]:
    """Copy instructions to where IRQs of EL1 arrive, and let VBAR_EL1 say so."""
    at = VECTORS + 0x280
    copies = [word for n, each in enumerate(words) for word in store(at + 4 * n, each)]
    return [*copies, *set_system(asm.VBAR_EL1, VECTORS), asm.ISB]


def timer_interrupt(then: list[int]) -> list[int]:
    """Wait for the physical timer's PPI, and do something once it is acknowledged and ended."""
    frame = addresses.REDISTRIBUTOR_BASE + 0x1_0000
    ppi = 1 << addresses.PHYSICAL_TIMER_INTID
    end = [asm.mrs(1, encoding("ICC_IAR1_EL1")), asm.msr(encoding("ICC_EOIR1_EL1"), 1), *then]
    return [
        *handler(end),
        *store(addresses.DISTRIBUTOR_BASE + register("GICD_CTLR").offset, 0x12),
        *store(addresses.REDISTRIBUTOR_BASE + register("GICR_WAKER").offset, 0),
        *store(frame + register("GICR_IGROUPR0").offset % 0x1_0000, ppi),
        *store(frame + register("GICR_ISENABLER0").offset % 0x1_0000, ppi),
        *set_system("ICC_PMR_EL1", 0xF8),
        *set_system("ICC_IGRPEN1_EL1", 1),
        *set_system(enc.CNTP_TVAL_EL0, 1000),
        *set_system(enc.CNTP_CTL_EL0, 1),
        _DAIFCLR_I,
        asm.WFI,
        asm.LOOP,
    ]


def bad_command() -> list[int]:
    """Give the ITS a command that there is not."""
    queue, its = addresses.RAM_BASE + 0x20_0000, addresses.ITS_BASE
    offset = {name: its + register(f"GITS_{name}").offset for name in ("CTLR", "CBASER", "CWRITER")}
    return [
        *store(queue, 0xEE),
        *store(offset["CBASER"], 1 << 63 | queue, wide=True),
        *store(offset["CTLR"], 1),
        *store(offset["CWRITER"], 32, wide=True),
    ]
