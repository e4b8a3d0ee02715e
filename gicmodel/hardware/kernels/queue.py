# SPDX-License-Identifier: Apache-2.0
"""The command queue: fetch from the ring at GITS_CBASER, execute, advance GITS_CREADR or stall it."""

from __future__ import annotations

import numpy as np

from gicmodel.hardware.kernels.entries import NOTHING
from gicmodel.hardware.kernels.errors import EXTERNAL_ABORT, OK, UNKNOWN_COMMAND, error_number
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
from gicmodel.hardware.kernels.ram import covers_aligned, load64, load256
from gicmodel.hardware.kernels.state import (
    CONFIG,
    ITS,
    LOG,
    LOG_ENTRIES,
    Index,
    Machine,
    Truth,
    Word,
    its_at,
    log_at,
    stir_all,
)
from gicmodel.hardware.kernels.virtual_commands import vmapi, vmapti, vmovi, vsgi
from gicmodel.hardware.kernels.vpe_commands import invdb, vinvall, vmapp, vmapp_v40, vmovp, vmovp_v40, vsync, vsync_v40
from gicmodel.hardware.kernels.words import ONE, ZERO, get, operand, put
from gicmodel.jit import inlined, kernel, unlikely
from gicmodel.layouts.commands import COMMAND_BYTES, MAPD, OPCODES
from gicmodel.layouts.registers.its import (
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    QUEUE_ALIGNMENT,
    QUEUE_PAGE_BYTES,
)

OPCODE = MAPD["Opcode"]
ENABLED = GITS_CTLR["Enabled"]
CBASER_VALID, CBASER_ADDRESS, CBASER_SIZE = (GITS_CBASER[name] for name in ("Valid", "Physical_Address", "Size"))
CREADR_OFFSET, STALLED, CWRITER_OFFSET = GITS_CREADR["Offset"], GITS_CREADR["Stalled"], GITS_CWRITER["Offset"]
QUEUE_ALIGN_MASK = np.uint64(QUEUE_ALIGNMENT - 1)
QUEUE_PAGE_SHIFT = np.uint64(QUEUE_PAGE_BYTES.bit_length() - 1)
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
def execute(m: Machine, its: Index, address: Word) -> Word:
    """Run the command at an address; OK or a reason.

    Each function's packet is loaded for it alone: the compiler then keeps the words in registers that it asks for.
    """
    if unlikely(not covers_aligned(m, address)):
        return EXTERNAL_ABORT
    opcode = get(load64(m, address), OPCODE)
    if opcode == MAPTI:
        reason = mapti(m, its, load256(m, address))
    elif opcode == INT:
        reason = int_command(m, its, load256(m, address))
    elif opcode == INV:
        reason = inv(m, its, load256(m, address))
    elif opcode == SYNC:
        reason = sync(m, its, load256(m, address))
    elif opcode == DISCARD:
        reason = discard(m, its, load256(m, address))
    elif opcode == MOVI:
        reason = movi(m, its, load256(m, address))
    elif opcode == CLEAR:
        reason = clear(m, its, load256(m, address))
    elif opcode == MAPI:
        reason = mapi(m, its, load256(m, address))
    elif opcode == MAPD_:
        reason = mapd(m, its, load256(m, address))
    elif opcode == MAPC:
        reason = mapc(m, its, load256(m, address))
    elif opcode == INVALL:
        reason = invall(m, its, load256(m, address))
    elif opcode == MOVALL:
        reason = movall(m, its, load256(m, address))
    elif m.chip[CONFIG.virtual] == ONE:
        reason = execute_virtual(m, its, opcode, address)
    else:
        reason = UNKNOWN_COMMAND
    return reason


@inlined
def execute_virtual(m: Machine, its: Index, opcode: Word, address: Word) -> Word:
    """Run a GICv4.0 command, or one that GICv4.1 adds or changes."""
    v41 = m.chip[CONFIG.v41] == ONE
    if opcode == VMAPTI:
        reason = vmapti(m, its, load256(m, address))
    elif opcode == VSYNC and v41:
        reason = vsync(m, its, load256(m, address))
    elif opcode == VSYNC:
        reason = vsync_v40(m, its, load256(m, address))
    elif opcode == VMAPI:
        reason = vmapi(m, its, load256(m, address))
    elif opcode == VMOVI:
        reason = vmovi(m, its, load256(m, address))
    elif opcode == VMOVP and v41:
        reason = vmovp(m, its, load256(m, address))
    elif opcode == VMOVP:
        reason = vmovp_v40(m, its, load256(m, address))
    elif opcode == VINVALL:
        reason = vinvall(m, its, load256(m, address))
    elif opcode == VMAPP and v41:
        reason = vmapp(m, its, load256(m, address))
    elif opcode == VMAPP:
        reason = vmapp_v40(m, its, load256(m, address))
    elif opcode == VSGI and v41:
        reason = vsgi(m, its, load256(m, address))
    elif opcode == INVDB and v41:
        reason = invdb(m, its, load256(m, address))
    else:
        reason = UNKNOWN_COMMAND
    return reason


@kernel
def log_error(m: Machine, its: Index, offset: Word, reason: Word, address: Word) -> None:
    """Note a command error; the log keeps the latest. A command outside RAM is logged as zeros."""
    packet = NOTHING
    if covers_aligned(m, address):
        packet = load256(m, address)
    entry = log_at(np.int64(m.chip[CONFIG.log_count]) % LOG_ENTRIES)
    m.chip[entry + LOG.its] = np.uint64(its)
    m.chip[entry + LOG.offset] = offset
    m.chip[entry + LOG.number] = error_number(operand(packet, OPCODE), reason)
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
    stir_all(m)
    s = its_at(its)
    base = get(m.chip[s + ITS.cbaser], CBASER_ADDRESS) & ~QUEUE_ALIGN_MASK
    size, end = queue_bytes(m.chip[s + ITS.cbaser]), get(m.chip[s + ITS.cwriter], CWRITER_OFFSET)
    offset = get(m.chip[s + ITS.creadr], CREADR_OFFSET)
    done = 0
    while offset != end and done < budget:
        reason = execute(m, its, base + offset)
        if reason != OK:
            log_error(m, its, offset, reason, base + offset)
            if reason == EXTERNAL_ABORT or m.chip[CONFIG.stall] == ONE:
                m.chip[s + ITS.creadr] = put(offset, CREADR_OFFSET) | put(ONE, STALLED)
                return done
        offset += BYTES
        if offset >= size:
            offset = ZERO
        done += 1
    m.chip[s + ITS.creadr] = put(offset, CREADR_OFFSET)
    return done
