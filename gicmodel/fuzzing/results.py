# SPDX-License-Identifier: Apache-2.0
"""What a campaign comes to: how many commands ended how, and one finding of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gicmodel.fuzzing.campaign import ChunkResult, Finding
from gicmodel.fuzzing.peers.peer import Outcomes
from gicmodel.fuzzing.programs.program import Program
from gicmodel.fuzzing.programs.text import format_program
from gicmodel.hardware import error_name
from gicmodel.layouts.commands import OPCODES

OK, UNKNOWN = "OK", "UNKNOWN_COMMAND"


@dataclass
class Results:
    """The chunks of a campaign so far, in whatever order they came."""

    seed: int
    commands: int = 0
    outcomes: Outcomes = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, result: ChunkResult) -> None:
        """One more chunk."""
        self.commands += result.commands
        self.outcomes += result.outcomes
        if result.finding is not None:
            self.findings.append(result.finding)

    @property
    def distinct(self) -> tuple[int, int]:
        """As the function `distinct`, of all outcomes."""
        return distinct(self.outcomes)

    def first_of_each_kind(self) -> list[Finding]:
        """The finding of each kind that a campaign in one process meets first."""
        first: dict[tuple[str, str], Finding] = {}
        for finding in sorted(self.findings, key=lambda finding: (finding.against, finding.chunk)):
            first.setdefault((finding.against, finding.kind), finding)
        return list(first.values())


def without_copies(findings: Iterable[Finding]) -> list[Finding]:
    """The first finding with each program."""
    first: dict[Program, Finding] = {}
    for finding in findings:
        first.setdefault(finding.program, finding)
    return list(first.values())


def named_outcomes(outcomes: Outcomes) -> dict[str, dict[str, int]]:
    """By mnemonic, how many commands were OK or ended with which error, all in alphabetical order."""
    named: dict[str, Counter[str]] = {}
    for (mnemonic, end), count in outcomes.items():
        name, outcome = (mnemonic, _named(end)) if isinstance(end, str) or mnemonic in OPCODES else (UNKNOWN, UNKNOWN)
        named.setdefault(name, Counter())[outcome] += count
    return {mnemonic: dict(sorted(named[mnemonic].items())) for mnemonic in sorted(named)}


def _named(end: int | str) -> str:
    if isinstance(end, str):
        return end
    return error_name(end) if end else OK


def distinct(outcomes: Outcomes) -> tuple[int, int]:
    """How many different pairs of a command and its end have been seen, and how many of them are errors."""
    named = [end for ends in named_outcomes(outcomes).values() for end in ends]
    return len(named), len(named) - named.count(OK)


def document(
    results: Results, divergences: Sequence[tuple[Finding, str | None]], seconds: float, interrupted: bool
) -> dict[str, Any]:
    """The results as JSON has them; each divergence comes with the file that it was saved to."""
    return {
        "commands": results.commands,
        "seconds": round(seconds, 3),
        "seed": results.seed,
        "interrupted": interrupted,
        "divergences": [_divergence(results, finding, file) for finding, file in divergences],
        "outcomes": named_outcomes(results.outcomes),
    }


def _divergence(results: Results, finding: Finding, file: str | None) -> dict[str, Any]:
    alike = [other for other in results.findings if (other.against, other.kind) == (finding.against, finding.kind)]
    return {
        "against": finding.against,
        "kind": finding.kind,
        "difference": finding.difference,
        "commands": finding.commands,
        "chunk": finding.chunk,
        "chunks": len(alike),
        "program": format_program(finding.program, finding.difference).splitlines(),
        "file": file,
    }
