# SPDX-License-Identifier: Apache-2.0
"""A kernel's source is found and read, or refused with one line."""

import tarfile
from pathlib import Path

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.linux import source as module
from gicmodel.fuzzing.peers.linux.source import newest_installed, read_source

MAKEFILE = "VERSION = 6\nPATCHLEVEL = {}\nSUBLEVEL = {}\nEXTRAVERSION ={}\nNAME = Nobody\n"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read_source.cache_clear()


def tree(path: Path, patchlevel: int = 12, sublevel: int = 3, extra: str = "") -> Path:
    for name in ("arch/arm64/kvm/vgic/vgic-its.c", "include/kvm/arm_vgic.h", "kernel/fork.c"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"/* {name} */\n")
    (path / "Makefile").write_text(MAKEFILE.format(patchlevel, sublevel, extra))
    return path


@pytest.mark.parametrize(
    ("numbers", "version", "release"),
    [((12, 3), "6.12.3", "6.12.3"), ((12, 0), "6.12.0", "6.12"), ((19, 0, " -rc7"), "6.19.0-rc7", "6.19")],
)
def test_the_makefile_says_which_version(numbers, version, release, tmp_path: Path):
    source = read_source(tree(tmp_path / "linux", *numbers))
    assert (source.version, source.release) == (version, release)


@pytest.mark.parametrize(("patchlevel", "earlier"), [(1, True), (11, True), (12, False), (19, False)])
def test_a_release_is_before_another(patchlevel: int, earlier: bool, tmp_path: Path):
    assert read_source(tree(tmp_path / "linux", patchlevel, 192, " -rc7")).is_before(6, 12) == earlier


def test_of_a_tree_what_is_needed_is_taken(tmp_path: Path):
    source = read_source(tree(tmp_path / "linux"))
    assert set(source.files) == {"Makefile", "arch/arm64/kvm/vgic/vgic-its.c", "include/kvm/arm_vgic.h"}
    assert source.text("kernel/fork.c") == ""


def test_an_archive_is_a_tree_and_is_decompressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tree(tmp_path / "linux")
    archive = tmp_path / "linux-source-6.12.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(root, "linux-source-6.12")
    first = read_source(archive).files
    assert first == read_source(root).files
    read_source.cache_clear()
    opened = []
    monkeypatch.setattr(module, "_members", opened.append)
    assert read_source(archive).files == first
    assert opened == []
    (kept,) = (tmp_path / "cache" / "gicmodel" / "linux").iterdir()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    octets = kept.read_bytes()
    entry = octets.index(b"PK\1\2")
    damaged = [octets[:-9] + b"otherwise", octets[: len(octets) // 2], b""]
    damaged += [octets[:at] + bytes([octets[at] ^ 8]) + octets[at + 1 :] for at in range(entry, entry + 46)]
    for each in damaged:
        kept.write_bytes(each)
        read_source.cache_clear()
        assert read_source(archive).files == first, "what is damaged is not believed"


def test_the_newest_is_found_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "INSTALLED", tmp_path)
    assert newest_installed() is None
    for name in ("linux-source-6.1.tar.xz", "linux-source-6.12.tar.xz", "linux-source-6.9.tar.xz", "linux-source-x"):
        (tmp_path / name).touch()
    (tmp_path / "linux-source-6.10").mkdir()
    assert newest_installed() == tmp_path / "linux-source-6.12.tar.xz"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "no source of a Linux kernel: arch/arm64/kvm/vgic/vgic-its.c is missing"),
        (lambda path: path.write_bytes(b"\x7fELF"), "cannot be read: "),
        (lambda path: None, "cannot be read: "),
    ],
)
def test_what_is_no_source_is_one_line(make, said, tmp_path: Path):
    make(tmp_path / "linux")
    with pytest.raises(UnusableInput, match=rf"^{tmp_path}/linux: {said}"):
        read_source(tmp_path / "linux")


@pytest.mark.parametrize("makefile", ["all:\n", MAKEFILE.format("x", 3, "")])
def test_a_makefile_of_something_else(makefile: str, tmp_path: Path):
    root = tree(tmp_path / "linux")
    (root / "Makefile").write_text(makefile)
    with pytest.raises(UnusableInput, match="its Makefile is not that of a Linux kernel"):
        assert read_source(root).version
