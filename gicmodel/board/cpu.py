# SPDX-License-Identifier: Apache-2.0
"""One processing element: a Unicorn over the board's RAM and devices, with QEMU's code for the ways into exceptions."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import unicorn
from unicorn import arm64_const as arm64
from unicorn import unicorn_const as uc_const

from gicmodel.board.cells import BOARD, CODE_LINE_BYTES, CODE_LINES, PE, Cells, row_at
from gicmodel.board.device import Device
from gicmodel.board.emulator import CpuState, checked_registers, library
from gicmodel.board.encodings import CNTHCTL_EL1PCEN, CNTHCTL_EL1PCTEN, HCR_TGE
from gicmodel.board.hooks import add_hooks
from gicmodel.config import affinity_of
from gicmodel.hardware import UndefinedRegister
from gicmodel.memory import PAGE_BYTES, GuestMemory

MODEL = arm64.UC_CPU_ARM64_A72
"""The processor that Unicorn emulates: Armv8.0 with EL2 and AArch32 at EL0, as many boards with a GICv3 have it."""
TCG_BYTES = 128 << 20
"""Unicorn's buffer of translated code, of which it reserves 1 GiB otherwise."""
UNTIL = 0
"""Where emulation ends: ignored, there are no such addresses. At the end of each run Unicorn would look one up."""
WFI = 0xD503_207F
UNDEFINED, PREFETCH_ABORT, DATA_ABORT, HVC, HYP_TRAP, SMC = 1, 3, 4, 11, 12, 13
"""QEMU's numbers of exceptions (EXCP_*)."""
_INTERRUPT_REQUESTS = (0x002, 0x010, 0x040, 0x200)
"""QEMU's CPU_INTERRUPT_* of IRQ, FIQ, VIRQ and VFIQ."""
_PSTATE_EL1H, _PSTATE_EL2H = 0x3C5, 0x3C9
_SCR_EL3, _SCR_RW_HCE_NS = (1, 1, 3, 6, 0), 0x501
_HCR_EL2, _HCR_RW = (1, 1, 3, 4, 0), 1 << 31
"""Registers as Unicorn names them: CRn, CRm, op0, op1, op2. It resets both RW to 0, and then takes EL1 for AArch32."""
_MPIDR_RES1 = 1 << 31
_EC_INSTRUCTION_ABORT, _EC_DATA_ABORT, _EC_TRAPPED_MSR = 0x20, 0x24, 0x18
_IL, _SYNCHRONOUS_EXTERNAL, _WNR = 1 << 25, 0x10, 1 << 6
_MRS_MSR, _MRS_MSR_SHIFT, _REGISTER_OP0 = 0x354, 22, 1 << 20
_IS_READ = 1 << 21
_CONTEXT_HEADER = 40
"""Bytes of Unicorn's own before the registers in what it saves: sizes and pointers of the running process."""
_STORM = 1000
"""Exceptions one after another, without an instruction between them, that are called a storm."""


class TrapToEl2(Exception):
    """An access of a system register that EL2 wants to see."""


SystemAccess = Callable[["Cpu", int, int | None], int]
"""(the PE, encoding, value written or None for a read) -> the value read. Raises UndefinedRegister or TrapToEl2."""


class CannotGoOn(Exception):
    """A PE takes exception after exception and executes nothing, or Unicorn gives up."""


