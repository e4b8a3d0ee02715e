# SPDX-License-Identifier: Apache-2.0
"""The counts behind the picture."""

from gicmodel.inspection.figure import BINS, heat
from tests.inspection.machine import PENDING0, PENDING1, VPT0, VPT1, Machine


def test_interrupts_are_counted_by_target_and_bin():
    machine = Machine()
    for intid in (8192, 8193, 8192 + 2 * BINS):
        machine.pend(VPT1, intid)
    machine.pend(PENDING0, 8192)
    counts = heat(machine.inspect())
    assert counts.rows == ["RD 0", "RD 1", "vPE 0", "vPE 1"]
    assert counts.width == 3
    assert counts.pending.sum(axis=1).tolist() == [1, 0, 0, 3]
    assert (counts.pending[3, 0], counts.pending[3, 2 * BINS // 3]) == (2, 1)
    assert counts.enabled.sum(axis=1).tolist() == [1, 0, 1, 1]


def test_a_machine_without_anything_has_no_rows():
    machine = Machine()
    registers = {"GITS0": machine.registers["GITS0"]}
    del registers["GITS0"]["BASER2"]
    machine.registers = registers
    assert heat(machine.inspect()).pending.shape == (0, BINS)


def test_a_row_says_that_its_pending_table_is_not_all_there():
    machine = Machine()
    machine.holes += [(PENDING1, PENDING1 + 0x1000), (VPT0, VPT0 + 0x2000)]
    del machine.registers["GICR0"]["PENDBASER"]
    assert heat(machine.inspect()).rows == [
        *(f"RD {number} (not all known)" for number in range(2)),
        "vPE 0 (not all known)",
        "vPE 1",
    ]
