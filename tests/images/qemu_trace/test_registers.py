# SPDX-License-Identifier: Apache-2.0
"""The registers at the end of a trace: halves, reads, read-only fields, and where the ITS is in its queue."""

import re

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import read_trace, registers_of_trace
from gicmodel.images.registers import origin_of
from gicmodel.images.sources import read_registers
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CREADR
from tests.images.qemu_trace.places import CAPTURE, DATA

TRACE = CAPTURE / "host-vm-stopped.trace.xz"
CREADR_READ = re.compile(r"gicv3_its_read .*offset 0x90 data (0x[0-9a-f]+) ")


@pytest.fixture
def registers(tmp_path):
    def read(*lines):
        path = tmp_path / "gic.trace"
        path.write_text("".join(f"{line}\n" for line in lines))
        return registers_of_trace(path)

    return read


def its(offset, data, size=8, access="write"):
    return f"gicv3_its_{access} GICv3 ITS {access}: offset {offset:#x} data {data:#x} size {size}"


def redistributor(offset, data, size=8, cpu=0, access="write"):
    return (
        f"gicv3_redist_{access} GICv3 redistributor {cpu:#x} {access}: "
        f"offset {offset:#x} data {data:#x} size {size} secure 0"
    )


def command(name="sync", text="command SYNC"):
    return f"gicv3_its_cmd_{name} GICv3 ITS: {text}"


def process(slot):
    return f"gicv3_its_process_command GICv3 ITS: processing command at offset {slot:#x}: 0x5"


FAULT = "gicv3_its_dte_read_fault GICv3 ITS: Device Table read for DeviceID 0x10: faulted"
MSI = "gicv3_its_translation_write GICv3 ITS TRANSLATER write: offset 0x40 data 0x0 size 4 requester_id 0x10"
QUEUE = [its(0x80, GITS_CBASER.pack(Valid=1, Physical_Address=0x4400_0000)), its(0x88, 0)]
ENABLE, DISABLE = its(0x0, 1, 4), its(0x0, 0, 4)


def test_the_last_writes_of_the_capture():
    traced, known = registers_of_trace(TRACE), read_registers(CAPTURE / "host-vm-stopped.toml")
    for frame, values in known.items():
        assert {name: traced[frame][name] for name in values} == values


@pytest.mark.parametrize("upper_first", [False, True])
def test_registers_written_in_halves_are_whole(registers, upper_first):
    lines = []
    for event in read_trace(TRACE):
        size = getattr(event, "size", 0)
        if size == 8 and type(event).__name__ == "ItsWrite":
            halves = [its(event.offset + at, event.data >> 8 * at & 0xFFFF_FFFF, 4) for at in (0, 4)]
        elif size == 8 and type(event).__name__ == "RedistributorWrite":
            words = [(event.offset + at, event.data >> 8 * at & 0xFFFF_FFFF) for at in (0, 4)]
            halves = [redistributor(offset, data, 4, event.cpu) for offset, data in words]
        elif size == 4 and type(event).__name__ == "ItsWrite":
            halves = [its(event.offset, event.data, 4)]
        elif size == 4 and type(event).__name__ == "RedistributorWrite":
            halves = [redistributor(event.offset, event.data, 4, event.cpu)]
        else:
            continue
        lines += reversed(halves) if upper_first else halves
    whole = registers_of_trace(TRACE)
    whole["GITS0"].pop("CREADR")
    assert registers(*lines) == whole


def test_a_register_of_which_a_half_was_never_seen_is_not_known(registers):
    assert registers(its(0x80, 0x4400_0000, 4), its(0x88, 0x20, 4), redistributor(0x74, 1, 4)) == {
        "GITS0": {"CWRITER": 0x20}
    }


def test_a_register_tells_the_line_that_told_of_it_last(registers, tmp_path):
    found = registers(*QUEUE, ENABLE, its(0x84, 0, 4), its(0x90, 0x20, access="read"), DISABLE)["GITS0"]
    path = tmp_path / "gic.trace"
    assert {name: origin_of(value) for name, value in found.items()} == {
        "CBASER": f"{path}: line 1",
        "CWRITER": f"{path}: line 2",
        "CREADR": f"{path}: commands executed up to line 6",
        "CTLR": f"{path}: line 6",
    }


