# SPDX-License-Identifier: Apache-2.0
"""A machine goes to a file and comes back bit for bit; a file that is damaged or foreign is refused in one line."""

import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.hardware import Gic
from gicmodel.hardware.kernels.state import CONFIG, SLOT
from gicmodel.hardware.snapshot import load_snapshot, save_snapshot
from gicmodel.images import snapshot_file
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import GITS_SGIR
from gicmodel.memory import GuestMemory
from tests.hardware.bench import OUTSIDE, RAM, Bench, furnished

LPI, VLPI = FIRST_LPI + 3, FIRST_LPI + 5


def busy(**choices: object) -> Bench:
    """Held pending bits, a resident vPE, an armed doorbell, cached entries, a stalled queue."""
    bench = furnished(**choices)
    bench.map_lpi(7, LPI)
    for vpe_id in range(3):
        bench.map_vpe(vpe_id, vpe_id)
        bench.map_vlpi(8 + vpe_id, VLPI + vpe_id, vpe_id)
    if bench.config.v41:
        bench.run("VSGI", vINTID=3, Enable=1, Group=1)
    bench.run("INT", DeviceID=1, EventID=7)
    bench.schedule(0)
    bench.step()
    bench.deschedule(doorbell=1)
    bench.schedule(1, 1)
    bench.run("INT", DeviceID=1, EventID=9)
    bench.memory.clear_dirty()
    bench.write_rd("SETLPIR", LPI + 1, rd=3)
    bench.queue_command("MAPC", ICID=3, RDbase=99, V=1)
    bench.queue_command("MAPC", ICID=3, RDbase=3, V=1)
    bench.ring()
    return bench


CHOICES = [{}, {"caching": "retain"}, {"commands_per_step": 1}, {"vpt_writeback": "immediate"}]
CHOICES += [{"architecture": "4.0", "hcc": 1}]


def after(gic: Gic) -> list[object]:
    """The machine goes on: Retry with the command repaired, interrupts taken, everything written back."""
    bench = Bench(gic=gic)
    offset, stalled = bench.creadr()
    bench.memory.write_u64(bench.queue() + offset + 16, 1 << 63)
    bench.write_its("CWRITER", bench.read_its("CWRITER") | 1)
    bench.step()
    seen: list[object] = [offset, stalled, bench.creadr(), bench.cte(3), [str(error) for error in gic.errors]]
    seen.append([gic.its[0].translate(1, event) for event in (7, 8, 9)])
    if gic.config.v41:
        bench.write_its("SGIR", GITS_SGIR.pack(vINTID=3))
    for redistributor in gic.redistributors:
        seen.append([redistributor.cpu.acknowledge() for _ in range(4)])
        seen.append([redistributor.cpu.acknowledge_virtual() for _ in range(4)])
        redistributor.write(0, 0, 4)
    return [*seen, gic.memory.octets.tobytes(), gic.memory.page_state.tobytes()]


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_a_machine_comes_back_bit_for_bit_and_goes_on_the_same(tmp_path, choices):
    bench = busy(**choices)
    save_snapshot(bench.gic, tmp_path / "machine.npz")
    other = load_snapshot(tmp_path / "machine.npz")
    assert other.config == bench.config
    for name, array in bench.gic.machine._asdict().items():
        assert np.array_equal(getattr(other.machine, name), array), name
    assert np.array_equal(other.memory.dirty_pages(), bench.memory.dirty_pages())
    assert after(other) == after(bench.gic)


