# SPDX-License-Identifier: Apache-2.0
"""Forwarding that is reset while the destination loads a device: what each policy loses, and what it costs."""

from pathlib import Path

import pytest

from gicmodel.config import GicConfig
from gicmodel.images.segments import read_image
from gicmodel.images.sources import read_registers
from gicmodel.kvm import KvmError
from gicmodel.migration import DeviceState, Migration, Options, Policy
from gicmodel.migration.machine import pending_vlpis
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.steps import no_progress
from gicmodel.migration.trial import run_trial
from gicmodel.migration.vfio import enable_vectors, growing
from tests.migration.machines import expected, fire_all, new_host, new_vm

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu"
IMAGE = CAPTURE / "guest-saved-tables.elf.xz"
VECTORS, VCPUS = 5, 3
REMEDIES = [policy for policy in Policy if policy is not Policy.RFC]
RESETS = [1, 3, 64]


def migrated(policy, resets, vectors=VECTORS):
    """A migration of a VM of 3 vCPUs and one device all of whose vectors are pending."""
    vm = new_vm(VCPUS, 1, vectors)
    vm.run_vcpus()
    fire_all(vm)
    migration = Migration(vm, new_host("destination"), no_progress, Options(policy, resets))
    migration.run()
    return migration


@pytest.mark.parametrize(
    ("vectors", "resets", "counts"),
    [(4, 0, [4]), (4, 1, [1, 4]), (4, 3, [1, 2, 3, 4]), (3, 5, [1, 2, 3, 3, 3, 3]), (1, 1, [1, 1]), (0, 2, [0, 0, 0])],
)
def test_vectors_are_enabled_one_by_one(vectors, resets, counts):
    assert list(growing(vectors, resets)) == counts


@pytest.mark.parametrize("resets", [0, *RESETS])
@pytest.mark.parametrize("policy", REMEDIES)
def test_a_remedy_loses_nothing_and_doubles_nothing(policy, resets):
    target = migrated(policy, resets).target
    assert sorted(target.deliver()) == expected(VCPUS, range(8192, 8192 + VECTORS))
    assert list(target.deliver()) == []
    fire_all(target)
    assert len(list(target.deliver())) == VECTORS


@pytest.mark.parametrize("resets", [0, *RESETS])
def test_as_posted_everything_that_was_set_before_the_last_reset_is_lost(resets):
    """What the cover letter leaves open. The vectors that were enabled once only arrive."""
    lost = min(resets, VECTORS)
    assert sorted(migrated(Policy.RFC, resets).target.deliver()) == expected(VCPUS, range(8192 + lost, 8192 + VECTORS))


def test_without_resets_no_policy_costs_more_than_another():
    commands = [migrated(policy, 0).commands for policy in Policy]
    assert commands == [commands[0]] * len(Policy)


def test_what_resets_cost():
    """3 resets of 5 vectors forward 1 + 2 + 3 + 5 vectors and end the forwarding of 1 + 2 + 3."""
    commands = {policy: migrated(policy, 3).commands for policy in Policy}
    assert {policy: counter["VMAPTI"] for policy, counter in commands.items()} == {
        Policy.RFC: 11,
        Policy.AVOID_UNSET: 5,
        Policy.DEDICATED_INTERFACE: 11,
        Policy.RETRIEVE_ON_UNSET: 11,
    }
    assert {policy: counter["INT"] for policy, counter in commands.items()} == {
        Policy.RFC: 5,  # each once; what it sets is lost
        Policy.AVOID_UNSET: 5,
        Policy.DEDICATED_INTERFACE: 5,
        Policy.RETRIEVE_ON_UNSET: 11,
    }


def test_unmaps():
    """A save unmaps every vPE; each retrieval those that the vectors lead to: 1, then 2, then 3 of them."""
    unmaps = {policy: migrated(policy, 3).unmaps for policy in Policy}
    assert unmaps == dict.fromkeys(Policy, VCPUS) | {Policy.RETRIEVE_ON_UNSET: VCPUS + 1 + 2 + 3}


def test_only_the_dedicated_interface_has_a_step_of_its_own():
    steps = {policy: [name for name, _ in migrated(policy, 0).plan] for policy in Policy}
    others = steps[Policy.RFC]
    assert steps.pop(Policy.DEDICATED_INTERFACE) == [*others[:-1], "transfer pending state", others[-1]]
    assert list(steps.values()) == [others] * 3


def test_until_that_step_software_has_what_is_pending():
    vm = new_vm(VCPUS, 1, VECTORS)
    fire_all(vm)
    migration = Migration(vm, new_host("destination"), no_progress, Options(Policy.DEDICATED_INTERFACE, 3))
    before, seen = pending_vlpis(vm), {}
    for name, step in migration.plan:
        step(migration)
        seen[name] = pending_vlpis(migration.target)
    assert (seen["set forwarding"], seen["transfer pending state"]) == (set(), before)


@pytest.mark.parametrize("obstacle", ["devices", "vcpu"])
def test_retrieval_is_refused_while_the_vm_runs(obstacle):
    vm = new_vm(VCPUS, 1, VECTORS)
    fire_all(vm)
    before = pending_vlpis(vm)
    if obstacle == "vcpu":
        vm.set_devices(DeviceState.STOP)
        vm.run_vcpus()
    with pytest.raises(KvmError, match="EBUSY"):
        enable_vectors(vm.devices[0], vm.vgic, Policy.RETRIEVE_ON_UNSET, 1)
    assert pending_vlpis(vm) == before


def test_retrieval_is_possible_once_everything_is_stopped():
    vm = new_vm(VCPUS, 1, VECTORS)
    fire_all(vm)
    before = pending_vlpis(vm)
    vm.set_devices(DeviceState.STOP)
    enable_vectors(vm.devices[0], vm.vgic, Policy.RETRIEVE_ON_UNSET, 7)
    assert pending_vlpis(vm) == before


def resumed(policy, resets):
    guest = SavedGuest(IMAGE, read_image(IMAGE), read_registers(CAPTURE / "registers.toml"))
    options = Options(policy, resets)
    return run_trial(GicConfig(redistributors=2), guest, options, no_progress, lambda machines: None)


@pytest.mark.parametrize("resets", RESETS)
@pytest.mark.parametrize("policy", REMEDIES)
def test_a_real_guest_loses_nothing(policy, resets):
    verdict = resumed(policy, resets)
    assert verdict.passed
    assert verdict.image_identical is True
    assert dict(verdict.delivered) == {(0, 8193): 1, (1, 8194): 1}


@pytest.mark.parametrize(("resets", "lost"), [(1, 0), (2, 1), (3, 2), (64, 2)])
def test_a_real_guest_as_posted(resets, lost):
    """Its pending vLPIs are those of the second and third vector of the one device."""
    verdict = resumed(Policy.RFC, resets)
    assert verdict.lost == [(0, 8193), (1, 8194)][:lost]
    assert verdict.image_identical is (lost == 0)
