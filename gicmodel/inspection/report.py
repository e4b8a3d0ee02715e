# SPDX-License-Identifier: Apache-2.0
"""An image inspected: its registers, what was decoded and what was found, for Python and as one JSON document.

The document is written as it is made, so that a large one costs no memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gicmodel.errors import utf8
from gicmodel.inspection import gaps
from gicmodel.inspection.budget import ENTRIES
from gicmodel.inspection.inspection import Inspection, inspect
from gicmodel.inspection.profiles import Profile
from gicmodel.inspection.rules import RULES, Findings, find
from gicmodel.inspection.selection import Selection, select
from gicmodel.inspection.source import Source
from gicmodel.inspection.views import View

CAVEAT = "pending: as RAM has it; a GIC may hold newer bits of a mapped vPE, or while EnableLPIs is 1 (IHI0069 5.3.19)"
"""Holds wherever pending bits are shown of a dump that is not settled."""
MOST_NAMED = 4
"""How many tables that were not read to their end are named."""


@dataclass(frozen=True)
class Report:
    """What `gicmodel inspect` shows."""

    image: Path
    source: Source
    found: Inspection
    findings: Findings

    @classmethod
    def of(cls, image: Path, source: Source, profile: Profile | None = None, limit: int = ENTRIES) -> Self:
        """Inspect an opened image, and look for everything that is wrong. Raises UnusableInput as `inspect`."""
        found = inspect(source.dump, source.registers, profile, limit, source.view)
        return cls(image, source, found, find(found))

    @property
    def passed(self) -> bool:
        """Whether all was read and nothing is wrong."""
        return not (self.findings.total or self.found.truncated)

    def views(self, selection: Selection | None = None) -> list[View]:
        """The tables, or those that are selected; UnusableInput if what is selected is not there."""
        return select(self.found, self.findings, selection or Selection())

    def about(self) -> dict[str, Any]:
        """What is not a table: the formats and their evidence, the registers, what is missing, how many findings."""
        registers = {
            frame: {name: f"{value:#x}" for name, value in values.items()}
            for frame, values in self.found.frames.values.items()
        }
        return {
            "image": utf8(str(self.image)),
            "registers_from": [utf8(source) for source in self.source.sources],
            **({} if self.source.live is None else {"live": self.source.live}),
            "profile": self.found.profile.name,
            "evidence": self.found.evidence,
            "architecture": self.found.architecture,
            "octets": self.found.dump.octets,
            "registers": registers,
            "missing": self.found.missing,
            "truncated": self.found.truncated,
            "unknown": {name: gap for name, of in gaps.OF_VIEWS.items() if (gap := of(self.found)) is not None},
            "finding_counts": self.findings.counts,
        }

    def to_json(self) -> dict[str, Any]:
        """The document of all tables."""
        return self.about() | {view.name: None if view.unknown else [*view.named()] for view in self.views()}

    def document(self, views: Sequence[View]) -> Iterator[str]:
        """The lines of a JSON document; each row of a table is one line."""
        yield "{"
        for name, value in self.about().items():
            yield f"  {json.dumps(name)}: {json.dumps(value, indent=2)},".replace("\n", "\n  ")
        for number, view in enumerate(views):
            yield from _array(view, "," if number + 1 < len(views) else "")
        yield "}"

    def summary(self) -> str:
        """One line: how much there is, or is at least, `-` where that is not known, and how many findings."""
        found = self.found
        counts = {"devices": "devices", "events": "events", "vpes": "vPEs", "pending": "pending interrupts"}
        text = ", ".join(
            f"{gaps.counted(getattr(found, name).size, gaps.OF_VIEWS[name](found))} {title}".replace("unknown", "-")
            for name, title in counts.items()
        )
        for number, severity in enumerate(("error", "warning")):
            count = sum(count for name, count in self.findings.counts.items() if RULES[name].severity == severity)
            text += f"{', ' if number else '; '}{count} {severity}s"
        if found.truncated:
            more = ", ..." if len(found.truncated) > MOST_NAMED else ""
            text += f"; not read to the end: {', '.join(found.truncated[:MOST_NAMED])}{more} (--limit)"
        return text


def _array(view: View, comma: str) -> Iterator[str]:
    if view.unknown:
        yield f"  {json.dumps(view.name)}: null{comma}"
        return
    yield f"  {json.dumps(view.name)}: ["
    before = ""
    for row in view.named():
        if before:
            yield f"{before},"
        before = f"    {json.dumps(row)}"
    if before:
        yield before
    yield f"  ]{comma}"
