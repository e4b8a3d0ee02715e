# SPDX-License-Identifier: Apache-2.0
"""Whatever this floor writes into an image, the inspection of the image reads back equal."""

from pathlib import Path

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.images.dump import Dump
from gicmodel.images.segments import read_image
from gicmodel.images.sources import read_registers
from gicmodel.inspection import inspect
from gicmodel.inspection.rules import find
from gicmodel.migration import DeviceState, Options
from gicmodel.migration.guest import enable_sgis, send_command
from gicmodel.migration.machine import pending_vlpis, save_ram
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.steps import no_progress
from gicmodel.migration.trial import VmSize, run_trial
from gicmodel.migration.workload import Workload
from tests.migration.machines import new_vm, pending_lpis, pending_sgis

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu"
CONFIG = GicConfig(redistributors=2)
WANTED = {"pending-disabled", "event-unmapped-collection"}


def inspected(directory, name):
    """What is found in an image; nothing is wrong with it but what the guest wanted so."""
    found = inspect(Dump(read_image(directory / f"{name}.elf")), read_registers(directory / f"{name}.toml"))
    assert set(find(found).counts) <= WANTED
    return found


def rows(table, *names):
    return [tuple(row) for row in table[list(names)].tolist()]


def mapping(vm):
    """(DeviceID, EventID, INTID, ICID, vCPU) of every event, as KVM knows them; -1 without a vCPU."""
    lpis = vm.vgic.lpis.rows["intid"]
    return [
        (device_id, event_id, int(lpis[ite.lpi]), ite.icid, vm.vgic.its[0].target_vcpu(ite.icid))
        for device_id, device in sorted(vm.vgic.its[0].devices.items())
        for event_id, ite in sorted(device.ites.items())
    ]


def enabled(vm):
    lpis = vm.vgic.lpis.rows[vm.vgic.lpis.slots()]
    return sorted(lpis["intid"][lpis["enabled"]].tolist())


def is_like_its_guest(directory, vm, pending):
    """The guest's RAM says what KVM knows of mappings and masks, and that `pending` is pending."""
    found = inspected(directory, f"{vm.host.name}-guest")
    assert rows(found.events, "DeviceID", "EventID", "INTID", "ICID", "RDbase") == mapping(vm)
    assert rows(found.devices, "DeviceID", "ITT_addr", "Size") == [
        (device.device_id, device.itt_addr, device.num_eventid_bits - 1)
        for _, device in sorted(vm.vgic.its[0].devices.items())
    ]
    assert sorted(found.events["INTID"][found.events["configuration"] & 1 == 1].tolist()) == enabled(vm)
    assert set(rows(found.pending, "target", "INTID")) == pending
    assert rows(found.collections, "ICID", "RDbase") == list(vm.vgic.its[0].collections.items())


def is_like_its_host(directory, vm, pending, sgis):
    """The host's RAM says which vPE each event feeds; what its VPTs hold is `pending` and `sgis`."""
    found = inspected(directory, f"{vm.host.name}-host")
    vpe_ids = [vpe.vpe_id for vpe in vm.vgic.its_vm.vpes]
    assert rows(found.events[found.events["virtual"]], "DeviceID", "INTID", "vPEID") == [
        (device_id, intid, vpe_ids[vcpu]) for device_id, _, intid, _, vcpu in mapping(vm) if vm.vgic.lpis[intid].hw
    ]
    assert {(vpe_ids.index(vpe), intid) for vpe, intid in rows(found.pending, "target", "INTID")} == pending
    held = found.vsgis[found.vsgis["pending"] == 1]
    assert {(vpe_ids.index(vpe), number) for vpe, number in rows(held, "vPEID", "vINTID")} == sgis


@pytest.mark.parametrize("seed", range(2))
def test_a_vm_that_was_migrated_to_and_fro(tmp_path, seed):
    """Both guests' and both hosts' RAM, before the guest takes what is pending.

    What the destination has is in its redistributors, and its pending bits in RAM were consumed.
    """

    def compare(machines):
        save_ram(tmp_path, machines)
        left, vm = machines
        assert pending_lpis(left) == pending_lpis(vm) != set()
        assert pending_sgis(left) == pending_sgis(vm) != set()
        is_like_its_guest(tmp_path, left, pending_lpis(left))
        is_like_its_host(tmp_path, left, pending_vlpis(left), pending_sgis(left))
        is_like_its_guest(tmp_path, vm, set())

    verdict = run_trial(CONFIG, VmSize(3, 2, 5), Options(fraction=0.5, seed=seed, hops=2), no_progress, compare)
    assert verdict.passed


@pytest.mark.parametrize("seed", range(3))
def test_a_vm_that_was_stopped_in_the_middle_of_an_eventful_life(tmp_path, seed):
    """Some interrupts are masked, moved or injected by software; one device is gone, one event has no vCPU."""
    vm = new_vm(vcpus=3, devices=3, vectors=4)
    enable_sgis(vm.vgic)
    workload, rng = Workload(vm), np.random.default_rng(seed)
    for _ in range(2):
        workload.stir(rng, 0.5)
    gone = {event for event in workload.targets if event[0] == 2} | {(0, 1)}
    workload.retire(gone)
    send_command(vm.vgic, "MAPD", DeviceID=vm.devices[2].guest_device_id, V=0)
    send_command(vm.vgic, "DISCARD", DeviceID=8, EventID=1)
    send_command(vm.vgic, "MAPTI", DeviceID=8, EventID=1, pINTID=9000, ICID=77)
    vm.pause_vcpus()
    vm.set_devices(DeviceState.STOP)
    vm.vgic.its[0].save_tables()
    vm.flush_pending_tables()
    save_ram(tmp_path, [vm])
    owed = {workload.targets[event] for event in workload.pending}
    assert owed
    is_like_its_guest(tmp_path, vm, owed)


def test_the_guest_of_a_real_kvm(tmp_path):
    """Resumed, forwarded and saved again."""
    image = CAPTURE / "guest-saved-tables.elf.xz"
    guest = SavedGuest(image, read_image(image), read_registers(CAPTURE / "registers.toml"))

    def compare(machines):
        save_ram(tmp_path, machines)
        is_like_its_guest(tmp_path, machines[0], {(0, 8193), (1, 8194)})
        is_like_its_host(tmp_path, machines[0], {(0, 8193), (1, 8194)}, set())

    assert run_trial(CONFIG, guest, Options(), no_progress, compare).passed
