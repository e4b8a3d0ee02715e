# SPDX-License-Identifier: Apache-2.0
"""What the policies for forwarding that is reset cost, and what they lose: the table of `--compare-policies`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gicmodel.errors import UnusableInput

if TYPE_CHECKING:
    from gicmodel.migration.verdict import Verdict

COLUMNS = ("policy", "resets", "pending", "lost", "doubled", "ITS commands", "vPE unmaps")
LOSES = "rfc"
"""The policy that is expected to lose interrupts."""


class Comparison:
    """The report of many trials that differ in policy and number of resets."""

    unsaved: UnusableInput | None = None

    def __init__(self) -> None:
        self._verdicts: list[tuple[int, Verdict]] = []

    def add(self, resets: int, verdict: Verdict) -> None:
        """What a trial came to."""
        self._verdicts.append((resets, verdict))

    @property
    def passed(self) -> bool:
        """Whether nothing was lost or doubled, but by the policy that loses, which may do so once there is a reset."""
        return all(
            verdict.passed or (verdict.policy.value == LOSES and resets > 0 and verdict.only_lost)
            for resets, verdict in self._verdicts
        )

    def to_json(self) -> list[dict[str, Any]]:
        """A row each."""
        return [
            {
                "policy": verdict.policy.value,
                "forwarding_resets": resets,
                "pending": verdict.vlpis_expected,
                "lost": len(verdict.lost),
                "duplicated": len(verdict.duplicated),
                "commands": dict(verdict.commands),
                "unmaps": verdict.unmaps,
            }
            | ({"error": str(verdict.failure)} if verdict.failure is not None else {})
            for resets, verdict in self._verdicts
        ]

    def show(self) -> None:
        """A table in Markdown."""
        rows = [row | {"commands": sum(row["commands"].values())} for row in self.to_json()]
        cells = [[str(cell) for cell in list(row.values())[: len(COLUMNS)]] for row in rows]
        widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        for line in (COLUMNS, rule, *cells):
            click.echo(f"| {line[0].ljust(widths[0])} | {' | '.join(map(str.rjust, line[1:], widths[1:]))} |")
        for failure in dict.fromkeys(row["error"] for row in rows if "error" in row):
            click.echo(f"not migrated: {failure}")
