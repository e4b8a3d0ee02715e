# SPDX-License-Identifier: Apache-2.0
"""Files of VMs in other formats are named, with the way to what can be read."""

import pytest

from gicmodel.errors import UnusableInput
from gicmodel.images.sources import read_dump

FOREIGN = {
    b"LibvirtQemudSave\2": "a VM that libvirt saved; `virsh dump --memory-only`",
    b"QEVM\0\0\0\3": "a migration stream of QEMU; .*dump-guest-memory",
    b"QFI\xfb\0\0\0\3": "a qcow2 disk; .*dump-guest-memory",
    b"PAGEDU64": "a crash dump of Windows; .*dump-guest-memory",
    b"\xff" * 8 + b"XENF": "a VM that Xen saved; a raw dump",
    b"DISKDUMP": "a diskdump; ",
}


@pytest.mark.parametrize("magic", FOREIGN)
def test_a_foreign_format_is_named(tmp_path, magic):
    (tmp_path / "file").write_bytes(magic + bytes(5000))
    with pytest.raises(UnusableInput, match=f"file: is {FOREIGN[magic]}"):
        read_dump(tmp_path / "file")
