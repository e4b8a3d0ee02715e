# SPDX-License-Identifier: Apache-2.0
"""`gicmodel inspect`: which interrupt is stuck where."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import click

from gicmodel.cli.options import FigureFile, Number, ResultFile, SourceFile, as_one, source_options
from gicmodel.cli.output import Results, json_options, print_csv, print_view, save_figure, say
from gicmodel.cli.progress import Watcher
from gicmodel.errors import MissingExtra, UnusableInput, printable
from gicmodel.images.carve import Recorder
from gicmodel.images.dump import Piece
from gicmodel.images.elf import write_core
from gicmodel.images.registers import origin_of
from gicmodel.inspection import PROFILES, Inspection
from gicmodel.inspection.budget import ENTRIES
from gicmodel.inspection.octets import explain
from gicmodel.inspection.report import CAVEAT, Report
from gicmodel.inspection.rules import RULES
from gicmodel.inspection.selection import ON_DEMAND, TABLES, Selection, dump_of, entries, parse_device
from gicmodel.inspection.source import Source, open_source, registers_alone
from gicmodel.inspection.views import View

MOST_NAMED = 4
"""How many registers of one place are named."""
NO_IMAGE = Path("no image")
"""What registers alone are shown as."""
MOST_EXPLAINED = 64
"""How many entries --hex shows."""


OF_REGISTERS = {"files", "trace", "pairs"}
"""What says where registers are, and not RAM."""


def _selection(device: str | None, **others: Any) -> Selection:
    return Selection(*(None, None) if device is None else parse_device(device), **others)


selection_options = as_one(
    "selection",
    _selection,
    device=click.option("--device", metavar="ID[:EVENT]", help="One device, or one event of it."),
    lpi=click.option("--lpi", type=Number(), metavar="N", help="The events of one physical LPI."),
    irq=click.option(
        "--irq", type=Number(), metavar="N", help="The events of one interrupt of Linux; needs --vmlinux."
    ),
    vpe=click.option("--vpe", type=Number(), help="One vPE."),
    pending=click.option("--pending", is_flag=True, help="What is pending."),
    table=click.option(
        "--table",
        metavar="NAME",
        type=click.Choice(TABLES + ON_DEMAND),
        help=f"One table of the output: {', '.join(TABLES + ON_DEMAND)}.",
    ),
)


def _explain(ctx: click.Context, parameter: click.Parameter, rule: str | None) -> None:
    """Tell of one rule, or of all, and end."""
    if rule is not None:
        say(explain_rule(rule) if rule else explain_rules())
        ctx.exit()


@click.command()
@click.argument("image", required=False, type=SourceFile())
@source_options("where")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="Format of the entries; detected if not given.")
@selection_options
@click.option("--hex", "as_hex", is_flag=True, help="The bytes of the selected entries, with their fields.")
@json_options
@click.option("--csv", "as_csv", is_flag=True, help="Print one table (--table, else the events) as CSV.")
@click.option("--figure", metavar="FILE", type=FigureFile(), help="Draw what is pending and enabled: .svg, .png, .pdf.")
@click.option("--browse", is_flag=True, help="Walk through it in the terminal.")
@click.option("--carve", metavar="FILE", type=ResultFile(), help="Write the pages that were read as a small ELF core.")
@click.option("--limit", default=ENTRIES, show_default=True, type=click.IntRange(1), help="Most entries to decode.")
@click.option(
    "--explain",
    is_flag=False,
    flag_value="",
    metavar="[FINDING]",
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Tell what a finding means, and where its rule is written; of all if none is named.",
)
@click.pass_context
def command(
    ctx: click.Context,
    image: Path | None,
    where: dict[str, Any],
    profile: str | None,
    selection: Selection,
    as_hex: bool,
    results: Results,
    as_csv: bool,
    figure: Path | None,
    browse: bool,
    limit: int,
    carve: Path | None,
) -> None:
    """Decode the tables of a GIC in IMAGE, a dump of RAM, and check them.

    IMAGE is an ELF core, LiME file, kdump vmcore, snapshot of the model's hardware, raw bytes with --base or as
    FILE@BASE, or the socket of QEMU's QMP; .xz, .gz and .zst are unpacked. Its registers come from --registers, --set
    and --trace, else from the snapshot itself, from NAME.toml or registers.toml beside the image, or from the Linux
    kernel whose RAM it is: its struct its_node, and its log. --vmlinux, the debug information of that kernel, tells
    Linux's interrupt numbers, handlers and devices too, and what KVM has of its guests' events (extra [vmcore]).

    Without IMAGE the registers alone are checked.

    Exit status: 0 nothing found, 1 findings, 2 unusable input.
    """
    given = {name for name, value in where.items() if value not in (None, ())}
    if image is None and (not given or given - OF_REGISTERS):
        raise click.UsageError("Missing argument 'IMAGE'.")
    mode = _mode(json=results.as_json, hex=as_hex, csv=as_csv, browse=browse)
    if mode == "hex" and selection == Selection(pending=selection.pending):
        raise click.UsageError("--hex needs --device, --lpi, --irq, --vpe or --table.")
    if mode == "browse":
        _require_terminal()
    if mode == "csv" and selection.table is None:
        selection = replace(selection, table="events")
    if image is None:
        source = registers_alone(**{name: where[name] for name in OF_REGISTERS})
    else:
        source = opened(image, **where, recorded=carve is not None)
    found = Report.of(image or NO_IMAGE, source, PROFILES[profile] if profile else None, limit)
    views = found.views(selection)
    show: dict[str, Callable[[], None]] = {
        "text": lambda: _print(found, views),
        "hex": lambda: _print_octets(found.found, selection),
        "csv": lambda: _print_csv(views[0]),
        "browse": lambda: _browse(found),
    }
    results.publish(lambda: found.document(views), show.get(mode, show["text"]))
    if figure is not None:
        from gicmodel.inspection.figure import draw

        save_figure(figure, draw(found.found))
    if carve is not None and isinstance(source.dump, Recorder):
        runs = source.dump.runs()
        write_core(carve, runs)
        click.echo(carved(carve, runs), err=True)
    ctx.exit(0 if found.passed else 1)


def opened(image: Path, **where: Any) -> Source:
    """`open_source`, with a bar for a long look through RAM."""
    with Watcher() as watcher:
        return open_source(image, **where, progress=partial(watcher.progress, f"looking through {image.name}"))


def carved(path: Path, runs: Sequence[Piece]) -> str:
    """What a carved core holds that may be private."""
    size = sum(run.octets.size for run in runs)
    return (
        f"{printable(str(path))}: {size:#x} bytes in {len(runs)} runs: tables and queue of the GIC, and "
        "whole pages around the kernel's log, its page tables and its drivers' structures, with what else is there"
    )


def explain_rule(identifier: str) -> str:
    """The rule of a finding; raises UnusableInput, with the identifiers there are, if there is none."""
    rule = RULES.get(identifier)
    if rule is None:
        raise UnusableInput(f"no finding is named {identifier!r}; there are {', '.join(sorted(RULES))}")
    return f"{rule.identifier}: {rule.severity}\n{rule.text}\nsource: {rule.source}"


def explain_rules() -> str:
    """Every finding that can be explained, errors first, with its rule."""
    rules = sorted(RULES.values(), key=lambda rule: (rule.severity, rule.identifier))
    return "\n".join(f"{rule.identifier}: {rule.severity}: {rule.text}" for rule in rules)


def _mode(**wanted: bool) -> str:
    """How the dump is shown: as one of the options asks, or as text. UsageError if two ask."""
    modes = [mode for mode, is_wanted in wanted.items() if is_wanted]
    if len(modes) > 1:
        raise click.UsageError(" and ".join(f"--{mode}" for mode in modes) + " exclude each other.")
    return modes[0] if modes else "text"


def _print(report: Report, views: Sequence[View]) -> None:
    _print_head(report)
    for view in views:
        print_view(view)
    say(f"\n{report.summary()}")


def origins(source: Source) -> Iterator[str]:
    """Lines that say which registers of a kernel were read where, and which kernels there are."""
    by_place: dict[str, list[str]] = {}
    for frame, values in source.registers.items() if source.kernel else ():
        for name, value in values.items():
            by_place.setdefault(origin_of(value) or "", []).append(f"{frame}_{name}")
    yield from (f"{origin}: {', '.join(names[:MOST_NAMED])}{_and_more(names)}" for origin, names in by_place.items())
    if len(source.kernels) > 1:
        yield from (f"--node {number}: {kernel}" for number, kernel in enumerate(source.kernels))


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""


def _require_terminal() -> None:
    """UnusableInput, before anything is read, if there is nothing to browse with."""
    if find_spec("textual") is None:
        raise MissingExtra("--browse", "textual", "tui")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UnusableInput("--browse needs a terminal")


def _browse(report: Report) -> None:
    from gicmodel.cli.browser import Browser
    from gicmodel.cli.outline import Outline

    found = report.found
    title = f"{printable(str(report.image))}: GICv{found.architecture}, {found.profile.name}"
    Browser(title, Outline(found, report.findings)).run()


def _print_octets(found: Inspection, selection: Selection) -> None:
    chosen = ((entry, row) for entry, rows in entries(found, selection) for row in rows)
    for entry, row in islice(chosen, MOST_EXPLAINED):
        say("\n".join(explain(dump_of(found, entry), entry, row)))


def _print_csv(view: View) -> None:
    """Print a table as CSV, and, beside it, whether there may be more rows."""
    print_csv(view)
    if view.gap is not None:
        click.echo(printable(view.heading), err=True)


def _print_head(report: Report) -> None:
    found = report.found
    if report.image == NO_IMAGE:
        say(f"{NO_IMAGE}: registers alone; all that is in RAM is not known")
    else:
        say(f"{printable(str(report.image))}: {found.dump.octets:#x} bytes in {len(found.dump.segments)} segments")
    if report.source.live is not None:
        say(report.source.live)
    say(printable(f"registers: {', '.join(report.source.sources)}"))
    for line in origins(report.source):
        say(f"  {line}")
    say(f"GICv{found.architecture}, entries of {found.profile.name} ({found.profile.doc})")
    for line in found.evidence:
        say(f"  {line}")
    if not found.dump.settled:
        say(CAVEAT)
    for register, disables in found.missing.items():
        say(f"missing: {register}: {disables}")
