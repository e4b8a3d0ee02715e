# SPDX-License-Identifier: Apache-2.0
"""`gicmodel boot`: what does real software do to a GICv4.1?"""

from __future__ import annotations

import gc
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gicmodel.cli.engine import choose_engine, engine_option
from gicmodel.cli.options import Parsed, Real, ResultFile, SourceFile, given
from gicmodel.cli.output import Results, json_options, print_table, say
from gicmodel.cli.progress import Watcher
from gicmodel.cli.terminal import Console
from gicmodel.config import ARCHITECTURES, GicConfig
from gicmodel.errors import MissingExtra, UnusableInput
from gicmodel.images.files import replacing
from gicmodel.kernel_cache import cache_directory

if TYPE_CHECKING:
    from gicmodel.board import Board, Ending, Result

APPEND = "earlycon console=ttyAMA0"
SAVED_SECONDS = 0.0
"""What machine code saves a Linux that boots: the PEs run in Unicorn, and their hooks are compiled on either engine."""
_SHOWN = 10
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MEMORY = range(4 << 20, (256 << 30) + 1, 1 << 20)
OF_A_NEW_BOARD = ("initrd", "append", "cpus", "memory", "el2", "architecture", "choices", "trace")
"""A board that goes on is as it was, and a trace is from power-on."""
_TAIL = 1 << 12
"""How far back a match of --expect may begin before what is new."""


def _size(text: str) -> int:
    """Bytes of RAM: a number with K, M or G."""
    written = re.fullmatch(r"([0-9]{1,12})([KMG]?)", text.upper())
    size = int(written[1]) * _UNITS[written[2]] if written else 0
    if size not in _MEMORY:
        raise ValueError(f"{text!r} is not from 4M to 256G, in whole MiB")
    return size


def _pattern(text: str) -> re.Pattern[bytes]:
    """A regular expression for what the console shows."""
    try:
        return re.compile(text.encode())
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None


@click.command()
@click.argument("image", required=False, type=SourceFile())
@click.option(
    "--initrd",
    metavar="FILE",
    type=SourceFile(),
    help="An initrd, packed or not, for Linux; or a static program that becomes its /init.",
)
@click.option("--append", default=APPEND, show_default=True, metavar="TEXT", help="Command line of the kernel.")
@click.option("--cpus", default=1, show_default=True, type=click.IntRange(1, 512), help="Number of PEs.")
@click.option("--memory", default="512M", show_default=True, type=Parsed("size", _size), help="RAM: 512M, 2G.")
@click.option("--el2", is_flag=True, help="Begin at EL2, so that a Linux has KVM.")
@click.option(
    "--architecture", default="4.1", show_default=True, type=click.Choice(ARCHITECTURES), help="GIC of the board."
)
@click.option(
    "--config",
    "choices",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A choice of the GIC, as gicmodel.config.GicConfig has it: caching=retain, commands_per_step=1, pta=true.",
)
@click.option("--expect", type=Parsed("regex", _pattern), help="End when the console shows it.")
@click.option("--timeout", type=Real(0), default=math.inf, metavar="SECONDS", help="End after so many seconds.")
@click.option("--trace", metavar="FILE", type=ResultFile(), help="Write what `gicmodel replay` reads to FILE.")
@click.option("--snapshot", metavar="FILE", type=ResultFile(), help="Write the whole board to FILE at the end.")
@click.option("--resume", metavar="FILE", type=SourceFile(), help="Instead of IMAGE: go on with a board in FILE.")
@json_options
@click.option("--no-progress", is_flag=True, help="No progress bar.")
@engine_option
@click.pass_context
def command(
    ctx: click.Context,
    image: Path | None,
    initrd: Path | None,
    append: str,
    cpus: int,
    memory: int,
    el2: bool,
    architecture: str,
    choices: tuple[str, ...],
    expect: re.Pattern[bytes] | None,
    timeout: float,
    trace: Path | None,
    snapshot: Path | None,
    resume: Path | None,
    results: Results,
    no_progress: bool,
    engine: str | None,
) -> None:
    """Boot a kernel on a board whose GIC is the model: ELF, Linux's Image or vmlinuz, or a flat binary.

    The board has PEs of Unicorn, whose time is instructions, a PL011, PSCI, generic timers, and a device tree that says
    so. The console is the terminal: Ctrl-C is the guest's, Ctrl-A X leaves. Of what is no terminal, standard input is
    what is typed. With --json the console is on standard error. At the end is told what the GIC saw.

    Exit status: 0 if the guest powered off, or showed what was expected, and no ITS command failed; 1 if not, 2 for
    unusable input.
    """
    if (image is None) == (resume is None):
        raise click.UsageError("there must be either IMAGE or --resume FILE")
    if resume is not None and (option := given(ctx, OF_A_NEW_BOARD)):
        raise click.UsageError(f"--resume goes on with the board in the file: no {option}")
    config = _config(choices, architecture=architecture, redistributors=cpus)
    _require_extra()
    choose_engine(engine, SAVED_SECONDS, not no_progress)
    _import_board(not no_progress)
    from gicmodel.board import powered_on
    from gicmodel.board.snapshot import load_board, save_board

    console = Console((sys.stderr if results.as_json else sys.stdout).buffer)
    with tracing(trace) as write:
        if image is not None:
            board = powered_on(
                image,
                config,
                initrd=initrd,
                append=append,
                memory_bytes=memory,
                el2=el2,
                send=console.send,
                trace=write,
            )
        elif resume is not None:
            board = load_board(resume, console.send)
        result = ran(board, console, timeout, expect, not no_progress)
    if snapshot is not None:
        save_board(board, snapshot)
    results.publish(result.to_json(), partial(show, result))
    ctx.exit(0 if is_good(result, expect) else 1)


