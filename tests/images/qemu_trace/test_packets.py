# SPDX-License-Identifier: Apache-2.0
"""A command's lines tell all of its packet, in QEMU's words as far as those go."""

import pytest

from gicmodel.config import ARCHITECTURES
from gicmodel.images.qemu_trace.events import Packet, read_trace
from gicmodel.images.qemu_trace.packets import command_lines, words_of
from gicmodel.layouts.commands import COMMANDS


@pytest.fixture
def told(tmp_path):
    """The words that the lines of a command tell, the line of the command itself, and whether there is a packet."""

    def read(words, architecture):
        lines = list(command_lines(3, words, architecture))
        (tmp_path / "trace").write_text("\n".join(lines))
        *packet, at, command = read_trace(tmp_path / "trace")
        assert at[1:] == (3, words[0] & 0xFF)
        assert all(isinstance(each, Packet) for each in packet)
        return words_of(command, packet[0] if packet else None, architecture), lines[-1], bool(packet)

    return read


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_command_is_told_whole(told, architecture):
    for layout in COMMANDS(architecture).values():
        full = {name: int(layout[name].mask) << int(layout[name].scale) for name in layout.fields if name != "Opcode"}
        for fields in ({}, full):
            words = layout.pack_words(**fields)
            assert told(words, architecture)[0] == words


@pytest.mark.parametrize(
    ("words", "architecture", "line", "packet"),
    [
        ((0x5, 0, 0, 0), "4.0", "gicv3_its_cmd_sync GICv3 ITS: command SYNC", False),
        ((0x5, 0, 1 << 16, 0), "4.0", "gicv3_its_cmd_sync GICv3 ITS: command SYNC", True),
        ((0x5, 0, 0, 1), "4.0", "gicv3_its_cmd_sync GICv3 ITS: command SYNC", True),
        ((0x2E, 1 << 32, 0, 0), "4.1", "gicv3_its_cmd_unknown GICv3 ITS: unknown command 0x2e", True),
        ((0x2E, 0, 0, 0), "4.0", "gicv3_its_cmd_unknown GICv3 ITS: unknown command 0x2e", False),
        ((0xEE, 0, 0, 0), "3", "gicv3_its_cmd_unknown GICv3 ITS: unknown command 0xee", False),
        ((0xEE, 7, 0, 0), "3", "gicv3_its_cmd_unknown GICv3 ITS: unknown command 0xee", True),
    ],
)
def test_qemus_line_always_and_ours_where_it_is_needed(told, words, architecture, line, packet):
    assert told(words, architecture) == (words, line, packet)
