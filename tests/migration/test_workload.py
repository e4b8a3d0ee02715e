# SPDX-License-Identifier: Apache-2.0
"""What a guest and its devices do between migrations reaches KVM and the GIC, by the guest's own queue and RAM."""

from collections import Counter

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CREADR, GITS_CWRITER
from gicmodel.migration import Options, Policy
from gicmodel.migration.guest import send_command
from gicmodel.migration.machine import pending_interrupts
from gicmodel.migration.steps import no_progress
from gicmodel.migration.trial import VmSize, run_trial
from gicmodel.migration.workload import Workload
from tests.migration.machines import new_host, new_vm


@pytest.fixture
def workload():
    return Workload(new_vm(vcpus=2, devices=2, vectors=4, host=new_host(cpus=2)))


def issued(workload, mnemonic):
    return workload.vm.host.driver.gic.commands_issued[mnemonic]


def test_what_was_raised_is_owed_once(workload):
    workload.fire([(0, 1), (1, 2), (0, 1)])
    assert pending_interrupts(workload.vm) == {(1, 8193), (0, 8198)}
    assert workload.owed([0]) == Counter([(0, 8198)])
    assert workload.owed([0, 1]) == Counter([(1, 8193)])
    assert workload.owed([0, 1]) == Counter()


def test_a_masked_interrupt_is_owed_when_it_is_unmasked(workload):
    workload.mask((0, 0))
    workload.fire([(0, 0)])
    assert workload.owed([0]) == Counter()
    assert list(workload.vm.deliver()) == []
    workload.unmask_all()
    assert workload.owed([0]) == Counter(workload.vm.deliver()) == Counter([(0, 8192)])


def test_another_affinity_takes_pending_state_along(workload):
    workload.fire([(0, 0)])
    before = issued(workload, "VMOVI")
    workload.move((0, 0), 1)
    assert issued(workload, "VMOVI") == before + 1
    assert workload.owed([0, 1]) == Counter(workload.vm.deliver()) == Counter([(1, 8192)])


def test_other_cpus_move_vpes(workload):
    workload.run_on(0)
    before = issued(workload, "VMOVP")
    workload.run_on(1)
    assert issued(workload, "VMOVP") == before + 2
    assert [vpe.col_idx for vpe in workload.vm.vgic.its_vm.vpes] == [1, 0]


def test_a_device_that_is_reset_is_owed_nothing(workload):
    workload.fire([(0, 0), (1, 1)])
    workload.reset_device(0)
    assert workload.owed([0, 1]) == Counter(workload.vm.deliver()) == Counter([(1, 8197)])
    workload.fire([(0, 0)])
    assert workload.owed([0, 1]) == Counter(workload.vm.deliver()) == Counter([(0, 8192)])


@pytest.mark.parametrize("discard", [True, False])
def test_a_driver_that_is_reloaded_is_owed_nothing_and_is_forwarded_again(workload, discard):
    workload.fire([(0, 0), (1, 1)])
    its, device = workload.vm.vgic.its[0], workload.vm.devices[0]
    mapped, discards = its.devices[8], issued(workload, "DISCARD")
    workload.reload_driver(0, discard)
    assert its.devices[8] is not mapped
    assert (its.devices[8].itt_addr, sorted(its.devices[8].ites)) == (mapped.itt_addr, [0, 1, 2, 3])
    assert issued(workload, "DISCARD") == discards + 2 * 4  # unset_forwarding, set_forwarding
    assert device.is_forwarded(workload.vm.vgic)
    assert workload.owed([0, 1]) == Counter(workload.vm.deliver()) == Counter([(1, 8197)])
    workload.fire([(0, 0)])
    assert workload.owed([0, 1]) == Counter(workload.vm.deliver()) == Counter([(0, 8192)])


def test_an_event_that_is_mapped_again_comes_by_software(workload):
    workload.fire([(0, 0), (0, 1)])
    workload.remap((0, 0))
    assert not workload.vm.devices[0].is_forwarded(workload.vm.vgic)
    assert workload.owed([0, 1]) == Counter(workload.vm.deliver()) == Counter([(1, 8193)])
    workload.fire([(0, 0)])
    assert workload.vm.vgic.lpis[8192].pending_latch
    assert workload.owed([0, 1]) == Counter(workload.vm.deliver()) == Counter([(0, 8192)])


def test_an_eventful_while_uses_all_of_it(workload):
    kinds = ("VMOVI", "VMOVP", "INV", "DISCARD", "VMAPTI")
    before = {kind: issued(workload, kind) for kind in kinds}
    rng = np.random.default_rng(1)
    for _ in range(4):
        workload.stir(rng, 0.5)
    assert all(issued(workload, kind) > before[kind] for kind in kinds)
    assert pending_interrupts(workload.vm) == {workload.targets[event] for event in workload.pending}


def test_a_vm_without_devices_only_moves():
    workload = Workload(new_vm(vcpus=2, devices=0))
    workload.stir(np.random.default_rng(0), 1.0)
    assert workload.pending == set()


def test_the_guests_queue_wraps_round(workload):
    its = workload.vm.vgic.its[0]
    cwriter, creadr = (register(name, "3").offset for name in ("GITS_CWRITER", "GITS_CREADR"))
    start = GITS_CWRITER.unpack(its.read(cwriter))["Offset"]
    slots = its.queue_bytes // 32
    for _ in range(slots):
        send_command(workload.vm.vgic, "INV", DeviceID=8, EventID=0)
    assert GITS_CWRITER.unpack(its.read(cwriter))["Offset"] == start
    assert GITS_CREADR.unpack(its.read(creadr))["Offset"] == start


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("policy", [policy for policy in Policy if policy is not Policy.RFC])
def test_to_and_fro_everything_arrives_once(policy, seed):
    options = Options(policy, 3, hops=4, fraction=0.5, seed=seed)
    machines = []
    config = GicConfig(redistributors=2, caching="retain")
    verdict = run_trial(config, VmSize(3, 2, 4), options, no_progress, machines.extend)
    assert verdict.passed
    assert sum(verdict.delivered.values()) > verdict.pending_before == verdict.pending_after > 0
    assert [vm.host.name for vm in machines] == ["destination", "source"]
    assert all(vm.host.gic.errors == [] for vm in machines)
