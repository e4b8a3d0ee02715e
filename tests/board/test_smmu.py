# SPDX-License-Identifier: Apache-2.0
"""The board's SMMU: translation by tables in RAM, faults, and a command queue that is consumed at once."""

import pytest

from gicmodel.memory import GuestMemory
from tests.conftest import needed

needed("fdt")

from gicmodel.board.smmu import (
    CMDQ_BASE,
    CMDQ_CONS,
    CMDQ_PROD,
    CR0,
    CR0ACK,
    GBPA,
    IDR1,
    STRTAB_BASE,
    STRTAB_BASE_CFG,
    Smmu,
)

RAM = 0x4000_0000
STREAMS, CONTEXT, TABLES, QUEUE = (RAM + 0x1_0000 * n for n in (1, 2, 3, 8))
STREAM = 8
GRANULES = {12: 0b00, 14: 0b10, 16: 0b01}
VALID, PAGE = 1, 0b11


@pytest.fixture
def memory():
    return GuestMemory(RAM, 1 << 20)


@pytest.fixture
def smmu(memory):
    smmu = Smmu(0x0905_0000, 106, memory)
    smmu.write(STRTAB_BASE, STREAMS, 4)
    smmu.write(STRTAB_BASE_CFG, 8, 4)
    smmu.write(CR0, 1 | 1 << 3, 4)
    return smmu


def stage_1(memory, granule=12, width=48, config=0b101):
    """A stream table entry and a context descriptor over empty tables."""
    memory.write_u64(STREAMS + 64 * STREAM, VALID | config << 1 | CONTEXT)
    memory.write_u64(CONTEXT, 1 << 31 | GRANULES[granule] << 6 | 64 - width)
    memory.write_u64(CONTEXT + 8, TABLES)


def map_page(memory, address, output, granule=12, width=48):
    """A walk from TTB0 down to one page, a table each."""
    stride, table = granule - 3, TABLES
    level = 3 - (width - granule - 1) // stride
    for deeper in range(level, 4):
        place = table + 8 * (address >> granule + stride * (3 - deeper) & (1 << stride) - 1)
        table += 1 << granule
        memory.write_u64(place, (output if deeper == 3 else table) | PAGE)


@pytest.mark.parametrize("width", [32, 39, 48])
@pytest.mark.parametrize("granule", GRANULES)
def test_a_page_is_translated(smmu, memory, granule, width):
    stage_1(memory, granule, width)
    map_page(memory, 0x800_0000, 0x809_0000, granule, width)
    assert smmu.translate(STREAM, 0x800_0040) == 0x809_0040
    assert list(smmu.faults) == []


def test_a_block_is_translated(smmu, memory):
    stage_1(memory)
    map_page(memory, 0x800_0000, 0x4000_0000)
    memory.write_u64(TABLES + 0x2000 + 8 * (0x800_0000 >> 21), 0x4020_0000 | VALID)
    assert smmu.translate(STREAM, 0x801_2345) == 0x4021_2345


def test_an_smmu_that_is_off_and_a_stream_that_bypasses_change_nothing(smmu, memory):
    memory.write_u64(STREAMS + 64 * STREAM, VALID | 0b100 << 1)
    assert smmu.translate(STREAM, 0x1234) == 0x1234
    smmu.write(CR0, 0, 4)
    assert smmu.translate(0xFFFF, 0x1234) == 0x1234


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda memory: memory.write_u64(STREAMS + 64 * STREAM, 0), "C_BAD_STE"),
        (lambda memory: memory.write_u64(STREAMS + 64 * STREAM, VALID | 0b110 << 1), "STE.Config is 0b110"),
        (lambda memory: memory.write_u64(CONTEXT, 0), "C_BAD_CD"),
        (lambda memory: memory.write_u64(CONTEXT, 1 << 31 | 0b11 << 6 | 16), "C_BAD_CD"),
        (lambda memory: memory.write_u64(CONTEXT, 1 << 31 | 0b01 << 6 | 63), "C_BAD_CD"),
        (lambda memory: memory.write_u64(CONTEXT, 1 << 31), "C_BAD_CD"),
        (lambda memory: memory.write_u64(CONTEXT + 8, 0), "external abort"),
        (lambda memory: memory.write_u64(TABLES, 0), "F_TRANSLATION: level 0"),
        (lambda memory: memory.write_u64(TABLES + 0x3000, PAGE), "F_TRANSLATION: level 3"),
        (lambda memory: memory.write_u64(STREAMS + 64 * STREAM, VALID | 0b101 << 1 | 0xF_FFFF_FFFF_FFC0), "abort"),
    ],
)
def test_damaged_tables_refuse_the_transaction(smmu, memory, damage, said):
    stage_1(memory)
    map_page(memory, 0x800_0000, 0x809_0000)
    damage(memory)
    assert smmu.translate(STREAM, 0x800_1040 if "level 3" in said else 0x800_0040) is None
    assert said in smmu.faults[-1]


@pytest.mark.parametrize(("stream", "address"), [(256, 0), (1 << 30, 0), (STREAM, 1 << 48), (STREAM, (1 << 64) - 1)])
def test_what_no_table_has_room_for_is_refused(smmu, memory, stream, address):
    stage_1(memory)
    assert smmu.translate(stream, address) is None


def test_faults_do_not_pile_up(smmu, memory):
    for _ in range(1000):
        smmu.translate(STREAM, 0)
    assert len(smmu.faults) == 100


def test_commands_are_consumed_at_once(smmu, memory):
    smmu.write(CMDQ_BASE, QUEUE | 2, 4)
    for index, opcode in enumerate((0x46, 0x03, 0x46, 0x30)):
        memory.write_u64(QUEUE + 16 * index, opcode)
    smmu.write(CMDQ_PROD, 3, 4)
    smmu.write(CMDQ_PROD, 5, 4)
    assert smmu.read(CMDQ_CONS, 4) == 5
    assert smmu.commands == {0x46: 3, 0x03: 1, 0x30: 1}


def test_what_is_asked_for_is_acknowledged(smmu):
    assert smmu.read(CR0ACK, 4) == 0b1001
    smmu.write(GBPA, 1 << 31 | 1 << 20, 4)
    assert smmu.read(GBPA, 4) == 1 << 20
    smmu.write(IDR1, 0, 4)
    assert smmu.read(IDR1, 4) & 0x3F == 8
