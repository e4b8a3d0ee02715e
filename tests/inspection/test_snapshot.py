# SPDX-License-Identifier: Apache-2.0
"""A snapshot of the model is a dump that has its registers with it."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.cli import UNUSABLE, main
from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.hardware import Gic, save_snapshot
from gicmodel.hardware.observe import pending_physical, pending_virtual
from gicmodel.images.dump import Zeros, overlaid, with_zeros
from gicmodel.images.registers import origin_of
from gicmodel.images.segments import Segment, write_elf
from gicmodel.images.snapshot_file import reading
from gicmodel.images.sources import read_dump, read_registers
from gicmodel.inspection import ABSENT, Dump, inspect, views
from gicmodel.inspection.diff import compare
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.rules import find
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.layouts.registers.its import GITS_SGIR
from gicmodel.memory import GuestMemory
from tests.driver.host import Host
from tests.hardware.bench import INTID_BITS, furnished

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
    assert {origin_of(value) for values in registers.values() for value in values.values()} == {
        str(directory / "machine.npz")
    }
    assert {"GITS0", "GICR0", "GICD"} <= set(registers)
    image, snapshot = read_dump(directory / "ram.elf"), read_dump(directory / "machine.npz")
    written = [one for one in snapshot.segments if one.offset != ABSENT]
    assert [(one.address, one.data.tobytes()) for one in written] == [
        (one.address, one.data.tobytes()) for one in image.segments
    ]
    one, two = inspect(image, registers), inspect(snapshot, registers)
    assert (one.profile.name, one.architecture, one.vpes.size, one.events.size) == ("gicmodel", "4.1", 2, 2)
    for name in ("devices", "events", "collections", "vpes"):
        columns = [column for column in getattr(one, name).dtype.names if column not in ("offset", "pending")]
        assert np.array_equal(getattr(one, name)[columns], getattr(two, name)[columns])
    assert two.events["pending"].tolist() == [0, 1]
    assert one.events["pending"].tolist() == [UNKNOWN, UNKNOWN], "the VPTs were never written"


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


SLOTS = {"tag": 0, "id_bits": 1, "held": 2, "bits": 8}


def held(**columns):
    """One slot that holds a table of 14 INTID bits."""
    row = np.zeros((1, 8 + 256), np.uint64)
    for name, value in ({"tag": 1, "id_bits": 14, "held": 1} | columns).items():
        row[0, SLOTS[name]] = value
    return row


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
    "no window": (forged({"size": 0}), "is not in the 52-bit physical address space"),
    "pages beyond the window": (forged({"size": 4096}), "pages_at is not a list of its places"),
    "slots of another shape": (forged(slots=np.zeros(9, np.uint64)), "slots is uint64 (9,)"),
    "slots of another type": (forged(slots=np.zeros((1, 9), np.int64)), "slots is int64"),
    "columns that are no numbers": (forged({"slot": {"tag": "0"}}), "the columns of slots are"),
    "columns that are none": (forged({"slot": [0, 1, 2, 8]}), "the columns of slots are"),
    "columns beyond the slots": (forged({"slot": SLOTS | {"bits": 1 << 20}}), "the columns of slots are"),
    "negative columns": (forged({"slot": SLOTS | {"tag": -1}}), "the columns of slots are"),
    "a held table outside RAM": (forged(slots=held(tag=0x1_0001)), "a pending table at 0x10000 of 0x800 bytes"),
    "a held table without INTIDs": (forged(slots=held(id_bits=3)), "a pending table of 3 INTID bits has 256 words"),
    "a held table too wide": (forged(slots=held(id_bits=15)), "a pending table of 15 INTID bits has 256 words"),
    "a held table wider than any": (forged(slots=held(id_bits=1 << 63)), "a pending table of"),
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


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_ram_that_was_never_written_is_zero(tmp_path, architecture):
    """A machine of the model's own, as Linux boots it, with nothing wrong: half its tables were called absent."""
    host = Host(architecture=architecture)
    # The ITS's driver leaves the distributor to another, which enables it before.
    host.gic.distributor.write(0, GICD_CTLR.pack(EnableGrp1=1, ARE=1), 4)
    device = host.driver.lpis.create_device(0x10, 4)
    host.driver.lpis.activate(device, 0, cpus=1)
    save_snapshot(host.gic, tmp_path / "machine.npz")
    found = inspect(read_dump(tmp_path / "machine.npz"), read_registers(tmp_path / "machine.npz"))
    assert [finding.sentence for finding in find(found).told] == []
    assert (found.devices.size, found.events.size) == (1, 1)
    assert all(count is not None for count in views.redistributors(found).columns[-2].plain(0, 4))
    window = host.memory
    assert found.dump.octets == window.size
    assert found.dump.held(window.base - 4096, window.size + 8192) == window.size
    never = next(page for page in range(window.base, window.end, 4096) if page not in window.written_pages())
    octets, there = found.dump.gather(np.array([never, never + 4088]), 8)
    assert (octets.any(), there.all(), found.dump.offset(never)) == (False, True, ABSENT)


