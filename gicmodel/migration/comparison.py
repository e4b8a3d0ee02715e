# SPDX-License-Identifier: Apache-2.0
"""What the policies for forwarding that is reset cost, and what they lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gicmodel.errors import Interrupted
from gicmodel.migration.verdict import Verdict
from gicmodel.policy import Policy

RESETS = (0, 1, 3, 64)


class PolicyComparison:
    """The report of many trials that differ in policy and number of resets."""

    def __init__(self) -> None:
        self._verdicts: list[tuple[int, Verdict]] = []

    def add(self, resets: int, verdict: Verdict) -> None:
        """What a trial came to."""
        self._verdicts.append((resets, verdict))

    @property
    def passed(self) -> bool:
        """Whether nothing was lost or doubled, but by the policy that loses, which may do so once there is a reset."""
        return all(
            verdict.passed or (verdict.policy.loses and resets > 0 and verdict.only_lost)
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


def compare_policies(trial: Callable[[Policy, int], Verdict]) -> PolicyComparison:
    """The same trial with every policy, with every number of resets. Interrupted, with those so far, by Ctrl-C."""
    comparison = PolicyComparison()
    try:
        for policy in Policy:
            for resets in RESETS:
                comparison.add(resets, trial(policy, resets))
    except KeyboardInterrupt as stop:
        raise Interrupted(comparison) from (stop.__cause__ or stop)
    return comparison
