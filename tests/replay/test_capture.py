# SPDX-License-Identifier: Apache-2.0
"""The real machine: QEMU's trace of Linux 6.12 as a KVM host with GICv4.0, and the RAM it left behind."""

import numpy as np
import pytest

from gicmodel.images.dump import Dump
from gicmodel.images.qemu_trace import read_trace
from gicmodel.images.segments import Segment, read_image
from gicmodel.images.sources import read_registers
from gicmodel.replay import replay, survey
from gicmodel.replay.comparison import compare_tables
from gicmodel.replay.replayer import Replayer
from tests.replay.tracelog import CAPTURE

TRACE = CAPTURE / "host-vm-stopped.trace.xz"


@pytest.fixture(scope="module")
def image():
    return read_image(CAPTURE / "host-vm-stopped.elf.xz")


@pytest.fixture(scope="module")
def outcome(image):
    return replay(TRACE, Dump(image), read_registers(CAPTURE / "host-vm-stopped.toml"))


def test_every_line_is_known_and_fed(outcome):
    traced = outcome.traced
    assert (traced.events, traced.config.architecture, traced.processors) == (78026, "4.0", {0: 0, 1: 1})
    assert (traced.assumed, traced.glued) == (False, 0)
    assert (outcome.events, outcome.commands, outcome.msis, outcome.acknowledges) == (78026, 12267, 9259, 27064)
    assert outcome.unknown == {}


def test_every_acknowledged_lpi_was_pending(outcome):
    assert outcome.not_pending == ()
    assert outcome.partial == outcome.unjudged == ()


def test_every_table_is_equal(outcome):
    compared = {name: (comparison.bytes, comparison.different) for name, comparison in outcome.compared.items()}
    assert compared == {
        "device_table": (2 * 65536, 0),
        "itts": (12 * (2 + 4 + 128), 0),
        "collection_table": (65536, 0),
        "vpe_table": (65536, 0),
        "lpi_pending_tables": (2 * 8192, 0),
        "vpts": (2 * 8192, 0),
        "registers": (164, 0),
    }
    assert {comparison.absent for comparison in outcome.compared.values()} == {0}
    assert outcome.verdict == "equal"


@pytest.fixture(scope="module")
def fed(image):
    """A replayer to whose end state changed images are compared."""
    replayer = Replayer(TRACE, survey(TRACE), Dump(image))
    for event in read_trace(TRACE):
        replayer.feed(event)
    return replayer


def with_changed_byte(segments, address):
    changed = []
    for segment in segments:
        data = np.array(segment.data)
        if segment.address <= address < segment.end:
            data[address - segment.address] ^= 1
        changed.append(Segment(segment.address, data))
    return Dump(changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "address"),
    [
        ("device_table", 0x439E_0000 + 8 * 0x1FFF),
        ("itts", 0x438D_F800 + 12 * 127 + 11),
        ("collection_table", 0x431E_FFFF),
        ("lpi_pending_tables", 0x4321_0000 + 0x2004 // 8),
        ("vpts", 0x4CD6_0000 + 1024),
    ],
)
def test_one_changed_byte_of_the_image_is_found(image, fed, table, address):
    compared = compare_tables(fed.gic, with_changed_byte(image, address), fed.software.written)
    assert {name: comparison.different for name, comparison in compared.items() if comparison.different} == {table: 1}
    assert compared[table].first[0].where == f"{address:#x}"


@pytest.mark.slow
def test_what_was_taken_from_the_image_is_not_compared(image, fed):
    everything = [(segment.address, segment.data.size) for segment in image]
    compared = compare_tables(fed.gic, Dump(image), everything)
    assert {comparison.bytes for comparison in compared.values()} == {0}
    level1_and_configuration = sum(length for _, length in fed.software.written)
    assert level1_and_configuration == 2 * 65536 + 2 * (65536 - 8192)


@pytest.mark.slow
def test_the_whole_run_with_its_teardown_and_its_second_guest():
    outcome = replay(CAPTURE / "host-whole-run.trace.xz")
    assert (outcome.events, outcome.commands, outcome.msis, outcome.acknowledges) == (216403, 45110, 13876, 61942)
    assert outcome.not_pending == ()
