# SPDX-License-Identifier: Apache-2.0
"""What `gicmodel migrate` runs, as its options ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from gicmodel.cli._migrate_compare import Comparison
from gicmodel.cli._migrate_report import Outcome, Watcher
from gicmodel.config import GicConfig
from gicmodel.driver import DriverError
from gicmodel.errors import Interrupted, UnusableInput
from gicmodel.images.registers import write_registers
from gicmodel.images.segments import Segment, write_elf
from gicmodel.kvm import KvmError
from gicmodel.migration import Options, Policy, VirtualMachine
from gicmodel.migration.migrate import plan_of
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.trial import Course, Verdict, VmSize, migrate_new_vm, resume_saved_guest

MOST_HOST_CPUS = 16
COMPARED_RESETS = (0, 1, 3, 64)
Saved = tuple[Path, Sequence[Segment], dict[str, dict[str, int]]]
Saver = Callable[[list[VirtualMachine]], None]


@dataclass(frozen=True)
class Request:
    """The options of `gicmodel migrate`."""

    vcpus: int
    devices: int
    vectors: int
    pending: float
    architecture: str
    seed: int
    policy: str
    forwarding_resets: int
    hops: int
    abort_at: str | None
    save: Path | None

    def options(self) -> Options:
        """How each migration goes. UnusableInput if it never comes to the step at which it is to be aborted."""
        policy = Policy(self.policy)
        plan = [name for name, _ in plan_of(policy)]
        if self.abort_at is not None and self.abort_at not in plan:
            raise UnusableInput(
                f"--abort-at {self.abort_at!r}: with policy {policy.value} the steps are {', '.join(plan)}"
            )
        return Options(policy, self.forwarding_resets, self.abort_at)


def compare(request: Request, saved: Saved | None, watcher: Watcher) -> Comparison:
    """The same trial with every policy, with every number of resets. UnusableInput and Interrupted as `run`."""
    comparison = Comparison()
    try:
        for policy in Policy:
            for resets in COMPARED_RESETS:
                options = replace(request, policy=policy.value, forwarding_resets=resets)
                comparison.add(resets, trial(options, saved, watcher, lambda vms: None))
    except KeyboardInterrupt as stop:
        raise Interrupted(comparison) from (stop.__cause__ or stop)
    return comparison


def run(request: Request, saved: Saved | None, watcher: Watcher) -> Outcome:
    """One trial, as the options say. UnusableInput if there can be no such VM, or the image is refused.

    Interrupted, with the report so far, by Ctrl-C once the VM runs.
    """
    saver = _Saver(request.save)
    try:
        return Outcome(trial(request, saved, watcher, saver), saver.failure)
    except Interrupted as stop:
        raise Interrupted(Outcome(stop.so_far, saver.failure)) from stop.__cause__


def trial(request: Request, saved: Saved | None, watcher: Watcher, saver: Saver) -> Verdict:
    """Run the trial that the options describe. UnusableInput if there can be no such VM, or the image is refused."""
    options = request.options()
    guest = None if saved is None else SavedGuest(*saved)
    vcpus = request.vcpus if guest is None else guest.vcpus
    hosts = GicConfig(
        architecture=cast(Literal["4.0", "4.1"], request.architecture),
        redistributors=max(2, min(vcpus, MOST_HOST_CPUS)),
    )
    if guest is not None:
        with _fitting(f"{guest.path}: a VM of {vcpus} vCPUs"):
            return resume_saved_guest(hosts, guest, options, watcher.progress, saver)
    with _fitting(f"a VM of {vcpus} vCPUs with {request.devices} devices of {request.vectors} vectors"):
        size = VmSize(vcpus, request.devices, request.vectors)
        course = Course(request.pending, request.seed, request.hops, options)
        return migrate_new_vm(hosts, size, course, watcher.progress, saver)


@contextmanager
def _fitting(what: str) -> Iterator[None]:
    """A VM that its hosts cannot carry is unusable input."""
    try:
        yield
    except (DriverError, KvmError) as error:
        raise UnusableInput(f"{what} does not fit: {error}") from error


class _Saver:
    """Saves RAM, if that is wanted, in the middle of a trial, which goes on if it fails: `failure` is why."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self.failure: UnusableInput | None = None

    def __call__(self, machines: list[VirtualMachine]) -> None:
        """Save it."""
        if self._directory is None:
            return
        try:
            save_ram(self._directory, machines)
        except UnusableInput as failure:
            self.failure = failure


def save_ram(directory: Path, machines: list[VirtualMachine]) -> None:
    """Write the RAM of VMs and of their hosts, with the registers beside it, into a directory, which is made.

    UnusableInput if it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInput(f"{directory}: cannot be made: {error.strerror or error}") from error
    for vm in machines:
        name = vm.host.name
        write_elf(directory / f"{name}-host.elf", vm.host.memory)
        write_registers(directory / f"{name}-host.toml", vm.host.registers())
        write_elf(directory / f"{name}-guest.elf", vm.memory)
        write_registers(directory / f"{name}-guest.toml", vm.registers())
