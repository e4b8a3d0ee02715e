# SPDX-License-Identifier: Apache-2.0
"""kdump's compressed vmcores, QEMU's own among them: what the file leaves out is absent."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.cli import UNUSABLE, main
from gicmodel.errors import UnusableInput
from gicmodel.images import codecs
from gicmodel.images.dump import ABSENT
from gicmodel.images.kdump import Vmcore
from gicmodel.images.segments import Segment, read_image
from gicmodel.images.sources import read_dump, read_registers
from gicmodel.inspection import Dump, inspect
from tests.conftest import needed
from tests.images.kdump import kdump
from tests.inspection.museum import GUEST, HOST, TABLES

PAGE = 4096
BASE = 0x4000_0000


def pages_of(image):
    """The pages of an image that are not zero: what makedumpfile -d 1 keeps."""
    pages = {}
    for segment in read_image(image):
        for start in range(0, segment.data.size, PAGE):
            page = segment.data[start : start + PAGE].tobytes()
            if any(page):
                pages[(segment.address + start) // PAGE] = page.ljust(PAGE, b"\0")
    return pages


@pytest.fixture
def vmcore(tmp_path):
    def write(pages, name="vmcore", **header):
        path = tmp_path / name
        path.write_bytes(kdump(pages, **header))
        return path

    return write


@pytest.mark.parametrize(("image", "registers"), [HOST, GUEST], ids=["host", "guest"])
@pytest.mark.parametrize("compression", [0, 1])
def test_a_vmcore_decodes_as_the_same_pages_do_elsewhere(vmcore, image, registers, compression):
    pages = pages_of(image)
    found = inspect(read_dump(vmcore(pages, compression=compression)), read_registers(registers))
    octets = {frame: np.frombuffer(page, np.uint8) for frame, page in pages.items()}
    same = Dump([Segment(frame * PAGE, page, n * PAGE) for n, (frame, page) in enumerate(sorted(octets.items()))])
    expected = inspect(same, read_registers(registers))
    assert found.events.size
    for name in ("devices", "events", "collections", "vpes", "pending"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert found.dump.octets == len(pages) * PAGE


def test_pages_that_were_left_out_are_absent(vmcore):
    first = BASE // PAGE
    dump = read_dump(vmcore({first: b"a" * PAGE, first + 1: b"b" * PAGE, first + 3: b"c" * PAGE}))
    assert [(run.address, run.end, run.offset) for run in dump.segments] == [
        (BASE, BASE + 2 * PAGE, 0),
        (BASE + 3 * PAGE, BASE + 4 * PAGE, 2 * PAGE),
    ]
    octets, held = dump.gather(np.array([BASE + PAGE - 2, BASE + 2 * PAGE - 2, BASE + 3 * PAGE, 0], np.int64), 4)
    assert held.tolist() == [True, False, True, False]
    assert octets[0].tobytes() + octets[2].tobytes() == b"aabbcccc"
    octets, held = dump.gather(np.array([BASE + 3 * PAGE + 7, BASE + PAGE, BASE + 2 * PAGE], np.int64), 1)
    assert octets[held, 0].tobytes() == b"cb"
    assert dump.offset(BASE + 2 * PAGE) == ABSENT
    assert dump.held(BASE, 4 * PAGE) == 3 * PAGE


@pytest.mark.parametrize("block", [16384, 65536])
def test_larger_pages(vmcore, block):
    dump = read_dump(vmcore({BASE // block: bytes(range(256)) * (block // 256)}, block=block))
    (piece,) = dump.pieces(BASE, block)
    assert piece.octets.tobytes() == bytes(range(256)) * (block // 256)


def test_a_packed_vmcore(tmp_path, vmcore):
    packed = tmp_path / "vmcore.zst"
    packed.write_bytes(zstandard.compress(vmcore({BASE // PAGE: b"x" * PAGE}).read_bytes()))
    assert read_dump(packed).held(BASE, PAGE) == PAGE


@given(frames=st.sets(st.integers(0, 200), min_size=1), batch=st.integers(1, 4))
def test_runs_are_those_of_the_bits(frames, batch):
    front = Vmcore(Path("vmcore"), np.frombuffer(kdump(dict.fromkeys(frames, bytes(PAGE))), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gicmodel.images.kdump._BATCH", batch)
        assert [frame for run in front.runs() for frame in range(*run)] == sorted(frames)


GOOD = {BASE // PAGE: b"x" * PAGE, BASE // PAGE + 1: b"y" * PAGE}
WHOLE = kdump(GOOD)
SUB_HEADER, DESCRIPTORS = PAGE, WHOLE.index(struct.pack("<q", WHOLE.index(zlib.compress(GOOD[BASE // PAGE]))))


def changed(place, octets):
    return WHOLE[:place] + octets + WHOLE[place + len(octets) :]


FAR = (1 << 62).to_bytes(8, "little")
REFUSED = {
    "another machine": (kdump(GOOD, machine="x86_64"), "is a kdump of 'x86_64'"),
    "another version": (changed(8, b"\5"), "its header_version is 5"),
    "an odd page": (kdump(GOOD, block_size=4095), "its block_size is 4095"),
    "no sub header": (kdump(GOOD, sub_hdr_size=-1), "has no sub header"),
    "a bitmap beyond the file": (kdump(GOOD, bitmap_blocks=1 << 31), "its bitmap: "),
    "one bitmap": (kdump(GOOD, bitmap_blocks=3), "not two bitmaps"),
    "no bitmap": (kdump(GOOD, bitmap_blocks=0), "its max_mapnr is 0x40002, more than its bitmap has bits"),
    "a header that ends": (WHOLE[:400], "its header: 0x1d0 bytes at offset 0x0 exceed"),
    "a part of a split dump": (changed(SUB_HEADER + 12, b"\1"), "makedumpfile --reassemble makes one of them"),
    "notes beyond the file": (changed(SUB_HEADER + 48, FAR), "its note: "),
    "notes that are too large": (changed(SUB_HEADER + 56, FAR), "its note has 0x4000000000000000 bytes"),
    "erased data beyond the file": (changed(SUB_HEADER + 64, FAR + b"\1"), "its eraseinfo: "),
    "more pages than bits": (changed(SUB_HEADER + 96, FAR), "its max_mapnr is 0x4000000000000000"),
    "a page beyond the file": (changed(DESCRIPTORS, FAR), "page descriptor 0 is damaged"),
    "a page that is cut": (WHOLE[:-1], "page descriptor 1 is damaged"),
    "descriptors that end": (WHOLE[: DESCRIPTORS + 30], "its 2 page descriptors: "),
    "damaged pages": (WHOLE[:-8] + bytes(8), "bytes at 0x4000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_vmcore_that_cannot_be_used_is_one_line(tmp_path, name):
    contents, message = REFUSED[name]
    (tmp_path / "vmcore").write_bytes(contents)
    table = f"GITS0_BASER0={0x8107_0000_0000_0001 | BASE:#x}"
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "vmcore"), "--set", table])
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_pages_need_no_drgn(vmcore):
    program = (
        "import sys\nsys.modules['drgn'] = None\nfrom gicmodel.cli import main\n"
        f"main(['inspect', {str(vmcore(GOOD))!r}, '--set', 'GITS0_CTLR=1'])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


PACKED = {
    codecs.LZO: lambda page: needed("lzallright").LZOCompressor().compress(page),
    codecs.SNAPPY: lambda page: bytes(needed("cramjam").snappy.compress_raw(page)),
    codecs.ZSTD: zstandard.compress,
    codecs.ZLIB: zlib.compress,
}


@pytest.mark.parametrize("codec", PACKED)
@pytest.mark.parametrize("block", [4096, 65536])
def test_every_codec_unpacks_a_page(codec, block):
    page = bytes(range(256)) * (block // 256)
    assert codecs.unpacked(PACKED[codec](page), codec, block) == page
    for size in (block - 256, block + 256):
        with pytest.raises(ValueError, match=r"."):
            codecs.unpacked(PACKED[codec](page), codec, size)


@given(codec=st.sampled_from([*PACKED, 0, codecs.LZO | codecs.ZLIB]), packed=st.binary(max_size=64))
def test_bytes_that_are_no_page_are_refused(codec, packed):
    with pytest.raises(ValueError, match=r"."):
        codecs.unpacked(packed, codec, 4096)


@pytest.mark.parametrize("codec", [codecs.ZLIB, codecs.ZSTD, codecs.SNAPPY, codecs.LZO])
def test_a_page_that_unpacks_to_more_is_refused(codec):
    with pytest.raises(ValueError, match=r"."):
        codecs.unpacked(PACKED[codec](bytes(1 << 20)), codec, 4096)


@pytest.mark.parametrize(("codec", "library"), [(codecs.LZO, "lzallright"), (codecs.SNAPPY, "cramjam")])
def test_a_codec_whose_library_is_missing_is_named(monkeypatch, vmcore, codec, library):
    contents = bytearray(vmcore(GOOD, compression=0).read_bytes())
    start = contents.index(GOOD[BASE // PAGE]) - 2 * 24
    contents[start + 12] = contents[start + 36] = codec
    vmcore(GOOD).write_bytes(contents)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UnusableInput, match=rf"bytes at 0x40000000: its pages are packed by .*{library}: pip install"):
        next(read_dump(vmcore(GOOD, name="other").with_name("vmcore")).pieces(BASE, PAGE))


DUMPS = TABLES / "linux-virt-dumps"


@pytest.mark.parametrize("name", ["v3run-qemu-kdump.flat.xz", "v3run-qemu-kdump.xz"])
def test_what_qemu_wrote_is_the_ram_byte_for_byte(name):
    """QEMU was given the pages of v3run."""
    found, ram = read_dump(DUMPS / name), read_dump(DUMPS / "v3run.elf.xz")
    for segment in ram.segments:
        pieces = list(found.pieces(segment.address, segment.end - segment.address))
        assert b"".join(piece.octets.tobytes() for piece in pieces) == segment.data.tobytes()


@pytest.mark.qemu
@pytest.mark.needs("qemu-system-aarch64")
@pytest.mark.parametrize("kind", ["-z", ""])
def test_qemus_dump_is_what_pmemsave_writes(tmp_path, kind):
    """A machine that never ran, with noise, text and zeros in its RAM."""
    noise = np.random.default_rng(1).integers(0, 256, 1 << 18, np.uint8)
    (tmp_path / "noise").write_bytes(noise.tobytes() + bytes(1 << 18) + b"interrupt " * (1 << 14))
    commands = f'dump-guest-memory {kind} {tmp_path}/dump\npmemsave 0x40000000 0x2000000 "{tmp_path}/raw"\nquit\n'
    machine = "qemu-system-aarch64 -M virt -cpu cortex-a57 -m 32 -S -display none -net none -monitor stdio".split()
    loader = f"loader,file={tmp_path}/noise,addr=0x40345000,force-raw=on"
    run = subprocess.run([*machine, "-device", loader], input=commands.encode(), capture_output=True, timeout=120)
    assert run.returncode == 0
    raw, dump = np.fromfile(tmp_path / "raw", np.uint8), read_dump(tmp_path / "dump")
    (piece,) = dump.pieces(BASE, 1 << 25)
    assert np.array_equal(piece.octets, raw)
    assert raw[0x345000:][: noise.size].tobytes() == noise.tobytes()
    octets, held = dump.gather(np.array([BASE + 0x345000 + n for n in (1, 65530, 131000)], np.int64), 16)
    assert held.all()
    assert octets.tobytes() == b"".join(noise[n : n + 16].tobytes() for n in (1, 65530, 131000))


def flat(*pieces):
    return b"makedumpfile".ljust(4096, b"\0") + b"".join(
        struct.pack(">qq", offset, len(octets)) + octets for offset, octets in pieces
    )


END = struct.pack(">qq", -1, -1)
FLAT = {
    "no piece": (flat(), "ends at 0x1000 without its last piece"),
    "a piece that ends early": (flat((0, WHOLE))[:-1], "ends early"),
    "a piece beyond any file": (flat((1 << 62, b"x")) + END, "has offset 4611686018427387904, size 1"),
    "a negative piece": (flat((-2, b"x")) + END, "has offset -2"),
    "an empty piece": (flat((0, b"")) + END, "size 0"),
    "what is no kdump": (flat((0, b"x" * 5000)) + END, "is not an ELF file"),
    "flattened twice": (flat((0, flat((0, WHOLE)) + END)) + END, "in a flattened kdump"),
}


@pytest.mark.parametrize("name", FLAT)
def test_a_flattened_file_that_cannot_be_used_is_one_line(tmp_path, name):
    contents, message = FLAT[name]
    (tmp_path / "vmcore").write_bytes(contents)
    with pytest.raises(UnusableInput, match=message):
        read_dump(tmp_path / "vmcore")


def test_pieces_in_any_order_are_the_file(tmp_path):
    middle = len(WHOLE) // 2
    (tmp_path / "vmcore").write_bytes(flat((middle, WHOLE[middle:]), (0, WHOLE[:middle])) + END)
    (run,) = read_dump(tmp_path / "vmcore").segments
    assert run.octets(0, 2 * PAGE).tobytes() == b"x" * PAGE + b"y" * PAGE
