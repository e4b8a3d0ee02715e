# SPDX-License-Identifier: Apache-2.0
"""A board's trace, and what `gicmodel replay` makes of it, with small programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import needed

needed("unicorn")
needed("fdt")

from gicmodel.board import Board, addresses, new_gic
from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import event_line
from gicmodel.layouts.commands import encode
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR, GITS_CWRITER
from gicmodel.replay import replay
from tests.board.traces import assert_equal, replayed

DEVICE_TABLE, COLLECTION_TABLE, VPE_TABLE, QUEUE, ITT, OTHER_ITT = (addresses.RAM_BASE + n * 0x1_0000 for n in range(6))
OFFSET = {name: register(f"GITS_{name}").offset for name in ("CTLR", "CBASER", "CWRITER", "BASER0", "BASER1", "BASER2")}


class Software:
    """What writes the ITS of a board that has no processor, as software does; `lines` is the trace."""

    def __init__(self, **choices: object) -> None:
        self.lines: list[str] = []
        gic = new_gic(GicConfig(redistributors=1, **choices), 1 << 20)
        self.board = Board(gic, trace=self.lines.append)
        self.at = 0
        self.board.frames.write(addresses.REDISTRIBUTOR_BASE + register("GICR_WAKER").offset, 0, 4)
        self.write("BASER0", GITS_BASER.pack(Valid=1, Physical_Address=DEVICE_TABLE))
        self.write("BASER1", GITS_BASER.pack(Valid=1, Physical_Address=COLLECTION_TABLE))
        self.write("BASER2", GITS_BASER.pack(Valid=1, Physical_Address=VPE_TABLE))
        self.write("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=QUEUE))
        self.write("CTLR", GITS_CTLR.pack(Enabled=1), 4)

    def write(self, name: str, value: int, size: int = 8) -> None:
        frames, address = self.board.frames, addresses.ITS_BASE + OFFSET[name]
        for half in range(0, size, 4):
            frames.write(address + half, value >> 8 * half & 0xFFFF_FFFF, 4)
        frames.settle()

    def put(self, *words: int) -> None:
        """A command into the queue, which the ITS is not told of yet."""
        for word in words:
            self.board.memory.write_u64(QUEUE + self.at, word)
            self.at += 8

    def send(self, mnemonic: str, **fields: int) -> None:
        self.put(*encode(mnemonic, self.board.config.architecture, **fields))
        self.write("CWRITER", self.at)


def commands(lines: list[str]) -> list[str]:
    return [name for line in lines if (name := line.partition(" ")[0]).startswith("gicv3_its_cmd")]


@pytest.mark.parametrize("step", [None, 1])
def test_what_software_writes_to_tables_is_told_and_what_the_hardware_writes_is_not(
    step: int | None, tmp_path: Path
) -> None:
    software = Software(commands_per_step=step)
    board, step_all = software.board, lambda: [software.board.watch.step() for _ in range(9)]
    step_all()
    board.memory.write(ITT, bytes(range(1, 9)) * 3)
    software.send("MAPD", DeviceID=1, Size=1, ITT_addr=ITT, V=1)
    software.send("MAPC", ICID=0, RDbase=0, V=1)
    software.send("MAPTI", DeviceID=1, EventID=0, ICID=0, pINTID=8192)
    step_all()
    assert [line for line in software.lines if line.startswith("gicmodel_ram")] == [
        event_line("gicmodel_ram", address=ITT, data=0x0807_0605_0403_0201, words=3)
    ]
    software.send("MAPD", DeviceID=1, V=0)
    step_all()
    board.memory.zero(ITT, 24)  # It is software's again: nothing that a GIC would see.
    software.send("MAPD", DeviceID=1, Size=1, ITT_addr=OTHER_ITT, V=1)
    software.send("MAPD", DeviceID=2, Size=1, ITT_addr=ITT, V=1)
    step_all()
    assert_equal(board, software.lines, tmp_path / "trace")


def test_a_write_of_cwriter_is_told_when_the_its_has_arrived() -> None:
    software = Software(commands_per_step=1)
    software.board.watch.step()
    for _ in range(2):
        software.put(*encode("SYNC"))
    software.write("CWRITER", software.at)
    told = len(software.lines)
    software.board.watch.step()
    assert commands(software.lines[told:]) == ["gicv3_its_cmd_sync"]
    software.board.watch.step()
    assert software.lines[-1] == event_line("gicv3_its_write", offset=0x88, data=0x40, size=8)


def test_a_queue_that_stalled_and_was_mended(tmp_path: Path) -> None:
    software = Software()
    software.send("MAPD", DeviceID=1, Size=1, ITT_addr=ITT, V=1)
    software.put(0xEE, 0, 0, 0)
    software.write("CWRITER", software.at)
    outcome = replayed(software.board, software.lines, tmp_path / "stalled")
    assert (outcome.commands_by_kind, outcome.compared["device_table"].different) == ({"MAPD": 1, "unknown": 1}, 0)
    software.at -= 32
    software.put(*encode("SYNC"))
    software.write("CWRITER", GITS_CWRITER.pack(Offset=software.at, Retry=1))
    outcome = replayed(software.board, software.lines, tmp_path / "mended")
    assert (outcome.verdict, outcome.commands_by_kind) == ("equal", {"MAPD": 1, "unknown": 1, "SYNC": 1})


def test_a_queue_of_which_nothing_is_ram() -> None:
    software = Software()
    software.write("CTLR", 0, 4)
    software.write("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=0x9000_0000_0000))
    software.write("CTLR", GITS_CTLR.pack(Enabled=1), 4)
    software.write("CWRITER", 0x20)
    assert commands(software.lines) == []


def test_several_itss_are_not_traced() -> None:
    with pytest.raises(UnusableInput, match="a trace is of a GIC with one ITS"):
        Software(its=2)


GIC = event_line("gicmodel_gic", base=0x4000_0000, end=0x4010_0000, choices="its=1 redistributors=1")
RAM = event_line("gicmodel_ram", address=0x4000_0000, data=1, words=1)
PACKET = event_line("gicmodel_its_packet", dw0=5, dw1=0, dw2=1 << 16, dw3=0)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([RAM], "line 1: a trace tells of RAM only where its first line says which model wrote it"),
        ([RAM, GIC], "line 2: a trace of a model begins with the line that says so"),
        ([GIC, GIC], "line 2: a trace of a model begins with the line that says so"),
        ([GIC.replace("its=1", "its=2"), RAM], "line 1: its=2 redistributors=1, but a trace is of one ITS"),
        ([GIC.replace("its=1", "itss=1"), RAM], "line 1: itss=1: FIELD=VALUE, with FIELD one of"),
        ([GIC.replace("its=1", "caching=often"), RAM], "line 1: GicConfig.caching is 'often'"),
        ([GIC.replace("0x40100000", "0x40100001"), RAM], "line 1: window 0x40000000 + 0x100001 is not a whole"),
        ([GIC.replace("0x40100000", "0x0"), RAM], "line 1: window"),
        ([GIC, re.sub("0x40000000", "0x400ffffc", RAM)], "line 2: "),
        (
            [GIC, re.sub("words 0x1", "words 0xffffffffffff", RAM)],
            "line 2: the trace writes more than 0x40000000 bytes",
        ),
        (
            [GIC, PACKET, "gicv3_its_cmd_vsync GICv3 ITS: command VSYNC"],
            "line 3: the packet before it has opcode 0x05, not 0x25",
        ),
    ],
)
def test_a_hostile_trace_is_refused_in_a_line(lines: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("\n".join(lines))
    with pytest.raises(UnusableInput, match=re.escape(says)) as refused:
        replay(tmp_path / "trace")
    assert "\n" not in str(refused.value)
