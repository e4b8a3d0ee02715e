# SPDX-License-Identifier: Apache-2.0
"""One processing element, and two: exceptions, time, and what one tells the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import pytest

from tests.conftest import needed

needed("unicorn")
needed("fdt")

import unicorn
from unicorn import arm64_const as arm64

from gicmodel.board import emulator, hooks
from gicmodel.board import encodings as enc
from gicmodel.board.cells import BOARD, CODE_LINES, MOST_CELLS, PE, row_at
from gicmodel.board.cpu import CannotGoOn, Cpu, TrapToEl2
from gicmodel.board.device_tree import DeviceTree
from gicmodel.errors import UnusableInput
from gicmodel.hardware import UndefinedRegister
from gicmodel.layouts.registers.register import packed
from gicmodel.memory import GuestMemory
from tests.board import assembly as asm

RAM, DEVICE, NOWHERE, VECTORS = 0x4000_0000, 0x0900_0000, 0x1_2345_6000, 0x4001_0000
FAR_AWAY = 10_000
ICC_PMR = packed(3, 0, 4, 6, 0)
IRQ, VIRQ = 1, 4
AT_EL1, FROM_EL1 = 0x200, 0x400
"""Offsets of vectors: from the same exception level, from the one below."""
SYNC, IRQ_VECTOR = 0, 0x80


@dataclass
class Recorder:
    """A device that remembers accesses."""

    name: str = "recorder"
    base: int = DEVICE
    size: int = 0x1000
    accesses: list[tuple[str, int, int, int]] = field(default_factory=list)

    def read(self, offset: int, size: int) -> int:
        self.accesses.append(("read", offset, 0, size))
        return 0x1234_5678

    def write(self, offset: int, value: int, size: int) -> None:
        self.accesses.append(("write", offset, value, size))

    def describe(self, tree: DeviceTree) -> None:
        raise AssertionError


@dataclass
class Rig:
    """PEs with nothing around them but RAM and a device."""

    cpus: list[Cpu]
    memory: GuestMemory
    cells: np.ndarray
    device: Recorder

    def run(self, *words: int, cpu: int = 0, ticks: int = FAR_AWAY, at: int = RAM) -> Cpu:
        """Let a PE begin with these instructions, which nobody has executed before at that address."""
        self.memory.write(at, asm.code(*words, asm.LOOP))
        self.cpus[cpu].power_on(at, 0)
        return self.go_on(cpu, ticks)

    def go_on(self, cpu: int = 0, ticks: int = FAR_AWAY) -> Cpu:
        """Let a PE run for so long, or until it waits."""
        end = int(self.cells[BOARD.now]) + ticks
        while int(self.cells[BOARD.now]) < end and not self.cpus[cpu].is_waiting:
            self.cpus[cpu].run(end)
        return self.cpus[cpu]

    def vector(self, offset: int, *words: int) -> None:
        self.memory.write(VECTORS + offset, asm.code(*words, asm.LOOP))


def x(cpu: Cpu, register: int) -> int:
    return int(cpu.uc.reg_read(arm64.UC_ARM64_REG_X0 + register))


MakeRig = Callable[..., Rig]


def undefined(pe: Cpu, encoding: int, value: int | None) -> NoReturn:
    raise UndefinedRegister(f"{encoding:#06x}")


@pytest.fixture
def make_rig() -> MakeRig:
    def make(count: int = 1, el2: bool = False) -> Rig:
        memory, cells, device = GuestMemory(RAM, 1 << 21), np.zeros(MOST_CELLS, np.uint64), Recorder()
        cells[BOARD.pes], cells[BOARD.el2], cells[BOARD.pfr0] = count, el2, 0x0100_0011
        cells[BOARD.row] = row_at(0)
        cpus = [Cpu(number, memory, [device], cells, el2=el2) for number in range(count)]
        for cpu in cpus:
            cpu.on_system_register = undefined
            cpu.on_firmware_call = lambda pe, arguments: sum(arguments)
        return Rig(cpus, memory, cells, device)

    return make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig()


def test_another_release_of_unicorn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unicorn, "__version__", "2.2.0")
    with pytest.raises(UnusableInput, match=r"unicorn 2.2.0 is installed: .* pip install 'gicmodel\[board\]'"):
        emulator.library.__wrapped__()


def test_a_library_without_qemu_names_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(emulator.SYMBOLS, "enter_exception", "no_such_symbol")
    with pytest.raises(UnusableInput, match="lacks no_such_symbol"):
        emulator.library.__wrapped__()


def test_the_hooks_are_compiled_once_for_all_processes() -> None:
    assert [hook.__name__ for hook, *_ in hooks._HOOKS if not hook._cache.kept] == []


def test_time_is_instructions(rig: Rig) -> None:
    rig.run(*[asm.NOP] * 100, ticks=500)
    assert 500 <= int(rig.cells[BOARD.now]) <= 500 + 102
    assert rig.cells[BOARD.now] == rig.cells[BOARD.instructions]


def test_a_loop_ends_at_its_deadline(rig: Rig) -> None:
    cpu = rig.run(ticks=1_000_000)
    assert (cpu.pc, cpu.is_waiting) == (RAM, False)


def test_wfi_waits(rig: Rig) -> None:
    cpu = rig.run(asm.NOP, asm.WFI, *asm.mov(0, 5))
    assert cpu.is_waiting
    assert cpu.pc == RAM + 8


def test_mpidr_is_the_affinity(make_rig: MakeRig) -> None:
    rig = make_rig(count=18)
    cpu = rig.run(asm.mrs(1, enc.MPIDR_EL1), cpu=17)
    assert x(cpu, 1) == 0x8000_0101


def test_a_store_of_64_bits_comes_in_two_halves(rig: Rig) -> None:
    rig.run(*asm.mov(0, DEVICE), *asm.mov(1, 0x1111_2222_3333_4444), asm.store64(1, 0), asm.load32(2, 0))
    assert rig.device.accesses == [("write", 0, 0x3333_4444, 4), ("write", 4, 0x1111_2222, 4), ("read", 0, 0, 4)]
    assert x(rig.cpus[0], 2) == 0x1234_5678


def test_firmware_is_called_with_arguments_and_answers(rig: Rig) -> None:
    cpu = rig.run(*asm.mov(0, 1), *asm.mov(1, 20), *asm.mov(2, 300), *asm.mov(3, 4000), asm.HVC, *asm.mov(4, 9))
    assert (x(cpu, 0), x(cpu, 4)) == (4321, 9)


def test_svc_enters_el1_with_its_syndrome(rig: Rig) -> None:
    rig.vector(AT_EL1 + SYNC, asm.mrs(1, asm.ESR_EL1))
    cpu = rig.run(*asm.mov(0, VECTORS), asm.msr(asm.VBAR_EL1, 0), asm.SVC | 0x42 << 5)
    assert x(cpu, 1) == 0x5600_0042
    assert cpu.exceptions == 1


@pytest.mark.parametrize(
    ("instruction", "syndrome"),
    [(asm.load32(2, 1), 0x9600_0010), (asm.store32(2, 1), 0x9600_0050), (asm.load64(2, 1), 0x9600_0010)],
)
def test_an_access_into_nowhere_is_an_external_abort(rig: Rig, instruction: int, syndrome: int) -> None:
    rig.vector(AT_EL1 + SYNC, asm.mrs(3, asm.ESR_EL1), asm.mrs(4, asm.FAR_EL1))
    start = [*asm.mov(0, VECTORS), asm.msr(asm.VBAR_EL1, 0), *asm.mov(1, NOWHERE)]
    cpu = rig.run(*start, instruction)
    assert x(cpu, 3) & ~0x1FF_FC00 | x(cpu, 3) & 0x3FF == syndrome & ~0x1FF_FC00 | syndrome & 0x3FF
    assert x(cpu, 4) == NOWHERE
    assert int(cpu.uc.reg_read(arm64.UC_ARM64_REG_ELR_EL1)) == RAM + 4 * len(start)


def test_a_jump_into_nowhere_is_an_instruction_abort(rig: Rig) -> None:
    rig.vector(AT_EL1 + SYNC, asm.mrs(3, asm.ESR_EL1), asm.mrs(4, asm.FAR_EL1))
    br_x1 = 0xD61F_0020
    cpu = rig.run(*asm.mov(0, VECTORS), asm.msr(asm.VBAR_EL1, 0), *asm.mov(1, NOWHERE), br_x1)
    assert (x(cpu, 3) >> 26, x(cpu, 3) & 0x3F, x(cpu, 4)) == (0x21, 0x10, NOWHERE)


def test_exceptions_without_an_end_are_a_storm(rig: Rig) -> None:
    with pytest.raises(CannotGoOn, match="PE 0 takes exceptions at"):
        rig.run(*asm.mov(0, NOWHERE & ~0x7FF), asm.msr(asm.VBAR_EL1, 0), asm.SVC)


def test_an_unknown_system_register_is_undefined_or_the_gic_s(rig: Rig) -> None:
    asked: list[tuple[int, int | None]] = []

    def answer(pe: Cpu, encoding: int, value: int | None) -> int:
        asked.append((encoding, value))
        return 0xF0 if encoding == ICC_PMR else undefined(pe, encoding, value)

    rig.cpus[0].on_system_register = answer
    rig.vector(AT_EL1 + SYNC, *asm.mov(7, 1))
    start = [*asm.mov(0, VECTORS), asm.msr(asm.VBAR_EL1, 0), *asm.mov(1, 0x80)]
    cpu = rig.run(*start, asm.msr(ICC_PMR, 1), asm.mrs(2, ICC_PMR), asm.mrs(31, ICC_PMR), asm.mrs(3, ICC_PMR + 8))
    assert asked == [(ICC_PMR, 0x80), (ICC_PMR, None), (ICC_PMR, None), (ICC_PMR + 8, None)]
    assert (x(cpu, 2), x(cpu, 7)) == (0xF0, 1)


def test_a_trapped_register_enters_el2_with_the_access_in_its_syndrome(make_rig: MakeRig) -> None:
    def trap(pe: Cpu, encoding: int, value: int | None) -> NoReturn:
        raise TrapToEl2

    rig = make_rig(el2=True)
    rig.cpus[0].on_system_register = trap
    rig.vector(FROM_EL1 + SYNC, asm.mrs(3, asm.ESR_EL2), asm.mrs(4, asm.ELR_EL2))
    guest = RAM + 0x1000
    rig.memory.write(guest, asm.code(asm.NOP, asm.msr(ICC_PMR, 9), asm.LOOP))
    cpu = rig.run(*enter_el1(guest))
    assert x(cpu, 3) == 0x18 << 26 | 1 << 25 | 3 << 20 | 4 << 10 | 9 << 5 | 6 << 1
    assert x(cpu, 4) == guest + 4


def enter_el1(entry: int, hcr: int = 1 << 31) -> list[int]:
    """From EL2 to `entry` at EL1, with interrupts unmasked."""
    return [
        *(*asm.mov(0, VECTORS), asm.msr(asm.VBAR_EL2, 0), asm.msr(asm.VBAR_EL1, 0)),
        *(*asm.mov(0, hcr), asm.msr(enc.HCR_EL2, 0), *asm.mov(0, entry), asm.msr(asm.ELR_EL2, 0)),
        *(*asm.mov(0, 5), asm.msr(asm.SPSR_EL2, 0), asm.ERET),
    ]


@pytest.mark.parametrize(
    ("hcr", "inputs", "arrives"),
    [
        (1 << 31, IRQ, AT_EL1 + IRQ_VECTOR),
        (1 << 31 | enc.HCR_IMO, IRQ, FROM_EL1 + IRQ_VECTOR),
        (1 << 31 | enc.HCR_IMO, VIRQ, AT_EL1 + IRQ_VECTOR),
        (1 << 31 | enc.HCR_IMO, IRQ | VIRQ, FROM_EL1 + IRQ_VECTOR),
        (1 << 31, VIRQ, None),
    ],
)
def test_interrupts_go_where_hcr_says(make_rig: MakeRig, hcr: int, inputs: int, arrives: int | None) -> None:
    rig = make_rig(el2=True)
    guest = RAM + 0x1000
    rig.memory.write(guest, asm.code(asm.LOOP))
    for offset in (AT_EL1 + IRQ_VECTOR, FROM_EL1 + IRQ_VECTOR):
        rig.vector(offset)
    cpu = rig.run(*enter_el1(guest, hcr))
    assert cpu.pc == guest
    rig.cells[row_at(0) + PE.inputs] = inputs
    rig.go_on()
    assert cpu.pc == (guest if arrives is None else VECTORS + arrives)


def test_a_masked_interrupt_waits_until_it_is_unmasked(rig: Rig) -> None:
    unmask = 0xD503_42FF  # MSR DAIFClr, #2
    rig.vector(AT_EL1 + IRQ_VECTOR, *asm.mov(7, 1))
    rig.cells[row_at(0) + PE.inputs] = IRQ
    start = [*asm.mov(0, VECTORS), asm.msr(asm.VBAR_EL1, 0)]
    cpu = rig.run(*start, asm.branch(1), *asm.mov(5, 1), unmask, asm.branch(1), *asm.mov(6, 1))
    assert [x(cpu, register) for register in (5, 6, 7)] == [1, 0, 1]
    assert cpu.exceptions == 1


def test_counter_and_timer_registers(rig: Rig) -> None:
    cpu = rig.run(
        *(asm.mrs(1, enc.CNTVCT_EL0), asm.mrs(2, enc.CNTFRQ_EL0), *asm.mov(3, 5000), asm.msr(enc.CNTP_TVAL_EL0, 3)),
        *(asm.mrs(4, enc.CNTP_CVAL_EL0), *asm.mov(5, 1), asm.msr(enc.CNTP_CTL_EL0, 5), asm.mrs(6, enc.CNTP_CTL_EL0)),
    )
    row = row_at(0)
    assert x(cpu, 2) == enc.FREQUENCY
    assert x(cpu, 4) == int(rig.cells[row + PE.physical_cval]) == x(cpu, 1) + 5000
    assert (int(rig.cells[row + PE.physical_ctl]), x(cpu, 6)) == (1, 1)


@pytest.mark.parametrize(
    ("due", "control", "stops"), [(5000, 1, 5000), (0, 1, 0), (5000, 3, FAR_AWAY), (0, 3, FAR_AWAY)]
)
def test_a_timer_stops_the_pe_when_its_output_changes_and_not_before(
    rig: Rig, due: int, control: int, stops: int
) -> None:
    start = [*asm.mov(0, due), asm.msr(enc.CNTV_CVAL_EL0, 0), *asm.mov(0, control), asm.msr(enc.CNTV_CTL_EL0, 0)]
    rig.memory.write(RAM, asm.code(*start, asm.LOOP))
    rig.cpus[0].power_on(RAM, 0)
    rig.cpus[0].run(FAR_AWAY)
    assert stops <= int(rig.cells[BOARD.now]) < stops + 10


def test_a_timer_value_may_lie_in_the_past(rig: Rig) -> None:
    rig.run(*asm.mov(3, 0xFFFF_FFFF), asm.msr(enc.CNTV_TVAL_EL0, 3), asm.mrs(4, enc.CNTV_TVAL_EL0))
    assert int(rig.cells[row_at(0) + PE.virtual_cval]) < FAR_AWAY
    assert x(rig.cpus[0], 4) & 0x8000_0000


def test_el1_may_not_touch_the_physical_timer_that_el2_keeps(make_rig: MakeRig) -> None:
    rig = make_rig(el2=True)
    guest = RAM + 0x1000
    rig.memory.write(guest, asm.code(asm.mrs(5, enc.CNTP_CTL_EL0), asm.LOOP))
    rig.vector(FROM_EL1 + SYNC, asm.mrs(3, asm.ESR_EL2))
    cpu = rig.run(asm.msr(enc.CNTHCTL_EL2, 31), *enter_el1(guest))
    assert x(cpu, 3) >> 26 == 0x18


@pytest.mark.parametrize("lines", [1, CODE_LINES + 10])
def test_code_that_one_pe_changes_is_new_to_another(make_rig: MakeRig, lines: int) -> None:
    rig = make_rig(count=2)
    patched = RAM + 0x2000
    rig.run(*asm.mov(1, 1), cpu=1, at=patched)
    assert x(rig.cpus[1], 1) == 1
    changed = asm.mov(1, 2)[0]
    start = [*asm.mov(0, patched), *asm.mov(2, changed), asm.store32(2, 0), asm.IC_IVAU_X0]
    more = [word for _ in range(lines) for word in (asm.IC_IVAU_X0, asm.add(0, 64))]
    rig.run(*start, *asm.mov(0, RAM + 0x8000), *more)
    rig.cpus[1].power_on(patched, 0)
    rig.go_on(1)
    assert x(rig.cpus[1], 1) == 2


@pytest.mark.parametrize("invalidate", [asm.IC_IVAU_X0, asm.IC_IALLUIS])
def test_code_that_changes_unseen_is_new_once_it_is_invalidated(rig: Rig, invalidate: int) -> None:
    routine = RAM + 0x2000
    rig.memory.write(routine, asm.code(*asm.mov(1, 1), asm.RET))
    rig.device.write = lambda *_: rig.memory.write(routine, asm.code(*asm.mov(1, 2), asm.RET))  # type: ignore
    change = [*asm.mov(3, DEVICE), asm.store32(3, 3), invalidate, asm.ISB]
    cpu = rig.run(*asm.mov(0, routine), asm.BLR_X0, *change, asm.BLR_X0)
    assert x(cpu, 1) == 2


def test_a_broadcast_tlbi_reaches_the_others_and_a_local_one_does_not(make_rig: MakeRig) -> None:
    rig = make_rig(count=3)
    stale = [row_at(n) + PE.stale_tlb for n in range(3)]
    vmalle1, vmalle1is = 0xD508_871F, 0xD508_831F
    rig.run(vmalle1)
    assert [int(rig.cells[at]) for at in stale] == [0, 0, 0]
    rig.run(vmalle1is, at=RAM + 0x1000)
    assert [int(rig.cells[at]) for at in stale] == [0, 1, 1]
    rig.run(cpu=1)
    assert [int(rig.cells[at]) for at in stale] == [0, 0, 1]