def test_a_machine_in_which_nothing_was_written_is_no_damage(tmp_path):
    save_snapshot(Gic(GicConfig(), GuestMemory(0x4000_0000, 1 << 20)), tmp_path / "machine.npz")
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "machine.npz")])
    assert "0 devices, 0 events, 0 vPEs, 0 pending interrupts" in result.stdout


PENDING = [FIRST_LPI, FIRST_LPI + 5, (1 << INTID_BITS) - 1]


def pend(bench):
    """Three vLPIs of vPE 1 and three LPIs of redistributor 2."""
    bench.map_vpe(1, 1)
    for event, intid in enumerate(PENDING):
        bench.map_vlpi(event, intid, 1)
        bench.run("INT", DeviceID=1, EventID=event)
        bench.write_rd("SETLPIR", intid, 2)


def pending_of(found):
    return {
        (bool(virtual), target): found.pending["INTID"][
            (found.pending["virtual"] == virtual) & (found.pending["target"] == target)
        ].tolist()
        for virtual, target in ((True, 1), (False, 2))
    }


@pytest.mark.parametrize("architecture", ["4.0", "4.1"])
@pytest.mark.parametrize("writeback", [("unmap", "disable"), ("deschedule", "disable"), ("immediate", "immediate")])
def test_pending_bits_are_where_the_machine_finds_them(tmp_path, architecture, writeback):
    """In RAM or still in a redistributor: those that were held were not seen, and a save seemed to invent them."""
    vpt_writeback, pending_writeback = writeback
    bench = furnished(architecture=architecture, vpt_writeback=vpt_writeback, pending_writeback=pending_writeback)
    pend(bench)

    def inspected(name):
        save_snapshot(bench.gic, tmp_path / name)
        found = inspect(read_dump(tmp_path / name), read_registers(tmp_path / name))
        assert pending_of(found) == {
            (True, 1): pending_virtual(bench.gic, bench.vpt(1), INTID_BITS).tolist(),
            (False, 2): pending_physical(bench.gic, 2).tolist(),
        }
        return found

    before = inspected("before.npz")
    assert pending_of(before) == {(True, 1): PENDING, (False, 2): PENDING}
    assert before.events["pending"].tolist() == [1, 1, 1]
    assert before.dump.settled
    bench.run("VINVALL", vPEID=1)
    bench.unmap_vpe(1)
    bench.map_vpe(1, 1)
    bench.enable_lpis(False, 2)
    bench.enable_lpis(True, 2)
    after = inspected("after.npz")
    lost = architecture == "4.0" and vpt_writeback == "unmap"  # then GICv4.0 drops what it holds
    assert [change.what for change in compare(before, after).told if change.kind == "pending"] == ["lost"] * 3 * lost
    held = (vpt_writeback != "immediate") + (pending_writeback == "disable")
    assert (before.pending["offset"] == ABSENT).sum() == 3 * held


