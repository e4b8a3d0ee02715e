# SPDX-License-Identifier: Apache-2.0
"""What became of the interrupts of a VM that was migrated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gicmodel.errors import Interrupted
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.migration.machine import Delivery, VirtualMachine, pending_interrupts
from gicmodel.migration.migrate import Migration, MigrationError
from gicmodel.migration.steps import StepReport
from gicmodel.policy import Policy


@dataclass
class Verdict:
    """What became of the vLPIs and vSGIs, as (vCPU, INTID); `held` are pending still as the guest has them disabled.

    `expected` is how often each was to be delivered. `pending_before` and `pending_after` are numbers of vLPIs around
    the last migration, `sgis_before` and `sgis_after` of vSGIs; `steps`, `commands` and `unmaps` are sums over all that
    were not cancelled; `migrations` is how many came to their ends. `aborted` is how those that were cancelled ended.
    `interrupted`: all this is what the trial had come to before somebody stopped it.
    """

    vlpis: int
    expected: Counter[Delivery]
    delivered: Counter[Delivery] = field(default_factory=Counter)
    held: set[Delivery] = field(default_factory=set)
    pending_before: int = 0
    pending_after: int = 0
    sgis_before: int = 0
    sgis_after: int = 0
    image_identical: bool | None = None
    steps: list[StepReport] = field(default_factory=list)
    migrations: int = 0
    interrupted: bool = False
    policy: Policy = Policy.AVOID_UNSET
    commands: Counter[str] = field(default_factory=Counter)
    unmaps: int = 0
    failure: MigrationError | None = None
    aborted: list[MigrationError] = field(default_factory=list)

    @property
    def vlpis_expected(self) -> int:
        """How many vLPIs were to be delivered."""
        return sum(times for (_, intid), times in self.expected.items() if intid >= FIRST_LPI)

    @property
    def lost(self) -> list[Delivery]:
        """Pending before, neither delivered as often nor held."""
        return sorted((self.expected - self.delivered).keys() - self.held)

    @property
    def duplicated(self) -> list[Delivery]:
        """Delivered more often than raised."""
        return sorted((self.delivered - self.expected).keys())

    @property
    def passed(self) -> bool:
        """Nothing lost, nothing twice, the migration complete, and an image, if any, saved again as it was."""
        return not (self.interrupted or self.lost or self.duplicated or self.failure or self.image_identical is False)

    @property
    def only_lost(self) -> bool:
        """Interrupts are lost, and nothing else went wrong: an image that is not the same lacks what is lost."""
        return bool(self.lost) and not (self.interrupted or self.duplicated or self.failure)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        document: dict[str, Any] = {
            "vlpis": self.vlpis,
            "pending_before": self.pending_before,
            "pending_after": None if self.interrupted else self.pending_after,
            "lost": _named(self.lost),
            "duplicated": _named(self.duplicated),
            "image_identical": self.image_identical,
            "policy": self.policy.value,
            "commands": dict(self.commands),
            "unmaps": self.unmaps,
            "vsgis": {
                "pending_before": self.sgis_before,
                "pending_after": None if self.interrupted else self.sgis_after,
            },
            "steps": [{"name": step.name, "seconds": step.seconds, "bytes": step.bytes} for step in self.steps],
        }
        if self.interrupted:
            document |= {"interrupted": True, "migrations": self.migrations}
        if self.failure is not None:
            document["error"] = str(self.failure)
        if self.aborted:
            document["aborted"] = [str(error) for error in self.aborted]
        return document

    def deliver(self, vm: VirtualMachine, vcpus: Iterable[int] | None = None, owed: Iterable[Delivery] = ()) -> None:
        """Let the guest take its interrupts, on some vCPUs or all, and note which, and those it is owed then."""
        delivered = Counter(vm.deliver(vcpus))
        self.expected.update(owed)
        self.delivered.update(delivered)
        self.held = {found for found in pending_interrupts(vm) if vm.disabled(*found)}

    def look(self, vm: VirtualMachine) -> None:
        """Note how many are pending after the migration."""
        pending = pending_interrupts(vm)
        self.pending_after = sum(intid >= FIRST_LPI for _, intid in pending)
        self.sgis_after = len(pending) - self.pending_after

    def take(self, migration: Migration) -> bool:
        """Run a migration and add what it took; whether it came to its end."""
        try:
            migration.run()
        except MigrationError as error:
            self.failure = error
            return False
        finally:
            self._count(migration)
        self.migrations += 1
        return True

    def note_abort(self, migration: Migration) -> None:
        """Run a migration that is to be cancelled."""
        try:
            migration.run()
        except MigrationError as error:
            self.aborted.append(error)

    def _count(self, migration: Migration) -> None:
        """Add what a migration took."""
        so_far = {step.name: step for step in self.steps}
        for step in migration.steps.reports:
            before = so_far.get(step.name, StepReport(step.name, 0.0, 0))
            so_far[step.name] = StepReport(step.name, before.seconds + step.seconds, before.bytes + step.bytes)
        self.steps = list(so_far.values())
        self.commands += migration.commands
        self.unmaps += migration.unmaps


def _named(deliveries: list[Delivery]) -> list[dict[str, int]]:
    return [{"vcpu": vcpu, "intid": intid} for vcpu, intid in deliveries]


RESETS = (0, 1, 3, 64)


@dataclass
class PolicyComparison:
    """Many trials that differ in policy and number of resets: that number, and what each came to."""

    verdicts: list[tuple[int, Verdict]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost or doubled, but by the policy that loses, which may do so once there is a reset."""
        return all(
            verdict.passed or (verdict.policy.loses and resets > 0 and verdict.only_lost)
            for resets, verdict in self.verdicts
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
            for resets, verdict in self.verdicts
        ]


def compare_policies(trial: Callable[[Policy, int], Verdict]) -> PolicyComparison:
    """The same trial with every policy, with every number of resets. Interrupted, with those so far, by Ctrl-C."""
    comparison = PolicyComparison()
    try:
        for policy in Policy:
            for resets in RESETS:
                comparison.verdicts.append((resets, trial(policy, resets)))
    except KeyboardInterrupt as stop:
        raise Interrupted(comparison) from (stop.__cause__ or stop)
    return comparison
