# SPDX-License-Identifier: Apache-2.0
"""`gicmodel diff`: what a migration, or anything else between two dumps, did to interrupts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gicmodel.cli.inspect import opened
from gicmodel.cli.options import SourceFile, source_options
from gicmodel.cli.output import Results, json_options, print_table, print_view, say
from gicmodel.errors import UnusableInput, number_in, printable
from gicmodel.inspection import PROFILES, Inspection, inspect
from gicmodel.inspection.diff import Change, Comparison, compare
from gicmodel.inspection.report import CAVEAT
from gicmodel.inspection.views import Column, View


@click.command()
@click.argument("before", type=SourceFile())
@click.argument("after", type=SourceFile())
@source_options("where_before", "before")
@source_options("where_after", "after")
@click.option("--before-profile", type=click.Choice(list(PROFILES)), help="Format of BEFORE's entries.")
@click.option("--after-profile", type=click.Choice(list(PROFILES)), help="Format of AFTER's entries.")
@click.option("--vpes", metavar="ID,ID,...", help="A host's vPEs in the order of the guest's vCPUs; all if not given.")
@json_options
@click.pass_context
def command(
    ctx: click.Context,
    before: Path,
    after: Path,
    where_before: dict[str, Any],
    where_after: dict[str, Any],
    before_profile: str | None,
    after_profile: str | None,
    vpes: str | None,
    results: Results,
) -> None:
    """Compare two dumps: mappings, configuration, pending interrupts, and where tables are.

    Each dump is read as `gicmodel inspect` reads it, with that command's options for each. A host with vPEs and a
    guest's RAM with its saved tables compare too: each vPE's virtual pending table with its vCPU's pending table.

    What one dump has and the other lacks the memory to tell of is "unknown", and what a dump lacks is said. So is what
    each was taken for: a host is that of the guest only if the latter is KVM's.

    Exit status: 0 no difference (tables may lie elsewhere), 1 differences or unknown, 2 unusable input.
    """
    one = _read(before, where_before, before_profile)
    two = _read(after, where_after, after_profile)
    comparison = compare(one, two, None if vpes is None else _numbers(vpes))

    def show() -> None:
        say(_heading(before, one, after, two))
        say(_taken(comparison))
        if not (one.dump.settled and two.dump.settled):
            say(CAVEAT)
        counts = [(kind, str(had), str(has)) for kind, (had, has) in comparison.compared.items()]
        print_table(("compared", "before", "after"), counts, right=(1, 2))
        print_view(_view(comparison))
        say(f"\n{summary(comparison)}")

    results.publish(comparison.to_json(), show)
    ctx.exit(1 if comparison.differs else 0)


def _read(image: Path, where: dict[str, Any], profile: str | None) -> Inspection:
    source = opened(image, **where)
    return inspect(source.dump, source.registers, PROFILES[profile] if profile else None, kernel=source.view)


def _numbers(text: str) -> list[int]:
    try:
        return [number_in(part) for part in text.split(",")]
    except ValueError as error:
        raise UnusableInput(f"--vpes {text!r} is not a list of vPEIDs, such as 4,5,6,7") from error


def _heading(before: Path, one: Inspection, after: Path, two: Inspection) -> str:
    return "\n".join(
        f"{name}: {printable(str(path))}: GICv{found.architecture}, {found.profile.name}, {found.events.size} events, "
        f"{found.pending.size} pending"
        for name, path, found in (("before", before, one), ("after", after, two))
    )


def _taken(comparison: Comparison) -> str:
    """What each side was taken for, and what fits ill."""
    roles = f"taken for: before {comparison.before}, after {comparison.after}"
    how = "vPE n's vLPIs with vCPU n's" if comparison.is_migration else "as one machine at two times"
    lines = [f"{roles}; compared {how}", *(f"unlike: {text}" for text in comparison.unlike)]
    return "\n".join([*lines, *(f"not compared: {text}" for text in comparison.untold)])


def _view(comparison: Comparison) -> View:
    columns = [Column(name, "text", [getattr(change, name) for change in comparison.told]) for name in Change._fields]
    return View("changes", "changes", columns)


def summary(comparison: Comparison) -> str:
    """One line: how many changes of which kind."""
    counts = [f"{kind} {what}: {count}" for (kind, what), count in comparison.counts.items()]
    told = ", ".join(counts) if counts else "no difference"
    return f"{told} in what was compared" if comparison.untold else told
