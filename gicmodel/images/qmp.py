# SPDX-License-Identifier: Apache-2.0
"""A machine that runs: its RAM and its GIC's registers through QEMU's monitor (QMP), without stopping it.

What is read one after the other while CPUs run need not be of one moment. Registers are read where QEMU emulates the
GIC; KVM keeps its own to itself, and the monitor reads zeros there.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.images.files import refusing
from gicmodel.images.segments import Segment
from gicmodel.layouts.registers.by_name import ITS_NAMES, REDISTRIBUTOR_NAMES, register
from gicmodel.memory import ADDRESS_BITS

SECONDS = 120.0
"""How long one answer may take: that to a `pmemsave` of all RAM is the longest."""
_LONGEST = 1 << 22
"""Bytes of an answer: a map of the memory of a large machine has some hundred thousand."""
_MOST_EVENTS = 1 << 10
"""Events of the machine that may come before an answer."""
_RANGE = re.compile(r"  ([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ram\): ", re.ASCII)
_VALUE = re.compile(r"[0-9a-f]+: 0x([0-9a-f]{8,16})\s*", re.ASCII)
_VIRTUAL_NAMES = ("VPROPBASER", "VPENDBASER")


def is_machine(path: Path) -> bool:
    """Whether a file is a socket. What cannot be looked at is none: whoever opens it says why."""
    try:
        return path.is_socket()
    except OSError:
        return False


class Machine:
    """A machine of QEMU by the socket of its QMP. Use it as a context manager: that ends the connection.

    `running`: its CPUs run. `emulated`: QEMU has the GIC, and not KVM. Every method raises UnusableInput where QEMU
    refuses, or is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as on_failure:
            self._socket = on_failure.enter_context(socket.socket(socket.AF_UNIX))
            self._socket.settimeout(SECONDS)
            with self._answering():
                self._socket.connect(str(path))
            self._answers = on_failure.enter_context(self._socket.makefile("rb"))
            if "QMP" not in self._line():
                raise UnusableInput(f"{path}: who answers there is no QMP of QEMU")
            self.execute("qmp_capabilities")
            self.running = self._is("query-status", "running")
            self.emulated = not self._is("query-kvm", "enabled")
            on_failure.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def dump(self) -> Dump:
        """A copy of its RAM: a file that has no name any more."""
        ranges = list(self._ranges())
        size = sum(end - start for start, end in ranges)
        with tempfile.TemporaryDirectory(prefix="gicmodel-qmp-") as directory:
            if shutil.disk_usage(directory).free < size:
                raise UnusableInput(f"{self.path}: {directory} has no room for {size:#x} bytes of its RAM")
            return Dump([self._save(Path(directory, f"{start:x}"), start, end) for start, end in ranges])

    def window(self, bases: Mapping[str, int]) -> Dump | None:
        """The registers of the frames at these addresses; None if QEMU does not have them."""
        segments = [segment for frame, base in bases.items() for segment in self._frame(frame, base)]
        return Dump(segments) if segments and self.emulated else None

    def _frame(self, frame: str, base: int) -> Iterator[Segment]:
        if frame.startswith("GITS"):
            yield from self._read("GITS", ITS_NAMES, base)
        elif frame.startswith("GICR"):
            yield from self._read("GICR", REDISTRIBUTOR_NAMES, base)
            (typer,) = self._read("GICR", ["TYPER"], base)
            if register("GICR_TYPER").layout.unpack(int.from_bytes(typer.data.tobytes(), "little"))["VLPIS"]:
                yield from self._read("GICR", _VIRTUAL_NAMES, base)

    def _read(self, unit: str, names: Iterable[str], base: int) -> Iterator[Segment]:
        """Registers, each by an access of its own width."""
        for name in names:
            entry = register(f"{unit}_{name}")
            shown = self._monitor(f"xp /1{'g' if entry.bits == 64 else 'w'}x {base + entry.offset:#x}")
            match = _VALUE.fullmatch(shown)
            if match is None:
                raise UnusableInput(f"{self.path}: QEMU reads {base + entry.offset:#x} as {shown[:80]!r}")
            octets = int(match[1], 16).to_bytes(8, "little")[: entry.bits // 8]
            yield Segment(base + entry.offset, np.frombuffer(octets, np.uint8))

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Where the CPUs see RAM: [start, end)."""
        views = self._monitor("info mtree -f").split("FlatView #")
        view = next((view for view in views if ' AS "memory", root: system' in view), "")
        found = sorted({(int(match[1], 16), int(match[2], 16) + 1) for match in _RANGE.finditer(view)})
        if not found or any(not start < end <= 1 << ADDRESS_BITS for start, end in found):
            raise UnusableInput(f"{self.path}: QEMU does not tell where the machine's RAM is")
        yield from found

    def _save(self, file: Path, start: int, end: int) -> Segment:
        self.execute("pmemsave", val=start, size=end - start, filename=str(file))
        size = file.stat().st_size if file.exists() else 0
        if size != end - start:
            raise UnusableInput(f"{self.path}: QEMU saved {size:#x} of {end - start:#x} bytes from {start:#x}")
        with refusing(file):
            return Segment(start, np.memmap(file, np.uint8, "r"))

    def _monitor(self, line: str) -> str:
        """What the monitor for people says."""
        answer = self.execute("human-monitor-command", **{"command-line": line})
        if not isinstance(answer, str):
            raise UnusableInput(f"{self.path}: QEMU answers {line!r} with something else than text")
        return answer.replace("\r\n", "\n")

    def _is(self, command: str, what: str) -> bool:
        answer = self.execute(command)
        if not isinstance(answer, dict) or not isinstance(answer.get(what), bool):
            raise UnusableInput(f"{self.path}: QEMU's answer to {command} does not tell {what!r}")
        return bool(answer[what])

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnusableInput(f"{self.path}: QEMU does not answer there: {error.strerror or error}") from error

    def execute(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns for a command of QMP."""
        with self._answering():
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for _ in range(_MOST_EVENTS):
            answer = self._line()
            if "error" in answer:
                error = answer["error"]
                raise UnusableInput(f"{self.path}: QEMU refuses {command}: {json.dumps(error)[:200]}")
            if "return" in answer:
                return answer["return"]
        raise UnusableInput(f"{self.path}: QEMU does not answer {command}")

    def _line(self) -> dict[str, Any]:
        with self._answering():
            line = self._answers.readline(_LONGEST)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise UnusableInput(f"{self.path}: who answers there is no QMP of QEMU: {line[:60]!r}")
        return answer
