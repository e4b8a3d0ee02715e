# SPDX-License-Identifier: Apache-2.0
"""Whatever the text of a trace: the registers that it tells, or one line of UnusableInput."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import registers_of_trace
from gicmodel.layouts.registers.by_name import REGISTERS
from tests.images.qemu_trace.mutations import mutated
from tests.images.qemu_trace.places import DATA

SEEDS = {name: (DATA / name).read_bytes() for name in ("stall.trace", "sbsa.trace", "glued.log", "crlf.log")}
SEEDS["aff.trace"] = b"".join((DATA / "aff.trace").read_bytes().splitlines(keepends=True)[:60])
WIDTHS = {entry.name: entry.bits for entry in REGISTERS}


@settings(max_examples=200)
@given(st.sampled_from(sorted(SEEDS)).flatmap(lambda name: mutated(SEEDS[name])))
def test_every_text_has_an_answer(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("hostile") / "gic.trace"
    path.write_bytes(text)
    try:
        registers = registers_of_trace(path)
    except UnusableInput:
        return
    for frame, values in registers.items():
        assert re.fullmatch(r"GITS0|GICR\d{1,3}", frame)
        for name, value in values.items():
            assert 0 <= value < 1 << WIDTHS[f"{frame[:4]}_{name}"]
