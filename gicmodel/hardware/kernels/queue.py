# SPDX-License-Identifier: Apache-2.0
"""The command queue: fetch from the ring at GITS_CBASER, execute, advance GITS_CREADR or stall it."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK, UNKNOWN_COMMAND, error_number, is_abort
from gicmodel.hardware.kernels.physical_commands import (
    clear,
    discard,
    int_command,
    inv,
    invall,
    mapc,
    mapd,
    mapi,
    mapti,
    movall,
    movi,
    sync,
)
from gicmodel.hardware.kernels.ram import covers_entry, load64
from gicmodel.hardware.kernels.state import (
    CONFIG,
    ITS,
    LOG,
    LOG_ENTRIES,
    Index,
    Machine,
    Packet,
    Truth,
    Word,
    its_at,
    log_at,
)
from gicmodel.hardware.kernels.virtual_commands import vmapi, vmapti, vmovi, vsgi
from gicmodel.hardware.kernels.vpe_commands import invdb, vinvall, vmapp, vmovp, vsync
from gicmodel.hardware.kernels.vpe_commands_v40 import vmapp_v40, vmovp_v40, vsync_v40
from gicmodel.hardware.kernels.vpe_tables import NOTHING, WORD1, WORD2, WORD3
from gicmodel.hardware.kernels.words import ONE, ZERO, get, operand, put
from gicmodel.jit import inlined, kernel
from gicmodel.layouts.commands import COMMAND_BYTES, MAPD, OPCODES
from gicmodel.layouts.registers import GITS_CBASER, GITS_CREADR, GITS_CTLR, GITS_CWRITER

OPCODE = MAPD["Opcode"]
ENABLED = GITS_CTLR["Enabled"]
CBASER_VALID, CBASER_ADDRESS, CBASER_SIZE = (GITS_CBASER[name] for name in ("Valid", "Physical_Address", "Size"))
CREADR_OFFSET, STALLED, CWRITER_OFFSET = GITS_CREADR["Offset"], GITS_CREADR["Stalled"], GITS_CWRITER["Offset"]
QUEUE_ALIGN_MASK = np.uint64(0xFFFF)
QUEUE_PAGE_SHIFT = np.uint64(12)
BYTES = np.uint64(COMMAND_BYTES)

MOVI, INT, CLEAR, SYNC, MAPD_, MAPC, MAPTI, MAPI = (
    np.uint64(OPCODES[name]) for name in "MOVI INT CLEAR SYNC MAPD MAPC MAPTI MAPI".split()
)
INV, INVALL, MOVALL, DISCARD = (np.uint64(OPCODES[name]) for name in "INV INVALL MOVALL DISCARD".split())
VMOVI, VMOVP, VSGI, VSYNC, VMAPP, VMAPTI, VMAPI = (
    np.uint64(OPCODES[name]) for name in "VMOVI VMOVP VSGI VSYNC VMAPP VMAPTI VMAPI".split()
)
VINVALL, INVDB = np.uint64(OPCODES["VINVALL"]), np.uint64(OPCODES["INVDB"])


@inlined
def execute(m: Machine, its: Index, packet: Packet) -> Word:
    """Run one command; OK or a reason."""
    opcode = operand(packet, OPCODE)
    if opcode == MAPTI:
        reason = mapti(m, its, packet)
    elif opcode == INT:
        reason = int_command(m, its, packet)
    elif opcode == INV:
        reason = inv(m, its, packet)
    elif opcode == SYNC:
        reason = sync(m, its, packet)
    elif opcode == DISCARD:
        reason = discard(m, its, packet)
    elif opcode == MOVI:
        reason = movi(m, its, packet)
    elif opcode == CLEAR:
        reason = clear(m, its, packet)
    elif opcode == MAPI:
        reason = mapi(m, its, packet)
    elif opcode == MAPD_:
        reason = mapd(m, its, packet)
    elif opcode == MAPC:
        reason = mapc(m, its, packet)
    elif opcode == INVALL:
        reason = invall(m, its, packet)
    elif opcode == MOVALL:
        reason = movall(m, its, packet)
    elif m.chip[CONFIG.virtual] == ONE:
        reason = execute_virtual(m, its, opcode, packet)
    else:
        reason = UNKNOWN_COMMAND
    return reason


@inlined
def execute_virtual(m: Machine, its: Index, opcode: Word, packet: Packet) -> Word:
    """Run a GICv4.0 command, or one that GICv4.1 adds or changes."""
    v41 = m.chip[CONFIG.v41] == ONE
    if opcode == VMAPTI:
        reason = vmapti(m, its, packet)
    elif opcode == VSYNC and v41:
        reason = vsync(m, its, packet)
    elif opcode == VSYNC:
        reason = vsync_v40(m, its, packet)
    elif opcode == VMAPI:
        reason = vmapi(m, its, packet)
    elif opcode == VMOVI:
        reason = vmovi(m, its, packet)
    elif opcode == VMOVP and v41:
        reason = vmovp(m, its, packet)
    elif opcode == VMOVP:
        reason = vmovp_v40(m, its, packet)
    elif opcode == VINVALL:
        reason = vinvall(m, its, packet)
    elif opcode == VMAPP and v41:
        reason = vmapp(m, its, packet)
    elif opcode == VMAPP:
        reason = vmapp_v40(m, its, packet)
    elif opcode == VSGI and v41:
        reason = vsgi(m, its, packet)
    elif opcode == INVDB and v41:
        reason = invdb(m, its, packet)
    else:
        reason = UNKNOWN_COMMAND
    return reason


@kernel
def fetch(m: Machine, address: Word) -> tuple[Word, Packet]:
    """(reason, command) at an address of the ring."""
    if not covers_entry(m, address, BYTES):
        return EXTERNAL_ABORT, NOTHING
    packet = (load64(m, address), load64(m, address + WORD1), load64(m, address + WORD2), load64(m, address + WORD3))
    return OK, packet


@kernel
def log_error(m: Machine, its: Index, offset: Word, number: Word, packet: Packet) -> None:
    """Note a command error; the log keeps the latest."""
    entry = log_at(np.int64(m.chip[CONFIG.log_count]) % LOG_ENTRIES)
    m.chip[entry + LOG.its] = np.uint64(its)
    m.chip[entry + LOG.offset] = offset
    m.chip[entry + LOG.number] = number
    for word in range(4):
        m.chip[entry + LOG.words + word] = packet[word]
    m.chip[CONFIG.log_count] += ONE


@kernel
def queue_bytes(cbaser: Word) -> Word:
    """Bytes of the ring."""
    return (get(cbaser, CBASER_SIZE) + ONE) << QUEUE_PAGE_SHIFT


@kernel
def can_run(m: Machine, its: Index) -> Truth:
    """Enabled, not stalled, a valid ring, and a write pointer inside it."""
    s = its_at(its)
    ready = get(m.chip[s + ITS.ctlr], ENABLED) == ONE and get(m.chip[s + ITS.cbaser], CBASER_VALID) == ONE
    return (
        ready
        and get(m.chip[s + ITS.creadr], STALLED) != ONE
        and get(m.chip[s + ITS.cwriter], CWRITER_OFFSET) < queue_bytes(m.chip[s + ITS.cbaser])
    )


@kernel
def run_queue(m: Machine, its: Index, budget: Index) -> Index:
    """Execute commands until the ring is empty, one stalls, or `budget` are done; how many were executed.

    The ring must be 64 KiB aligned: address bits [15:12] are treated as zero (DDI0601 GITS_CBASER).
    """
    if not can_run(m, its):
        return 0
    s = its_at(its)
    base = get(m.chip[s + ITS.cbaser], CBASER_ADDRESS) & ~QUEUE_ALIGN_MASK
    size, end = queue_bytes(m.chip[s + ITS.cbaser]), get(m.chip[s + ITS.cwriter], CWRITER_OFFSET)
    offset = get(m.chip[s + ITS.creadr], CREADR_OFFSET)
    done = 0
    while offset != end and done < budget:
        reason, packet = fetch(m, base + offset)
        if reason == OK:
            reason = execute(m, its, packet)
        if reason != OK:
            number = error_number(operand(packet, OPCODE), reason)
            log_error(m, its, offset, number, packet)
            if is_abort(number) or m.chip[CONFIG.stall] == ONE:
                m.chip[s + ITS.creadr] = put(offset, CREADR_OFFSET) | put(ONE, STALLED)
                return done
        offset += BYTES
        if offset >= size:
            offset = ZERO
        done += 1
    m.chip[s + ITS.creadr] = put(offset, CREADR_OFFSET)
    return done
