# SPDX-License-Identifier: Apache-2.0
"""What Unicorn calls all the time, as machine code: time, the interrupt inputs, the timers' registers, invalidations.

A hook of Python takes microseconds, and blocks of instructions are executed a hundred million times in a boot. A hook
of MRS or MSR that returns 1 has done the instruction; after 0 Unicorn does it, or raises an exception: a trap, or an
undefined instruction where it does not know the register.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numba
import numpy as np
from llvmlite import binding as llvm
from numba import carray, types
from unicorn import Uc
from unicorn import arm64_const as arm64
from unicorn import unicorn_const as uc_const

from gicmodel.board import encodings as enc
from gicmodel.board.cells import BOARD, CODE_LINE_BYTES, CODE_LINES, FIRST_ROW, MOST_CELLS, PE, PE_WORDS, Cells
from gicmodel.board.emulator import SYMBOLS, library
from gicmodel.jit import callback

READ_TICKS = np.uint64(160)
"""What a read of the counter takes, so that a loop that waits for it is soon over; our choice."""
_ONE, _ZERO, _LOW = np.uint64(1), np.uint64(0), np.uint64(0xFFFF_FFFF)
_SIGN, _BORROW = np.uint64(31), np.uint64(0xFFFF_FFFF_0000_0000)
_EL_SHIFT, _EL_MASK = np.uint64(2), np.uint64(3)
_IRQ, _FIQ, _VIRQ, _VFIQ = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(8)
_NO_PAGE, _IN_PAGE = np.uint64((1 << 64) - 1), np.uint64(0xFC0)
_LINE = np.uint64(CODE_LINE_BYTES)
_UINT64, _VOID = types.uint64, types.voidptr
_access = callback(types.uint32, _VOID, types.int32, _VOID, _VOID)
_FMO, _IMO, _TGE, _TID3 = (np.uint64(bit) for bit in (enc.HCR_FMO, enc.HCR_IMO, enc.HCR_TGE, enc.HCR_TID3))
_F, _I = np.uint64(enc.PSTATE_F), np.uint64(enc.PSTATE_I)
_ISTATUS, _CTL = np.uint64(enc.CTL_ISTATUS), np.uint64(enc.CTL_ENABLE | enc.CTL_IMASK)

_pointer = ctypes.c_void_p


def _imported(name: str, *arguments: Any, result: Any = types.int32) -> Any:
    """A function of libunicorn as numba can call it: by its name, for an address would keep code out of the cache."""
    symbol = SYMBOLS[name]
    llvm.add_symbol(symbol, ctypes.cast(getattr(library(), name), _pointer).value)
    return types.ExternalFunction(symbol, result(*arguments))


_stop = _imported("stop", _VOID)
_read = _imported("reg_read", _VOID, types.int32, _VOID)
_write = _imported("reg_write", _VOID, types.int32, _VOID)
_drop = _imported("drop_code", _VOID, _UINT64, _UINT64, result=types.void)
_page_of = _imported("page_of", _UINT64, _UINT64, _UINT64, result=_UINT64)


@numba.njit(inline="never")
def _takes(cells: Cells, row: int, pstate: np.uint64) -> bool:
    """Whether the PE takes an interrupt that it is given (DDI0487, D1.3.6), which Unicorn then works out in full."""
    inputs, hcr, el = cells[row + PE.inputs], cells[row + PE.hcr], (pstate >> _EL_SHIFT) & _EL_MASK
    irq_open, fiq_open = pstate & _I == _ZERO, pstate & _F == _ZERO
    if cells[BOARD.el2] == _ZERO:
        return (inputs & _IRQ != _ZERO and irq_open) or (inputs & _FIQ != _ZERO and fiq_open)
    irq_to_el2, fiq_to_el2 = hcr & (_IMO | _TGE) != _ZERO, hcr & (_FMO | _TGE) != _ZERO
    if el >= np.uint64(2):
        return (inputs & _IRQ != _ZERO and irq_to_el2 and irq_open) or (
            inputs & _FIQ != _ZERO and fiq_to_el2 and fiq_open
        )
    if inputs & _IRQ != _ZERO and (irq_to_el2 or irq_open):
        return True
    if inputs & _FIQ != _ZERO and (fiq_to_el2 or fiq_open):
        return True
    if hcr & _TGE != _ZERO:
        return False
    return (inputs & _VIRQ != _ZERO and hcr & _IMO != _ZERO and irq_open) or (
        inputs & _VFIQ != _ZERO and hcr & _FMO != _ZERO and fiq_open
    )


@numba.njit(inline="never")
def _stops(uc: Any, user: Any) -> bool:
    """Whether the PE has come to its deadline, or takes an interrupt; it has been told to stop then."""
    cells = carray(user, (MOST_CELLS,), dtype=np.uint64)
    if cells[BOARD.now] < cells[BOARD.deadline]:
        _read(uc, arm64.UC_ARM64_REG_PSTATE, user)
        if not _takes(cells, np.int64(cells[BOARD.row]), cells[BOARD.scratch]):
            return False
    cells[BOARD.stopped] = _ONE
    _stop(uc)
    return True


@callback(types.void, _VOID, _UINT64, types.uint32, _VOID)
def _on_block(uc: Any, address: Any, size: Any, user: Any) -> None:
    cells = carray(user, (MOST_CELLS,), dtype=np.uint64)
    inputs = cells[cells[BOARD.row] + np.uint64(PE.inputs)]
    # Other calls than this one at its end would make each block save registers for them.
    if (cells[BOARD.now] >= cells[BOARD.deadline] or inputs != _ZERO) and _stops(uc, user):
        return
    count = np.uint64(size >> 2)
    cells[BOARD.now] += count
    cells[BOARD.instructions] += count


@numba.njit(inline="never")
def _timer(cells: Cells, row: int, key: int, el: np.uint64) -> int:
    """Where the control word of the timer is to which a register belongs; 0: it is none that this PE may access."""
    if key == enc.CNTV_CTL_EL0 or key == enc.CNTV_CVAL_EL0 or key == enc.CNTV_TVAL_EL0:
        if el == _ZERO and cells[row + PE.cntkctl] & np.uint64(enc.CNTKCTL_EL0VTEN) == _ZERO:
            return 0
        return row + PE.virtual_ctl
    if key == enc.CNTP_CTL_EL0 or key == enc.CNTP_CVAL_EL0 or key == enc.CNTP_TVAL_EL0:
        if el == _ZERO and cells[row + PE.cntkctl] & np.uint64(enc.CNTKCTL_EL0PTEN) == _ZERO:
            return 0
        if el < np.uint64(2) and cells[row + PE.cnthctl] & np.uint64(enc.CNTHCTL_EL1PCEN) == _ZERO:
            return 0
        return row + PE.physical_ctl
    if key == enc.CNTHP_CTL_EL2 or key == enc.CNTHP_CVAL_EL2 or key == enc.CNTHP_TVAL_EL2:
        if el < np.uint64(2):
            return 0
        return row + PE.hyp_ctl
    return 0


@numba.njit(inline="never")
def _output_follows(cells: Cells, row: int, control: int) -> None:
    """Software has set a timer: the PE stops when the output changes, which may be at the next block."""
    due = cells[control + 1]
    if control == row + PE.virtual_ctl:
        due += cells[row + PE.cntvoff]
    runs = cells[control] & _CTL == _ONE
    level = _ONE if runs and cells[BOARD.now] >= due else _ZERO
    if level != (cells[row + PE.outputs] >> np.uint64((control - row - PE.virtual_ctl) >> 1)) & _ONE:
        cells[BOARD.deadline] = _ZERO
    elif runs and due < cells[BOARD.deadline]:
        cells[BOARD.deadline] = due


@numba.njit(inline="never")
def _counted(cells: Cells, row: int, control: int) -> np.uint64:
    """What a timer compares with: the virtual one counts from CNTVOFF_EL2."""
    if control == row + PE.virtual_ctl:
        return cells[BOARD.now] - cells[row + PE.cntvoff]
    return cells[BOARD.now]


@numba.njit(inline="never")
def _counter_allowed(cells: Cells, row: int, key: int, el: np.uint64) -> bool:
    """Whether the PE may read the counter or its frequency; a trap is Unicorn's."""
    if el == _ZERO:
        enables = cells[row + PE.cntkctl]
        if key == enc.CNTVCT_EL0 and enables & np.uint64(enc.CNTKCTL_EL0VCTEN) == _ZERO:
            return False
        if key == enc.CNTPCT_EL0 and enables & np.uint64(enc.CNTKCTL_EL0PCTEN) == _ZERO:
            return False
        if enables & np.uint64(enc.CNTKCTL_EL0PCTEN | enc.CNTKCTL_EL0VCTEN) == _ZERO:
            return False
    trapped = cells[row + PE.cnthctl] & np.uint64(enc.CNTHCTL_EL1PCTEN) == _ZERO
    return bool(key != enc.CNTPCT_EL0 or el >= np.uint64(2) or not trapped)


