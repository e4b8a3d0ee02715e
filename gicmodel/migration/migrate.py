# SPDX-License-Identifier: Apache-2.0
"""A migration, step by step, as the cover letter of "KVM: arm64: Add VLPI migration support on GICv4.1" draws it.

Save path: pause vCPUs, pause devices, flush the ITS tables into guest RAM, flush the pending tables (unmap every vPE,
read its VPT, map it again), copy what is dirty. Resume path: registers, ITS tables, forwarding, run. A saved image of a
guest takes the same steps: it resumes, and is saved again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.driver import DriverError
from gicmodel.errors import LinuxError, UnusableInput
from gicmodel.images.registers import Registers
from gicmodel.kvm import HostOops
from gicmodel.memory import PAGE_BYTES, GuestMemory
from gicmodel.migration import state
from gicmodel.migration.host import Host
from gicmodel.migration.machine import VirtualMachine
from gicmodel.migration.ram import Connection, ConnectionLost, copy_pages
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.steps import Progress, Steps, no_progress
from gicmodel.migration.vfio import DeviceState, enable_vectors
from gicmodel.policy import Policy


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
    """How a VM is migrated.

    `forwarding_resets` is how often the loading of a device resets the forwarding of its vectors, unless the policy
    avoids it; see `vfio.growing`. `abort_at` names a step after which a migration is cancelled. Of a trial: `hops` is
    how many migrations there are, and before each of a VM that is made up a `fraction` of its interrupts is raised,
    drawn with `seed`.
    """

    policy: Policy = Policy.AVOID_UNSET
    forwarding_resets: int = 0
    abort_at: str | None = None
    hops: int = 1
    fraction: float = 0.25
    seed: int = 0


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
        self._hosts: tuple[Host, ...] = (source.host, destination)
        self._commands_before, self._unmaps_before = self._commands_so_far(), source.unmaps
        self.source = source
        self.options = options
        self.target = VirtualMachine(destination, GuestMemory(memory.base, memory.size), source.vcpus)
        self.steps = Steps(progress, memory, self.target.memory)
        self.plan = plan_of(options.policy)
        """The steps to take."""
        self._devices = [(device.guest_device_id, device.events) for device in source.devices]
        self._connection = connection
        self.registers: Registers = {}

    @property
    def commands(self) -> Counter[str]:
        """The commands that the ITSs of the two hosts have executed for this migration."""
        return self._commands_so_far() - self._commands_before

    @property
    def unmaps(self) -> int:
        """How often it unmapped a vPE to look into its VPT."""
        return sum(vm.unmaps for vm in {self.source, self.target}) - self._unmaps_before

    def precopy_ram(self) -> int:
        """Copy all of guest RAM while the VM runs; from here on what it writes is tracked."""
        memory = self.source.memory
        pages = memory.written_pages()
        memory.clear_dirty()
        return self._copy("precopy RAM", pages)

    def pause_devices(self) -> None:
        """VFIO devices leave RUNNING: no interrupt is raised any more."""
        self.source.set_devices(DeviceState.STOP_COPY)
        self.source.handle_interrupts()

    def flush_its_tables(self) -> None:
        """KVM_DEV_ARM_ITS_SAVE_TABLES."""
        for its in self.source.vgic.its:
            its.save_tables()

    def copy_dirty_ram(self) -> int:
        """The last pass over guest RAM. What is written after it stays behind."""
        return self._copy("copy dirty RAM", self.source.memory.dirty_pages())

    def save_registers(self) -> None:
        """The virtual GIC's registers, after its tables are in RAM."""
        self.registers = state.guest_registers(self.source.vgic)

    def set_forwarding(self) -> None:
        """VFIO enables the vectors of each device: forwarding, and pending state moves to the VPTs."""
        self.target.attach(self._devices)
        for number, device in enumerate(self.target.devices):
            enable_vectors(device, self.target.vgic, self.options.policy, self.options.forwarding_resets)
            self.steps.progress("set forwarding", number + 1, len(self.target.devices))

    def take(self, step: Step) -> None:
        """One step. KvmError, DriverError or ConnectionLost if it fails."""
        self.steps.take(step.name, partial(step.take, self))

    def run(self) -> None:
        """All steps in order.

        Raises:
            MigrationError: one failed. The source's devices and vCPUs run again, and the destination has forgotten the
                VM, so that another migration may follow. A device of the source that does not respond is reset.
        """
        for step in self.plan:
            try:
                self.take(step)
                if step.name == self.options.abort_at:
                    raise Cancelled("cancelled")
            except (LinuxError, ConnectionLost, Cancelled) as error:
                raise MigrationError(step.name, error, self._recover()) from error

    def _recover(self) -> list[DriverError]:
        self.source.pause_vcpus()  # An early step may have failed before they were.
        casualties = self.source.recover_devices()
        self.source.run_vcpus()
        with suppress(LinuxError):  # A destination that failed need not be able to clean up.
            self.target.destroy()
        return casualties

    def _copy(self, step: str, pages: NDArray[np.int64]) -> int:
        total = len(pages) * PAGE_BYTES

        def progress(done: int) -> None:
            self.steps.progress(step, done, total)

        return copy_pages(self.source.memory, self.target.memory, pages, progress, self._connection)

    def _commands_so_far(self) -> Counter[str]:
        return sum((host.driver.gic.commands_issued for host in dict.fromkeys(self._hosts)), Counter())


