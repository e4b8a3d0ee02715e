# SPDX-License-Identifier: Apache-2.0
"""A VM moves from one host to another: nothing is lost, nothing arrives twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gicmodel.kvm import KvmError
from gicmodel.layouts.lpi_tables import byte_of
from gicmodel.migration import MigrationError, new_virtual_machine
from gicmodel.migration.machine import pending_vlpis
from tests.migration.machines import DISABLED, ENABLED, configure, expected, fire_all, migrate, new_host, new_vm


@pytest.mark.parametrize(
    ("vcpus", "cpus", "devices", "vectors"),
    [(1, 1, 1, 1), (2, 2, 1, 2), (5, 2, 3, 4), (3, 4, 2, 5), (2, 2, 1, 32), (2, 2, 0, 1)],
)
def test_everything_arrives_once(vcpus, cpus, devices, vectors):
    vm = new_vm(vcpus, devices, vectors, new_host(cpus=cpus))
    vm.run_vcpus()
    fire_all(vm)
    before = pending_vlpis(vm)
    # Vectors are rounded up to a power of two, of at least 2, for each device's LPIs.
    stride = max(2, 1 << (vectors - 1).bit_length())
    intids = [8192 + device * stride + vector for device in range(devices) for vector in range(vectors)]
    assert {intid for _, intid in before} == set(intids)
    target = migrate(vm)
    assert pending_vlpis(target) == before
    assert sorted(target.deliver()) == sorted(before)
    assert list(target.deliver()) == []


@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 4)
def test_whatever_the_shape(data):
    vcpus, devices, vectors = (data.draw(st.integers(*bounds)) for bounds in ((1, 3), (0, 3), (1, 5)))
    vm = new_virtual_machine(new_host(cpus=2), vcpus, devices, vectors)
    if data.draw(st.booleans()):
        vm.run_vcpus()
    for device in vm.devices:
        device.fire(data.draw(st.lists(st.sampled_from(range(vectors)))))
    before = pending_vlpis(vm)
    target = migrate(vm)
    assert pending_vlpis(target) == before
    assert sorted(target.deliver()) == sorted(before)
    fire_all(target)
    assert len(list(target.deliver())) == devices * vectors


def test_vpes_resident_and_waiting_when_it_begins():
    vm = new_vm(vcpus=4, vectors=4, host=new_host(cpus=4))
    vm.run_vcpus()
    assert [vpe.resident_cpu for vpe in vm.vgic.its_vm.vpes] == [0, None, 2, None]
    vm.devices[0].fire([0, 1, 2, 3])
    assert list(migrate(vm).deliver()) == expected(4, range(8192, 8196))


def test_what_the_guest_took_before_is_not_delivered_again():
    vm = new_vm(vcpus=2, vectors=4)
    vm.devices[0].fire([0, 1])
    assert list(vm.deliver()) == [(0, 8192), (1, 8193)]
    vm.devices[0].fire([2])
    assert list(migrate(vm).deliver()) == [(0, 8194)]


def test_a_disabled_interrupt_stays_pending_and_fires_when_it_is_enabled():
    vm = new_vm(vcpus=2, vectors=4)
    configure(vm, 8193, DISABLED)
    vm.devices[0].fire([0, 1])
    target = migrate(vm)
    assert pending_vlpis(target) == {(0, 8192), (1, 8193)}
    assert list(target.deliver()) == [(0, 8192)]
    configure(target, 8193, ENABLED)
    assert list(target.deliver()) == [(1, 8193)]


def test_priorities_come_along():
    vm = new_vm(vcpus=1, vectors=3)
    configure(vm, 8194, 0x11)
    fire_all(vm)
    assert [intid for _, intid in migrate(vm).deliver()] == [8194, 8192, 8193]


def test_an_interrupt_that_software_holds_becomes_a_vlpi():
    vm = new_vm(vcpus=2, vectors=2)
    vm.devices[0].unforward(vm.vgic)
    vm.devices[0].fire([1])
    target = migrate(vm)
    assert pending_vlpis(target) == {(1, 8193)}
    assert list(target.deliver()) == [(1, 8193)]


def test_to_a_host_of_another_size_and_another_gic():
    """Physical DeviceIDs, INTIDs and vPEIDs are each host's own, and the destination has another VM already."""
    vm = new_vm(vcpus=3, devices=2, vectors=3, host=new_host(cpus=4))
    destination = new_host("destination", cpus=1, caching="retain", vpt_writeback="immediate", intid_bits=18)
    new_virtual_machine(destination, 2, 0, 1)
    fire_all(vm)
    before = pending_vlpis(vm)
    target = migrate(vm, destination)
    assert [vpe.vpe_id for vpe in target.vgic.its_vm.vpes] == [2, 3, 4]
    assert sorted(target.deliver()) == sorted(before)


