# SPDX-License-Identifier: Apache-2.0
"""`gicmodel inspect --trace`: registers that QEMU's log of a machine tells."""

import json
import lzma
import re

import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from tests.images.qemu_trace.places import CAPTURE, DATA


def inspect(image, *options):
    return CliRunner().invoke(main, ["inspect", str(image), *map(str, options)])


def document(*arguments):
    return json.loads(inspect(*arguments, "--json").stdout)


def test_a_machine_of_20_pes_is_as_with_its_registers():
    image = DATA / "aff.elf.xz"
    traced, known = document(image, "--trace", DATA / "aff.trace"), document(image, "--registers", DATA / "aff.toml")
    for name in ("devices", "events", "collections", "redistributors", "pending", "findings"):
        assert traced[name] == known[name]
    assert len(traced["redistributors"]) == 20
    assert [row["target"] for row in traced["pending"]] == [3, 17]
    result = inspect(image, "--trace", DATA / "aff.trace")
    assert result.exit_code == 0
    assert "missing: GITS0_CREADR: which commands were executed" in result.stdout


WIDE = re.compile(
    r"(?P<before>gicv3_(?:its|redist)_write .*offset )(?P<offset>\w+) data (?P<data>\w+) size 8(?P<after>.*)"
)


def halves(line):
    """A register write of 64 bits as two of 32, as AArch32 software does it."""
    match = WIDE.fullmatch(line)
    if match is None:
        return [line]
    offset, data = int(match["offset"], 0), int(match["data"], 0)
    words = (offset, data & 0xFFFF_FFFF), (offset + 4, data >> 32)
    return [f"{match['before']}{at:#x} data {word:#x} size 4{match['after']}" for at, word in words]


def test_the_capture_in_halves_is_as_the_capture(tmp_path):
    whole = lzma.decompress((CAPTURE / "host-vm-stopped.trace.xz").read_bytes()).decode().splitlines()
    (tmp_path / "halves.trace").write_text("\n".join(half for line in whole for half in halves(line)))
    result = inspect(CAPTURE / "host-vm-stopped.elf.xz", "--trace", tmp_path / "halves.trace")
    assert "3 devices, 8 events, 2 vPEs, 2 pending interrupts; 0 errors, 0 warnings" in result.stdout
    assert result.exit_code == 0


def test_a_stall_is_shown_where_it_is(tmp_path):
    """The trace up to its first stall: MAPC was executed, INV stalled, SYNC waits."""
    text = (DATA / "stall.trace").read_text()
    (tmp_path / "stall.trace").write_text(text[: text.index("gicv3_its_read GICv3 ITS read: offset 0x90")])
    (tmp_path / "ram").write_bytes(bytes(0x8_0000))
    options = "--base", "0x44000000", "--trace", tmp_path / "stall.trace"
    states = {int(row["slot"], 0): row["state"] for row in document(tmp_path / "ram", *options)["queue"]}
    assert (states[0], states[0x20], states[0x40]) == ("done", "stalled", "waiting")


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ("/dev/zero", "line 1 has 4096 bytes or more: not a trace"),
        (DATA / "partial.log", "no line of it is a write or a read of an ITS or redistributor register"),
    ],
)
def test_no_trace_is_one_line(trace, message):
    result = inspect(DATA / "aff.elf.xz", "--trace", trace)
    assert result.exit_code == UNUSABLE
    assert result.stderr == f"gicmodel: {trace}: {message}\n"
