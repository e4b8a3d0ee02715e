# SPDX-License-Identifier: Apache-2.0
"""An initial RAM file system, unpacked again by cpio."""

import subprocess

import pytest

from gicmodel.board.initramfs import initramfs

FILES = {"/init": b"\x7fELF", "/modules/a.ko": b"module!", "/empty": b""}


@pytest.mark.needs("cpio")
def test_cpio_lists_what_is_in_it():
    run = subprocess.run(["cpio", "-itv", "--quiet"], input=initramfs(FILES), capture_output=True, check=True)
    lines = {line.split()[-1]: line.split() for line in run.stdout.decode().splitlines()}
    assert set(lines) == {"dev", "modules", "proc", "sys", "dev/console", "init", "modules/a.ko", "empty"}
    assert lines["dev"][0] == "drwxr-xr-x"
    assert lines["dev/console"][0] == "crw-------"
    assert lines["dev/console"][4:6] == ["5,", "1"]
    assert (lines["init"][0], lines["init"][4]) == ("-rwxr-xr-x", "4")


@pytest.mark.needs("cpio")
def test_contents_come_out_as_they_went_in(tmp_path):
    archive = initramfs(FILES)
    only = ["cpio", "-id", "--quiet", "init", "modules/*", "empty"]
    subprocess.run(only, input=archive, cwd=tmp_path, check=True)
    assert {path: (tmp_path / path[1:]).read_bytes() for path in FILES} == FILES


@pytest.mark.parametrize("path", ["init", "", "/../init"])
def test_a_path_is_absolute(path):
    with pytest.raises(ValueError, match="is not an absolute path"):
        initramfs({path: b""})
