# SPDX-License-Identifier: Apache-2.0
"""Files in and out: packed by suffix, whole or not at all."""

import gzip
import lzma
import os

import pytest
import zstandard

from gicmodel import files
from gicmodel.errors import UnusableInput
from gicmodel.files import head, opened, replacing

ZSTD = zstandard.ZstdCompressor(write_checksum=True)
PACKERS = [(".xz", lzma.compress), (".gz", gzip.compress), (".zst", ZSTD.compress)]
UNPACKERS = [
    ("image.xz", lzma.decompress),
    ("image.gz", gzip.decompress),
    ("image.zst", lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed)),
]
CONTENT = bytes(3 << 20) + b"GIC" + bytes(5)


@pytest.mark.parametrize("name", ["image", "image.xz", "image.gz", "image.zst"])
def test_what_is_written_is_read(tmp_path, name):
    path = tmp_path / name
    with replacing(path) as file:
        file.write(CONTENT)
    with opened(path) as file:
        assert file.read() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "unpack"),
    UNPACKERS,
)
def test_suffixes_mean_the_usual_formats(tmp_path, name, unpack):
    for copy in ("a", "b"):
        with replacing(tmp_path / (copy + name)) as file:
            file.write(CONTENT)
    packed = (tmp_path / ("a" + name)).read_bytes()
    assert unpack(packed) == CONTENT
    assert packed == (tmp_path / ("b" + name)).read_bytes()


@pytest.mark.parametrize(("suffix", "pack"), PACKERS)
def test_several_streams_in_a_file_are_one_content(tmp_path, suffix, pack):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(pack(b"one") + pack(b"two"))
    with opened(path) as file:
        assert file.read() == b"onetwo"


@pytest.mark.parametrize("name", ["image", "image.xz", "image.zst"])
def test_a_failure_while_writing_keeps_the_old_content(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"old")

    def fail_half_way():
        with replacing(path) as file:
            file.write(CONTENT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("place", ["no/such/directory/image", "."])
def test_a_place_that_cannot_be_written_is_named(tmp_path, place):
    with pytest.raises(UnusableInput, match="cannot be written"), replacing(tmp_path / place) as file:
        file.write(b"x")


def test_a_pipe_is_written_to_and_stays(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(path) as file:
        file.write(b"GIC")
    assert os.read(reader, 4) == b"GIC"
    os.close(reader)
    assert path.is_fifo()


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "image")
    with replacing(tmp_path / "link") as file:
        file.write(b"GIC")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "image").read_bytes() == b"GIC"


@pytest.mark.parametrize("name", ["missing", "missing.xz", "missing.gz", "missing.zst", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(UnusableInput, match=f"{path}: cannot be read"):
        opened(path)


@pytest.mark.parametrize(("suffix", "pack"), PACKERS)
@pytest.mark.parametrize("damage", ["truncated", "changed", "foreign"])
def test_a_damaged_packed_file_is_refused(tmp_path, suffix, pack, damage):
    packed = pack(bytes(range(256)) * 40)
    path = tmp_path / f"image{suffix}"
    path.write_bytes(
        {
            "truncated": packed[:-9],
            "changed": packed[:40] + b"\xff\xff" + packed[42:],
            "foreign": b"not packed at all",
        }[damage]
    )
    with pytest.raises(UnusableInput, match="image") as refusal:
        opened(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("suffix", "pack"), [PACKERS[0], PACKERS[2]])
@pytest.mark.parametrize("byte", [b"\0", b"x"])
def test_a_bomb_is_refused(tmp_path, monkeypatch, byte, suffix, pack):
    monkeypatch.setattr(files, "MAX_UNPACKED", 8 << 20)
    path = tmp_path / f"image{suffix}"
    path.write_bytes(pack(byte * (8 << 20)))
    with opened(path) as file:
        assert file.seek(0, 2) == 8 << 20
    path.write_bytes(pack(byte * (8 << 20) + b"!"))
    with pytest.raises(UnusableInput, match="unpacks to more than 0x800000 bytes"):
        opened(path)


@pytest.mark.parametrize(("suffix", "pack"), [*PACKERS, ("", bytes)])
def test_the_head_of_a_file_is_read_alone(tmp_path, suffix, pack):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(pack(CONTENT)[:-1])  # what is wrong further on does not matter
    assert head(path, 16) == CONTENT[:16]
    path.write_bytes(pack(b"short"))
    assert head(path, 16) == b"short"


def test_an_empty_zst_file_is_refused(tmp_path):
    (tmp_path / "image.zst").touch()
    with pytest.raises(UnusableInput, match="a frame does not end"):
        opened(tmp_path / "image.zst")


def test_a_zst_file_that_wants_too_much_memory_is_refused(tmp_path):
    window = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=window).compressobj()
    (tmp_path / "image.zst").write_bytes(packed.compress(CONTENT) + packed.flush())
    with pytest.raises(UnusableInput, match="too much memory"):
        opened(tmp_path / "image.zst")
