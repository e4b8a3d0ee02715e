# SPDX-License-Identifier: Apache-2.0
"""RAM in several files, each with its place."""

import json

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.errors import UnusableInput
from gicmodel.images.segments import read_image
from gicmodel.images.sources import Part, dump_in, parse_part
from tests.inspection.museum import HOST


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def pieces(tmp_path):
    """The segments of a real host's dump, each in a raw file: [(path, address)]."""
    found = []
    for segment in read_image(HOST[0]):
        path = tmp_path / f"ram-{segment.address:x}"
        path.write_bytes(segment.data.tobytes())
        found.append((path, segment.address))
    return found


def document(*arguments):
    result = run("inspect", *arguments, "--registers", HOST[1], "--json")
    assert result.exit_code in (0, 1), result.stderr
    return json.loads(result.stdout)


def mapped(document):
    return [{key: value for key, value in row.items() if key != "offset"} for row in document["events"]]


def test_pieces_are_one_ram(pieces):
    first, *others = [f"{path}@{address:#x}" for path, address in pieces]
    more = [option for piece in others for option in ("--piece", piece)]
    found, whole = document(first, *more), document(HOST[0])
    assert mapped(found) == mapped(whole)
    assert found["octets"] == whole["octets"]
    assert [row["INTID"] for row in found["pending"]] == [row["INTID"] for row in whole["pending"]]


def test_ranges_of_one_file(pieces, tmp_path):
    """As cloud-hypervisor writes its memory ranges: one behind the other."""
    whole, places, at = tmp_path / "memory-ranges", [], 0
    with whole.open("wb") as file:
        for path, address in pieces:
            size = file.write(path.read_bytes())
            places.append(f"{whole}@{address:#x}:{at:#x}:{size:#x}")
            at += size
    more = [option for piece in places[1:] for option in ("--piece", piece)]
    assert mapped(document(places[0], *more)) == mapped(document(HOST[0]))


def test_what_a_place_is(tmp_path):
    assert parse_part("ram@0x4000") == Part(parse_part("ram").path, 0x4000)
    assert parse_part("a@b@16:0x20")[1:] == (16, 0x20, None)
    assert parse_part("a@1:2:3")[1:] == (1, 2, 3)
    assert parse_part("user@host").base is None
    named = tmp_path / "ram@0x4000"
    named.write_bytes(b"x")
    assert parse_part(str(named)) == Part(named)


@pytest.mark.parametrize(
    ("place", "refused"),
    [
        ("@0x40000000:0x2000:1", r"bytes 0x2000 up to 0x2001 are none of its 0x1000 bytes"),
        ("@0x40000000:0:0", r"bytes 0x0 up to 0x0 are none of its"),
        ("@0x40000000:0x1000", r"bytes 0x1000 up to 0x1000 are none of its"),
        ("@0xffffffffffffff", r"is not in the 52-bit physical address space"),
        ("@0xfffffffffffff:1", r"is not in the 52-bit physical address space"),
        ("", r"is not an ELF file; raw bytes of RAM need the address"),
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path, place, refused):
    (tmp_path / "ram").write_bytes(bytes(0x1000))
    with pytest.raises(UnusableInput, match=refused), (tmp_path / "ram").open("rb") as file:
        dump_in(file, parse_part(f"{tmp_path}/ram{place}"))


def test_pieces_that_overlap_are_one_line(tmp_path):
    (tmp_path / "ram").write_bytes(bytes(0x1000))
    image, piece = f"{tmp_path}/ram@0x40000000", f"{tmp_path}/ram@0x40000800"
    result = run("inspect", image, "--piece", piece, "--set", "GITS0_CTLR=1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "gicmodel: two segments of the dump overlap at 0x40000800\n"


def test_two_places_for_one_file_are_one_line(tmp_path):
    (tmp_path / "ram").write_bytes(bytes(0x1000))
    result = run("inspect", f"{tmp_path}/ram@0x40000000", "--base", "0x40000000", "--set", "GITS0_CTLR=1")
    assert result.exit_code == 2
    assert "has its address behind its name, and a base (0x40000000) too" in result.stderr