def test_there_and_back_again():
    vm = new_vm(vcpus=2, devices=2, vectors=4)
    hosts = [vm.host, new_host("other")]
    for round_trip in range(4):
        vm.run_vcpus()
        vm.devices[round_trip % 2].fire([round_trip])
        target = migrate(vm, hosts[(round_trip + 1) % 2])
        vm.destroy()
        vm = target
    assert sorted(vm.deliver()) == expected(2, [8192, 8197, 8194, 8199])


def test_the_vpt_in_ram_is_stale_while_the_vpe_is_mapped_and_current_when_it_is_not():
    vm = new_vm(vcpus=2, vectors=2)
    vm.run_vcpus()
    fire_all(vm)
    vm.pause_vcpus()

    def vpt_bytes():
        return [vm.host.memory.read_u8(vpe.vpt_page + byte_of(8192)) for vpe in vm.vgic.its_vm.vpes]

    assert (pending_vlpis(vm), vpt_bytes()) == ({(0, 8192), (1, 8193)}, [0, 0])
    vm.vgic.unmap_all_vpes()
    assert vpt_bytes() == [1, 2]
    vm.vgic.map_all_vpes()
    assert list(vm.deliver()) == [(0, 8192), (1, 8193)]
    assert vpt_bytes() == [1, 2]


def test_the_state_of_a_vlpi_is_refused_while_its_vpe_is_mapped():
    vm = new_vm(vcpus=2, vectors=4)
    vm.devices[0].fire([1])
    for _ in range(2):
        with pytest.raises(KvmError, match="its VPT in RAM may be stale") as refusal:
            vm.vgic.get_vlpi_state(8193)
        assert refusal.value.errno == "EACCES"
        vm.vgic.unmap_all_vpes()
        assert [vm.vgic.get_vlpi_state(intid) for intid in range(8192, 8196)] == [False, True, False, False]
        vm.vgic.map_all_vpes()


def test_the_state_of_no_vlpi():
    vm = new_vm()
    with pytest.raises(KvmError) as refusal:
        vm.vgic.get_vlpi_state(9000)
    assert refusal.value.errno == "EINVAL"


def test_gicv40_cannot_and_the_source_delivers_everything_once():
    vm = new_vm(vcpus=3, devices=2, vectors=3, host=new_host("source", architecture="4.0"))
    vm.run_vcpus()
    fire_all(vm)
    before = pending_vlpis(vm)
    with pytest.raises(MigrationError, match="a forwarded vLPI cannot be saved on a host") as failure:
        migrate(vm, new_host("destination", architecture="4.0"))
    assert failure.value.step == "flush ITS tables"
    assert isinstance(failure.value.__cause__, KvmError)
    assert failure.value.__cause__.errno == "EACCES"
    assert vm.vgic.running == {0}
    assert sorted(vm.deliver()) == sorted(before)
    fire_all(vm)
    assert sorted(vm.deliver()) == sorted(before)


def test_gicv40_can_when_nothing_is_forwarded():
    vm = new_vm(vcpus=2, vectors=4, host=new_host("source", architecture="4.0"))
    vm.devices[0].unforward(vm.vgic)
    vm.devices[0].fire([0, 3])
    target = migrate(vm, new_host("destination", architecture="4.0"))
    assert sorted(target.deliver()) == [(0, 8192), (1, 8195)]
