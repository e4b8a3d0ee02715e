# SPDX-License-Identifier: Apache-2.0
"""What a trace tells of the registers is what QEMU itself answers."""

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers.qemu.process import BINARY, ITS_BASE, RAM_BASE, QemuProcess
from gicmodel.images.qemu_trace import registers_of_trace
from gicmodel.layouts.commands import encode
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.needs(BINARY),
]

QUEUE = RAM_BASE + 0x400_0000
PES = 18
ITS = {name: register(f"GITS_{name}") for name in ("CBASER", "CWRITER", "CREADR", "BASER0", "BASER1", "BASER2")}
REDISTRIBUTOR = {name: register(f"GICR_{name}") for name in ("PROPBASER", "PENDBASER")}


def write(peer, address, value, random):
    """A register of 64 bits, at once or by halves in either order."""
    shape = random.integers(3)
    if shape == 0:
        peer.write(address, value, 8)
        return
    for at in (0, 4) if shape == 1 else (4, 0):
        peer.write(address + at, value >> 8 * at & 0xFFFF_FFFF, 4)


def one_step(peer, random, enabled):
    """One access of software's, at random; returns whether the ITS is enabled then."""
    match random.integers(6):
        case 0:
            number = int(random.integers(3))
            baser = GITS_BASER.pack(Valid=1, Type=number, Physical_Address=QUEUE + (number + 1) * 0x1_0000)
            write(peer, ITS_BASE + ITS[f"BASER{number}"].offset, baser, random)
        case 1:
            cbaser = GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE)
            write(peer, ITS_BASE + ITS["CBASER"].offset, cbaser, random)
        case 2 | 3:
            peer.write(ITS_BASE + ITS["CWRITER"].offset, 32 * int(random.integers(128)), 8)
        case 4:
            enabled = not enabled
            peer.write(ITS_BASE, int(enabled), 4)
        case _:
            number, name = int(random.integers(PES)), random.choice(sorted(REDISTRIBUTOR))
            value = int(random.integers(1 << 32)) << 16 & 0xF_FFFF_FFFF_0000
            write(peer, GicConfig.qemu().redistributor_frames(number) + REDISTRIBUTOR[name].offset, value, random)
    return enabled


@pytest.mark.parametrize("seed", range(4))
def test_the_registers_told_are_those_of_qemu(tmp_path, seed):
    random = np.random.default_rng(seed)
    trace, before = tmp_path / "gic.trace", tmp_path / "before.trace"
    with QemuProcess(4, PES, trace) as peer:
        sync = np.array(encode("SYNC", "4.0", RDbase=0), np.uint64).view(np.uint8)
        peer.memory.octets(QUEUE, 128 * 32)[:] = np.tile(sync, 128)
        for name in ("BASER0", "BASER1", "BASER2"):
            peer.read(ITS_BASE + ITS[name].offset)
        peer.write(ITS_BASE + ITS["CBASER"].offset, GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE))
        started, enabled = len(trace.read_text().splitlines()), False
        places = set()
        for _ in range(120):
            enabled = one_step(peer, random, enabled)
            before.write_text("".join(without_reads(trace, started)))
            told = registers_of_trace(before)
            compare(peer, told)
            places.add(told["GITS0"].get("CREADR"))
    assert len(places) > 5


def without_reads(trace, started):
    """The lines without those that the comparisons have left."""
    lines = trace.read_text().splitlines(keepends=True)
    return [line for number, line in enumerate(lines) if number < started or "_read " not in line]


def compare(peer, told):
    assert set(told["GITS0"]) >= {"CBASER", "BASER0", "BASER1", "BASER2"}
    for name, value in told["GITS0"].items():
        if name in ITS:
            assert (name, value) == (name, peer.read(ITS_BASE + ITS[name].offset))
    for frame, values in told.items():
        for name, value in values.items() if frame.startswith("GICR") else ():
            answer = peer.read(GicConfig.qemu().redistributor_frames(int(frame[4:])) + REDISTRIBUTOR[name].offset)
            assert (frame, name, value) == (frame, name, answer)