def test_saving_what_was_loaded_gives_the_same_file(tmp_path):
    save_snapshot(busy().gic, tmp_path / "first")
    save_snapshot(load_snapshot(tmp_path / "first"), tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("suffix", [".npz", ".snapshot", ".npz.xz", ".gz"])
def test_the_suffix_may_be_any_and_packs_again(tmp_path, suffix):
    save_snapshot(busy().gic, tmp_path / f"machine{suffix}")
    assert load_snapshot(tmp_path / f"machine{suffix}").errors[0].number == 0x010902


def test_only_what_was_touched_is_stored(tmp_path):
    memory = GuestMemory(0, 64 << 30)
    memory.write_u64(63 << 30, 42)
    save_snapshot(Gic(GicConfig(caching="retain"), memory), tmp_path / "large")
    assert (tmp_path / "large").stat().st_size < 10_000
    assert load_snapshot(tmp_path / "large").memory.read_u64(63 << 30) == 42


def test_ram_that_was_written_behind_guest_memory(tmp_path):
    """A CPU of a board writes RAM and marks nothing: the snapshot lacked the device table of a Linux that ran there."""
    memory = GuestMemory(RAM, 1 << 24)
    memory.octets[0x5123] = 0x42
    save_snapshot(Gic(GicConfig(), memory), tmp_path / "machine")
    loaded = load_snapshot(tmp_path / "machine").memory
    assert loaded.read_u8(RAM + 0x5123) == 0x42
    assert not loaded.page_state.any()


# Files that are refused.


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("snapshot") / "good"
    save_snapshot(busy().gic, path)
    return path.read_bytes()


def refused(path: Path, content: bytes | None = None) -> str:
    """The one line with which a file is refused."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusableInput) as caught:
        load_snapshot(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    assert "cannot be read: No such file" in refused(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"PK", b"\x7fELF" + bytes(100), b"\x93NUMPY", bytes(1000)])
def test_a_foreign_file(tmp_path, content):
    assert "is no gicmodel snapshot of version 3, or is damaged" in refused(tmp_path / "foreign", content)


def test_other_archives(tmp_path):
    np.savez(tmp_path / "other.npz", header=np.zeros(3))
    refused(tmp_path / "other.npz")
    np.save(tmp_path / "other.npy", np.zeros(3))
    refused(tmp_path / "other.npy")
    np.savez(tmp_path / "pickled.npz", header=np.array([{}]))
    refused(tmp_path / "pickled.npz")


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_file(tmp_path_factory, good, data):
    """A flipped bit, a hole, or a lost end: checksums and lengths of the archive show it."""
    damaged = bytearray(good)
    at = data.draw(st.integers(0, len(good) - 1))
    kind = data.draw(st.sampled_from(["flip", "hole", "cut"]))
    if kind == "flip":
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "hole":
        damaged[at : at + 64] = bytes(len(damaged[at : at + 64]))
    else:
        del damaged[at:]
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(damaged)
    try:
        gic = load_snapshot(path)
    except UnusableInput:
        refused(path)
    else:
        whole = path.with_name("whole")
        save_snapshot(gic, whole)
        assert whole.read_bytes() == good, "only what nobody reads was damaged"


def changed(good: bytes, **arrays: object) -> bytes:
    """The file with some of its arrays replaced, and correct checksums."""
    contents = dict(np.load(io.BytesIO(good)).items())
    for name, array in arrays.items():
        contents[name] = array(contents[name]) if callable(array) else array
    stream = io.BytesIO()
    np.savez(stream, **contents)  # type: ignore[arg-type]
    return stream.getvalue()


def header(**entries: object):
    """A change of the header; `None` leaves an entry out."""

    def change(array: np.ndarray) -> np.ndarray:
        content = json.loads(array.tobytes()) | entries
        content = {name: value for name, value in content.items() if value is not None}
        return np.frombuffer(json.dumps(content).encode(), np.uint8)

    return change


def config(**choices: object):
    return header(config=vars(busy().config) | choices)


def slot(column: int, value: int):
    """A change of the first VPT's slot."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[-1, column] = value
        return array

    return change


FORGERIES = {
    "another kind": ({"header": header(kind="cat")}, "it says 'cat' version 3"),
    "another version": ({"header": header(version=1)}, "it says 'gicmodel snapshot' version 1"),
    "no version": ({"header": header(version=None)}, "it says 'gicmodel snapshot' version None"),
    "no JSON": ({"header": np.frombuffer(b"kind", np.uint8)}, "Expecting value"),
    "no object": ({"header": np.frombuffer(b"[]", np.uint8)}, "its header is no object"),
    "no window": ({"header": header(size=None)}, "'size' in its header is no int"),
    "a window in halves of bytes": ({"header": header(size=4096.5)}, "'size' in its header is no int"),
    "no configuration": ({"header": header(config=[])}, "'config' in its header is no dict"),
    "deep JSON": ({"header": np.frombuffer(b"[" * 100_000, np.uint8)}, ""),
    "unknown choice": ({"header": config(colour="red")}, "colour"),
    "impossible choice": ({"header": config(its=99)}, "GicConfig.its is 99"),
    "choice of a wrong type": ({"header": config(commands_per_step="x")}, "GicConfig.commands_per_step is 'x'"),
    "another choice": ({"header": config(architecture="4.0")}, "its words do not fit its configuration"),
    "more redistributors": ({"header": config(redistributors=300)}, "its words do not fit its configuration"),
    "more INTIDs": ({"header": config(intid_bits=15)}, "slots is uint64"),
    "a window that is no whole pages": ({"header": header(size=100)}, "whole number of 4096-byte pages"),
    "a window that is too large": ({"header": header(size=1 << 51)}, ""),
    "a smaller window": ({"header": header(size=0x1000)}, ""),
    "another window": ({"header": header(base=RAM + 0x1000)}, "its words do not fit its configuration"),
    "other words": ({"chip": lambda words: words + np.uint64(1)}, "its words do not fit its configuration"),
    "words of another type": ({"chip": lambda words: words.astype(np.int64)}, "chip is int64"),
    "fewer words": ({"chip": lambda words: words[1:]}, "chip is uint64"),
    "places that are not": ({"chip_at": lambda at: at + 10_000_000}, "chip_at is not a list of its places"),
    "negative places": ({"chip_at": lambda at: at - 1}, "chip_at is not a list of its places"),
    "places twice": ({"pages_at": lambda at: at // 2}, "pages_at is not a list of its places"),
    "places of another type": ({"chip_at": lambda at: at.astype(np.float64)}, "at float64"),
    "places in rows": ({"chip_at": lambda at: at[:, None]}, "at int64"),
    "no RAM": ({"pages": np.zeros((0, 4096), np.uint8)}, "pages is uint8 (0, 4096)"),
    "short pages": ({"pages": lambda pages: pages[:, :100]}, "pages is uint8"),
    "another page state": ({"page_state": lambda states: states * 0 + 4}, "page_state does not say"),
    "fewer page states": ({"page_state": lambda states: states[1:]}, "page_state does not say"),
    "a VPT outside RAM": ({"slots": slot(SLOT.tag, OUTSIDE | 1)}, "is not in RAM"),
    "a VPT without its mark": ({"slots": slot(SLOT.tag, RAM)}, "is not in RAM"),
    "a VPT that is too wide": ({"slots": slot(SLOT.id_bits, 15)}, "is not in RAM"),
    "a VPT wider than any": ({"slots": slot(SLOT.id_bits, 1 << 63)}, ""),
    "dirty lines beyond the VPT": ({"slots": slot(-1, 1 << 63)}, "is not in RAM"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_file(tmp_path, good, name):
    arrays, reason = FORGERIES[name]
    assert reason in refused(tmp_path / "forged", changed(good, **arrays))


def test_registers_and_ram_of_version_2_can_still_be_read(tmp_path, good):
    """Where the machine's words lie has changed since; they are not taken for others."""
    (tmp_path / "old").write_bytes(changed(good, header=header(version=2)))
    with (tmp_path / "old").open("rb") as file:
        assert snapshot_file.registers_in(file, tmp_path / "old")["GITS0"]
        assert snapshot_file.dump_in(file, tmp_path / "old").segments
    assert "of version 3, or is damaged: it says 'gicmodel snapshot' version 2" in refused(
        tmp_path / "old", (tmp_path / "old").read_bytes()
    )


def test_a_missing_array(tmp_path, good):
    stream = io.BytesIO()
    np.savez(stream, **{name: array for name, array in np.load(io.BytesIO(good)).items() if name != "slots"})
    assert "slots is not a file in the archive" in refused(tmp_path / "missing", stream.getvalue())


@pytest.mark.parametrize("shape", ["(1 << 60,)", "(4611686018427387904,)", "(-1,)", "(", "()" * 50_000, "'x'"])
def test_a_hostile_array_header(tmp_path, good, shape):
    """NumPy allocates what the header of an array claims."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    member = b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + b"x"
    stream = io.BytesIO(good)
    with zipfile.ZipFile(stream) as archive:
        names = [name for name in archive.namelist() if name != "header.npy"]
        kept = {name: archive.read(name) for name in names}
    forged = io.BytesIO()
    with zipfile.ZipFile(forged, "w") as archive:
        for name, content in {"header.npy": member, **kept}.items():
            archive.writestr(name, content)
    refused(tmp_path / "hostile", forged.getvalue())


def test_a_file_that_unpacks_to_too_much(tmp_path, good, monkeypatch):
    monkeypatch.setattr(snapshot_file, "MAX_UNPACKED", 0x1000)
    assert "more than 0x1000" in refused(tmp_path / "bomb", good)
    with pytest.raises(UnusableInput, match="a snapshot has at most 0x1000"):
        save_snapshot(busy().gic, tmp_path / "bomb")


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(UnusableInput, match="cannot be written"):
        save_snapshot(busy().gic, tmp_path / "no" / "directory")


def test_a_save_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "machine" / "old").mkdir(parents=True)
    with pytest.raises(UnusableInput, match="cannot be written"):
        save_snapshot(busy().gic, tmp_path / "machine")
    assert list(tmp_path.iterdir()) == [tmp_path / "machine"]


def test_a_forged_machine_that_is_accepted_is_safe(tmp_path, good):
    """Words that no register can hold: everything that reads them checks."""
    chooser = random.Random(1)
    words = np.load(io.BytesIO(good))
    at, chip = words["chip_at"], words["chip"].copy()
    free = np.flatnonzero((at >= len(CONFIG)) | (at == CONFIG.log_count))
    for _ in range(20):
        forged = chip.copy()
        for index in free:
            if chooser.random() < 0.3:
                forged[index] = chooser.getrandbits(64)
        path = tmp_path / "forged"
        path.write_bytes(changed(good, chip=forged))
        gic = load_snapshot(path)
        after(gic)
