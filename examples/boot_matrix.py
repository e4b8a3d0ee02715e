# SPDX-License-Identifier: Apache-2.0
"""Does a kernel reach user space on every GIC, twice the same, and does its trace replay without a processor?

boot_matrix.py KERNEL INITRD: 24 GICs, two boots each; KERNEL is as `gicmodel boot` takes it. A command that fails is a
fault of the model's, and so is a second boot that differs, or a trace that replays to other tables than the board's.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from gicmodel.board import powered_on
from gicmodel.config import ARCHITECTURES, GicConfig
from gicmodel.images.dump import Dump
from gicmodel.images.segments import Segment
from gicmodel.replay import replay

SECONDS = 600.0
MATRIX = list(product(ARCHITECTURES, (1, 4), ("none", "retain"), (None, 1)))
"""Architecture, PEs, `caching`, `commands_per_step`."""


class Boot(NamedTuple):
    """What one boot gave; `console` and `trace` are digests."""

    ending: str
    errors: int
    commands: int
    instructions: int
    console: str
    trace: str
    replayed: str


def boot(kernel: Path, initrd: Path, config: GicConfig) -> Boot:
    """Boot, and replay what the GIC saw."""
    console, lines = bytearray(), list[str]()
    board = powered_on(kernel, config, initrd=initrd, send=console.append, trace=lines.append)
    ending = board.run(SECONDS)
    trace = "".join(f"{line}\n" for line in lines).encode()
    with tempfile.NamedTemporaryFile(suffix=".trace") as file:
        file.write(trace)
        file.flush()
        memory = Dump([Segment(board.memory.base, board.memory.octets)])
        outcome = replay(Path(file.name), memory, board.gic.registers())
    errors, commands = len(board.gic.errors), board.watch.commands.total()
    same = outcome.verdict if outcome.commands_by_kind == board.watch.commands else "other commands"
    return Boot(ending.name, errors, commands, board.instructions, _digest(console), _digest(trace), same)


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()[:12]


def matrix(kernel: Path, initrd: Path) -> Iterator[tuple[str, float, Boot, bool]]:
    """Of each boot which GIC it had, its seconds, what it gave, and whether all is well; first all once, then again."""
    first: dict[str, Boot] = {}
    for _, (architecture, pes, caching, step) in product(range(2), MATRIX):
        config = GicConfig(architecture=architecture, redistributors=pes, caching=caching, commands_per_step=step)
        name = f"GICv{architecture:4} {pes} PEs  {caching:7} {step or 'unlimited':>9}"
        started = time.monotonic()
        result = boot(kernel, initrd, config)
        good = (result.ending, result.errors, result.replayed) == ("OFF", 0, "equal")
        yield name, time.monotonic() - started, result, good and first.setdefault(name, result) == result


if __name__ == "__main__":
    well = True
    for name, seconds, result, good in matrix(Path(sys.argv[1]), Path(sys.argv[2])):
        well = well and good
        print(f"{name} {seconds:6.1f} s ", *result, "" if good else "NOT WELL", flush=True)
    sys.exit(0 if well else 1)
