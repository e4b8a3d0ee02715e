# SPDX-License-Identifier: Apache-2.0
"""Unicorn: the release whose insides the board knows, checked, and what it exports beside its API.

Unicorn enters no exception by itself. QEMU's code that does so for every exception level is in its library under QEMU's
names, and takes QEMU's CPUState, which the API does not give: where it lies is known for one release, and proved before
it is used.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import unicorn
from unicorn import arm64_const as arm64
from unicorn.unicorn_py3 import unicorn as binding

from gicmodel.errors import UnusableInput

VERSION = "2.1.4"
HVC, SVC_0 = 0xD400_0002, 0xD400_0001
SYMBOLS = {
    "enter_exception": "arm_cpu_do_interrupt_aarch64",
    "take_interrupt": "arm_cpu_exec_interrupt_aarch64",
    "rebuild_flags": "arm_rebuild_hflags_aarch64",
    "flush_tlb": "tlb_flush_aarch64",
    "flush_code": "tb_flush_aarch64",
    "drop_code": "tb_invalidate_phys_range_aarch64",
    "reg_read": "uc_reg_read",
    "reg_write": "uc_reg_write",
    "stop": "uc_emu_stop",
    "page_of": "arm_cpu_get_phys_page_attrs_debug_aarch64",
    "read_virtual": "uc_vmem_read",
    "add_hook": "uc_hook_add",
}
# In the structures of 2.1.4 for 64-bit hosts: uc_struct, CPUState, ARMCPU and CPUARMState.
_UC_CPU = 440
_CPU_EXCEPTION_INDEX, _CPU_UC, _CPU_ENV = 33184, 33192, 41808
_ENV_X0, _ENV_SYNDROME, _ENV_VADDRESS, _ENV_TARGET_EL = 64, 3024, 3032, 3040
_ENV_PC, _ENV_FLOAT_STATUS, _FLOAT_STATUSES, _FLOAT_STATUS_BYTES = 320, 11976, 3, 8
_ENV_REST = 12056
"""From here to the end of what is saved: extensions that the board's PEs do not have, and pointers to breakpoints."""
_MODES_EL1, _MODES_EL2, _MODE_USER32, _MODE_MASK = {0b0000, 0b0100, 0b0101}, {0b1000, 0b1001}, 0b1_0000, 0b1_1111
_MOST_ROUNDING = 5
"""QEMU's float_round_to_odd."""
_CODE = 0x1000
_EC_SVC64, _IL = 0x15, 1 << 25


_ADVICE = f"the board needs the wheel of {VERSION} on PyPI: pip install 'gicmodel[board]'"


@cache
def library() -> SimpleNamespace:
    """The functions of libunicorn by their names in `SYMBOLS`, each without argument types: they get what ctypes gives.

    Raises UnusableInput for another release, or one built in another way.
    """
    if unicorn.__version__ != VERSION:
        raise UnusableInput(f"unicorn {unicorn.__version__} is installed: {_ADVICE}")
    exported = ctypes.CDLL(binding.uclib._name)
    missing = [symbol for symbol in SYMBOLS.values() if not hasattr(exported, symbol)]
    if missing:
        raise UnusableInput(f"unicorn {VERSION} in {binding.uclib._name} lacks {missing[0]}: {_ADVICE}")
    _prove_syndrome()
    return SimpleNamespace(**{name: getattr(exported, symbol) for name, symbol in SYMBOLS.items()})


class CpuState:
    """QEMU's CPUState behind an instance of Unicorn.

    Raises:
        UnusableInput: it is not where this release has it.
    """

    def __init__(self, uc: unicorn.Uc) -> None:
        handle = uc._uch.value
        self.address = _word(handle + _UC_CPU)
        pattern = 0x5EED_0123_4567_89AB
        uc.reg_write(arm64.UC_ARM64_REG_X0, pattern)
        if _word(self.address + _CPU_UC) != handle or _word(self.address + _CPU_ENV + _ENV_X0) != pattern:
            raise UnusableInput(f"unicorn {VERSION} has its CPU's state elsewhere: {_ADVICE}")
        uc.reg_write(arm64.UC_ARM64_REG_X0, 0)
        self.pointer = ctypes.c_void_p(self.address)
        self._index = ctypes.c_int32.from_address(self.address + _CPU_EXCEPTION_INDEX)
        env = self.address + _CPU_ENV
        self.env = ctypes.c_void_p(env)
        self._syndrome = ctypes.c_uint32.from_address(env + _ENV_SYNDROME)
        self._vaddress = ctypes.c_uint64.from_address(env + _ENV_VADDRESS)
        self._target_el = ctypes.c_uint32.from_address(env + _ENV_TARGET_EL)

    def raise_exception(self, index: int, syndrome: int, address: int, target_el: int) -> None:
        """Say which exception `enter_exception` has to enter: QEMU's EXCP_*, ESR and FAR."""
        self._index.value = index
        self._syndrome.value = syndrome
        self._vaddress.value = address
        self._target_el.value = target_el

    @property
    def syndrome(self) -> int:
        """ESR of the exception that was raised last."""
        return self._syndrome.value


def checked_registers(saved: bytes, fresh: bytes, *, el2: bool) -> bytes:
    """All registers of a PE as a file has them, fit to be taken: with the process's own pointers.

    `fresh` are those of a PE that has executed nothing. What registers hold otherwise is software's own affair, but for
    what QEMU ends the process at, and no PE of the board comes to.

    Raises:
        ValueError: they are not those of this release, or the PE is in no state in which one can be.
    """
    if len(saved) != len(fresh):
        raise ValueError(f"registers of a PE have {len(fresh)} bytes, not {len(saved)}")
    pc, pstate, is_a64, _, cpsr = struct.unpack_from("<QIIII", saved, _ENV_PC)
    if is_a64 not in (0, 1):
        raise ValueError(f"a PE's execution state is {is_a64}, not 0 or 1")
    mode = (pstate if is_a64 else cpsr) & _MODE_MASK
    if mode not in (_MODES_EL1 | (_MODES_EL2 if el2 else set()) if is_a64 else {_MODE_USER32}):
        raise ValueError(f"a PE is in mode {mode:#07b} of AArch{64 if is_a64 else 32}, which the board does not have")
    if pc % (4 if is_a64 else 2):
        raise ValueError(f"a PE is at {pc:#x}, where no instruction can be")
    for n in range(_FLOAT_STATUSES):
        rounding = saved[_ENV_FLOAT_STATUS + n * _FLOAT_STATUS_BYTES + 1]
        if rounding > _MOST_ROUNDING:
            raise ValueError(f"a PE's rounding mode is {rounding}")
    return saved[:_ENV_REST] + fresh[_ENV_REST:]


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def _prove_syndrome() -> None:
    """Two SVCs leave two syndromes where `CpuState` has it."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    uc.ctl_set_tcg_buffer_size(1 << 20)
    uc.mem_map(_CODE, 0x1000)
    numbers = (0x1234, 0x4321)
    uc.mem_write(_CODE, b"".join((SVC_0 | number << 5).to_bytes(4, "little") for number in numbers))
    state, seen = CpuState(uc), []
    see: Callable[..., None] = lambda uc, number, data: seen.append(state.syndrome)  # noqa: E731
    uc.hook_add(unicorn.UC_HOOK_INTR, see)
    uc.emu_start(_CODE, _CODE + 4 * len(numbers))
    if seen != [_EC_SVC64 << 26 | _IL | number for number in numbers]:
        raise UnusableInput(f"unicorn {VERSION} has its CPU's syndrome elsewhere: {_ADVICE}")