@contextmanager
def tracing(file: Path | None) -> Iterator[Callable[[str], object] | None]:
    """What writes a line of the trace, if there is to be one. Raises UnusableInput: it cannot be written."""
    if file is None:
        yield None
        return
    with replacing(file) as target:
        yield lambda line: target.write(f"{line}\n".encode())


def ran(board: Board, console: Console, timeout: float, expect: re.Pattern[bytes] | None, bar: bool) -> Result:
    """Run until the end, with the terminal as console; what shows no console there may have a bar."""
    from gicmodel.board import Ending, Result

    searched = 0

    def shown() -> bool:
        """Whether what is new on the console has what is expected."""
        nonlocal searched
        begin, searched = max(0, searched - _TAIL), len(console.text)
        return expect is not None and expect.search(console.text, begin) is not None

    def on_turn(wait: float) -> Ending | None:
        console.flush()
        if has_bar:
            watcher.progress("booting", time.monotonic() - started, end, f"{board.instructions:,} instructions")
        if octets := console.typed(wait):
            board.uart.receive(octets)
        if searched < len(console.text) and shown():
            return Ending.EXPECTED
        return Ending.LEFT if console.left else None

    started, end = time.monotonic(), None if timeout == math.inf else timeout
    has_bar = bar and not console.is_shown
    with Watcher(has_bar) as watcher, console:
        ending = board.run(timeout, on_turn)
    if ending is Ending.OFF and shown():
        ending = Ending.EXPECTED
    return Result(board, ending, time.monotonic() - started)


def is_good(result: Result, expect: re.Pattern[bytes] | None) -> bool:
    """Whether it ended as it should, and no command failed."""
    return result.ending.name in (("OFF", "LEFT") if expect is None else ("EXPECTED",)) and not result.board.gic.errors


def show(result: Result) -> None:
    """What came of it as text."""
    board, watch, errors = result.board, result.board.watch, result.board.gic.errors
    say(
        f"\n{result.why}, after {board.seconds:.3f} s of the guest's time: "
        f"{board.instructions:,} instructions in {result.seconds:.1f} s"
    )
    if result.ending.name not in ("OFF", "EXPECTED"):
        for pe in board.cpus:
            say(f"PE {pe.number}: {pe}")
    _show_counts("ITS commands", watch.commands)
    for error in errors[:_SHOWN]:
        say(f"command error: {error}")
    if len(errors) > _SHOWN:
        say(f"command errors: {len(errors) - _SHOWN} more")
    rows = [(kind, str(pe), str(count)) for (kind, pe), count in sorted(watch.interrupts.items())]
    rows += [("residency of a vPE", str(pe), str(count)) for pe, count in sorted(watch.residencies.items())]
    if rows:
        print_table(("taken", "PE", "times"), rows, right=(1, 2))
    _show_counts("MSIs by DeviceID", {f"{device:#x}": count for device, count in sorted(watch.messages.items())})


@cache
def _import_board(bar: bool) -> None:
    """Import what boards need, numba above all, and spare the collector a million objects that stay to the end.

    The hooks are machine code on either engine: it is said where they are compiled for it.
    """
    gc.disable()
    try:
        if any(cache_directory("board").glob("_on_*")):
            import_module("gicmodel.board")
            return
        with Watcher(bar, instead="compiling the board's hooks (first run only, some seconds)") as watcher:
            watcher.progress("compiling the board's hooks, once", 0, None)
            import_module("gicmodel.board")
    finally:
        gc.freeze()
        gc.enable()


def _show_counts(what: str, counts: dict[str, int]) -> None:
    if counts:
        total = sum(counts.values())
        say(f"{what}: {total} ({', '.join(f'{name} {count}' for name, count in sorted(counts.items()))})")


def _require_extra() -> None:
    for module in ("unicorn", "fdt"):
        try:
            __import__(module)
        except ImportError:
            raise MissingExtra("gicmodel boot", module, "board") from None


def _config(choices: tuple[str, ...], **given: Any) -> GicConfig:
    """The configuration of options; UnusableInput for a field or a value that there is not."""
    try:
        return GicConfig.of_choices(choices, **given)
    except ValueError as error:
        raise UnusableInput(f"--config {error}") from None