@numba.njit(inline="never")
def _timer_value(cells: Cells, row: int, control: int, key: int) -> np.uint64:
    count, compare = _counted(cells, row, control), cells[control + 1]
    register = key & 7
    if register == 0:
        return (compare - count) & _LOW
    if register == 2:
        return compare
    if cells[control] & _ONE != _ZERO and count >= compare:
        return cells[control] | _ISTATUS
    return cells[control]


@_access
def _on_mrs(uc: Any, register: Any, encoding: Any, user: Any) -> np.uint32:
    parts = carray(encoding, (5,), dtype=np.uint32)
    if parts[0] != enc.TIMERS_CRN and parts[0] != enc.IDS_CRN:
        return np.uint32(0)  # a million reads of SP_EL0, where Linux keeps the current task
    key = np.int64(parts[2] << 14 | parts[3] << 11 | parts[0] << 7 | parts[1] << 3 | parts[4])
    cells = carray(user, (MOST_CELLS,), dtype=np.uint64)
    row = np.int64(cells[BOARD.row])
    _read(uc, arm64.UC_ARM64_REG_PSTATE, user)
    el = (cells[BOARD.scratch] >> _EL_SHIFT) & _EL_MASK
    if key == enc.CNTVCT_EL0 or key == enc.CNTPCT_EL0 or key == enc.CNTFRQ_EL0:
        if not _counter_allowed(cells, row, key, el):
            return np.uint32(0)
        if key == enc.CNTFRQ_EL0:
            value = np.uint64(enc.FREQUENCY)
        else:
            cells[BOARD.now] += READ_TICKS
            value = cells[BOARD.now]
            if key == enc.CNTVCT_EL0:
                value -= cells[row + PE.cntvoff]
    elif key == enc.MPIDR_EL1:
        # At EL1 below EL2 it is VMPIDR_EL2, which Unicorn has.
        if el == _ZERO or (el == _ONE and cells[BOARD.el2] != _ZERO):
            return np.uint32(0)
        value = cells[row + PE.mpidr]
    elif key == enc.ID_AA64PFR0_EL1:
        if el == _ZERO or (el == _ONE and cells[row + PE.hcr] & _TID3 != _ZERO):
            return np.uint32(0)
        value = cells[BOARD.pfr0]
    else:
        control = _timer(cells, row, key, el)
        if control == 0:
            return np.uint32(0)
        value = _timer_value(cells, row, control, key)
    if register != arm64.UC_ARM64_REG_XZR:
        cells[BOARD.scratch] = value
        _write(uc, register, user)
    return np.uint32(1)