class Resume(Migration):
    """A saved guest on its way into a VM on `destination`, from which it is saved again.

    Raises:
        DriverError, KvmError: the host cannot carry such a VM.
    """

    def __init__(
        self, guest: SavedGuest, destination: Host, progress: Progress = no_progress, options: Options = DEFAULTS
    ) -> None:
        self._hosts = (destination,)
        self._commands_before, self._unmaps_before = self._commands_so_far(), 0
        self._guest = guest
        self.options = options
        self.source = self.target = VirtualMachine(destination, guest.memory, guest.vcpus)
        self.steps = Steps(progress, guest.memory)
        self.plan = plan_of(options.policy, IMAGE_STEPS)
        self._connection = None
        self.registers = guest.registers

    def set_forwarding(self) -> None:
        """A VFIO device for each device that the guest's tables map, with a vector for each event."""
        devices = sorted(self.target.vgic.its[0].devices.items())
        self._devices = [(number, tuple(device.ites)) for number, device in devices]
        super().set_forwarding()

    def take(self, step: Step) -> None:
        """One step, whose bytes are all that it writes.

        Raises:
            UnusableInput: KVM or the host refuses what the image holds, or Linux would not survive it.
            KvmError, DriverError: the host cannot save the VM.
        """
        self._guest.memory.clear_dirty()
        try:
            super().take(step)
        except HostOops as oops:
            raise UnusableInput(f"{self._guest.path}: Linux would not survive it: {oops}") from oops
        except LinuxError as error:
            if step in RESUME_PATH:
                raise UnusableInput(f"{self._guest.path}: {error}") from error
            raise

    def _recover(self) -> list[DriverError]:
        """Without `abort_at` a VM that cannot be saved goes on. With it, the image is as it was for another attempt."""
        if self.options.abort_at is not None:
            self.target.destroy()
            self._guest.reload()
        return []


class Step(NamedTuple):
    """A step by its name; `take` does it, and may say how many bytes of guest RAM it copied."""

    name: str
    take: Callable[[Migration], int | None]


TRANSFER = Step("transfer pending state", lambda migration: migration.target.vgic.transfer_pending())
"""The GIC's VM state change handler: what software still has pending moves to the VPTs."""

FLUSH_PATH = (
    Step("pause devices", lambda migration: migration.pause_devices()),
    Step("flush ITS tables", lambda migration: migration.flush_its_tables()),
    Step("flush pending tables", lambda migration: migration.source.flush_pending_tables()),
)
"""What brings the state of a stopped VM into its RAM."""

RESUME_PATH = (
    Step("restore redistributors", lambda to: state.restore_redistributors(to.target.vgic, to.registers)),
    Step("restore ITS registers", lambda to: state.restore_its_registers(to.target.vgic, to.registers)),
    Step("restore ITS tables", lambda to: state.restore_its_tables(to.target.vgic, to.registers)),
    Step("set forwarding", lambda migration: migration.set_forwarding()),
    TRANSFER,
)

STEPS = (
    Step("precopy RAM", lambda migration: migration.precopy_ram()),
    Step("pause vCPUs", lambda migration: migration.source.pause_vcpus()),
    *FLUSH_PATH,
    Step("copy dirty RAM", lambda migration: migration.copy_dirty_ram()),
    Step("save registers", lambda migration: migration.save_registers()),
    *RESUME_PATH,
    Step("resume devices", lambda migration: migration.target.set_devices(DeviceState.RUNNING)),
)
"""The save path and the resume path, in the order of the cover letter and of QEMU; of which a policy may skip one."""


IMAGE_STEPS = RESUME_PATH + FLUSH_PATH
"""Those of a saved guest that is resumed and, before it runs, saved again."""


def plan_of(policy: Policy, steps: tuple[Step, ...] = STEPS) -> tuple[Step, ...]:
    """Those of the steps that a migration takes: all but what only another policy needs."""
    return tuple(step for step in steps if policy.transfers_at_the_end or step is not TRANSFER)
