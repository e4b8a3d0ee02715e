# SPDX-License-Identifier: Apache-2.0
"""What became of the interrupts of a VM that was migrated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gicmodel.migration.machine import Delivery, VirtualMachine
from gicmodel.migration.migrate import Migration, MigrationError
from gicmodel.migration.pending import pending_interrupts
from gicmodel.migration.policy import Policy
from gicmodel.migration.steps import StepReport


@dataclass
class Verdict:
    """What became of the vLPIs, as (vCPU, INTID); `held` are still pending because the guest has them disabled.

    `expected` is how often each was to be delivered. `pending_before` and `pending_after` are numbers around the last
    migration; `steps`, `commands` and `unmaps` are sums over all that were not cancelled. `aborted` is how those that
    were cancelled ended.
    """

    vlpis: int
    expected: Counter[Delivery]
    delivered: Counter[Delivery] = field(default_factory=Counter)
    held: set[Delivery] = field(default_factory=set)
    pending_before: int = 0
    pending_after: int = 0
    image_identical: bool | None = None
    steps: list[StepReport] = field(default_factory=list)
    policy: Policy = Policy.AVOID_UNSET
    commands: Counter[str] = field(default_factory=Counter)
    unmaps: int = 0
    failure: MigrationError | None = None
    aborted: list[MigrationError] = field(default_factory=list)

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
        return not (self.lost or self.duplicated or self.failure or self.image_identical is False)

    def deliver(self, vm: VirtualMachine, vcpus: Iterable[int] | None = None) -> None:
        """Let the guest take its interrupts, on some vCPUs or all, and note which."""
        self.delivered.update(vm.deliver(vcpus))
        lpis = vm.vgic.lpis
        pending = pending_interrupts(vm)
        self.held = {(vcpu, intid) for vcpu, intid in pending if intid in lpis and not lpis[intid].enabled}

    def count(self, migration: Migration) -> None:
        """Add what a migration took."""
        so_far = {step.name: step for step in self.steps}
        for step in migration.steps.reports:
            before = so_far.get(step.name, StepReport(step.name, 0.0, 0))
            so_far[step.name] = StepReport(step.name, before.seconds + step.seconds, before.bytes + step.bytes)
        self.steps = list(so_far.values())
        self.commands += migration.commands
        self.unmaps += migration.unmaps
