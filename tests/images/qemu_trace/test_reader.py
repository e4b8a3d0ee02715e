# SPDX-License-Identifier: Apache-2.0
import gzip
import lzma
import re
from pathlib import Path

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import read_trace
from gicmodel.images.qemu_trace.events import (
    FORMS,
    Acknowledge,
    Command,
    Glued,
    ItsRead,
    ItsWrite,
    Msi,
    ProcessCommand,
    RedistributorRead,
    RedistributorWrite,
    TableAccess,
    Unknown,
)

ITS_WRITE = "gicv3_its_write GICv3 ITS write: offset 0x88 data 0x20 size 4"


@pytest.fixture
def events(tmp_path):
    def read(text, name="gic.trace", pack=bytes):
        path = tmp_path / name
        path.write_bytes(pack(text.encode()))
        return list(read_trace(path))

    return read


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (ITS_WRITE, ItsWrite(1, 0x88, 0x20, 4)),
        (
            "gicv3_redist_write GICv3 redistributor 0x101 write: offset 0x20078 data 0xe00000004cd6078 size 8 secure 0",
            RedistributorWrite(1, 0x101, 0x20078, 0xE00_0000_04CD_6078, 8, 0),
        ),
        (
            "gicv3_its_translation_write GICv3 ITS TRANSLATER write: offset 0x40 data 0x2 size 4 requester_id 0x10",
            Msi(1, 0x40, 2, 4, 0x10),
        ),
        (
            "gicv3_its_cmd_vmapti GICv3 ITS: command VMAPI DeviceID 0x8 EventID 0x1 vPEID 2 vINTID 3 Dbell_pINTID 4",
            Command(1, "VMAPTI", {"DeviceID": 8, "EventID": 1, "vPEID": 2, "vINTID": 3, "Doorbell": 4}),
        ),
        (
            "gicv3_its_cmd_vmapi GICv3 ITS: command VMAPI DeviceID 0x8 EventID 0x2001 vPEID 0x2 Dbell_pINTID 0x3ff",
            Command(1, "VMAPI", {"DeviceID": 8, "EventID": 0x2001, "vPEID": 2, "Doorbell": 1023}),
        ),
        (
            "gicv3_its_cmd_movall GICv3 ITS: command MOVALL RDbase1 0x1 RDbase2 0x2",
            Command(1, "MOVALL", {"RDbase": 1, "RDbase2": 2}),
        ),
        ("gicv3_its_cmd_sync GICv3 ITS: command SYNC", Command(1, "SYNC", {})),
        ("gicv3_icc_iar1_read GICv3 ICC_IAR1 read cpu 0x3 value 0x2000", Acknowledge(1, 3, 0x2000, 1, False)),
        ("gicv3_icv_iar_read GICv3 ICV_IAR0 read cpu 0x0 value 0x3ff", Acknowledge(1, 0, 1023, 0, True)),
        (
            "gicv3_its_process_command GICv3 ITS: processing command at offset 0x20: 0x8",
            ProcessCommand(1, 0x20, 8),
        ),
        ("gicv3_its_read GICv3 ITS read: offset 0x90 data 0x21 size 8", ItsRead(1, 0x90, 0x21, 8)),
        (
            "gicv3_redist_read GICv3 redistributor 0x101 read: offset 0x8 data 0x10101001113 size 8 secure 0",
            RedistributorRead(1, 0x101, 8, 0x101_0100_1113, 8, 0),
        ),
        (
            "gicv3_its_dte_read_fault GICv3 ITS: Device Table read for DeviceID 0x10: faulted",
            TableAccess(1, "gicv3_its_dte_read_fault", True),
        ),
        (
            "gicv3_its_dte_read GICv3 ITS: Device Table read for DeviceID 0x10: valid 0 size 0x0 ITTaddr 0x0",
            TableAccess(1, "gicv3_its_dte_read", False),
        ),
    ],
)
def test_a_line_is_a_typed_event(events, line, event):
    assert events(line + "\n") == [event]


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_declared_form_reads_its_own_text(events, name):
    numbers = iter(range(1, 99))
    template = FORMS[name].template.replace("{size}", "4").replace("{choices}", "its=1 pta=true")
    text = re.sub(r"\{\w+\}", lambda _: hex(next(numbers)), template)
    (event,) = events(f"{name} {text}\n")
    assert not isinstance(event, Unknown)
    (other,) = events(f"x{name} {text.replace('GICv3', 'GICv9')}\n")
    assert other == Unknown(1, f"x{name}")


