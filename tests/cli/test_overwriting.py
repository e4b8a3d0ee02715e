# SPDX-License-Identifier: Apache-2.0
"""No result is written over a file that is read: a dump may be all that is left of a machine."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from gicmodel.cli import main

TABLES = Path(__file__).parents[2] / "tables"
SCRAMBLED, GUEST = TABLES / "linux-virt-dumps/scrambled.elf.xz", TABLES / "gicmodel-v4.1-2vcpu/source-guest.elf.xz"


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "{}", "--json-file", "{}"),
        ("inspect", "{}", "--carve", "{}"),
        ("inspect", "{}", "--json-file", "{link}"),
        ("inspect", GUEST, "--registers", "{}", "--json-file", "{}"),
        ("inspect", f"{GUEST}@0x1000", "--piece", "{}@0x40000000", "--json-file", "{}"),
        ("diff", GUEST, "{}", "--json-file", "{}"),
        ("migrate", "{}", "--json-file", "{}"),
        ("replay", "{}", "--json-file", "{}"),
        ("flush", "--compare", "{}", "--json-file", "{}"),
    ],
)
def test_it_is_refused(tmp_path, arguments):
    place, link = tmp_path / "a.elf.xz", tmp_path / "b"
    shutil.copy(SCRAMBLED, place)
    link.symlink_to(place)
    result = CliRunner().invoke(main, [str(argument).format(place, link=link) for argument in arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "which is read" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert place.read_bytes() == SCRAMBLED.read_bytes()
