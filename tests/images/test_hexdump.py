# SPDX-License-Identifier: Apache-2.0
"""RAM as text, as the real programs print it, is the bytes that they were given."""

import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.errors import UnusableInput
from gicmodel.images.hexdump import is_hexdump
from gicmodel.images.sources import read_dump

BASE = 0x4000_0000
RAM = (
    np.random.default_rng(1).integers(0, 256, 0x400, np.uint8).tobytes() + bytes(0x800) + b"interrupt translation" * 40
)


def read(tmp_path, text, base=None):
    path = tmp_path / "dump.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(s.address, s.data.tobytes()) for s in read_dump(path, base).segments]


def printed(tmp_path, *program):
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    (tmp_path / "ram").write_bytes(RAM)
    return subprocess.run([*program, tmp_path / "ram"], capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "program",
    [
        ("xxd",),
        ("xxd", "-u"),
        ("xxd", "-g1"),
        ("xxd", "-g4"),
        ("xxd", "-e"),
        ("hexdump", "-C"),
        ("hexdump",),
        ("hexdump", "-Cv"),
    ],
)
def test_what_a_program_prints_is_what_it_was_given(tmp_path, program):
    assert read(tmp_path, printed(tmp_path, *program), BASE) == [(BASE, RAM)]


def shown(octets):
    return "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in octets)


def lines(octets, width, form, text):
    for at in range(0, len(octets), 16):
        row = octets[at : at + 16]
        numbers = [int.from_bytes(row[n : n + width], "little") for n in range(0, len(row), width)]
        yield (
            form.format(BASE + at)
            + " ".join(f"{number:0{2 * width}x}" for number in numbers)
            + (text + shown(row) if text else "")
        )


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_uboots_md(tmp_path, width):
    """cmd/mem.c: `md.b`, `.w`, `.l`, `.q`."""
    text = "\n".join(["=> md 40000000 10", *lines(RAM[:0x400], width, "{:08x}: ", "    ")])
    assert read(tmp_path, text) == [(BASE, RAM[:0x400])]


def test_qemus_xp(tmp_path):
    text = "\n".join(
        f"{BASE + at:016x}: " + " ".join(f"0x{int.from_bytes(RAM[at + n : at + n + 8], 'little'):016x}" for n in (0, 8))
        for at in range(0, 0x400, 16)
    )
    assert read(tmp_path, text) == [(BASE, RAM[:0x400])]


def test_crashs_rd(tmp_path):
    text = "\n".join(["crash> rd -p 40000000 128", *lines(RAM[:0x400], 8, "        {:8x}:  ", "   ")])
    assert read(tmp_path, text) == [(BASE, RAM[:0x400])]


def test_several_excerpts_are_several_segments(tmp_path):
    one = "\n".join(lines(RAM[:64], 4, "{:08x}: ", "    "))
    assert read(
        tmp_path, f"{one}\n=> md 40001000\n40001000: 00000001 00000002 00000003 00000004    ................\n{one}"
    ) == [
        (BASE, RAM[:64]),
        (BASE + 0x1000, b"\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0"),
    ]


GOOD = "40000000: 00000001 00000002 00000003 00000004    ................\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "nonsense\n", "line 2 of a hexdump is 'nonsense'"),
        (GOOD + "40000008: 00000001 00000002 00000003 00000005    ................\n", "has 0x40000008 twice"),
        ("ffff000012345678: 0000000000000001 0000000000000002\n", "0xffff000012345678, which is no physical address"),
        ("40000000: 64636261 68676665    hgfedcbx\n", "characters are not those of its digits"),
        (GOOD + "*\n40000005: 00000001 00000002 00000003 00000004\n", "goes on from 0x40000000 to 0x40000005"),
        (GOOD + "*\n4000000000: 00000001 00000002 00000003 00000004\n", "goes on from 0x40000000 to 0x4000000000"),
    ],
)
def test_a_damaged_hexdump_is_one_line(tmp_path, text, message):
    with pytest.raises(UnusableInput, match=message):
        read(tmp_path, text)


@given(st.binary(max_size=200))
def test_ram_is_seldom_taken_for_text(octets):
    assert not is_hexdump(b"\x7fELF" + octets)
    assert not is_hexdump(b"\0" + octets)
