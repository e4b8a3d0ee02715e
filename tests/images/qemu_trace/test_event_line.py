# SPDX-License-Identifier: Apache-2.0
"""A trace that is written is one that is read: line by line what QEMU 7.2 has printed."""

import lzma
from itertools import islice
from pathlib import Path

import pytest

from gicmodel.config import GicConfig
from gicmodel.images.qemu_trace.events import FORMS, Model, event_line, read_trace

TRACE = Path(__file__).parents[3] / "tables" / "linux-6.12-kvm-2vcpu" / "host-vm-stopped.trace.xz"
LINES = 20_000


def test_qemus_own_lines_are_written_as_qemu_has_written_them():
    seen = set()
    with lzma.open(TRACE, "rt") as file:
        for line in map(str.rstrip, islice(file, LINES)):
            name, _, text = line.partition(" ")
            if (name, len(text)) in seen:
                continue
            seen.add((name, len(text)))
            match = FORMS[name].pattern.fullmatch(text)
            assert event_line(name, **{key: int(number, 0) for key, number in match.groupdict().items()}) == line
    assert len({name for name, _ in seen}) > 10


@pytest.mark.parametrize(
    "config",
    [
        GicConfig(),
        GicConfig.qemu(),
        GicConfig(architecture="3", caching="retain", commands_per_step=1, pta=True, redistributors=7),
    ],
)
def test_a_gic_is_made_again_from_its_line(config, tmp_path):
    path = tmp_path / "trace"
    path.write_text(event_line("gicmodel_gic", base=0x1000, end=0x2000, choices=" ".join(config.choices)) + "\n")
    (model,) = read_trace(path)
    assert model[:3] == (1, 0x1000, 0x2000) == Model(1, 0x1000, 0x2000, "")[:3]
    assert GicConfig.of_choices(model.choices.split()) == config
