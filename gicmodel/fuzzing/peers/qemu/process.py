# SPDX-License-Identifier: Apache-2.0
"""QEMU's GIC as a second opinion: `qemu-system-aarch64` with stopped vCPUs, driven over its qtest socket.

With `-S` no instruction runs, so registers and RAM are all there is: everything the machine does, it does because of a
register write made here. qtest (QEMU, docs/devel/testing/qtest) is a line protocol: one command, one answer beginning
with OK. RAM is a file that both processes map; it has no name, so that none is left behind. A write of GITS_TRANSLATER
comes from DeviceID 0: qtest names no requester.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from gicmodel.config import FIRST_SPI

BINARY = "qemu-system-aarch64"
SPIS = 256
"""Those of the `virt` machine (QEMU hw/arm/virt.c, NUM_IRQS)."""
ITS_BASE = 0x0808_0000
RAM_BASE = 0x4000_0000
RAM_BYTES = 2 << 30
"""The memory map of the `virt` machine (QEMU hw/arm/virt.c)."""

_TIMEOUT_SECONDS = 60


class QemuMissing(Exception):
    """No usable `qemu-system-aarch64` on this machine; the message is the reason to skip with."""


class QemuDied(Exception):
    """The emulator ended or stopped answering; the message holds what it wrote on stderr."""


def find_binary() -> str:
    """The path of the emulator. Raises QemuMissing."""
    binary = shutil.which(BINARY)
    if binary is None:
        raise QemuMissing(f"{BINARY} is not installed (Debian: qemu-system-arm)")
    return binary


class QemuRam:
    """The RAM of a QEMU machine, uint8 [RAM_BYTES] from RAM_BASE on, by physical address."""

    def __init__(self, ram: NDArray[np.uint8]) -> None:
        self._ram = ram

    def octets(self, address: int, length: int) -> NDArray[np.uint8]:
        """A view of some of it."""
        return self._ram[address - RAM_BASE :][:length]

    def read(self, address: int, length: int) -> bytes:
        """Some of it."""
        return self.octets(address, length).tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Replace some of it."""
        self.octets(address, len(data))[:] = np.frombuffer(data, np.uint8)

    def zero(self, address: int, length: int) -> None:
        """Clear some of it."""
        self.octets(address, length)[:] = 0


class QemuProcess:
    """One QEMU `virt` machine with a GIC of version 3 or 4, one ITS and `redistributors` redistributors.

    Its registers are at physical addresses, and `memory` is its RAM. Use it as a context manager: the process ends with
    the block, however the block ends.
    """

    def __init__(self, gic_version: int = 4, redistributors: int = 4, trace: Path | None = None) -> None:
        """Raise QemuMissing if there is no such emulator; `trace` receives its GICv3 trace."""
        self.redistributors = redistributors
        self._socket, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo:
            undo.enter_context(self._socket)
            self._stderr = undo.enter_context(tempfile.TemporaryFile())
            with theirs, os.fdopen(os.memfd_create("gicmodel-qemu-ram"), "w+b") as ram:
                ram.truncate(RAM_BYTES)
                self.memory = QemuRam(np.frombuffer(mmap.mmap(ram.fileno(), RAM_BYTES), np.uint8))
                files = theirs.fileno(), ram.fileno()
                self._process = _start(_arguments(*files, gic_version, redistributors, trace), files, self._stderr)
            undo.callback(self._end)
            self._socket.settimeout(_TIMEOUT_SECONDS)
            self._answers = self._socket.makefile("rb")
            try:
                # The first answer comes after the machine's reset, which writes a device tree to RAM.
                self.read(ITS_BASE, 4)
            except QemuDied:
                raise QemuMissing(f"{BINARY} did not connect: {self._last_words()}") from None
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process. May be called again."""
        self._answers.close()
        self._socket.close()
        self._end()
        self._stderr.close()

    @property
    def pid(self) -> int:
        """The process ID of the emulator."""
        return self._process.pid

    def read(self, address: int, size: int = 8) -> int:
        """Return a device register of 4 or 8 bytes."""
        return int(self._command(f"read{_SUFFIX[size]} {address:#x}"), 16)

    def write(self, address: int, value: int, size: int = 8) -> None:
        """Write a device register of 1, 2, 4 or 8 bytes."""
        self._command(f"write{_SUFFIX[size]} {address:#x} {value:#x}")

    def set_line(self, rd: int, intid: int, level: bool) -> None:
        """Raise or lower an input of the GIC, of an SPI or of a PPI of a redistributor.

        The GIC comes after the CPUs, and has its inputs in the order of SPIs, then PPIs (hw/intc/arm_gicv3_common.c).
        """
        line = intid - FIRST_SPI if intid >= FIRST_SPI else SPIS + rd * FIRST_SPI + intid
        gic = f"/machine/unattached/device[{self.redistributors}]"
        self._command(f"set_irq_in {gic} unnamed-gpio-in {line} {int(level)}")

    def _command(self, line: str) -> str:
        try:
            self._socket.sendall(line.encode() + b"\n")
            answer = self._answers.readline().decode()
        except OSError as error:
            raise QemuDied(f"{line[:80]!r}: {error}; {self._last_words()}") from None
        if not answer.startswith("OK"):
            raise QemuDied(f"{line[:80]!r} was answered {answer.strip()!r}; {self._last_words()}")
        return answer[2:].strip()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _last_words(self) -> str:
        self._stderr.seek(0)
        return " ".join(self._stderr.read().decode(errors="replace").split()) or "it wrote nothing on stderr"


_SUFFIX = {1: "b", 2: "w", 4: "l", 8: "q"}


def _start(arguments: list[str], files: tuple[int, ...], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """A session of its own keeps Ctrl-C from it, which is for the process that closes it."""
    null = subprocess.DEVNULL
    return subprocess.Popen(arguments, stdin=null, stdout=null, stderr=stderr, pass_fds=files, start_new_session=True)


def _arguments(qtest: int, ram: int, gic_version: int, redistributors: int, trace: Path | None) -> list[str]:
    # gic-version=4 needs EL2, hence virtualization=on.
    machine = f"virt,gic-version={gic_version},virtualization=on"
    options = f"-M {machine},memory-backend=ram -cpu cortex-a57 -smp {redistributors} -m {RAM_BYTES >> 20}M"
    shared = f"memory-backend-file,id=ram,size={RAM_BYTES >> 20}M,mem-path=/proc/self/fd/{ram},share=on"
    driven = f"-chardev socket,id=qtest,fd={qtest} -qtest chardev:qtest -qtest-log none"
    stopped = "-accel tcg -S -nodefaults -display none"
    log = ["-d", _TRACED, "-D", str(trace)] if trace else []
    plain = f"{options} {stopped} {driven}".split()
    return [*_until_death_of_parent(), find_binary(), *plain, "-object", shared, *log]


def _until_death_of_parent() -> list[str]:
    """QEMU outlives a closed qtest socket: let the kernel end it if this process is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


_TRACED = "trace:gicv3_its_*,trace:gicv3_redist_write"
