# SPDX-License-Identifier: Apache-2.0
"""The Power State Coordination Interface 1.1 (DEN0022) that firmware would have: PEs on and off, and the board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from gicmodel.board.cpu import Cpu

VERSION_1_1 = 0x1_0001
_SMC64 = 1 << 30
_PSCI_VERSION, _CPU_SUSPEND, _CPU_OFF, _CPU_ON, _AFFINITY_INFO = range(0x8400_0000, 0x8400_0005)
_MIGRATE_INFO_TYPE, _SYSTEM_OFF, _SYSTEM_RESET, _PSCI_FEATURES = 0x8400_0006, 0x8400_0008, 0x8400_0009, 0x8400_000A
_WITH_SMC64 = {_CPU_SUSPEND, _CPU_ON, _AFFINITY_INFO}
_SUCCESS, _NOT_SUPPORTED, _INVALID_PARAMETERS, _ALREADY_ON = 0, -1, -2, -4
_IS_ON, _IS_OFF = 0, 1
_NO_TRUSTED_OS = 2
_AFFINITY = 0xFF_00FF_FFFF


class Power(Enum):
    """What a call asks of the board, where that is more than an answer."""

    OFF = auto()
    RESET = auto()
    PE_OFF = auto()
    STANDBY = auto()


def call(pes: Sequence[Cpu], arguments: Sequence[int]) -> int | Power:
    """What a call with the function in W0 and parameters in X1 to X3 returns, or asks of the board."""
    function = arguments[0] & 0xFFFF_FFFF
    plain = function & ~_SMC64
    if plain not in _FUNCTIONS or (function & _SMC64 and plain not in _WITH_SMC64):
        return _NOT_SUPPORTED
    return _FUNCTIONS[plain](pes, arguments)


def _features(pes: Sequence[Cpu], arguments: Sequence[int]) -> int:
    function = arguments[1] & 0xFFFF_FFFF
    known = function & ~_SMC64 in _WITH_SMC64 or function in _FUNCTIONS
    return _SUCCESS if known else _NOT_SUPPORTED


def _cpu_on(pes: Sequence[Cpu], arguments: Sequence[int]) -> int:
    pe = _find(pes, arguments[1])
    if pe is None:
        return _INVALID_PARAMETERS
    if pe.is_on:
        return _ALREADY_ON
    pe.power_on(arguments[2], arguments[3])
    return _SUCCESS


def _affinity_info(pes: Sequence[Cpu], arguments: Sequence[int]) -> int:
    pe = _find(pes, arguments[1])
    if pe is None:
        return _INVALID_PARAMETERS
    return _IS_ON if pe.is_on else _IS_OFF


def _find(pes: Sequence[Cpu], affinity: int) -> Cpu | None:
    return next((pe for pe in pes if pe.mpidr & _AFFINITY == affinity & _AFFINITY), None)


_FUNCTIONS: dict[int, Callable[[Sequence[Cpu], Sequence[int]], int | Power]] = {
    _PSCI_VERSION: lambda pes, arguments: VERSION_1_1,
    _CPU_SUSPEND: lambda pes, arguments: Power.STANDBY,
    _CPU_OFF: lambda pes, arguments: Power.PE_OFF,
    _CPU_ON: _cpu_on,
    _AFFINITY_INFO: _affinity_info,
    _MIGRATE_INFO_TYPE: lambda pes, arguments: _NO_TRUSTED_OS,
    _SYSTEM_OFF: lambda pes, arguments: Power.OFF,
    _SYSTEM_RESET: lambda pes, arguments: Power.RESET,
    _PSCI_FEATURES: _features,
}
