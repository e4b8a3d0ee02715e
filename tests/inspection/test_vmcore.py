# SPDX-License-Identifier: Apache-2.0
"""kdump's compressed vmcores, read by drgn: what the file leaves out is absent."""

import subprocess
import sys

import numpy as np
import pytest
import zstandard
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.cli import UNUSABLE, main
from gicmodel.images import Segment, read_image
from gicmodel.inspection import Dump, inspect
from gicmodel.inspection.dump import ABSENT
from gicmodel.inspection.sources import read_dump
from gicmodel.inspection.vmcore import _runs
from gicmodel.registers_file import read_registers
from tests.inspection.kdump import kdump
from tests.inspection.museum import GUEST, HOST

pytest.importorskip("drgn")

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


@given(st.binary(max_size=40), st.integers(1, 4))
def test_runs_are_those_of_the_bits(octets, batch):
    bits = [octets[n // 8] >> n % 8 & 1 for n in range(8 * len(octets))]
    expected = [n for n, bit in enumerate(bits) if bit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gicmodel.inspection.vmcore._BATCH", batch)
        assert [n for run in _runs(np.frombuffer(octets, np.uint8)) for n in range(*run)] == expected


GOOD = {BASE // PAGE: b"x" * PAGE, BASE // PAGE + 1: b"y" * PAGE}
REFUSED = {
    "another machine": (kdump(GOOD, machine="x86_64"), "is a kdump of 'x86_64'"),
    "an odd page": (kdump(GOOD, block_size=4095), "its block_size is 4095"),
    "no sub header": (kdump(GOOD, sub_hdr_size=-1), "exceeds the file's"),
    "a bitmap beyond the file": (kdump(GOOD, bitmap_blocks=1 << 31), "exceeds the file's"),
    "no bitmap": (kdump(GOOD, bitmap_blocks=0), "cannot read it|without pages"),
    "a header that ends": (kdump(GOOD)[:400], "ends in its kdump header"),
    "damaged pages": (kdump(GOOD)[:-8] + bytes(8), "bytes at 0x4000"),
    "flattened": (b"makedumpfile".ljust(5000, b"\0"), "makedumpfile -R makes it one that can be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_vmcore_that_cannot_be_used_is_one_line(tmp_path, name):
    contents, message = REFUSED[name]
    (tmp_path / "vmcore").write_bytes(contents)
    table = f"GITS0_BASER0={0x8107_0000_0000_0001 | BASE:#x}"
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "vmcore"), "--set", table])
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert result.stderr.count("\n") == 1
    assert any(part in result.stderr for part in message.split("|")), result.stderr


def test_without_drgn_it_is_one_line(vmcore):
    program = (
        "import sys\nsys.modules['drgn'] = None\nfrom gicmodel.cli import main\n"
        f"main(['inspect', {str(vmcore(GOOD))!r}, '--set', 'GITS0_CTLR=1'])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (UNUSABLE, "")
    assert result.stderr.endswith("is a compressed kdump, which needs drgn: pip install 'gicmodel[vmcore]'\n")
