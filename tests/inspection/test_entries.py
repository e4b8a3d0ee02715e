# SPDX-License-Identifier: Apache-2.0
"""Numbers that tell rows apart, and rows that say the same, beside numpy.unique."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.inspection.entries import (
    DEVICES,
    EVENTS,
    UNKNOWN,
    among,
    count_of,
    device_keys,
    distinct,
    event_keys,
    first_of,
    interrupt_keys,
    interrupts_of,
    is_first,
    table,
)
from tests.inspection.museum import HOST

WIDE = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]


def test_events_are_ordered_by_device_and_event_however_wide_they_are():
    keys = event_keys(table(EVENTS, 25, DeviceID=np.repeat(WIDE, 5), EventID=np.tile(WIDE, 5)))
    assert (keys[1:] > keys[:-1]).all()


def test_devices_of_two_its_are_two():
    devices, events = table(DEVICES, 2, its=[0, 1], DeviceID=WIDE[-1]), table(EVENTS, 1, its=1, DeviceID=WIDE[-1])
    assert count_of(device_keys(devices), device_keys(events)).tolist() == [0, 1]


def test_an_interrupt_is_told_from_its_key():
    virtual, target, intid = np.array([True, False, False]), np.array([0xFFFF, 0, 7]), np.array([WIDE[-1], 8192, 0])
    parts = interrupts_of(interrupt_keys(virtual, target, intid))
    assert [part.tolist() for part in parts] == [virtual.tolist(), target.tolist(), intid.tolist()]


def test_one_of_an_unknown_target_is_none_of_another():
    keys = interrupt_keys(False, np.array([UNKNOWN, 0, 0xFFFF]), np.array([8192] * 3))
    assert len(set(keys.tolist())) == 3


def test_what_a_format_lacks_is_unknown():
    (event,) = table(EVENTS, 1, DeviceID=3, physical=1)
    assert [int(event[name]) for name in ("RDbase", "configuration", "pending", "Doorbell", "DeviceID", "ICID")] == [
        *(UNKNOWN, UNKNOWN, UNKNOWN),
        *(1023, 3, 0),
    ]


COLUMNS = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2)), max_size=30)


@given(COLUMNS)
def test_rows_lead_to_the_first_that_is_the_same(pairs):
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    assert first_of(rows[:, 0], rows[:, 1]).tolist() == [pairs.index(pair) for pair in pairs]
    assert is_first(rows[:, 0]).tolist() == [n == rows[:, 0].tolist().index(pair[0]) for n, pair in enumerate(pairs)]
    assert distinct(rows[:, 0]).tolist() == np.unique(rows[:, 0]).tolist()


@given(st.lists(st.integers(-3, 1 << 50)), st.lists(st.integers(-3, 1 << 50)))
def test_rows_that_have_one_of_the_values(column, values):
    assert among(np.array(column, np.int64), values).tolist() == [value in values for value in column]


def test_a_dump_without_findings_is_read_without_masked_arrays():
    program = (
        "import sys\nfrom gicmodel.cli import main\n"
        f"main(['inspect', {str(HOST[0])!r}], standalone_mode=False)\n"
        "assert not {'numpy.ma', 'rich', 'zipfile', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
