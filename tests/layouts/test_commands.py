# SPDX-License-Identifier: Apache-2.0
"""Golden words of every command, and commands as text."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.config import ARCHITECTURES
from gicmodel.images.segments import load_segments, memory_for, read_image
from gicmodel.layouts.catalogue import CATALOGUE
from gicmodel.layouts.commands import (
    COMMANDS,
    MAPD,
    OPCODES,
    VMAPP,
    VMAPP_V40,
    decode_command,
    encode,
    encode_many,
    format_command,
    parse_command,
)

REAL_HOST = Path(__file__).parents[2] / "tables/linux-6.12-kvm-2vcpu/host-vm-stopped.elf.xz"
EVENT = {"DeviceID": 0x42, "EventID": 7}
VPE = {"vPEID": 0x11}
EVENT_OF_VPE = EVENT | VPE | {"Doorbell": 1023}
VPT = {"VPT_addr": 0x9001_0000, "VPT_size": 15}
MAPPED = VPE | VPT | {"V": 1, "RDbase": 2}

# The first VMAPP was traced on Arm's FVP model; the others are worked out by hand from the positions of the fields.
GOLDENS = [
    (
        ("VMAPP", "4.1"),
        {"Alloc": 1, "PTZ": 1, "VCONF_addr": 0x8009_0000, "Default_Doorbell": 8192, "V": 1}
        | {"VPT_addr": 0x800A_0000, "VPT_size": 14},
        (0x0000000080090329, 0x0000000000002000, 0x8000000000000000, 0x00000000800A000E),
    ),
    (
        ("MAPD", "3"),
        {"DeviceID": 0x42, "Size": 4, "ITT_addr": 0x8_0001_2300, "V": 1},
        (0x0000004200000008, 0x0000000000000004, 0x8000000800012300, 0),
    ),
    (("MAPC", "3"), {"ICID": 3, "RDbase": 2, "V": 1}, (0x09, 0, 0x8000000000020003, 0)),
    (("MAPC", "3"), {"ICID": 3, "RDbase": 0x2F12, "V": 1}, (0x09, 0, 0x800000002F120003, 0)),
    (("MAPTI", "3"), EVENT | {"pINTID": 8200, "ICID": 3}, (0x000000420000000A, 0x0000200800000007, 3, 0)),
    (("MAPI", "3"), {"DeviceID": 0x42, "EventID": 8200, "ICID": 3}, (0x000000420000000B, 0x2008, 3, 0)),
    (("MOVI", "3"), EVENT | {"ICID": 5}, (0x0000004200000001, 7, 5, 0)),
    (("INT", "3"), EVENT, (0x0000004200000003, 7, 0, 0)),
    (("CLEAR", "3"), EVENT, (0x0000004200000004, 7, 0, 0)),
    (("INV", "3"), EVENT, (0x000000420000000C, 7, 0, 0)),
    (("DISCARD", "3"), EVENT, (0x000000420000000F, 7, 0, 0)),
    (("INVALL", "3"), {"ICID": 3}, (0x0D, 0, 3, 0)),
    (("MOVALL", "3"), {"RDbase": 2, "RDbase2": 5}, (0x0E, 0, 0x20000, 0x50000)),
    (("SYNC", "3"), {"RDbase": 2}, (0x05, 0, 0x20000, 0)),
    (
        ("VMAPP", "4.1"),
        MAPPED | {"Alloc": 1, "VCONF_addr": 0x9000_0000, "Default_Doorbell": 8300},
        (0x0000000090000129, 0x000000110000206C, 0x8000000000020000, 0x000000009001000F),
    ),
    (("VMAPP", "4.1"), VPE | {"Alloc": 1}, (0x0129, 0x0000001100000000, 0, 0)),
    (("VMAPP", "4.0"), MAPPED, (0x29, 0x0000001100000000, 0x8000000000020000, 0x000000009001000F)),
    (
        ("VMAPTI", "4.0"),
        EVENT_OF_VPE | {"vINTID": 8192},
        (0x000000420000002A, 0x0000001100000007, 0x000003FF00002000, 0),
    ),
    (
        ("VMAPI", "4.0"),
        EVENT_OF_VPE | {"EventID": 8201},
        (0x000000420000002B, 0x0000001100002009, 0x000003FF00000000, 0),
    ),
    (
        ("VMOVI", "4.0"),
        EVENT_OF_VPE | {"vPEID": 0x12, "D": 1},
        (0x0000004200000021, 0x0000001200000007, 0x000003FF00000001, 0),
    ),
    (
        ("VMOVP", "4.1"),
        VPE | {"RDbase": 5, "DB": 1, "Default_Doorbell": 8300},
        (0x22, 0x0000001100000000, 0x8000000000050000, 0x206C),
    ),
    (
        ("VMOVP", "4.0"),
        VPE | {"RDbase": 5, "SeqNum": 9, "ITSList": 0b11},
        (0x0000000900000022, 0x0000001100000003, 0x50000, 0),
    ),
    (
        ("VSGI", "4.1"),
        VPE | {"vINTID": 6, "Priority": 0xA, "Group": 1, "Enable": 1},
        (0x0000000600A00523, 0x0000001100000000, 0, 0),
    ),
    (("VSGI", "4.1"), VPE | {"vINTID": 6, "Clear": 1}, (0x0000000600000223, 0x0000001100000000, 0, 0)),
    (("VSYNC", "4.0"), VPE, (0x25, 0x0000001100000000, 0, 0)),
    (("VINVALL", "4.0"), VPE, (0x2D, 0x0000001100000000, 0, 0)),
    (("INVDB", "4.1"), VPE, (0x2E, 0x0000001100000000, 0, 0)),
]

each_golden = pytest.mark.parametrize(("command", "fields", "words"), GOLDENS)
valid_commands = st.sampled_from(ARCHITECTURES).flatmap(
    lambda architecture: st.tuples(
        st.just(architecture),
        st.sampled_from(sorted(COMMANDS(architecture))),
        st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4),
    )
)


@each_golden
def test_golden(command, fields, words):
    mnemonic, architecture = command
    assert encode(mnemonic, architecture, **fields) == words
    decoded, values = decode_command(words, architecture)
    assert decoded == mnemonic
    assert {name: value for name, value in values.items() if value} == fields


@each_golden
def test_golden_in_bulk_and_as_text(command, fields, words):
    mnemonic, architecture = command
    assert encode_many(mnemonic, architecture, **fields).tolist() == [list(words)]
    text = format_command(np.array(words, np.uint64), architecture)
    assert text.split()[0] == mnemonic
    assert parse_command(text, architecture) == words


def test_every_field_of_every_command_is_set_by_a_golden():
    seen = {
        (COMMANDS(architecture)[OPCODES[mnemonic]].name, field)
        for (mnemonic, architecture), fields, _ in GOLDENS
        for field in (*fields, "Opcode")
    }
    assert seen == {(layout.name, field) for layout in CATALOGUE["command"] for field in layout.fields}


def test_construct_builds_the_opcode_by_itself():
    assert MAPD.build(Size=4)[0] == 0x08


def test_architectures_have_their_commands():
    physical = set("MOVI INT CLEAR SYNC MAPD MAPC MAPTI MAPI INV INVALL MOVALL DISCARD".split())
    virtual = set("VMOVI VMOVP VSYNC VMAPP VMAPTI VMAPI VINVALL".split())
    by_opcode = {opcode: mnemonic for mnemonic, opcode in OPCODES.items()}
    commands = {
        architecture: {by_opcode[opcode] for opcode in COMMANDS(architecture)} for architecture in ARCHITECTURES
    }
    assert commands == {"3": physical, "4.0": physical | virtual, "4.1": physical | virtual | {"VSGI", "INVDB"}}
    assert (COMMANDS("4.0")[0x29], COMMANDS("4.1")[0x29]) == (VMAPP_V40, VMAPP)


def test_text_of_a_command():
    words = encode("MAPD", DeviceID=0x42, Size=4, ITT_addr=0x8001_2300, V=1)
    assert format_command(words) == "MAPD DeviceID=0x42 Size=0x4 ITT_addr=0x80012300 V=1"


def test_text_shows_res0_bits_that_are_set():
    assert format_command((0x0105, 0, 0, 1 << 63)) == (
        "SYNC _res0_dw0_63_8=0x1 RDbase=0x0 _res0_dw3_63_0=0x8000000000000000"
    )


@given(valid_commands)
def test_text_round_trip_keeps_every_bit(drawn):
    architecture, opcode, words = drawn
    words[0] = words[0] & ~0xFF | opcode
    assert parse_command(format_command(words, architecture), architecture) == tuple(words)


def test_many_commands_from_arrays():
    events = np.arange(3, dtype=np.int64)
    words = encode_many("MAPTI", "3", DeviceID=0x42, EventID=events, pINTID=8192 + events, ICID=[1, 0, 1])
    expected = [
        encode("MAPTI", "3", DeviceID=0x42, EventID=n, pINTID=8192 + n, ICID=icid) for n, icid in enumerate([1, 0, 1])
    ]
    assert words.dtype == np.uint64
    assert words.tolist() == [list(command) for command in expected]


@pytest.mark.parametrize(("architecture", "opcode"), [("3", 0x29), ("4.0", 0x23), ("4.1", 0x00), ("4.1", 0xFF)])
def test_unknown_opcodes(architecture, opcode):
    for function in (decode_command, format_command):
        with pytest.raises(ValueError, match=f"^GICv{architecture} has no command of opcode {opcode:#04x}$"):
            function((opcode, 0, 0, 0), architecture)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "GICv4.0 has no command $"),
        ("MAPD DeviceID", "'DeviceID' of MAPD is not"),
        ("MAPD DeviceID=", "'DeviceID=' of MAPD is not"),
        ("MAPD DeviceID=x", "'DeviceID=x' of MAPD is not"),
        ("MAPD DeviceID=010", "'DeviceID=010' of MAPD is not"),
        ("MAPD DeviceID=-1", "'DeviceID=-1' of MAPD is not"),
        ("MAPD V=1 V=0", "'V=0' of MAPD is not"),
        ("MAPD Opcode=5", "'Opcode=5' of MAPD is not"),
        ("MAPD EventID=1", "MAPD has no field EventID"),
        ("MAPD Size=0x20", "MAPD.Size: 0x20 is not a value of 5 bits"),
        ("VSGI vPEID=0", "GICv4.0 has no command VSGI"),
        ("MAPX", "GICv4.0 has no command MAPX"),
    ],
)
def test_text_that_is_no_command_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as refusal:
        parse_command(text, "4.0")
    assert "\n" not in str(refusal.value)


def test_unknown_architecture():
    with pytest.raises(ValueError, match=r"architecture '5' is none of 3, 4\.0, 4\.1"):
        COMMANDS("5")


def test_the_queue_of_a_real_host_is_read_whole():
    segments = read_image(REAL_HOST)
    memory = memory_for(segments)
    load_segments(memory, segments)
    queue = memory.view(0x431C_0000, 2048 * 4, np.uint64).reshape(-1, 4)
    texts = [format_command(words, "4.0") for words in queue]
    assert not [text for text in texts if "_res0_" in text]
    assert [parse_command(text, "4.0") for text in texts] == [tuple(words) for words in queue.tolist()]
    mnemonics = Counter(text.split()[0] for text in texts)
    assert mnemonics == {"SYNC": 1021, "CLEAR": 999, "INV": 20, "VSYNC": 3, "VMOVP": 2, "MOVI": 2, "VMOVI": 1}
