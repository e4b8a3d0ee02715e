# SPDX-License-Identifier: Apache-2.0
"""A decoded dump for machines: one JSON document, written as it is made so that a large one costs no memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gicmodel.errors import utf8
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.rules import Findings
from gicmodel.inspection.views import View


def about(image: Path, sources: Sequence[str], found: Inspection, findings: Findings) -> dict[str, Any]:
    """What is not a table: the formats and their evidence, the registers, what is missing, how many findings."""
    registers = {
        frame: {name: f"{value:#x}" for name, value in values.items()} for frame, values in found.frames.values.items()
    }
    return {
        "image": utf8(str(image)),
        "registers_from": [utf8(source) for source in sources],
        "profile": found.profile.name,
        "evidence": found.evidence,
        "architecture": found.architecture,
        "octets": found.dump.octets,
        "registers": registers,
        "missing": {missing.register: missing.disables for missing in found.missing},
        "truncated": found.truncated,
        "finding_counts": findings.counts,
    }


def document(head: dict[str, Any], views: list[View]) -> Iterator[str]:
    """The lines of the document; each row of a table is one line."""
    yield "{"
    for name, value in head.items():
        yield f"  {json.dumps(name)}: {json.dumps(value, indent=2)},".replace("\n", "\n  ")
    for number, view in enumerate(views):
        yield from _array(view, "," if number + 1 < len(views) else "")
    yield "}"


def _array(view: View, comma: str) -> Iterator[str]:
    names = [column.name for column in view.columns]
    yield f"  {json.dumps(view.name)}: ["
    before = ""
    for row in view.rows():
        if before:
            yield f"{before},"
        before = f"    {json.dumps(dict(zip(names, row, strict=True)))}"
    if before:
        yield before
    yield f"  ]{comma}"
