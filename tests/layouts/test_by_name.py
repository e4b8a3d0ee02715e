# SPDX-License-Identifier: Apache-2.0
"""Registers of a frame by name."""

import pytest

from gicmodel.layouts.registers.by_name import NamedRegisters
from gicmodel.layouts.registers.its import GITS_CTLR
from gicmodel.layouts.registers.redistributor import GICR_VPROPBASER


class Words:
    """A frame of RAM: what is written is read, and every access is noted as (offset, size)."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.accesses: list[tuple[int, int]] = []

    def read(self, offset: int, size: int) -> int:
        self.accesses.append((offset, size))
        return self.words.get(offset, 0)

    def write(self, offset: int, value: int, size: int) -> None:
        self.accesses.append((offset, size))
        self.words[offset] = value


def test_an_access_is_as_wide_as_its_register() -> None:
    frame = Words()
    registers = NamedRegisters(frame, "4.1")
    registers.write("GITS_CBASER", 0x8000_0000_1234_0000)
    assert registers.read("GITS_CBASER") == 0x8000_0000_1234_0000
    registers.write("GITS_CTLR", 1)
    assert frame.accesses == [(0x80, 8), (0x80, 8), (0x0, 4)]


def test_fields_are_replaced_or_set_alone() -> None:
    registers = NamedRegisters(Words(), "4.1")
    registers.set("GITS_CTLR", Enabled=1, ITS_Number=3)
    registers.update("GITS_CTLR", ImDe=1)
    assert registers.read("GITS_CTLR") == GITS_CTLR.pack(Enabled=1, ImDe=1, ITS_Number=3)
    registers.set("GITS_CTLR", Enabled=1)
    assert registers.fields("GITS_CTLR") == dict.fromkeys(GITS_CTLR.fields, 0) | {"Enabled": 1}


def test_a_name_means_what_its_architecture_has_there() -> None:
    assert NamedRegisters(Words(), "4.1").layout("GICR_VPROPBASER") is GICR_VPROPBASER
    assert NamedRegisters(Words(), "4.0").layout("GICR_VPROPBASER") is not GICR_VPROPBASER
    with pytest.raises(KeyError, match="GICR_VPROPBASER"):
        NamedRegisters(Words(), "3").read("GICR_VPROPBASER")
