# SPDX-License-Identifier: Apache-2.0
"""`gicmodel replay`: feed QEMU's trace of a real host to the model and compare what both left in RAM."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gicmodel.cli import UNUSABLE
from gicmodel.cli.engine import choose_engine, engine_option
from gicmodel.cli.options import EXISTING
from gicmodel.cli.output import Results, json_options, print_table, say
from gicmodel.cli.progress import Watcher
from gicmodel.errors import Interrupted
from gicmodel.images.sources import read_dump, read_registers

if TYPE_CHECKING:
    from gicmodel.replay import Outcome

_SHOWN = 8
_STATUS = {"equal": 0, "different": 1, "partial": UNUSABLE}


@click.command(name="replay")
@click.argument("trace", type=EXISTING)
@click.option("--compare", "image", type=EXISTING, help="RAM at the end of the trace: an ELF core, or a snapshot.")
@click.option("--registers", type=EXISTING, help="Registers then: a TOML file, or a snapshot; compared, too.")
@json_options
@click.option("--progress/--no-progress", default=True, help="Show a bar on standard error if that is a terminal.")
@engine_option
@click.pass_context
def command(
    ctx: click.Context,
    trace: Path,
    image: Path | None,
    registers: Path | None,
    results: Results,
    progress: bool,
    engine: str | None,
) -> None:
    """Feed TRACE, QEMU's GICv3 trace of a machine from power-on or that of `gicmodel boot`, to the model.

    TRACE holds the events gicv3_its_*, gicv3_redist_*, gicv3_icc_iar1_read and gicv3_icv_iar_read, as QEMU's log
    backend prints them, with or without time stamps; .xz, .gz and .zst files are unpacked. Every acknowledged LPI must
    be pending in the model. With --compare the tables that the ITS and the redistributors wrote must be those of the
    image, byte for byte, as far as the image holds them; level 1 entries and configuration tables, which software
    wrote, are taken from it.

    Exit status: 0 if all is equal, 1 if not, 2 for unusable input, also for a trace or an image that is only a part.
    """
    choose_engine(engine, _saved_seconds(trace), progress)
    # The kernels come with this, and numba on the compiled engine.
    from gicmodel.replay import replay

    dump = None if image is None else read_dump(image)
    values = None if registers is None else read_registers(registers)
    try:
        with Watcher(enabled=progress) as watcher:
            outcome = replay(trace, dump, values, partial(watcher.progress, "replaying"))
    except Interrupted as stop:
        results.publish(stop.so_far.to_json() | {"interrupted": True}, partial(_show, stop.so_far))
        raise
    results.publish(outcome.to_json(), partial(_show, outcome))
    ctx.exit(_STATUS[outcome.verdict])


def _saved_seconds(trace: Path) -> float:
    """What machine code saves: of 216,403 events, 16.4 MB that .xz packs into 0.21 MB, 2.6 of 8 s."""
    return trace.stat().st_size * (1.6e-7 if trace.suffix not in (".xz", ".gz", ".zst") else 1.2e-5)


def _show(outcome: Outcome) -> None:
    traced = outcome.traced
    say(f"GICv{traced.config.architecture}, {traced.config.redistributors} redistributors")
    if traced.assumed:
        say("PEs are numbered as QEMU's virt or sbsa-ref do: no read of GICR_TYPER in the trace tells")
    say(f"{outcome.events} events: {outcome.commands} commands, {outcome.msis} MSIs")
    say(f"{outcome.acknowledges} acknowledges, {len(outcome.not_pending)} of an interrupt that was not pending")
    for event in outcome.not_pending[:_SHOWN]:
        kind = "ICV" if event.virtual else "ICC"
        say(f"  line {event.line}: {kind}_IAR1 of PE {event.cpu:#x} returned INTID {event.intid}")
    if traced.first_glued is not None:
        first = traced.first_glued
        say(f"{traced.glued} events behind other text, the first in line {first.line} behind {first.text!r}")
    _show_unknown(outcome.unknown)
    if outcome.compared:
        _show_comparisons(outcome)
    for reason in (*outcome.partial, *outcome.unjudged):
        say(f"partial: {reason}")


def _show_unknown(unknown: dict[str, int]) -> None:
    for name in sorted(unknown)[:_SHOWN]:
        say(f"unknown: {name}, {unknown[name]} lines")
    if len(unknown) > _SHOWN:
        rest = sum(unknown[name] for name in sorted(unknown)[_SHOWN:])
        say(f"unknown: {rest} lines of {len(unknown) - _SHOWN} more names")


def _show_comparisons(outcome: Outcome) -> None:
    names = ("compared", "bytes", "different", "absent")
    rows = [(name, str(each.bytes), str(each.different), str(each.absent)) for name, each in outcome.compared.items()]
    print_table(names, rows, right=(1, 2, 3))
    for name, comparison in outcome.compared.items():
        for difference in comparison.first:
            say(f"{name} {difference.where}: model {difference.model:#x}, traced {difference.traced:#x}")
