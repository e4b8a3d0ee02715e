# SPDX-License-Identifier: Apache-2.0
"""The process in which a C driver runs. Its only argument is a directory.

The directory has `job.json`, what to run, and `last`, which both processes see (`running.Last`). What is left there
is `report.json`; a process that has left none was ended by the driver.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.hardware import Gic
from gicmodel.lab.late import LateGic
from gicmodel.lab.placement import RAM_BASE, RAM_BYTES
from gicmodel.memory import GuestMemory
from gicmodel.native.host import DriverEnded, Host
from gicmodel.native.running import DID_BYTES, Last

_GRACE_SECONDS = 1.0
"""A driver that looks at the hardware now and then does so in this time."""


def main() -> None:
    """Run the driver as the job says."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    directory = Path(sys.argv[1])
    job = json.loads((directory / "job.json").read_text())
    with (directory / "last").open("r+b") as file:
        last = Last.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Last)))
    gic = Gic(GicConfig(**job["config"]), GuestMemory(RAM_BASE, RAM_BYTES))

    def report(**ended: Any) -> None:
        missing = [f"{operation}: {owed}" for owed, operation in host.missing.items()]
        errors = [str(error) for error in gic.errors]
        seen = {"taken": host.taken, "missing": missing, "errors": errors}
        _leave(directory, seen | ended)

    def end(why: str) -> NoReturn:
        report(ended=why)
        _exit()

    def note(did: str) -> None:
        if os.getpid() != this:
            last.forked = True
            os._exit(1)
        last.accesses, last.did = host.accesses, did.encode()[:DID_BYTES]
        if over.is_set():
            give_up()

    def give_up() -> NoReturn:
        host.done("when the time was over")
        end(f"no end within {job['seconds']:g} s")

    def watch() -> None:
        """The driver's time; then it is ended where it looks at the hardware, or wherever it is if it does not."""
        time.sleep(job["seconds"])
        over.set()
        time.sleep(_GRACE_SECONDS)
        give_up()

    def die(reason: Exception) -> None:
        if not isinstance(reason, DriverEnded):
            traceback.print_exception(reason)
        end(f"{reason}" if isinstance(reason, DriverEnded) else f"the model failed with {reason!r}")

    this, over = os.getpid(), threading.Event()
    host = Host(gic, LateGic(gic) if job["late"] else None, note=note, die=die)
    threading.Thread(target=watch, daemon=True).start()
    try:
        returned = host.run(Path(job["library"]), job["entry"])
        if os.getpid() != this:
            _exit()
        report(returned=returned)
    except UnusableInput as reason:
        _leave(directory, {"unusable": str(reason)})


def _leave(directory: Path, report: dict[str, Any]) -> None:
    """Write the report, whole: the process may be killed at any time. A driver may have left no way to write it."""
    part = directory / "report.part"
    try:
        part.write_text(json.dumps(report))
        part.replace(directory / "report.json")
    except OSError as error:
        sys.stderr.write(f"gicmodel: what the driver did cannot be reported: {error.strerror}\n")
        os._exit(1)


def _exit() -> NoReturn:
    """Leave from within C code, whose streams are written out, but which is not gone through."""
    ctypes.CDLL(None).fflush(None)
    sys.stderr.flush()
    os._exit(0)
