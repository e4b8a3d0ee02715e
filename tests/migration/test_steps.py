# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from gicmodel.memory import PAGE_BYTES, GuestMemory
from gicmodel.migration.steps import Steps, no_progress

BASE = 0x4000_0000


@pytest.fixture
def memories():
    return GuestMemory(BASE, 8 * PAGE_BYTES), GuestMemory(BASE, 8 * PAGE_BYTES)


def test_a_step_is_reported_under_its_name(memories):
    steps = Steps(no_progress, *memories)
    steps.take("first", lambda: None)
    steps.take("second", lambda: time.sleep(0.01))
    first, second = steps.reports
    assert (first.name, second.name) == ("first", "second")
    assert 0 <= first.seconds < second.seconds
    assert second.seconds >= 0.01


def test_newly_dirtied_pages_of_all_guests_are_counted(memories):
    one, other = memories
    one.write_u8(BASE, 1)
    steps = Steps(no_progress, one, other)

    def step():
        one.write_u8(BASE + 1, 1)  # dirty already
        one.write_u8(BASE + PAGE_BYTES, 1)
        other.write(BASE + PAGE_BYTES - 1, b"12")  # two pages

    steps.take("write", step)
    assert steps.reports[0].bytes == 3 * PAGE_BYTES


def test_a_step_that_copies_says_how_much(memories):
    steps = Steps(no_progress, *memories)

    def step():
        memories[1].write_u8(BASE, 1)
        return 12345

    steps.take("copy", step)
    assert steps.reports[0].bytes == 12345


def test_progress_goes_from_nothing_to_done(memories):
    seen = []
    Steps(lambda *progress: seen.append(progress), *memories).take("step", lambda: seen.append("step"))
    assert seen == [("step", 0, 1), "step", ("step", 1, 1)]


def test_a_step_that_fails_is_not_reported(memories):
    steps = Steps(no_progress, *memories)

    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        steps.take("step", fail)
    assert steps.reports == []
