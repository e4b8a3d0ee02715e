# SPDX-License-Identifier: Apache-2.0
"""The rules that a dump is checked against.

A new one is a `Rule` in the module of its subject and, in its `check`, a finding, or a group of rows of an array.
"""

from __future__ import annotations

from typing import NamedTuple

from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.rules import chain, kernel, mapping, memory, pending, queue, registers
from gicmodel.inspection.rules.rule import MOST, Finding, Rule

_SUBJECTS = (mapping, chain, pending, queue, memory, kernel, registers)

RULES = {rule.identifier: rule for subject in _SUBJECTS for rule in vars(subject).values() if isinstance(rule, Rule)}
"""Every rule by its identifier, in the order of their declarations."""


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
        for broken in subject.check(found):
            before = counts.get(broken.rule.identifier, 0)
            room = max(0, MOST - before)
            one = isinstance(broken, Finding)
            if many := 1 if one else broken.rows.size:
                counts[broken.rule.identifier] = before + many
            told += [broken][:room] if one else broken.first(room)
    told.sort(key=lambda finding: (finding.rule.severity, list(RULES).index(finding.rule.identifier)))
    return Findings(told, counts)
