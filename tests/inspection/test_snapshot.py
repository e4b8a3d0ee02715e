# SPDX-License-Identifier: Apache-2.0
"""A snapshot of the model is a dump that has its registers with it."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.errors import UnusableInput
from gicmodel.hardware import save_snapshot
from gicmodel.images import write_elf
from gicmodel.inspection import inspect
from gicmodel.inspection.sources import read_dump, read_registers
from gicmodel.layouts.vpt import FIRST_LPI
from gicmodel.snapshot_file import reading
from tests.hardware.bench import furnished

VLPI = FIRST_LPI + 5


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A machine with two vPEs and a pending vLPI, as a snapshot, and its RAM as an ELF core."""
    bench = furnished()
    for vpe_id in range(2):
        bench.map_vpe(vpe_id, vpe_id)
        bench.map_vlpi(8 + vpe_id, VLPI + vpe_id, vpe_id)
    bench.run("INT", DeviceID=1, EventID=9)
    place = tmp_path_factory.mktemp("machine")
    save_snapshot(bench.gic, place / "machine.npz")
    save_snapshot(bench.gic, place / "machine.npz.zst")
    write_elf(place / "ram.elf", bench.memory)
    return place


def test_a_snapshot_decodes_as_its_ram_and_registers_do(directory):
    registers = read_registers(directory / "machine.npz")
    assert {"GITS0", "GICR0", "GICD"} <= set(registers)
    image, snapshot = read_dump(directory / "ram.elf"), read_dump(directory / "machine.npz")
    assert [(one.address, one.data.tobytes()) for one in snapshot.segments] == [
        (one.address, one.data.tobytes()) for one in image.segments
    ]
    one, two = inspect(image, registers), inspect(snapshot, registers)
    assert (one.profile.name, one.architecture, one.vpes.size, one.events.size) == ("gicmodel", "4.1", 2, 2)
    for name in ("devices", "events", "collections", "vpes", "pending"):
        columns = [column for column in getattr(one, name).dtype.names if column != "offset"]
        assert np.array_equal(getattr(one, name)[columns], getattr(two, name)[columns])


def test_offsets_are_those_of_the_array_of_pages(directory):
    found = inspect(read_dump(directory / "machine.npz"), read_registers(directory / "machine.npz"))
    with np.load(directory / "machine.npz") as archive:
        pages = archive["pages"].tobytes()
    row = found.devices[0]
    (piece,) = found.dump.pieces(int(row["address"]), 8)
    assert pages[row["offset"] :][:8] == piece.octets.tobytes()


@pytest.mark.parametrize("name", ["machine.npz", "machine.npz.zst"])
def test_the_verb_needs_no_other_file_and_no_numba(directory, name):
    program = (
        "import sys\nfrom gicmodel.cli import main\n"
        f"main(['inspect', {str(directory / name)!r}], standalone_mode=False)\n"
        "assert not {'numba', 'hypothesis', 'matplotlib'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"registers: {directory / name}" in result.stdout
    assert "1 devices, 2 events, 2 vPEs" in result.stdout


def test_a_snapshot_gives_the_registers_of_another_image(directory):
    arguments = ["inspect", str(directory / "ram.elf"), "--registers", str(directory / "machine.npz"), "--csv"]
    assert CliRunner().invoke(main, arguments).stdout.count("\n") == 3


def forged(header=None, **arrays):
    def change(good):
        contents = dict(np.load(io.BytesIO(good)).items()) | arrays
        entries = json.loads(contents["header"].tobytes()) | (header or {})
        contents["header"] = np.frombuffer(json.dumps(entries).encode(), np.uint8)
        stream = io.BytesIO()
        np.savez(stream, **contents)
        return stream.getvalue()

    return change


REFUSED = {
    "truncated": (lambda good: good[:-100], "is damaged"),
    "another archive": (lambda good: b"PK\x03\x04" + bytes(40), "is damaged"),
    "no registers": (forged({"registers": None}), "is damaged"),
    "registers that are text": (forged({"registers": {"GITS0": {"CTLR": "x"}}}), "GITS0.CTLR is 'x', not an integer"),
    "wide registers": (forged({"registers": {"GITS0": {"CTLR": 1 << 64}}}), "not a value of 64 bits"),
    "no base": (forged({"base": "x"}), "is damaged"),
    "a base beyond all memory": (forged({"base": 1 << 52}), "is not in the 52-bit physical address space"),
    "an odd base": (forged({"base": 12}), "is not in the 52-bit physical address space"),
    "pages out of order": (forged(pages_at=np.array([1, 1]), pages=np.zeros((2, 4096), np.uint8)), "not a list"),
    "no pages": (forged(pages_at=np.zeros(0, np.int64), pages=np.zeros((0, 4096), np.uint8)), "without bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_snapshot_is_one_line(directory, tmp_path, name):
    change, message = REFUSED[name]
    (tmp_path / "bad.npz").write_bytes(change((directory / "machine.npz").read_bytes()))
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "bad.npz")])
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("bug", [RuntimeError, AssertionError, AttributeError, KeyError, TypeError])
def test_a_bug_is_not_told_as_damage(directory, bug):
    """Whatever was raised while a machine was built from a file was the file's fault."""
    with pytest.raises(bug), reading(directory / "machine.npz"):
        raise bug("ours")


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory")])
def test_a_machine_too_large_to_be_built_is_not_told_as_damage(directory, error):
    with pytest.raises(UnusableInput, match="memory") as refusal, reading(directory / "machine.npz"):
        raise error
    assert "damaged" not in str(refusal.value)
