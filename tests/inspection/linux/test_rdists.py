# SPDX-License-Identifier: Apache-2.0
"""The kernel's table of symbols, as scripts/kallsyms.c writes it; a booted kernel's is in test_booted."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.images.segments import Segment
from gicmodel.inspection import Dump
from gicmodel.inspection.linux.pages import Pages, Unreadable
from gicmodel.inspection.linux.rdists import read_symbols
from gicmodel.inspection.linux.vmcoreinfo import Vmcoreinfo

LINEAR = 0xFFFF_0000_0000_0000
PLACES = {
    "num_syms": 0,
    "relative_base": 8,
    "offsets": 0x100,
    "names": 0x200,
    "token_table": 0x800,
    "token_index": 0xC00,
}
SYMBOLS = {"gic_rdists": 0x10, "lpi_id_bits": 0xFFFF_FFF0, "x" * 140: 0x20}


def memory(change=lambda octets: None, places=PLACES):
    """A kernel whose symbols are SYMBOLS; each byte of a name stands for itself, but 0x80 for "gic_"."""
    octets = bytearray(0x1000)
    struct.pack_into("<IIQ", octets, 0, len(SYMBOLS), 0, LINEAR)
    struct.pack_into("<3I", octets, places["offsets"], *SYMBOLS.values())
    names = b""
    for name in SYMBOLS:
        token = b"d" + name.encode().replace(b"gic_", b"\x80")
        names += bytes([len(token)] if len(token) < 128 else [len(token) & 0x7F | 0x80, len(token) >> 7]) + token
    octets[places["names"] : places["names"] + len(names)] = names
    at = 0
    for byte in range(256):
        token = b"gic_" if byte == 0x80 else bytes([byte]) if byte < 0x80 else b""
        octets[places["token_table"] + at : places["token_table"] + at + len(token)] = token
        struct.pack_into("<H", octets, places["token_index"] + 2 * byte, at)
        at += len(token) + 1
    change(octets)
    values = {f"SYMBOL(kallsyms_{name})": f"{LINEAR + at:x}" for name, at in places.items()} | {"NUMBER(VA_BITS)": "48"}
    return Pages(Dump([Segment(0, np.frombuffer(bytes(octets), np.uint8))]), LINEAR, Vmcoreinfo(values))


def test_symbols_have_their_addresses():
    assert read_symbols(memory(), [*SYMBOLS]) == {name: LINEAR + offset for name, offset in SYMBOLS.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda octets: octets.__setitem__(0x200, 0), "ends before its symbols do"),
        (lambda octets: octets.__setitem__(slice(0, 4), b"\xff\xff\xff\xff"), "ends before its symbols do"),
        (lambda octets: octets.__setitem__(0x204, 0x41), "has no symbol gic_rdists"),
        (lambda octets: octets.__setitem__(slice(0xC00, 0xE00), b"\xff" * 512), "are not in the dump"),
    ],
)
def test_what_is_damaged_is_refused(change, message):
    with pytest.raises(Unreadable, match=message):
        read_symbols(memory(change), ["gic_rdists"])


@given(st.lists(st.tuples(st.integers(0, 0xFFF), st.integers(0, 255)), max_size=6))
def test_whatever_is_damaged_it_ends(places):
    def change(octets):
        for at, value in places:
            octets[at] = value

    with suppress(Unreadable):
        assert read_symbols(memory(change), ["gic_rdists"]).keys() == {"gic_rdists"}
