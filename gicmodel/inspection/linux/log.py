# SPDX-License-Identifier: Apache-2.0
"""The kernel's log in RAM: where its drivers say that the LPI configuration table and the pending tables are.

GICv3: using LPI property table @0x00000000421a0000
GICv3: CPU1: using allocated LPI pending table @0x00000000421c0000
ITS@0x0000000008080000: allocated 8192 Devices @42180000 (indirect, esz 8, psz 64K, shr 1)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gicmodel.images.dump import Dump
from gicmodel.inspection.linux.scan import MOST_CPUS, Places

_LINE_BYTES = 256
_GAP = 1 << 18
"""Bytes between two lines of one log, at most; a guest's log is elsewhere."""
_PROPERTY = re.compile(rb"GICv3: using LPI property table @0x([0-9a-f]{16})")
_PENDING = re.compile(rb"GICv3: CPU([0-9]{1,4}): using (?:allocated|reserved) LPI pending table @0x([0-9a-f]{16})")
_REDISTRIBUTOR = re.compile(
    rb"GICv3: CPU([0-9]{1,4}): found redistributor ([0-9a-f]{1,8}) region [0-9]+:0x([0-9a-f]{16})"
)
_TABLE = re.compile(rb"ITS@0x[0-9a-f]{16}: allocated [0-9]+ [A-Za-z ]+ @([0-9a-f]{1,16}) \(")


@dataclass
class Log:
    """What the lines of one kernel say: addresses, by CPU where each has its own; None where lines contradict.

    `tables` are the addresses of its ITSs' tables. `first` is the physical address of the first line.
    """

    first: int
    last: int
    tables: set[int] = field(default_factory=set)
    property_table: int | None = None
    pending_tables: dict[int, int | None] = field(default_factory=dict)
    redistributors: dict[int, int | None] = field(default_factory=dict)
    contradicted: bool = False


def read_logs(dump: Dump, places: Places) -> list[Log]:
    """The logs of the dump's kernels, by address."""
    logs: list[Log] = []
    for place in places.lines:
        text = _text(dump, place)
        if not logs or place - logs[-1].last > _GAP:
            logs.append(Log(place, place))
        if _note(logs[-1], text):
            logs[-1].last = place
    return [log for log in logs if log.tables or log.property_table or log.pending_tables]


def _text(dump: Dump, place: int) -> bytes:
    """What the dump holds from `place` on, at most a line."""
    return b"".join(piece.octets.tobytes() for piece in dump.pieces(place, _LINE_BYTES))


def _note(log: Log, text: bytes) -> bool:
    """Note what a line says; whether it says anything."""
    if match := _TABLE.match(text):
        log.tables.add(int(match[1], 16))
    elif match := _PROPERTY.match(text):
        address = int(match[1], 16)
        log.contradicted |= log.property_table not in (None, address)
        log.property_table = None if log.contradicted else address
    elif match := _PENDING.match(text):
        _note_cpu(log.pending_tables, int(match[1]), int(match[2], 16))
    elif match := _REDISTRIBUTOR.match(text):
        _note_cpu(log.redistributors, int(match[1]), int(match[3], 16))
    else:
        return False
    return True


def _note_cpu(of: dict[int, int | None], cpu: int, address: int) -> None:
    if cpu < MOST_CPUS:
        of[cpu] = address if of.get(cpu, address) == address else None
