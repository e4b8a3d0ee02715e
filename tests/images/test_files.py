# SPDX-License-Identifier: Apache-2.0
"""Files in and out: packed by suffix, whole or not at all."""

import gzip
import lzma
import os
import stat
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
import zstandard

from gicmodel.errors import UnusableInput
from gicmodel.images import files
from gicmodel.images.files import opened, opened_whole, replacing

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


def through_a_pipe(path, contents):
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(contents,))
    writer.start()
    with opened_whole(path) as file:
        found = file.read()
        assert file.seek(0) == 0
        assert file.read() == found
    writer.join()
    return found


@pytest.mark.parametrize(("suffix", "pack"), [*PACKERS, ("", bytes)])
def test_what_comes_through_a_pipe_can_be_read_twice(tmp_path, suffix, pack):
    assert through_a_pipe(tmp_path / f"pipe{suffix}", pack(CONTENT)) == CONTENT


def test_a_pipe_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED", 8 << 20)
    with pytest.raises(UnusableInput, match="/dev/zero: has more than 0x800000 bytes"):
        opened_whole(Path("/dev/zero"))


SECOND = b"the second stream's content"


@pytest.mark.parametrize(("suffix", "pack"), PACKERS)
def test_whatever_is_damaged_in_a_second_stream_is_refused(tmp_path, suffix, pack):
    """A flipped bit in the header of a second .xz stream: it was dropped, and with it what it holds."""
    path, first, second = tmp_path / f"image{suffix}", pack(b"one"), pack(SECOND)
    for bit in range(8 * len(second)):
        damaged = bytearray(second)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(first + damaged)
        try:
            with opened(path) as file:
                # The headers of gzip and zstd have bits that nobody checks, such as a time.
                assert file.read() == b"one" + SECOND
                assert suffix != ".xz"
        except UnusableInput:
            pass


@pytest.mark.parametrize(("suffix", "pack"), PACKERS)
@pytest.mark.parametrize("garbage", [b"x", b"garbage", bytes(range(1, 200)), b"\0x"])
def test_what_follows_a_stream_and_is_none_is_refused(tmp_path, suffix, pack, garbage):
    (tmp_path / f"image{suffix}").write_bytes(pack(b"one") + garbage)
    with pytest.raises(UnusableInput, match="image"):
        opened(tmp_path / f"image{suffix}")


@pytest.mark.parametrize("size", [4, 8, (1 << 20) + 4, 1, 6, (1 << 20) + 1])
@pytest.mark.parametrize("second", [b"", lzma.compress(SECOND)])
def test_xz_streams_are_padded_with_zeros_in_fours(tmp_path, size, second):
    path = tmp_path / "image.xz"
    path.write_bytes(lzma.compress(b"one") + bytes(size) + second)
    if size % 4:
        with pytest.raises(UnusableInput, match="no multiple of 4"):
            opened(path)
    else:
        with opened(path) as file:
            assert file.read() == (b"one" + SECOND if second else b"one")


def test_an_xz_file_that_wants_more_memory_than_there_is(tmp_path):
    """Its dictionary of 4 GiB - 1, which one byte of its header asks for (The .xz File Format, 5.3.1)."""
    packed = bytearray(lzma.compress(CONTENT))
    place = packed.index(b"\x21\x01") + 2
    packed[place] = 40
    header = packed[12 : 12 + 4 * (packed[12] + 1) - 4]
    packed[12 + len(header) : 16 + len(header)] = zlib.crc32(header).to_bytes(4, "little")
    (tmp_path / "image.xz").write_bytes(packed)
    program = (
        "import resource\nfrom pathlib import Path\nfrom gicmodel.errors import UnusableInput\n"
        "from gicmodel.images.files import opened\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        f"try:\n    opened(Path({str(tmp_path / 'image.xz')!r}))\n"
        "except UnusableInput as refusal:\n    print(refusal)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == f"{tmp_path / 'image.xz'}: cannot be read: it takes more memory than there is\n"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "image"
    path.touch()
    path.chmod(mode)
    with replacing(path) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode, "also while it is written"
        file.write(b"GIC")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"GIC"


@pytest.mark.parametrize("length", [245, 246, 255])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path, length):
    path = tmp_path / ("n" * length)
    for content in (b"old", b"new"):
        with replacing(path) as file:
            file.write(content)
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


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
