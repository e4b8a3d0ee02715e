# SPDX-License-Identifier: Apache-2.0
"""The four words of a command: what its line in a trace tells of them, and the lines that tell all of them."""

from __future__ import annotations

from collections.abc import Iterator

from gicmodel.images.qemu_trace.events import FORMS, Command, Packet, UnknownCommand, event_line
from gicmodel.layouts.commands import COMMANDS, OPCODES, decode_command, encode

Words = tuple[int, ...]


def words_of(event: Command | UnknownCommand, packet: Packet | None, architecture: str) -> Words:
    """The packet that stands before the command, else one of what the command's own line tells.

    Raises ValueError: the architecture has no such command or operand, or the packet is of another command.
    """
    opcode = event.opcode if isinstance(event, UnknownCommand) else OPCODES[event.mnemonic]
    if packet is not None:
        if packet.dw0 & 0xFF != opcode:
            raise ValueError(f"the packet before it has opcode {packet.dw0 & 0xFF:#04x}, not {opcode:#04x}")
        return packet[1:]
    if isinstance(event, UnknownCommand):
        return event.opcode, 0, 0, 0
    layout = COMMANDS(architecture).get(opcode)
    shifted = {name: value << int(layout[name].scale) for name, value in event.operands.items()} if layout else {}
    return encode(event.mnemonic, architecture, **shifted)


def command_lines(slot: int, words: Words, architecture: str) -> Iterator[str]:
    """The lines of a command that was in a slot of the queue, with a packet where QEMU's own do not tell all of it."""
    opcode = words[0] & 0xFF
    told: Command | UnknownCommand = UnknownCommand(0, opcode)
    event, values = "gicv3_its_cmd_unknown", {"opcode": opcode}
    layout = COMMANDS(architecture).get(opcode)
    if layout is not None:
        mnemonic, fields = decode_command(words, architecture)
        if f"gicv3_its_cmd_{mnemonic.lower()}" in FORMS:
            event = f"gicv3_its_cmd_{mnemonic.lower()}"
            values = {name: fields[name] >> int(layout[name].scale) for name in FORMS[event].pattern.groupindex}
            told = Command(0, mnemonic, values)
    if words_of(told, None, architecture) != words:
        yield event_line("gicmodel_its_packet", **{f"dw{n}": word for n, word in enumerate(words)})
    yield event_line("gicv3_its_process_command", slot=slot, opcode=opcode)
    yield event_line(event, **values)
