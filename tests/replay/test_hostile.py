# SPDX-License-Identifier: Apache-2.0
"""Whatever a trace says, the answer is an outcome or one line of UnusableInput."""

import contextlib
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace.events import FORMS
from gicmodel.replay import replay
from tests.images.qemu_trace.mutations import mutated
from tests.replay.tracelog import EVENT, LPI, Log

INTERESTING = [0, 1, 3, 0x70, 0x78, 0x80, 0x88, 0x100, 0x110, 0x20078, 0x2000, 0x4010_0000, 1 << 31, (1 << 40) - 0x1000]
NUMBERS = st.one_of(
    st.sampled_from(INTERESTING), st.integers(0, 2**64 - 1), st.integers(0, 63).map(lambda bit: 1 << bit)
)
WIDE = {
    "offset": NUMBERS,
    "data": NUMBERS,
    "ITT_addr": NUMBERS,
    "VPT_addr": NUMBERS,
    "size": st.sampled_from([1, 2, 4, 8]),
}
NARROW = st.sampled_from([0, 1, 2, 0x2000])


@st.composite
def lines(draw):
    name = draw(st.sampled_from(sorted(FORMS)))
    return f"{name} " + re.sub(r"\{(\w+)\}", lambda m: hex(draw(WIDE.get(m[1], NARROW))), FORMS[name].template)


@settings(max_examples=30)
@given(st.booleans(), st.lists(lines(), max_size=30))
@example(True, ["gicv3_its_cmd_mapd GICv3 ITS: command MAPD DeviceID 0x1 Size 0x1 ITT_addr 0xfffffffffff V 1"])
def test_every_trace_has_an_answer(tmp_path_factory, started, more):
    log = Log(tmp_path_factory.mktemp("hostile") / "gic.trace")
    if started:
        log.setup()
        log.mappings()
        log.cwriter(5 * 32)
        log.schedule()
    log.lines += more
    log.virtual_iar(0x3000)
    with contextlib.suppress(UnusableInput):
        assert replay(log.write()).events == len(log.lines)


def mapped(directory):
    log = Log(directory / "gic.trace")
    log.setup()
    log.mappings()
    log.cwriter(5 * 32)
    log.schedule()
    log.msi(EVENT)
    log.iar(LPI)
    return log


@settings(max_examples=40)
@given(st.data())
def test_every_text_has_an_answer(tmp_path_factory, data):
    path = mapped(tmp_path_factory.mktemp("hostile")).write()
    path.write_bytes(data.draw(mutated(path.read_bytes())))
    try:
        outcome = replay(path)
    except UnusableInput:
        return
    assert outcome.verdict in ("equal", "different", "partial")
