# SPDX-License-Identifier: Apache-2.0
"""The rules that a dump is checked against.

A new one is a `Rule` in the module of its subject and, in its `check`, a group of rows.
"""

from __future__ import annotations

from typing import NamedTuple

from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.rules import chain, kernel, mapping, memory, pending, queue, registers
from gicmodel.inspection.rules.rule import MOST, Finding, Group, Row, Rule

_SUBJECTS = (mapping, chain, pending, queue, memory, kernel, registers)

RULES = {rule.identifier: rule for subject in _SUBJECTS for rule in vars(subject).values() if isinstance(rule, Rule)}
"""Every rule by its identifier, in the order of their declarations."""


_OF_ABSENT_MEMORY = (memory.TABLE_ABSENT, memory.PENDING_ABSENT, memory.CONFIGURATION_ABSENT)
"""Of registers without any RAM they say nothing."""


class Findings(NamedTuple):
    """What breaks the rules: at most MOST findings a rule, and how many there are of each rule."""

    told: list[Finding]
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """How many findings there are."""
        return sum(self.counts.values())


def find(found: Inspection) -> Findings:
    """Check a dump against every rule; errors come first."""
    told: list[Finding] = []
    counts: dict[str, int] = {}
    for subject in _SUBJECTS:
        for group in subject.check(found):
            if group.rule in _OF_ABSENT_MEMORY and not found.dump.octets:
                continue
            before = counts.get(group.rule.identifier, 0)
            if len(group.rows):
                counts[group.rule.identifier] = before + len(group.rows)
            told += [_finding(group, row) for row in group.rows[: max(0, MOST - before)]]
    told.sort(key=lambda finding: (finding.rule.severity, list(RULES).index(finding.rule.identifier)))
    return Findings(told, counts)


def _finding(group: Group, row: Row) -> Finding:
    return Finding(group.rule, group.sentence(row), int(row["address"]), int(row["offset"]))


__all__ = ["MOST", "RULES", "Finding", "Findings", "Rule", "find"]
