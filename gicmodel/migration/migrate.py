# SPDX-License-Identifier: Apache-2.0
"""A migration, step by step, as the cover letter of "KVM: arm64: Add VLPI migration support on GICv4.1" draws it.

Save path: pause vCPUs, pause devices, flush the ITS tables into guest RAM, flush the pending tables (unmap every vPE,
read its VPT, map it again), copy what is dirty. Resume path: registers, ITS tables, forwarding, run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gicmodel.driver import DriverError
from gicmodel.kvm import KvmError
from gicmodel.memory import PAGE_BYTES, GuestMemory
from gicmodel.migration import state
from gicmodel.migration.host import Host
from gicmodel.migration.machine import VirtualMachine
from gicmodel.migration.policy import Policy, enable_vectors
from gicmodel.migration.ram import Connection, ConnectionLost, copy_pages
from gicmodel.migration.registers import Registers
from gicmodel.migration.steps import Progress, Steps, no_progress
from gicmodel.migration.vfio import DeviceState


class MigrationError(Exception):
    """A step that failed, by name in `step`; the cause is `__cause__`. The guest goes on where it was.

    `casualties` are the devices of the source that do not go on with it, each with the reason.
    """

    def __init__(self, step: str, cause: Exception, casualties: Sequence[DriverError] = ()) -> None:
        super().__init__("; ".join([f"{step}: {cause}", *map(str, casualties)]))
        self.step = step
        self.casualties = tuple(casualties)


class Cancelled(Exception):
    """Somebody changed their mind."""


@dataclass(frozen=True)
class Options:
    """How a migration goes.

    `forwarding_resets` is how often the loading of a device resets the forwarding of its vectors, unless the policy
    avoids it; see `policy.growing`. `abort_at` names a step after which the migration is cancelled.
    """

    policy: Policy = Policy.AVOID_UNSET
    forwarding_resets: int = 0
    abort_at: str | None = None


DEFAULTS = Options()


class Migration:
    """One VM on its way from its host to `destination`; `target` is what it becomes there.

    Raises:
        KvmError: the destination cannot have the VM's vPEs. The source has not been touched.
    """

    def __init__(
        self,
        source: VirtualMachine,
        destination: Host,
        progress: Progress = no_progress,
        options: Options = DEFAULTS,
        connection: Connection | None = None,
    ) -> None:
        memory = source.memory
        self._hosts = (source.host, destination)
        self._commands_before, self._unmaps_before = self._commands_so_far(), source.unmaps
        self.source = source
        self.options = options
        self.target = VirtualMachine(destination, GuestMemory(memory.base, memory.size), source.vcpus)
        self.steps = Steps(progress, memory, self.target.memory)
        self._connection = connection
        self._registers: Registers = {}

    @property
    def plan(self) -> tuple[Step, ...]:
        """The steps to take."""
        return plan_of(self.options.policy)

    @property
    def commands(self) -> Counter[str]:
        """The commands that the ITSs of the two hosts have executed for this migration."""
        return self._commands_so_far() - self._commands_before

    @property
    def unmaps(self) -> int:
        """How often it unmapped a vPE to look into its VPT."""
        return self.source.unmaps - self._unmaps_before + self.target.unmaps

    def precopy_ram(self) -> int:
        """Copy all of guest RAM while the VM runs; from here on what it writes is tracked."""
        memory = self.source.memory
        pages = memory.written_pages()
        memory.clear_dirty()
        return self._copy("precopy RAM", pages)

    def pause_vcpus(self) -> None:
        """Every vCPU leaves its CPU, and its vPE residency."""
        self.source.pause_vcpus()

    def pause_devices(self) -> None:
        """VFIO devices leave RUNNING: no interrupt is raised any more."""
        self.source.set_devices(DeviceState.STOP_COPY)
        self.source.handle_interrupts()

    def flush_its_tables(self) -> None:
        """KVM_DEV_ARM_ITS_SAVE_TABLES."""
        for its in self.source.vgic.its:
            its.save_tables()

    def flush_pending_tables(self) -> None:
        """KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES: what the VPTs hold goes to the guest's pending tables too."""
        self.source.flush_pending_tables()

    def copy_dirty_ram(self) -> int:
        """The last pass over guest RAM. What is written after it stays behind."""
        return self._copy("copy dirty RAM", self.source.memory.dirty_pages())

    def save_registers(self) -> None:
        """The virtual GIC's registers, after its tables are in RAM."""
        self._registers = state.save_registers(self.source.vgic)

    def restore_redistributors(self) -> None:
        """LPI tables and EnableLPIs of every vCPU."""
        state.restore_redistributors(self.target.vgic, self._registers)

    def restore_its_registers(self) -> None:
        """Queue and tables of every ITS."""
        state.restore_its_registers(self.target.vgic, self._registers)

    def restore_its_tables(self) -> None:
        """KVM_DEV_ARM_ITS_RESTORE_TABLES; each LPI's pending bit is read as KVM creates it."""
        state.restore_its_tables(self.target.vgic, self._registers)

    def set_forwarding(self) -> None:
        """VFIO enables the vectors of each device: forwarding, and pending state moves to the VPTs."""
        self.target.attach([(device.guest_device_id, device.events) for device in self.source.devices])
        for number, device in enumerate(self.target.devices):
            enable_vectors(device, self.target.vgic, self.options.policy, self.options.forwarding_resets)
            self.steps.progress("set forwarding", number + 1, len(self.target.devices))

    def transfer_pending_state(self) -> None:
        """The GIC's VM state change handler: what software still has pending moves to the VPTs."""
        self.target.vgic.transfer_pending()

    def resume_devices(self) -> None:
        """The devices of the destination run."""
        self.target.set_devices(DeviceState.RUNNING)

    def run(self) -> None:
        """All steps in order.

        Raises:
            MigrationError: one failed. The source's devices and vCPUs run again, and the destination has forgotten the
                VM, so that another migration may follow. A device of the source that does not respond is reset.
        """
        for name, step in self.plan:
            try:
                self.steps.take(name, partial(step, self))
                if name == self.options.abort_at:
                    raise Cancelled("cancelled")
            except (KvmError, DriverError, ConnectionLost, Cancelled) as error:
                raise MigrationError(name, error, self._abort()) from error

    def _abort(self) -> list[DriverError]:
        self.source.pause_vcpus()  # An early step may have failed before they were.
        casualties = self.source.recover_devices()
        self.source.run_vcpus()
        with suppress(KvmError, DriverError):  # A destination that failed need not be able to clean up.
            self.target.destroy()
        return casualties

    def _copy(self, step: str, pages: NDArray[np.int64]) -> int:
        total = len(pages) * PAGE_BYTES

        def progress(done: int) -> None:
            self.steps.progress(step, done, total)

        return copy_pages(self.source.memory, self.target.memory, pages, progress, self._connection)

    def _commands_so_far(self) -> Counter[str]:
        return sum((host.commands for host in dict.fromkeys(self._hosts)), Counter())


Step = tuple[str, Callable[[Migration], int | None]]

TRANSFER: Step = ("transfer pending state", Migration.transfer_pending_state)

STEPS: tuple[Step, ...] = (
    ("precopy RAM", Migration.precopy_ram),
    ("pause vCPUs", Migration.pause_vcpus),
    ("pause devices", Migration.pause_devices),
    ("flush ITS tables", Migration.flush_its_tables),
    ("flush pending tables", Migration.flush_pending_tables),
    ("copy dirty RAM", Migration.copy_dirty_ram),
    ("save registers", Migration.save_registers),
    ("restore redistributors", Migration.restore_redistributors),
    ("restore ITS registers", Migration.restore_its_registers),
    ("restore ITS tables", Migration.restore_its_tables),
    ("set forwarding", Migration.set_forwarding),
    TRANSFER,
    ("resume devices", Migration.resume_devices),
)
"""The save path and the resume path, in the order of the cover letter and of QEMU; of which a policy may skip one."""


def plan_of(policy: Policy) -> tuple[Step, ...]:
    """The steps of a migration, in order: all but what only another policy needs."""
    return tuple(step for step in STEPS if policy.transfers_at_the_end or step is not TRANSFER)