@numba.njit(inline="never")
def _note_control(cells: Cells, row: int, key: int, el: np.uint64, value: np.uint64) -> None:
    """Keep the registers that decide what others do; Unicorn stores them too."""
    if key == enc.CNTKCTL_EL1 and el >= _ONE:
        cells[row + PE.cntkctl] = value
    elif el >= np.uint64(2):
        if key == enc.HCR_EL2:
            cells[row + PE.hcr] = value
        elif key == enc.CNTHCTL_EL2:
            cells[row + PE.cnthctl] = value
        elif key == enc.CNTVOFF_EL2:
            cells[row + PE.cntvoff] = value
            cells[BOARD.deadline] = _ZERO


@_access
def _on_msr(uc: Any, register: Any, encoding: Any, user: Any) -> np.uint32:
    parts = carray(encoding, (5,), dtype=np.uint32)
    key = np.int64(parts[2] << 14 | parts[3] << 11 | parts[0] << 7 | parts[1] << 3 | parts[4])
    if parts[0] != enc.TIMERS_CRN and key != enc.HCR_EL2:
        return np.uint32(0)
    value = carray(encoding, (4,), dtype=np.uint64)[3]
    cells = carray(user, (MOST_CELLS,), dtype=np.uint64)
    row = np.int64(cells[BOARD.row])
    _read(uc, arm64.UC_ARM64_REG_PSTATE, user)
    el = (cells[BOARD.scratch] >> _EL_SHIFT) & _EL_MASK
    control = _timer(cells, row, key, el)
    if control == 0:
        _note_control(cells, row, key, el, value)
        return np.uint32(0)
    if key & 7 == 1:
        cells[control] = value & _CTL
    elif key & 7 == 2:
        cells[control + 1] = value
    else:
        ticks = value & _LOW
        if ticks >> _SIGN != _ZERO:
            ticks |= _BORROW
        cells[control + 1] = _counted(cells, row, control) + ticks
    _output_follows(cells, row, control)
    return np.uint32(1)


