# SPDX-License-Identifier: Apache-2.0
"""An affinity is not a Processor_Number: what a trace tells of it, and what is assumed where it tells nothing."""

from pathlib import Path

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import Processors, read_trace
from gicmodel.images.qemu_trace.events import Acknowledge, Msi, RedistributorRead, RedistributorWrite
from tests.images.qemu_trace.places import DATA


def processors(*events):
    found = Processors(Path("gic.trace"))
    for event in events:
        found.note(event)
    return found


def wrote(*affinities):
    return [RedistributorWrite(line, cpu, 0x14, 0, 4, 0) for line, cpu in enumerate(affinities, 1)]


def typer(cpu, number):
    return RedistributorRead(99, cpu, 0x8, cpu << 32 | number << 8 | 1 << 24, 8, 0)


def test_virt_has_16_pes_a_cluster():
    found = processors(*wrote(0, 1, 8, 0xF, 0x100, 0x102, 0x1F0F))
    assert found.numbers() == {0: 0, 1: 1, 8: 8, 0xF: 15, 0x100: 16, 0x102: 18, 0x1F0F: 511}
    assert found.assumed


def test_one_cluster_needs_no_assumption():
    assert not processors(*wrote(*range(8))).assumed
    assert not processors().assumed


def test_eight_pes_and_then_a_second_cluster_are_those_of_sbsa_ref():
    found = processors(*wrote(*range(8), 0x100, 0x103))
    assert found.numbers()[0x103] == 11
    assert found.assumed
    assert processors(*wrote(*range(8), 8, 0x100)).numbers()[0x100] == 16
    assert processors(*wrote(*range(7), 0x100)).numbers()[0x100] == 16
    assert processors(*wrote(*range(8), 0x10A)).numbers()[0x10A] == 26


def test_the_reads_of_sbsa_ref_tell():
    found = processors(*read_trace(DATA / "sbsa.trace"))
    assert found.numbers() == {cpu >> 3 << 8 | cpu & 7: cpu for cpu in range(12)}
    assert not found.assumed


@pytest.mark.parametrize("size", [4, 8])
def test_one_read_behind_the_first_cluster_tells_for_all(size):
    found = processors(*wrote(0, 0x102, 0x203), typer(0x101, 9)._replace(size=size))
    assert found.numbers() == {0: 0, 0x101: 9, 0x102: 10, 0x203: 19}
    assert not found.assumed


def test_a_read_of_another_register_tells_nothing():
    assert processors(*wrote(0), typer(0x101, 9)._replace(offset=0xC)).numbers()[0x101] == 17


def test_what_has_no_pe_is_passed_over():
    assert processors(Msi(1, 0x40, 0, 4, 8), Acknowledge(2, 3, 0x2000, 1, False)).numbers() == {3: 3}


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (wrote(0, 0x2000), "line 2: affinity 0x2000 is PE 512; QEMU has at most 512"),
        (wrote(0x10, 0x100), "line 2: affinities 0x10 and 0x100 would both be PE 16"),
        ([*wrote(1), typer(2, 1)], "line 99: affinities 0x1 and 0x2 would both be PE 1"),
        ([typer(2, 0xFFFF)], "line 99: affinity 0x2 is PE 65535"),
    ],
)
def test_numbers_that_cannot_be(events, message):
    with pytest.raises(UnusableInput, match=f"gic.trace: {message}"):
        processors(*events).numbers()


def test_more_pes_than_there_can_be_are_refused_at_once():
    with pytest.raises(UnusableInput, match="line 513: is of one more PE than the 512"):
        processors(*wrote(*range(1000)))
