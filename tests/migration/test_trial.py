# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.errors import Interrupted
from gicmodel.kvm import KvmError
from gicmodel.migration import Migration, MigrationError, Options, VirtualMachine
from gicmodel.migration.machine import pending_interrupts, pending_vlpis
from gicmodel.migration.steps import no_progress
from gicmodel.migration.trial import VmSize, raise_some, run_trial, vm_targets
from gicmodel.migration.verdict import Verdict
from tests.migration.machines import DISABLED, configure, new_vm

ONE, OTHER, THIRD = (0, 8192), (1, 8193), (0, 8194)


def verdict(**parts):
    return Verdict(3, Counter([ONE, OTHER]), **parts)


def trial(fraction=0.5, seed=0, architecture="4.1", before_delivery=lambda machines: None):
    config = GicConfig(architecture=architecture, redistributors=2)
    return run_trial(config, VmSize(3, 2, 6), Options(fraction=fraction, seed=seed), no_progress, before_delivery)


def test_each_once():
    judged = verdict(delivered=Counter([ONE, OTHER]))
    assert (judged.lost, judged.duplicated, judged.passed) == ([], [], True)


def test_one_never():
    judged = verdict(delivered=Counter([OTHER]))
    assert (judged.lost, judged.duplicated, judged.passed) == ([ONE], [], False)


def test_one_twice():
    judged = verdict(delivered=Counter([ONE, OTHER, OTHER]))
    assert (judged.lost, judged.duplicated, judged.passed) == ([], [OTHER], False)


def test_one_that_nobody_raised():
    judged = verdict(delivered=Counter([ONE, OTHER, THIRD]))
    assert (judged.lost, judged.duplicated, judged.passed) == ([], [THIRD], False)


def test_one_on_the_wrong_vcpu_is_lost_and_unwanted():
    judged = verdict(delivered=Counter([ONE, (0, 8193)]))
    assert (judged.lost, judged.duplicated, judged.passed) == ([OTHER], [(0, 8193)], False)


def test_one_that_the_guest_has_disabled_is_not_lost():
    judged = verdict(delivered=Counter([ONE]), held={OTHER})
    assert (judged.lost, judged.duplicated, judged.passed) == ([], [], True)


def test_a_failure_is_no_success():
    failure = MigrationError("flush ITS tables", KvmError("EACCES", "no"))
    assert not verdict(delivered=Counter([ONE, OTHER]), failure=failure).passed


@pytest.mark.parametrize(("identical", "passed"), [(None, True), (True, True), (False, False)])
def test_an_image_must_come_back(identical, passed):
    assert verdict(delivered=Counter([ONE, OTHER]), image_identical=identical).passed is passed


def test_a_trial_delivers_on_the_destination_what_was_raised_on_the_source():
    machines = []
    judged = trial(before_delivery=machines.extend)
    source, target = machines
    assert judged.passed
    assert judged.vlpis == 12
    assert 0 < judged.pending_before == judged.pending_after == judged.vlpis_expected < 12
    assert 0 < judged.sgis_before == judged.sgis_after == len(judged.expected) - judged.vlpis_expected < 3 * 16
    assert judged.delivered == judged.expected == Counter(pending_interrupts(source))
    assert pending_interrupts(target) == set()


def test_before_delivery_everything_is_still_pending():
    seen = []
    judged = trial(before_delivery=lambda machines: seen.append([pending_interrupts(vm) for vm in machines]))
    assert seen == [[set(judged.expected), set(judged.expected)]]


@pytest.mark.parametrize(("fraction", "raised"), [(0, 0), (1, 12 + 3 * 16)])
def test_none_and_all(fraction, raised):
    assert len(trial(fraction).delivered) == raised


def test_the_seed_decides():
    assert trial(seed=1).expected == trial(seed=1).expected
    assert trial(seed=1).expected != trial(seed=2).expected


def test_gicv40_delivers_at_the_source():
    judged = trial(architecture="4.0")
    assert str(judged.failure).startswith("flush ITS tables: EACCES: ")
    assert (judged.lost, judged.duplicated, judged.passed) == ([], [], False)
    assert len(judged.delivered) == len(judged.expected) == judged.pending_after + judged.sgis_after
    assert judged.pending_after > 0 < judged.sgis_after
    assert [step.name for step in judged.steps] == ["precopy RAM", "pause vCPUs", "pause devices"]


def test_raised_interrupts_are_named_as_the_guest_maps_them():
    vm = new_vm(vcpus=2, devices=2, vectors=4)
    raised = raise_some(vm, 0.5, np.random.default_rng(3))
    assert raised == pending_vlpis(vm)
    assert raised < vm_targets(vm)
    assert len(vm_targets(vm)) == 8


def test_what_stays_pending_for_a_guest_that_disabled_it():
    vm = new_vm(vcpus=2, vectors=2)
    configure(vm, 8193, DISABLED)
    vm.devices[0].fire([0, 1])
    judged = Verdict(2, Counter(pending_vlpis(vm)))
    judged.deliver(vm)
    assert (judged.held, set(judged.delivered), judged.passed) == ({(1, 8193)}, {(0, 8192)}, True)


@pytest.mark.parametrize(
    ("size", "lpis"),
    [(VmSize(4, 8, 32), 260), (VmSize(1, 1, 1), 3), (VmSize(2, 3, 5), 26), (VmSize(2, 0, 5), 2)],
)
def test_how_many_lpis_a_host_needs(size, lpis):
    assert size.lpis == lpis


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("before", [0, 1])
def test_a_migration_that_fails_is_the_last(hops, before, monkeypatch):
    """Its target, which it has destroyed, is not destroyed once more: not after the first of them, nor later."""
    run, runs = Migration.run, []

    def fails(migration):
        runs.append(migration)
        if len(runs) > before:
            monkeypatch.setattr(migration, "options", Options(abort_at="copy dirty RAM"))
        run(migration)

    monkeypatch.setattr(Migration, "run", fails)
    config = GicConfig(redistributors=2)
    judged = run_trial(config, VmSize(1, 1, 2), Options(fraction=1, hops=hops), no_progress, lambda machines: None)
    failed = hops > before
    assert (judged.failure is not None, judged.passed) == (failed, not failed)
    assert (judged.migrations, len(runs)) == (min(hops, before), min(hops, before + 1))
    assert (judged.lost, judged.duplicated) == ([], [])
    assert judged.delivered


def test_gicv40_fails_the_same_with_more_hops():
    config = GicConfig(architecture="4.0", redistributors=2)
    judged = run_trial(config, VmSize(1, 1, 2), Options(fraction=1, hops=2), no_progress, lambda machines: None)
    assert str(judged.failure).startswith("flush ITS tables: EACCES: ")
    assert (judged.lost, judged.duplicated) == ([], [])


def test_ctrl_c_among_deliveries_loses_nothing(monkeypatch):
    """What the guest was owed counts when it has taken it."""
    deliver, calls = VirtualMachine.deliver, []

    def interrupted(vm, vcpus=None):
        calls.append(vcpus)
        for taken in deliver(vm, vcpus):
            yield taken
            if len(calls) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(VirtualMachine, "deliver", interrupted)
    config = GicConfig(redistributors=2)
    with pytest.raises(Interrupted) as stopped:
        run_trial(config, VmSize(2, 2, 4), Options(fraction=1, hops=4), no_progress, lambda machines: None)
    judged = stopped.value.so_far
    assert (judged.migrations, judged.interrupted, judged.passed) == (2, True, False)
    assert judged.delivered
    assert (judged.lost, judged.duplicated) == ([], [])