class Cpu:
    """A PE. `is_waiting`: it has executed WFI, and no interrupt has woken it since."""

    def __init__(self, number: int, memory: GuestMemory, devices: Sequence[Device], cells: Cells, *, el2: bool) -> None:
        self.number = number
        self.mpidr = _MPIDR_RES1 | affinity_of(number)
        self.is_on = self.is_waiting = False
        self.el2 = el2
        self.exceptions = 0
        self._cells = cells
        self._row = row_at(number)
        self._memory = memory
        self._storm = (0, 0)
        self.uc = self._emulator(memory, devices)
        self._state = CpuState(self.uc)
        cells[BOARD.ram] = memory.base
        cells[self._row + PE.mpidr], cells[self._row + PE.state] = self.mpidr, self._state.address
        cells[self._row + PE.cnthctl] = CNTHCTL_EL1PCTEN | CNTHCTL_EL1PCEN  # UNKNOWN; Unicorn's

    on_system_register: SystemAccess
    on_firmware_call: Callable[[Cpu, list[int]], int | None]
    """(the PE, X0 to X3) -> X0, or None where there is nothing to return to."""

    # Registers

    @property
    def pc(self) -> int:
        """The address of the next instruction."""
        return int(self.uc.reg_read(arm64.UC_ARM64_REG_PC))

    @property
    def el(self) -> int:
        """The exception level."""
        return int(self.uc.reg_read(arm64.UC_ARM64_REG_PSTATE)) >> 2 & 3

    @property
    def hcr(self) -> int:
        """HCR_EL2, zero without EL2."""
        return int(self._cells[self._row + PE.hcr])

    def power_on(self, entry: int, context: int) -> None:
        """Let the PE begin at `entry` with `context` in X0: interrupts masked, MMU off (DEN0022, 6.4)."""
        self.uc.reg_write(arm64.UC_ARM64_REG_PC, entry)
        self.uc.reg_write(arm64.UC_ARM64_REG_X0, context)
        self.uc.reg_write(arm64.UC_ARM64_REG_PSTATE, _PSTATE_EL2H if self.el2 else _PSTATE_EL1H)
        # What QEMU derives from PSTATE to translate code by; Unicorn forgets it.
        library().rebuild_flags(self._state.env)
        self.is_on, self.is_waiting = True, False

    def fetch(self, address: int) -> int:
        """The instruction at a virtual address; 0 where none can be read."""
        word = ctypes.c_uint32(0)
        status = library().read_virtual(
            self.uc._uch,
            ctypes.c_uint64(address),
            ctypes.c_int(uc_const.UC_PROT_READ),
            ctypes.byref(word),
            ctypes.c_size_t(4),
        )
        return 0 if status else int(word.value)

    def to_json(self) -> dict[str, int | bool | str]:
        """Where it is."""
        state = {"number": self.number, "on": self.is_on, "waiting": self.is_waiting}
        return {**state, "pc": f"{self.pc:#x}", "el": self.el, "exceptions": self.exceptions}

    def __str__(self) -> str:
        if not self.is_on:
            return "off"
        return f"{'waits' if self.is_waiting else 'runs'} at {self.pc:#x}, EL{self.el}, {self.exceptions} exceptions"

    def context(self) -> bytes:
        """All registers, as this release of Unicorn has them."""
        return bytes(self.uc.context_save())[_CONTEXT_HEADER:]

    def restore(self, context: bytes) -> None:
        """Take registers as they were. Raises ValueError, as `checked_registers`."""
        whole = self.uc.context_save()
        header, now = bytes(whole)[:_CONTEXT_HEADER], bytes(whole)[_CONTEXT_HEADER:]
        whole.__setstate__((header + checked_registers(context, now, el2=self.el2), whole.size, whole.arch, whole.mode))
        self.uc.context_restore(whole)
        library().rebuild_flags(self._state.env)

    # Running

    def run(self, deadline: int) -> None:
        """Execute until the time `deadline`, an interrupt, WFI, or whatever a device makes of its registers.

        Raises:
            CannotGoOn: the PE gets nowhere.
        """
        cells = self._cells
        self._drop_stale()
        cells[BOARD.row], cells[BOARD.deadline] = self._row, deadline
        if cells[self._row + PE.inputs]:
            self._take_interrupt()
        cells[BOARD.stopped] = 0
        try:
            self.uc.emu_start(self.pc, UNTIL)
        except unicorn.UcError as error:
            self._abort(error)
            return
        if self.is_on and not cells[BOARD.stopped] and self.fetch(self.pc - 4) == WFI:
            self.is_waiting = True

    def stop(self) -> None:
        """Leave `run`; for callbacks of exceptions only: from a device Unicorn would execute the access again."""
        self._cells[BOARD.stopped] = 1
        self.uc.emu_stop()

    def _take_interrupt(self) -> None:
        inputs = int(self._cells[self._row + PE.inputs])
        asked = sum(request for bit, request in enumerate(_INTERRUPT_REQUESTS) if inputs >> bit & 1)
        if library().take_interrupt(self._state.pointer, ctypes.c_int(asked)) & 0xFF:
            self.exceptions += 1

    def _drop_stale(self) -> None:
        """Obey what other PEs have told all to drop while this one did not run."""
        cells, row = self._cells, self._row
        if cells[row + PE.stale_tlb]:
            cells[row + PE.stale_tlb] = 0
            library().flush_tlb(self._state.pointer)
        lines, seen = int(cells[BOARD.code_lines]), int(cells[row + PE.code_seen])
        if lines - seen > CODE_LINES:
            library().flush_code(self._state.pointer)
        else:
            for line in range(seen, lines):
                self._drop_code(int(cells[BOARD.lines + line % CODE_LINES]))
        cells[row + PE.code_seen] = lines

    def _drop_code(self, address: int) -> None:
        # QEMU counts RAM from its own beginning.
        offset = address - self._memory.base
        if 0 <= offset < self._memory.size:
            library().drop_code(self.uc._uch, ctypes.c_uint64(offset), ctypes.c_uint64(offset + CODE_LINE_BYTES))

    # Exceptions

    def _emulator(self, memory: GuestMemory, devices: Sequence[Device]) -> unicorn.Uc:
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        uc.ctl_set_cpu_model(MODEL)
        uc.ctl_set_page_size(PAGE_BYTES)
        uc.ctl_exits_enabled(True)
        uc.ctl_set_tcg_buffer_size(TCG_BYTES)
        uc.reg_write(arm64.UC_ARM64_REG_CP_REG, (*_SCR_EL3, _SCR_RW_HCE_NS))
        uc.reg_write(arm64.UC_ARM64_REG_CP_REG, (*_HCR_EL2, 0 if self.el2 else _HCR_RW))
        uc.mem_map_ptr(memory.base, memory.size, uc_const.UC_PROT_ALL, memory.octets.ctypes.data)
        for device in devices:
            uc.mmio_map(device.base, device.size, _reader(device), None, _writer(device), None)
        uc.hook_add(uc_const.UC_HOOK_INTR, self._on_exception)
        add_hooks(uc, self._cells)
        return uc

    def _on_exception(self, uc: unicorn.Uc, number: int, _: Any) -> None:
        self._notice_storm()
        if number == SMC or (number == HVC and not self.el2):
            self._call_firmware()
        elif number != UNDEFINED or not self._is_system_access():
            self.exceptions += 1
            library().enter_exception(self._state.pointer)

    def _notice_storm(self) -> None:
        """Time passes with exceptions too, and `run` has an end even where no instruction is ever executed."""
        cells = self._cells
        instructions = int(cells[BOARD.instructions])
        cells[BOARD.now] += 1
        count = self._storm[1] + 1 if instructions == self._storm[0] else 0
        self._storm = (instructions, count)
        if count > _STORM:
            raise CannotGoOn(f"PE {self.number} takes exceptions at {self.pc:#x} without executing an instruction")

    def _call_firmware(self) -> None:
        arguments = [int(self.uc.reg_read(arm64.UC_ARM64_REG_X0 + n)) for n in range(4)]
        result = self.on_firmware_call(self, arguments)
        if result is not None:
            self.uc.reg_write(arm64.UC_ARM64_REG_X0, result % (1 << 64))

    def _is_system_access(self) -> bool:
        """Do an MRS or MSR that Unicorn does not know; False: the instruction is undefined."""
        pc = self.pc
        instruction = self.fetch(pc)
        if instruction >> _MRS_MSR_SHIFT != _MRS_MSR or not instruction & _REGISTER_OP0:
            return False
        register, encoding = instruction & 31, instruction >> 5 & 0xFFFF
        is_read = bool(instruction & _IS_READ)
        try:
            value = self.on_system_register(self, encoding, None if is_read else self._x(register))
        except UndefinedRegister:
            return False
        except TrapToEl2:
            self._state.raise_exception(HYP_TRAP, _trapped(encoding, register, is_read), 0, 2)
            self.exceptions += 1
            library().enter_exception(self._state.pointer)
            return True
        if is_read and register != 31:
            self.uc.reg_write(_x_number(register), value)
        self.uc.reg_write(arm64.UC_ARM64_REG_PC, pc + 4)
        return True

    def _x(self, register: int) -> int:
        return 0 if register == 31 else int(self.uc.reg_read(_x_number(register)))

    def _abort(self, error: unicorn.UcError) -> None:
        """A synchronous external abort: there is nothing at an address."""
        self._notice_storm()
        access, address = self._fault(error)
        el = self.el
        is_fetch = access == uc_const.UC_MEM_FETCH_UNMAPPED
        target = 2 if el == 2 or (el == 0 and self.hcr & HCR_TGE) else 1
        exception_class = (_EC_INSTRUCTION_ABORT if is_fetch else _EC_DATA_ABORT) | (el == target)
        iss = _SYNCHRONOUS_EXTERNAL | (_WNR if access == uc_const.UC_MEM_WRITE_UNMAPPED else 0)
        index = PREFETCH_ABORT if is_fetch else DATA_ABORT
        self._state.raise_exception(index, exception_class << 26 | _IL | iss, address, target)
        self.exceptions += 1
        library().enter_exception(self._state.pointer)

    def _fault(self, error: unicorn.UcError) -> tuple[int, int]:
        """Which access failed, and where: the instruction again, and a hook that sees it.

        With such a hook from the start Unicorn's memory accesses take twice as long. Raises CannotGoOn: it was no
        access.
        """
        found: list[tuple[int, int]] = []

        def see(uc: unicorn.Uc, access: int, address: int, size: int, value: int, _: Any) -> bool:
            found.append((access, address))
            return False

        handle = self.uc.hook_add(uc_const.UC_HOOK_MEM_UNMAPPED, see)
        try:
            self.uc.emu_start(self.pc, UNTIL, count=1)
        except unicorn.UcError:
            pass
        finally:
            self.uc.hook_del(handle)
        if not found:
            raise CannotGoOn(f"PE {self.number} cannot go on at {self.pc:#x}: {error}") from error
        return found[0]