def test_a_narrow_write_has_no_more_bits_than_its_size(registers):
    lines = redistributor(0x78, 0x4_4001_0000, 4, 0x101), redistributor(0x7C, 0x1, 4, 0x101)
    assert registers(*lines) == {"GICR17": {"PENDBASER": 0x1_4001_0000}}


def test_writes_that_are_no_words_of_a_register_count_for_nothing(registers):
    odd = its(0x82, 1, 4), its(0x0, 1, 2), redistributor(0x400, 1, 1), redistributor(0x1_0080, 1, 4), its(0x7000, 1, 4)
    assert registers(*odd, ENABLE) == {"GITS0": {"CTLR": 1}}


def test_what_software_cannot_write_is_told_by_reads_only(registers):
    lines = [its(0x90, 0x20), its(0x8, 1), its(0x40, 0x1F, 4), redistributor(0x8, 7), redistributor(0x40, 0x2000)]
    with pytest.raises(UnusableInput, match="no line of it is a write or a read of an ITS or redistributor register"):
        registers(*lines)
    reads = its(0x8, 0x1F_0001_EFB1, access="read"), redistributor(0x8, 0x101_0000_0111, cpu=1, access="read")
    assert registers(*lines, *reads) == {"GITS0": {"TYPER": 0x1F_0001_EFB1}, "GICR1": {"TYPER": 0x101_0000_0111}}


def test_a_read_counts_as_the_write_before_it(registers):
    assert registers(redistributor(0x0, 1, 4), redistributor(0x0, 3, 4, access="read"))["GICR0"] == {"CTLR": 3}


@pytest.mark.parametrize("halves", [False, True])
def test_the_type_of_a_table_is_as_read_and_not_as_written(registers, halves):
    told = GITS_BASER.pack(Type=1, Entry_Size=7, Page_Size=2)
    written = GITS_BASER.pack(Valid=1, Type=4, Physical_Address=0x4401_0000)
    expected = GITS_BASER.pack(Valid=1, Type=1, Entry_Size=7, Physical_Address=0x4401_0000)
    writes = [its(0x100, written & 0xFFFF_FFFF, 4), its(0x104, written >> 32, 4)] if halves else [its(0x100, written)]
    assert registers(its(0x100, told, access="read"), *writes)["GITS0"] == {"BASER0": expected}
    assert registers(its(0x104, told >> 32, 4, "read"), *writes)["GITS0"] == {"BASER0": expected}
    assert registers(*writes)["GITS0"] == {"BASER0": written}


def test_an_enabled_its_keeps_its_tables_and_its_queue(registers):
    before = registers(*QUEUE, its(0x100, 1 << 63), ENABLE)
    assert registers(*QUEUE, its(0x100, 1 << 63), ENABLE, its(0x100, 0), its(0x80, 0), its(0x84, 0, 4)) == before


def test_retry_is_not_held(registers):
    assert registers(its(0x88, 0x61))["GITS0"] == {"CWRITER": 0x60}


def creadr(found):
    return found["GITS0"].get("CREADR")


def test_commands_lead_to_creadr(registers):
    assert creadr(registers(*QUEUE, ENABLE, command(), command(), its(0x88, 0x40))) == 0x40
    assert creadr(registers(*QUEUE, ENABLE, its(0x88, 0x40), command(), command())) == 0x40
    slots = [line for slot in (0, 1) for line in (process(slot), command())]
    assert creadr(registers(*QUEUE, ENABLE, *slots, its(0x88, 0x40))) == 0x40
    assert creadr(registers(*QUEUE, ENABLE, command("unknown", "unknown command 0x23"), its(0x88, 0x20))) == 0x20


def test_the_queue_wraps(registers):
    round_ = [*[command()] * 127, its(0x88, 0xFE0), *[command()] * 3, its(0x88, 0x40)]
    assert creadr(registers(*QUEUE, ENABLE, *round_)) == 0x40


def test_commands_of_a_disabled_its_wait(registers):
    assert creadr(registers(*QUEUE, its(0x88, 0x60))) == 0
    assert creadr(registers(*QUEUE, ENABLE, command(), its(0x88, 0x20), DISABLE, its(0x88, 0x60))) == 0x20


