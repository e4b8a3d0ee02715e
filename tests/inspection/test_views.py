# SPDX-License-Identifier: Apache-2.0
"""What is shown of a dump that lacks a part: a number that is not known is none, and not 0."""

import pytest

from gicmodel.inspection import views
from gicmodel.layouts.registers.redistributor import GICR_PROPBASER
from tests.inspection.machine import ITT8, ITT16, PENDING0, PENDING1, VPT0, VPT1, Machine


def column(view, name):
    (found,) = [column for column in view.columns if column.name == name]
    return found.plain(0, len(view))


def holed(*holes):
    machine = Machine()
    machine.pend(PENDING0, 8192)
    machine.pend(VPT1, 8194)
    machine.holes += holes
    return machine.inspect()


@pytest.mark.parametrize(
    ("hole", "expected"),
    [
        (None, [1, 0]),
        ((PENDING0, PENDING0 + 0x2000), [None, 0]),
        ((PENDING1, PENDING1 + 0x2000), [1, None]),
        ((PENDING1 + 0x1000, PENDING1 + 0x2000), [1, None]),
        ((PENDING0, PENDING0 + 0x400), [1, 0]),  # no LPI is there
        ((PENDING0 + 0x2000, PENDING0 + 0x3000), [1, 0]),
    ],
)
def test_pending_lpis_are_counted_where_the_whole_table_is_there(hole, expected):
    found = holed(*([hole] if hole else []))
    assert column(views.redistributors(found), "pending") == expected


@pytest.mark.parametrize(
    ("hole", "expected"),
    [(None, [0, 1]), ((VPT0, VPT0 + 0x1000), [None, 1]), ((VPT1, VPT1 + 0x2000), [0, None])],
)
def test_pending_vlpis_are_counted_where_the_whole_table_is_there(hole, expected):
    found = holed(*([hole] if hole else []))
    assert column(views.vpes(found, found.vpes), "pending") == expected


@pytest.mark.parametrize(
    ("hole", "expected"), [(None, [2, 1]), ((ITT8, ITT8 + 0x1000), [None, 1]), ((ITT16 + 8, ITT16 + 0x1000), [2, None])]
)
def test_events_are_counted_where_the_whole_itt_is_there(hole, expected):
    found = holed(*([hole] if hole else []))
    assert column(views.devices(found, found.devices), "events") == expected


def test_a_redistributor_without_a_pending_table():
    machine = Machine()
    del machine.registers["GICR0"]["PENDBASER"]
    machine.set("GICR1", "PROPBASER", GICR_PROPBASER, IDbits=0)
    assert column(views.redistributors(machine.inspect()), "pending") == [None, 0]
