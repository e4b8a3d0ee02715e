# SPDX-License-Identifier: Apache-2.0
"""Traces of QEMU driven at random: what the capture of one machine does not contain."""

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.qemu.differences import avoided
from gicmodel.fuzzing.peers.qemu.process import BINARY, QemuProcess
from gicmodel.fuzzing.peers.qemu.twins import Twins
from gicmodel.fuzzing.programs.draw import draw_packets
from gicmodel.images.dump import Dump
from gicmodel.images.segments import Segment
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.placement import RAM_BASE
from gicmodel.layouts.commands import COMMANDS, decode_command
from gicmodel.replay import replay

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.needs(BINARY),
]

REDISTRIBUTORS = 18
REMAPPING = frozenset({"MAPD", "VMAPP"})
"""Left out after the start: a replay takes it that software zeroes the memory it gives away, which these do not do."""


def packets(twins, random):
    drawn = draw_packets(random, twins.universe, 400, REMAPPING)
    architecture = twins.config.architecture
    known = [words for words in drawn.tolist() if words[0] & 0xFF in COMMANDS(architecture)]
    return np.array([words for words in known if not avoided(*decode_command(words, architecture))], np.uint64)


def drive(twins):
    random = np.random.default_rng(11)
    twins.run(twins.universe.mapping_commands())
    for rd in range(4):
        twins.run_words(packets(twins, random))
        twins.message(0)
        if twins.config.virtual:
            twins.make_resident(rd, twins.placement.vpts[rd % 3], twins.placement.vconfs[0], 16)
            twins.configure_vlpi(twins.placement.vconfs[0], 8192, 0xA1)
        twins.enable_lpis(rd, False)
        twins.enable_lpis(rd, True, ptz=rd % 2 == 0)
    twins.renew_queue()
    twins.run_words(packets(twins, random))


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("architecture", ["3", "4.0"])
def test_a_replay_ends_with_the_tables_of_qemu(tmp_path, architecture, indirect):
    trace = tmp_path / "gic.trace"
    with QemuProcess(int(architecture[0]), REDISTRIBUTORS, trace) as peer:
        config = GicConfig.qemu(architecture, redistributors=REDISTRIBUTORS)
        twins = Twins(peer, config, Geometry(indirect=indirect, pages=2))
        drive(twins)
        image = Dump([Segment(RAM_BASE, peer.memory.octets(RAM_BASE, 16 << 20).copy())])
    outcome = replay(trace, image)
    assert (outcome.traced.config.architecture, outcome.traced.config.redistributors) == (architecture, REDISTRIBUTORS)
    assert (outcome.commands, outcome.msis, outcome.unknown) == (twins.commands, 4, {})
    assert set(outcome.compared) >= {"device_table", "itts", "collection_table", "lpi_pending_tables"}
    assert ("vpts" in outcome.compared) == ("vpe_table" in outcome.compared) == twins.config.virtual
    assert outcome.verdict == "equal"
    other = Dump([Segment(RAM_BASE, np.zeros(4096, np.uint8))])
    if indirect:
        with pytest.raises(UnusableInput, match="no level 1 entry of the table of devices"):
            replay(trace, other)
    else:
        assert replay(trace, other).verdict != "equal"
