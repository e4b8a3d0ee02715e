# SPDX-License-Identifier: Apache-2.0
"""A C driver run on a plain GIC and on a late one, and what is wrong with it."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gicmodel
from gicmodel.config import GicConfig
from gicmodel.engine import VARIABLE, Engine, asked
from gicmodel.errors import UnusableInput, one_line
from gicmodel.fuzzing.peers.linux.build import compiler, run_tool

SECONDS = 20.0
"""How long a driver may take, on each of the two GICs."""
DEFAULT = GicConfig(commands_per_step=1)
"""A GIC that takes its time."""

INCLUDE = Path(__file__).parent
"""The directory of `gicmodel.h`."""
ENTRY = "driver"

_START_SECONDS = 100.0
"""A process ends its driver itself, once that has had its time; one that does not is killed this much later."""
_FLAGS = ("-shared", "-fPIC", "-g", "-O1", "-Wall", f"-I{INCLUDE}")
_SOURCES = (".c", ".cc", ".cpp", ".cxx")

DID_BYTES = 4096


class Last(ctypes.Structure):
    """What both processes see: how many accesses the driver has made, whether a process that it forked has made one,
    and what it did last."""

    accesses: int
    forked: bool
    did: bytes
    _fields_ = (("accesses", ctypes.c_uint64), ("forked", ctypes.c_bool), ("did", ctypes.c_char * DID_BYTES))


@dataclass(frozen=True)
class Drive:
    """What a driver did on one GIC.

    `returned` is what it returned, None if it did not; then `ended` says in one line how it ended. `taken` counts the
    interrupts acknowledged, by PE, INTID and whether it was a vPE's. `missing` and `errors`: what it owed the GIC, and
    the commands that the ITS refused. Of a driver whose process died (a crash, `exit`) the three are unknown, None.
    """

    hardware: str
    returned: int | None = None
    ended: str | None = None
    accesses: int = 0
    taken: Counter[tuple[int, int, bool]] | None = None
    missing: tuple[str, ...] | None = None
    errors: tuple[str, ...] | None = None

    @property
    def findings(self) -> Iterator[str]:
        """What is wrong with it, a line each."""
        yield from self.missing or ()
        yield from (f"command error {error}" for error in self.errors or ())
        if self.ended is not None:
            yield self.ended
        elif self.returned:
            yield f"the driver returned {self.returned}"


@dataclass(frozen=True)
class Outcome:
    """What a driver did on GICs that software must not be able to tell apart."""

    drives: tuple[Drive, ...]

    @property
    def findings(self) -> list[str]:
        """What is wrong with the driver, a line each; nothing is wrong if there are none."""
        found = [f"{drive.hardware}: {finding}" for drive in self.drives for finding in drive.findings]
        return found or list(self._different())

    def _different(self) -> Iterator[str]:
        """Interrupts that were taken more often on one GIC than on the other."""
        first, second = self.drives
        if first.taken is None or second.taken is None:
            return
        for pe, intid, virtual in sorted(first.taken.keys() | second.taken.keys()):
            counts = [taken[pe, intid, virtual] for taken in (first.taken, second.taken)]
            if counts[0] != counts[1]:
                what = f"vINTID {intid} is taken by the vPE on PE" if virtual else f"INTID {intid} is taken by PE"
                yield f"{what} {pe} {counts[0]} times on {first.hardware}, {counts[1]} times on {second.hardware}"

    def to_json(self) -> dict[str, Any]:
        """The same, for JSON."""
        drives = [
            asdict(drive)
            | {
                "taken": None
                if drive.taken is None
                else [
                    {"pe": pe, "intid": intid, "virtual": virtual, "times": times}
                    for (pe, intid, virtual), times in sorted(drive.taken.items())
                ]
            }
            for drive in self.drives
        ]
        return {"drives": drives, "findings": self.findings}


def run(driver: Path, config: GicConfig = DEFAULT, *, entry: str = ENTRY, seconds: float = SECONDS) -> Outcome:
    """Run a driver, a shared object or a C file, on a GIC of `config` and on a late one.

    Raises:
        UnusableInput: it cannot be loaded or compiled, or has no function `entry`; cffi or a compiler is missing.
    """
    late = replace(config, caching="retain", commands_per_step=None)
    with TemporaryDirectory(prefix="gicmodel-") as made:
        library = compiled(driver, Path(made)) if driver.suffix in _SOURCES else driver
        job = {"library": str(library.absolute()), "entry": entry, "seconds": seconds}
        plain = _drive("plain hardware", job | {"config": asdict(config), "late": False})
        return Outcome((plain, _drive("late hardware", job | {"config": asdict(late), "late": True})))


def compiled(source: Path, directory: Path) -> Path:
    """A shared object of a C file, made in that directory; warnings go to standard error. UnusableInput if not."""
    library = directory / f"{source.stem}.so"
    command = [compiler(), *_FLAGS, *shlex.split(os.environ.get("CFLAGS", "")), str(source), "-o", str(library)]
    done = run_tool(command, f"{source}: does not compile")
    sys.stderr.write(done.stderr)
    return library


def _drive(hardware: str, job: dict[str, Any]) -> Drive:
    """Let a process run the driver, and find out how that ended."""
    with TemporaryDirectory(prefix="gicmodel-") as made:
        directory = Path(made)
        (directory / "job.json").write_text(json.dumps(job))
        (directory / "last").write_bytes(bytes(Last()))
        status = _status(directory, job["seconds"])
        last = Last.from_buffer_copy((directory / "last").read_bytes())
        report = directory / "report.json"
        said = json.loads(report.read_text()) if report.exists() else {"ended": _ended(status, job["seconds"])}
    if "unusable" in said:
        raise UnusableInput(said["unusable"])
    if not last.did:
        raise RuntimeError(f"the process that runs the driver did not begin: exit status {status}")
    if "ended" not in said and last.forked:
        said["ended"] = "a process that the driver forked accessed the GIC, which stays the driver's own"
    if "ended" in said:
        said["ended"] = one_line(f"{said['ended']}; the last thing that it did: {last.did.decode(errors='replace')}")
    if "taken" in said:
        said["taken"] = Counter(map(tuple, said["taken"]))
        said |= {name: tuple(map(one_line, said[name])) for name in ("missing", "errors")}
    return Drive(hardware, accesses=last.accesses, **said)


def _status(directory: Path, seconds: float) -> int | None:
    """The exit status of the process, None if it had to be killed. What the driver prints goes to standard error."""
    package = str(Path(gicmodel.__file__).parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    engine = Engine.PYTHON if asked() is Engine.AUTO else asked()
    environment = os.environ | {"PYTHONPATH": path, VARIABLE: engine.value}
    command = [sys.executable, "-c", "from gicmodel.native.child import main; main()", str(directory)]
    sys.stderr.flush()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, env=environment, process_group=0) as process:
        try:
            return process.wait(seconds + _START_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # What the driver has forked is in its group, and does not outlive it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _ended(status: int | None, seconds: float) -> str:
    if status is None:
        return f"no end within {seconds:g} s"
    if status < 0:
        named = {number.value: number.name for number in signal.Signals}
        return named.get(-status, f"signal {-status}")
    return f"exit({status})"