@contextmanager
def forgotten_interrupts() -> Iterator[list[BaseException]]:
    """KeyboardInterrupts that stop no PE: what a signal raises on the way into a callback, ctypes says and forgets."""
    forgotten: list[BaseException] = []
    before = sys.unraisablehook

    def see(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            forgotten.append(unraisable.exc_value)
        else:
            before(unraisable)

    sys.unraisablehook = see
    try:
        yield forgotten
    finally:
        sys.unraisablehook = before


def _reader(device: Device) -> Callable[[unicorn.Uc, int, int, Any], int]:
    return lambda uc, offset, size, _: device.read(offset, size)


def _writer(device: Device) -> Callable[[unicorn.Uc, int, int, int, Any], None]:
    return lambda uc, offset, size, value, _: device.write(offset, value, size)


def _x_number(register: int) -> int:
    """Unicorn's number of X0 to X30: X29 and X30 have numbers of their own."""
    return int(arm64.UC_ARM64_REG_X0 + register if register < 29 else arm64.UC_ARM64_REG_X29 + register - 29)


def _trapped(encoding: int, register: int, is_read: bool) -> int:
    """ESR_EL2 of a trapped MSR or MRS (DDI0487, ISS encoding for EC 0x18)."""
    op0, op1, crn, crm, op2 = encoding >> 14, encoding >> 11 & 7, encoding >> 7 & 15, encoding >> 3 & 15, encoding & 7
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | register << 5 | crm << 1 | is_read
    return _EC_TRAPPED_MSR << 26 | _IL | iss
