# SPDX-License-Identifier: Apache-2.0
"""`gicmodel flush`: how fast a VM's pending tables are flushed, and what takes the time."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import click

from gicmodel.benchmarks.compare import changes, flush_quantities, read_saved
from gicmodel.benchmarks.flush_points import MEASURED, PARTS, SPREADS, Flush, FlushPoint, points, varying
from gicmodel.benchmarks.harness import Spread
from gicmodel.benchmarks.report import machine
from gicmodel.cli.bench import compare_option, judge, measuring, megabytes
from gicmodel.cli.engine import choose_engine, engine_option
from gicmodel.cli.options import FigureFile, Parsed, Real, ResultFile
from gicmodel.cli.output import Results, json_options, print_table, save_figure, say
from gicmodel.cli.progress import Watcher
from gicmodel.config import CHOICES
from gicmodel.errors import Interrupted, LinuxError, UnusableInput
from gicmodel.images.files import replacing

_NS, _GIGA, _MEGA = 1e9, 1e9, 1e6
_PART_HEADS = ("unmap", "(clean)", "tables", "map", "(read)")


def _sweep(name: str, default: str, of: click.ParamType[Any], about: str) -> Callable[..., Any]:
    """An option of values to sweep over, separated by commas."""

    def each_once(text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(of.convert(part.strip(), None, None) for part in text.split(",")))

    one = "|".join(map(str, of.choices)) if isinstance(of, click.Choice) else "N"
    values = Parsed(name, each_once)
    return click.option(name, default=default, show_default=True, type=values, metavar=f"{one},..", help=about)


def _choices(field: str) -> click.Choice[str]:
    return click.Choice([str(choice) for choice in CHOICES[field]])


@click.command()
@_sweep("--vcpus", "64", click.IntRange(1, 512), "vCPUs of the VM.")
@_sweep("--vlpis", "57344", click.IntRange(1, 57_344), "vLPIs of the VM, all forwarded; 128 a device.")
@_sweep("--vpt-bits", "16", click.IntRange(16, 24), "Bits of vINTIDs that a VPT has room for.")
@_sweep("--pending", "0.25", Real(0, 1), "The part of the vLPIs that is pending.")
@_sweep("--spread", "in-turn", click.Choice(SPREADS), "To which vCPUs the vLPIs go: each to the next, in runs, random.")
@_sweep("--writeback", "unmap", _choices("vpt_writeback"), "When the GIC writes pending bits to the VPT.")
@_sweep("--architecture", "4.1", click.Choice(["4.1", "3"]), "GIC of the host; KVM cannot flush vLPIs on 4.0.")
@_sweep("--caching", "none", _choices("caching"), "What the GIC keeps of tables in RAM.")
@click.option("--repeat", default=25, show_default=True, type=click.IntRange(1, 10_000), help="Flushes of each VM.")
@json_options
@click.option("--csv", "csv_file", metavar="FILE", type=ResultFile(), help="Write a row for each VM.")
@click.option("--figure", metavar="FILE", type=FigureFile(), help="Draw what takes the time; .svg, .png or .pdf.")
@compare_option
@click.option("--no-progress", is_flag=True, help="No progress bar; there is none anyway unless stderr is a terminal.")
@engine_option
def command(
    repeat: int,
    results: Results,
    csv_file: Path | None,
    figure: Path | None,
    compare: Path | None,
    no_progress: bool,
    engine: str | None,
    **sweep: tuple[Any, ...],
) -> None:
    """Measure how fast the pending tables of a VM are flushed into its RAM, and what takes the time.

    Every list of values is swept: each combination is a VM, whose tables are proved right first. A flush unmaps all
    vPEs, upon which the GIC cleans its VPTs, writes the guest's pending tables from them, and maps the vPEs again, upon
    which the GIC reads them. Beside it stand KVM's own loop, LPI by LPI, and memcpy of the tables.

    Exit status: 0 measured; 1 a table was wrong, or with --compare something is slower by more than its noise; 2
    unusable input.
    """
    before = read_saved(compare, flush_quantities, "flush") if compare else None
    chosen = points(**sweep)
    choose_engine(engine, math.inf, not no_progress)
    _check(chosen)

    def publish(flushes: Sequence[Flush]) -> None:
        results.publish(_document(flushes), partial(_show, flushes))

    with measuring(publish), Watcher(enabled=not no_progress) as watcher:
        flushes = _measure_all(chosen, repeat, watcher)
    publish(flushes)
    if csv_file is not None:
        _write_csv(csv_file, flushes)
    if figure is not None:
        from gicmodel.benchmarks.flush_figure import draw

        save_figure(figure, draw(flushes))
    if before is not None:
        judge(changes(before, flush_quantities(_document(flushes))), results.as_json)


def _check(chosen: Sequence[FlushPoint]) -> None:
    """UnusableInput: no host carries one of the VMs."""
    from gicmodel.benchmarks.flush import config_of

    for point in chosen:
        try:
            config_of(point)
        except ValueError as error:
            raise UnusableInput(f"a VM of {point.vcpus} vCPUs: {error}") from error


def _measure_all(chosen: Sequence[FlushPoint], repeat: int, watcher: Watcher) -> list[Flush]:
    """One after the other. Interrupted: by Ctrl-C; with what was measured."""
    from gicmodel.benchmarks.flush import measure_flush

    flushes: list[Flush] = []

    def progress(done: int) -> None:
        watcher.progress(
            "flush", len(flushes) * repeat + done, len(chosen) * repeat, _name(chosen[len(flushes)], chosen)
        )

    try:
        for point in chosen:
            progress(0)
            flushes.append(measure_flush(point, repeat, progress))
    except KeyboardInterrupt as stop:
        raise Interrupted(flushes) from stop
    except LinuxError as error:
        raise UnusableInput(f"a VM of {point.vcpus} vCPUs and {point.vlpis} vLPIs does not fit: {error}") from error
    return flushes


def _document(flushes: Sequence[Flush]) -> dict[str, Any]:
    return {"machine": machine(), "flushes": [flush.to_json() for flush in flushes]}


def _name(point: FlushPoint, among: Sequence[FlushPoint]) -> str:
    return " ".join(f"{field} {getattr(point, field)}" for field in varying(among))


def _show(flushes: Sequence[Flush]) -> None:
    """The machine, what all VMs have in common, and a row for each."""
    say(", ".join(f"{name} {value}" for name, value in machine().items()))
    if not flushes:
        return
    chosen = [flush.point for flush in flushes]
    differ = varying(chosen)
    common = (f"{field} {getattr(chosen[0], field)}" for field in FlushPoint._fields if field not in differ)
    say(", ".join(common) + "; times in ns a vLPI\n")
    head = (*differ, "flush", "quartiles", *_PART_HEADS, "Mvlpi/s", "GB/s", "KVM's loop", "memcpy", "peak MB")
    print_table(head, [_row(flush, differ) for flush in flushes], right=range(len(head)))


def _row(flush: Flush, differ: Sequence[str]) -> tuple[str, ...]:
    per_vlpi = _NS / flush.point.vlpis
    seconds = flush.seconds
    whole = seconds["whole"]
    return (
        *(str(getattr(flush.point, field)) for field in differ),
        _ns(whole.median * per_vlpi),
        f"{_ns(whole.low * per_vlpi)} .. {_ns(whole.high * per_vlpi)}",
        *(_time(seconds.get(part), per_vlpi) for part in PARTS),
        f"{flush.vlpis_per_second / _MEGA:.3g}",
        f"{flush.bytes_per_second / _GIGA:.3g}",
        _time(seconds["loop"], per_vlpi),
        _time(seconds["memcpy"], per_vlpi),
        megabytes(flush.peak_bytes),
    )


def _time(spread: Spread | None, per_vlpi: float) -> str:
    return "-" if spread is None else _ns(spread.median * per_vlpi)


def _ns(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _write_csv(path: Path, flushes: Sequence[Flush]) -> None:
    """The point, then medians and quartiles in seconds. UnusableInput if it cannot be written."""
    text = io.StringIO()
    none = ("",) * len(Spread._fields)
    writer = csv.writer(text, lineterminator="\n")
    quartiles = (f"{name}_{quartile}" for name in MEASURED for quartile in Spread._fields)
    writer.writerow([*FlushPoint._fields, "table_bytes", "peak_bytes", *quartiles])
    for flush in flushes:
        spreads = chain.from_iterable(flush.seconds.get(name, none) for name in MEASURED)
        writer.writerow([*flush.point, flush.table_bytes, flush.peak_bytes, *spreads])
    with replacing(path) as target:
        target.write(text.getvalue().encode())
