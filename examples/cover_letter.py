# SPDX-License-Identifier: Apache-2.0
"""The cover letter by Linux itself: VFIO, irqbypass and KVM save and restore vLPIs, on a board with a GICv4.1.

cover_letter.py DIRECTORY [3|4.0|4.1]: DIRECTORY has the unpacked package of an arm64 kernel (`dpkg-deb -x`).
"""

import sys
from collections.abc import Callable
from pathlib import Path

from gicmodel.board import Board, Ending, new_gic
from gicmodel.board.image import place, read_program
from gicmodel.board.initramfs import initramfs
from gicmodel.config import GicConfig

PROGRAM = Path(__file__).parents[1] / "tables" / "linux-boot" / "cover"
MODULES = ("vfio_virqfd", "vfio", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci")
APPEND = "earlycon console=ttyAMA0 kvm-arm.vgic_v4_enable=1"
SECONDS = 600


def archive(package: Path) -> bytes:
    """The program as /init, and the modules that it loads."""
    found = {path.name: path for path in package.glob("lib/modules/*/kernel/drivers/vfio/**/*.ko")}
    modules = {f"/modules/{name}.ko": found[f"{name}.ko"].read_bytes() for name in MODULES if f"{name}.ko" in found}
    return initramfs({"/init": PROGRAM.read_bytes(), **modules})


def boot(package: Path, trace: Callable[[str], object] | None = None, **choices: object) -> tuple[Board, str]:
    """A board that has run the program to its end, and the console."""
    console = bytearray()
    board = Board(new_gic(GicConfig(**choices), 512 << 20), el2=True, send=console.append, trace=trace)
    program = read_program(next(package.glob("boot/vmlinuz-*")), board.memory.base)
    tree, start, end = place(program, board.memory, (PROGRAM, archive(package)))
    board.memory.write(tree, board.device_tree(APPEND, (start, end)))
    board.power_on(program.entry, tree)
    ending = board.run(SECONDS)
    assert ending is Ending.OFF, (ending, board.reason, console[-500:])
    return board, console.decode()


if __name__ == "__main__":
    board, console = boot(Path(sys.argv[1]), architecture="".join(sys.argv[2:3]) or "4.1")
    print(console.partition("Run /init as init process\n")[2])
    print("ITS commands:", dict(sorted(board.watch.commands.items())), "errors:", board.gic.errors)