@numba.njit(inline="never")
def _drop_line(uc: Any, cells: Cells, line: np.uint64) -> None:
    """This PE drops what it has translated of a line now; the others hear of it."""
    seen, lines = np.int64(cells[BOARD.row]) + PE.code_seen, cells[BOARD.code_lines]
    cells[BOARD.lines + np.int64(lines % np.uint64(CODE_LINES))] = line
    cells[BOARD.code_lines] = lines + _ONE
    if cells[seen] == lines:
        cells[seen] = lines + _ONE
        if line >= cells[BOARD.ram]:
            offset = line - cells[BOARD.ram]
            _drop(uc, offset, offset + _LINE)


@_access
def _on_sys(uc: Any, register: Any, encoding: Any, user: Any) -> np.uint32:
    """What one PE tells all to drop; each PE is a Unicorn of its own, and hears of it before it runs again."""
    parts = carray(encoding, (5,), dtype=np.uint32)
    key = np.int64(parts[2] << 14 | parts[3] << 11 | parts[0] << 7 | parts[1] << 3 | parts[4])
    cells = carray(user, (MOST_CELLS,), dtype=np.uint64)
    if parts[0] == enc.TLBI_CRN:
        if parts[1] != enc.TLBI_LOCAL_CRM[0] and parts[1] != enc.TLBI_LOCAL_CRM[1]:
            own = cells[cells[BOARD.row] + np.uint64(PE.stale_tlb)]
            for pe in range(np.int64(cells[BOARD.pes])):
                cells[FIRST_ROW + PE_WORDS * pe + PE.stale_tlb] = _ONE
            cells[cells[BOARD.row] + np.uint64(PE.stale_tlb)] = own
    elif key == enc.IC_IALLUIS:
        cells[BOARD.code_lines] += np.uint64(CODE_LINES + 1)
        cells[BOARD.deadline] = _ZERO  # all at once cannot be dropped while some of it runs
    elif key == enc.IC_IVAU:
        address = carray(encoding, (4,), dtype=np.uint64)[3]
        attributes = np.uint64(cells.ctypes.data) + np.uint64(8 * BOARD.attributes)
        page = np.uint64(_page_of(cells[cells[BOARD.row] + np.uint64(PE.state)], address, attributes))
        if page != _NO_PAGE:
            _drop_line(uc, cells, page | (address & _IN_PAGE))
    return np.uint32(0)


_HOOKS = (
    (_on_block, uc_const.UC_HOOK_BLOCK, None),
    (_on_mrs, uc_const.UC_HOOK_INSN, arm64.UC_ARM64_INS_MRS),
    (_on_msr, uc_const.UC_HOOK_INSN, arm64.UC_ARM64_INS_MSR),
    (_on_sys, uc_const.UC_HOOK_INSN, arm64.UC_ARM64_INS_SYS),
)


def add_hooks(uc: Uc, cells: Cells) -> None:
    """Let Unicorn call the hooks, with `cells`, which must outlive it."""
    for hook, kind, instruction in _HOOKS:
        handle = ctypes.c_size_t()
        extra = () if instruction is None else (ctypes.c_int(instruction),)
        status = library().add_hook(
            uc._uch,
            ctypes.byref(handle),
            ctypes.c_int(kind),
            _pointer(hook.address),
            _pointer(cells.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
            *extra,
        )
        if status:
            raise RuntimeError(f"Unicorn took no hook {kind}: error {status}")
