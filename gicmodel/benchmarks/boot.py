# SPDX-License-Identifier: Apache-2.0
"""A Linux from power-on to power-off with one CPU: this board, and QEMU's `virt`, each a whole process.

The kernel is the user's: GICMODEL_KERNEL names an arm64 vmlinuz or Image (docs/boot.md says where Debian's is).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from gicmodel.benchmarks.harness import Benchmark, Case, Goal, PeerMissing, Side, Unproven
from gicmodel.benchmarks.startup import RUN, process
from gicmodel.fuzzing.peers.qemu.process import QemuMissing, find_binary

KERNEL = "GICMODEL_KERNEL"
PROGRAM = Path(__file__).parents[2] / "tables" / "linux-boot" / "user"
APPEND = "earlycon console=ttyAMA0"
END = "reboot: Power down"
MACHINE = "-machine virt,gic-version=3 -cpu cortex-a72 -smp 1 -m 512 -net none -display none -serial stdio".split()


@contextmanager
def to_power_off(quick: bool) -> Iterator[Case]:
    """Both with the same kernel, first process and command line."""
    kernel, binary = _needed()
    # The board needs its extra.
    from gicmodel.board.initramfs import initramfs

    with tempfile.NamedTemporaryFile(suffix=".cpio") as archive:
        archive.write(initramfs({"/init": PROGRAM.read_bytes()}))
        archive.flush()
        shared = ("--initrd", archive.name, "--append", APPEND)
        ours = ("boot", str(kernel), *shared, "--engine", "compiled")
        theirs = (binary, *MACHINE, "-kernel", str(kernel), *(option.removeprefix("-") for option in shared))
        model, peer = Side("gicmodel boot", partial(process, "-c", RUN, *ours)), Side("QEMU", partial(_qemu, theirs))
        yield Case(model, peer, "boot", partial(_prove, ours, theirs))


def _needed() -> tuple[Path, str]:
    """The kernel, and QEMU. PeerMissing says what is not there."""
    kernel = Path(os.environ.get(KERNEL, ""))
    if not kernel.is_file():
        raise PeerMissing(f"no kernel to boot: {KERNEL} names none")
    if not PROGRAM.is_file():
        raise PeerMissing("tables/linux-boot is in a checkout only")
    for module in ("unicorn", "fdt"):
        if find_spec(module) is None:
            raise PeerMissing(f"{module} is not installed")
    try:
        return kernel, find_binary()
    except QemuMissing as error:
        raise PeerMissing(str(error)) from error


def _qemu(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _prove(ours: Sequence[str], theirs: Sequence[str]) -> None:
    """Raise Unproven unless both power off."""
    for name, done in (("gicmodel boot", process("-c", RUN, *ours)), ("QEMU", _qemu(theirs))):
        if done.returncode != 0 or END not in done.stdout:
            raise Unproven(f"{name} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")


BENCHMARKS = (Benchmark("Linux to power-off, one CPU", to_power_off, Goal("cost", 2.5)),)