@pytest.mark.parametrize("name", sorted(FORMS))
def test_a_known_event_with_other_text_names_its_line(events, name):
    with pytest.raises(UnusableInput, match=rf"gic\.trace: line 3: {name} must read 'GICv3"):
        events(f"{ITS_WRITE}\n\n{name} nonsense\n")


@pytest.mark.parametrize("number", ["", "-1", "0x", "0xg", "1_0", "01", "0x1" + 16 * "0", 20 * "9", "0X1"])
def test_a_number_that_qemu_would_not_print_is_malformed(events, number):
    with pytest.raises(UnusableInput, match="line 1"):
        events(f"gicv3_its_write GICv3 ITS write: offset 0x88 data {number} size 4\n")


@pytest.mark.parametrize("size", ["0", "3", "5", "16", "0x4", 18 * "9"])
def test_no_access_has_another_size(events, size):
    with pytest.raises(UnusableInput, match=r"line 1: gicv3_its_write must read .*size {size}"):
        events(f"gicv3_its_write GICv3 ITS write: offset 0x88 data 0x0 size {size}\n")


def test_a_truncated_last_line_is_malformed(events):
    with pytest.raises(UnusableInput, match="line 2"):
        events(f"{ITS_WRITE}\n{ITS_WRITE[:-10]}")


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "4711@1763804581.000042:",
        "2026-11-28T13:30:08.123456Z ",
        "2026-11-28 13:30:08,123+01:00: ",
        "[   27.000000] ",
        "(4711) ",
        "4711: 2026-11-28T13:30:08Z ",
    ],
)
def test_stamps_and_carriage_returns_are_no_part_of_a_line(events, stamp):
    assert events(f"{stamp}{ITS_WRITE}\r\n{ITS_WRITE}\n{stamp}name x\r\n") == [
        ItsWrite(1, 0x88, 0x20, 4),
        ItsWrite(2, 0x88, 0x20, 4),
        Unknown(3, "name"),
    ]


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("Nov 28 13:30:08 host qemu[4711]: ", "Nov 28 13:30:08 host qemu[4711]:"),
        ("[   13.1] foo ", "foo"),
        ("login:", "login:"),
    ],
)
def test_an_event_behind_other_text_is_read_and_the_text_is_named(events, before, text):
    assert events(f"\n{before}{ITS_WRITE}\n") == [Glued(2, text), ItsWrite(2, 0x88, 0x20, 4)]


@pytest.mark.parametrize("after", ["[   13.1] foo", " foo", f" {ITS_WRITE}", ITS_WRITE])
@pytest.mark.parametrize("before", ["", "foo "])
def test_an_event_before_other_text_is_refused_by_name(events, before, after):
    with pytest.raises(UnusableInput, match="line 1: gicv3_its_write must read"):
        events(f"{before}{ITS_WRITE}{after}\n")


def test_an_unknown_event_behind_other_text_is_counted_by_its_name(events):
    line = "host qemu: gicv3_icc_eoir_write GICv3 ICC_EOIR1 write cpu 0x0 value 0x2000"
    assert events(line) == [Unknown(1, "gicv3_icc_eoir_write")]


def test_a_file_that_never_ends_is_no_trace(events, monkeypatch):
    monkeypatch.setattr("gicmodel.images.qemu_trace.events.MOST_OTHER_LINES", 100)
    with pytest.raises(UnusableInput, match="none of its first 100 lines is a GICv3 trace event"):
        events("y\n" * 200 + ITS_WRITE)
    assert len(events("y\n" * 99 + ITS_WRITE)) == 100
    with pytest.raises(UnusableInput, match="line 1 has 4096 bytes or more"):
        list(read_trace(Path("/dev/zero")))


@pytest.mark.parametrize(("name", "pack"), [("t.xz", lzma.compress), ("t.gz", gzip.compress)])
def test_compressed_traces_read_the_same(events, name, pack):
    assert events(ITS_WRITE, name, pack) == events(ITS_WRITE)


def test_a_truncated_archive_is_unusable(events):
    with pytest.raises(UnusableInput, match=r"t\.xz"):
        events(ITS_WRITE, "t.xz", lambda data: lzma.compress(data)[:-8])


def test_a_name_that_could_move_the_cursor_is_shown_harmless(events):
    assert events("\x1b[2J\x07 x\n") == [Unknown(1, r"\x1b[2J\x07")]


def test_bytes_without_line_ends_are_no_trace(events):
    with pytest.raises(UnusableInput, match="line 1 has 4096 bytes or more"):
        events("a" * 100_000)
