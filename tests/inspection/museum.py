# SPDX-License-Identifier: Apache-2.0
"""The images of tables/, and their registers."""

from pathlib import Path

from gicmodel.images.segments import read_image
from gicmodel.images.sources import read_registers
from gicmodel.inspection import Dump, inspect

TABLES = Path(__file__).parents[2] / "tables"
CAPTURE = TABLES / "linux-6.12-kvm-2vcpu"
HOST = (CAPTURE / "host-vm-stopped.elf.xz", CAPTURE / "host-vm-stopped.toml")
GUEST = (CAPTURE / "guest-saved-tables.elf.xz", CAPTURE / "registers.toml")


def inspected(image, registers, **options):
    return inspect(Dump(read_image(image)), read_registers(registers), **options)
