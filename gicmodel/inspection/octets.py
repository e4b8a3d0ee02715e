# SPDX-License-Identifier: Apache-2.0
"""The bytes of one entry, and what each of its bits says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gicmodel.images.dump import ABSENT, Dump
from gicmodel.inspection.profiles import Entry
from gicmodel.inspection.values import field_lines, words_text


def explain(dump: Dump, entry: Entry, row: np.void) -> Iterator[str]:
    """Lines: the entry's format and place, its bytes, its words, its fields, and its RES0 fields that are not zero."""
    layout, address = entry.layout, int(row["address"])
    if address == ABSENT:
        yield f"{layout.name} at a place that is not known: {layout.doc}"
        return
    place = "at no place in the file" if row["offset"] == ABSENT else f"file offset {int(row['offset']):#x}"
    yield f"{layout.name} at {address:#x}, {place}: {layout.doc}"
    octets, held = dump.gather(np.array([address], np.int64), layout.bytes)
    if not held[0]:
        yield "  absent"
        return
    yield "  bytes  " + " ".join(f"{octet:02x}" for octet in octets[0].tolist())
    words = layout.words_of(octets[0]).reshape(-1).tolist()
    yield f"  words  {words_text(layout, words)}"
    yield from field_lines(layout, layout.unpack(words) | layout.res0_violations(words), least=11)


def hexdump(dump: Dump, address: int, size: int) -> Iterator[str]:
    """Lines: 16 bytes each with their address and file offset; `--` where the dump has none, `*` for more lines alike.

    `address` is a multiple of 16.
    """
    octets, held = dump.read(address, size)
    before, repeated = "", False
    for row in range(0, size, 16):
        texts = [
            f"{octet:02x}" if there else "--"
            for octet, there in zip(octets[row : row + 16].tolist(), held[row : row + 16].tolist(), strict=True)
        ]
        line = " ".join(texts)
        if line != before:
            offset = dump.offset(address + row)
            yield f"{address + row:#x}  {'-' if offset < 0 else hex(offset)}  {line}"
        elif not repeated:
            yield "*"
        repeated, before = line == before, line
