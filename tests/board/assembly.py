# SPDX-License-Identifier: Apache-2.0
"""Instructions of A64 as words, for programs of a few lines (DDI0487, C4.1)."""

from gicmodel.layouts.registers.register import packed

NOP, WFI, ERET, ISB = 0xD503_201F, 0xD503_207F, 0xD69F_03E0, 0xD503_3FDF
HVC, SMC, SVC, BRK = 0xD400_0002, 0xD400_0003, 0xD400_0001, 0xD420_0000
RET, BLR_X0 = 0xD65F_03C0, 0xD63F_0000
IC_IVAU_X0, IC_IALLUIS = 0xD50B_7520, 0xD508_711F
LOOP = 0x1400_0000
"""A branch to itself."""


def code(*words: int) -> bytes:
    """Instructions as bytes."""
    return b"".join(word.to_bytes(4, "little") for word in words)


def mov(register: int, value: int) -> list[int]:
    """MOVZ and MOVKs."""
    parts = [(value >> 16 * n & 0xFFFF, n) for n in range(4)]
    first, *rest = [part for part in parts if part[0]] or [(0, 0)]
    moves = [0xD280_0000 | first[1] << 21 | first[0] << 5 | register]
    return moves + [0xF280_0000 | n << 21 | part << 5 | register for part, n in rest]


def branch(words: int) -> int:
    """B over so many words."""
    return LOOP | words & 0x3FF_FFFF


def load32(register: int, base: int) -> int:
    """LDR Wt, [Xn]."""
    return 0xB940_0000 | base << 5 | register


def load64(register: int, base: int) -> int:
    """LDR Xt, [Xn]."""
    return 0xF940_0000 | base << 5 | register


def store32(register: int, base: int, offset: int = 0) -> int:
    """STR Wt, [Xn, #offset]."""
    return 0xB900_0000 | offset // 4 << 10 | base << 5 | register


def store64(register: int, base: int) -> int:
    """STR Xt, [Xn]."""
    return 0xF900_0000 | base << 5 | register


def add(register: int, number: int) -> int:
    """ADD Xd, Xd, #number."""
    return 0x9100_0000 | number << 10 | register << 5 | register


def mrs(register: int, encoding: int) -> int:
    """MRS Xt, <encoding>."""
    return 0xD520_0000 | encoding << 5 | register


def msr(encoding: int, register: int) -> int:
    """MSR <encoding>, Xt."""
    return 0xD500_0000 | encoding << 5 | register


VBAR_EL1, VBAR_EL2 = packed(3, 0, 12, 0, 0), packed(3, 4, 12, 0, 0)
ESR_EL1, ESR_EL2 = packed(3, 0, 5, 2, 0), packed(3, 4, 5, 2, 0)
FAR_EL1, FAR_EL2, ELR_EL2, SPSR_EL2 = (
    packed(3, 0, 6, 0, 0),
    packed(3, 4, 6, 0, 0),
    packed(3, 4, 4, 0, 1),
    packed(3, 4, 4, 0, 0),
)