def test_only_pending_bits_are_read_from_what_is_held(tmp_path):
    """A vPE that was never unmapped: its VPT is held while software has given the memory to something else."""
    bench = furnished(vpt_writeback="unmap")
    pend(bench)
    bench.memory.write(bench.vpt(1) + 0x400, bytes(range(256)))
    save_snapshot(bench.gic, tmp_path / "machine.npz")
    dump = read_dump(tmp_path / "machine.npz")
    octets, _ = dump.gather(np.array([bench.vpt(1) + 0x400]), 256)
    assert octets[0].tobytes() == bytes(range(256))
    octets, _ = dump.pending.gather(np.array([bench.vpt(1) + 0x400]), 256)
    assert np.unpackbits(octets[0], bitorder="little")[:6].tolist() == [1, 0, 0, 0, 0, 1]


def test_a_snapshot_says_so_and_an_older_one_warns(directory, tmp_path):
    new = CliRunner().invoke(main, ["inspect", str(directory / "machine.npz")])
    assert "a GIC may hold newer bits" not in new.stdout
    contents = dict(np.load(directory / "machine.npz").items())
    header = json.loads(contents["header"].tobytes())
    del header["slot"]
    contents["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(tmp_path / "old.npz", **contents)
    old = CliRunner().invoke(main, ["inspect", str(tmp_path / "old.npz")])
    assert "a GIC may hold newer bits" in old.stdout
    both = [str(tmp_path / "old.npz"), str(directory / "machine.npz")]
    assert "a GIC may hold newer bits" in CliRunner().invoke(main, ["diff", *both]).stdout


def test_vsgis_that_are_held(tmp_path):
    bench = furnished(vpt_writeback="unmap")
    bench.map_vpe(1, 1)
    bench.run("VSGI", vPEID=1, vINTID=3, Enable=1, Group=1, Priority=0xA)
    bench.write_its("SGIR", GITS_SGIR.pack(vPEID=1, vINTID=3))
    save_snapshot(bench.gic, tmp_path / "machine.npz")
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "machine.npz"), "--table", "vsgis", "--json"])
    (row,) = json.loads(result.stdout)["vsgis"]
    assert (row["vPEID"], row["vINTID"], row["enabled"], row["pending"], row["offset"]) == (1, 3, True, True, None)
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "machine.npz"), "--table", "vsgis", "--hex"])
    assert ", at no place in the file: " in result.stdout
    assert "  bytes  a3" in result.stdout


RUN = st.tuples(st.integers(0, 40), st.integers(1, 8))


def disjoint(runs):
    """Those of (address, size) that overlap none before them."""
    kept = []
    for low, size in sorted(runs):
        if not kept or kept[-1].end <= low:
            kept.append(Segment(low, np.full(size, len(kept) + 1, np.uint8), 100 + low))
    return kept


@given(st.lists(RUN), st.lists(RUN))
def test_runs_laid_over_others(under, above):
    """Byte by byte: what lies above, else what lies below, else zero, else nothing."""
    low, high = disjoint(under), disjoint(above)
    high = [Segment(one.address, one.data + np.uint8(100), ABSENT) for one in high]
    dump = Dump(overlaid(with_zeros(low, 0, 60), high))
    for address in range(64):
        (octets,), (there,) = dump.gather(np.array([address]), 1)
        owner = next((one for one in (*high, *low) if one.address <= address < one.end), Zeros(0, 60))
        expected = int(owner.octets(address - owner.address, address - owner.address + 1)[0])
        assert (int(octets[0]), bool(there)) == ((expected, True) if address < 60 else (int(octets[0]), bool(there)))
        if address < 60:
            offset = ABSENT if owner.offset == ABSENT else owner.offset + address - owner.address
            assert dump.offset(address) == offset