def test_commands_that_the_trace_lacks_leave_creadr_unknown(registers):
    assert creadr(registers(*QUEUE, ENABLE, its(0x88, 0x60))) is None
    assert creadr(registers(*QUEUE, ENABLE, its(0x88, 0x60), DISABLE)) is None
    assert creadr(registers(*QUEUE, ENABLE, its(0x88, 0x60), command())) is None
    assert creadr(registers(*QUEUE, ENABLE)) == 0


def test_without_the_queue_creadr_tells_nothing(registers):
    assert registers(ENABLE, process(4), command(), its(0x88, 0xA0)) == {"GITS0": {"CTLR": 1, "CWRITER": 0xA0}}


def test_a_trace_that_begins_late_is_told_by_a_slot_or_a_read(registers):
    late = its(0x80, QUEUE_VALUE, access="read"), ENABLE
    assert creadr(registers(*late, command(), its(0x88, 0xA0))) is None
    assert creadr(registers(*late, process(4), command(), its(0x88, 0xA0))) == 0xA0
    assert creadr(registers(*late, its(0x88, 0xA0), its(0x90, 0xA0, access="read"))) == 0xA0
    assert creadr(registers(*late, its(0x88, 0xA0), its(0x90, 0x81, 4, "read"))) == 0x81
    assert creadr(registers(*late, its(0x90, 0x20, access="read"), its(0x88, 0xA0))) is None


QUEUE_VALUE = GITS_CBASER.pack(Valid=1, Physical_Address=0x4400_0000)


@pytest.mark.parametrize("slots", [False, True])
def test_a_fault_of_a_command_is_a_stall(registers, slots):
    one, two = ([process(0)], [process(1)]) if slots else ([], [])
    lines = [*QUEUE, ENABLE, *one, command(), *two, command("inv", "command INV DeviceID 0x10 EventID 0x1"), FAULT]
    assert creadr(registers(*lines, its(0x88, 0x60))) == GITS_CREADR.pack(Offset=0x20, Stalled=1)


def test_a_fault_of_a_message_is_none(registers):
    assert creadr(registers(*QUEUE, ENABLE, command(), its(0x88, 0x20), MSI, FAULT)) == 0x20
    assert creadr(registers(*QUEUE, ENABLE, its(0x88, 0x20), command(), MSI, FAULT)) == 0x20


def test_where_qemu_is_in_its_queue_is_known_without_its_reads_of_creadr(registers):
    """Where QEMU's own answer was recorded, what is told without it is the same or unknown."""
    lines = (DATA / "stall.trace").read_text().splitlines()
    told = []
    for end, line in enumerate(lines):
        if match := CREADR_READ.match(line):
            without = [other for other in lines[:end] if not CREADR_READ.match(other)]
            told.append((creadr(registers(*without)), int(match[1], 0)))
    assert [ours for ours, _ in told] == [0x21, 0x21, 0x61, 0x81, None, None, 0, 0x20]
    assert all(ours in (None, theirs) for ours, theirs in told)


def test_redistributors_are_numbered_by_processor_number():
    assert list(registers_of_trace(DATA / "sbsa.trace")) == [f"GICR{n}" for n in range(12)]
    traced, known = registers_of_trace(DATA / "aff.trace"), read_registers(DATA / "aff.toml")
    del known["GITS0"]["CREADR"], known["GITS0"]["TYPER"]
    for frame, values in known.items():
        values.pop("TYPER", None)
        assert {name: traced[frame][name] for name in values} == values
    assert len(traced) == len(known) == 21


@pytest.mark.parametrize("name", ["partial.log", "crlf.log", "glued.log"])
def test_a_trace_of_commands_alone_tells_no_register(name):
    with pytest.raises(UnusableInput, match="no line of it is a write or a read"):
        registers_of_trace(DATA / name)


def test_stamped_lines_are_read():
    assert registers_of_trace(DATA / "stampz.log")["GITS0"]["BASER0"] == 0xF907_0000_431D_0600


def test_no_event_at_all_is_no_trace(tmp_path):
    (tmp_path / "empty.log").write_text("gicv3_icc_iar1_read GICv3 ICC_IAR1 read cpu 0x0 value 0x3ff\n")
    with pytest.raises(UnusableInput, match="no line of it is a write"):
        registers_of_trace(tmp_path / "empty.log")
