# SPDX-License-Identifier: Apache-2.0
"""SGIs over a migration: saved by GICR_ISPENDR0, which asks the GIC for vSGIs; delivered once, wherever they are."""

from dataclasses import replace

import pytest

from gicmodel.config import GicConfig
from gicmodel.images.registers import write_registers
from gicmodel.images.segments import read_image, write_elf
from gicmodel.images.sources import read_registers
from gicmodel.kvm import KvmError
from gicmodel.kvm.behaviour import NEWEST, KvmBehaviour
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.migration import Host, Migration, MigrationError, Options, state
from gicmodel.migration.guest import enable_sgis
from gicmodel.migration.machine import pending_interrupts
from gicmodel.migration.migrate import plan_of
from gicmodel.migration.saved_guest import SavedGuest
from gicmodel.migration.steps import no_progress
from gicmodel.migration.trial import run_trial
from gicmodel.migration.workload import Workload
from gicmodel.policy import Policy
from tests.migration.machines import fire_all, migrate, new_host, new_vm, pending_sgis

VCPUS = 3
RELEASES = {"newest": NEWEST, "5.13": KvmBehaviour.release("5.13")}
RELEASES["no ISPENDR0 for vSGIs"] = replace(NEWEST, ispendr_reaches_vsgis=False)
SENT = [(0, 0), (0, 15), (1, 7), (2, 3)]


def in_gic(vm):
    return bool(vm.vgic.dist.sgis.rows["hw"].all())


def ctlr(vm, value):
    vm.vgic.distributor.write(register("GICD_CTLR").offset, value, 4)


@pytest.fixture
def vm():
    """A VM that uses vSGIs and runs; each vCPU has some pending."""
    vm = new_vm(VCPUS, 1, 3)
    enable_sgis(vm.vgic)
    vm.run_vcpus()
    send(vm)
    return vm


def send(vm, sgis=tuple(SENT)):
    for vcpu, number in sgis:
        vm.vgic.send_sgi(vcpu, number)


def test_the_guest_takes_vsgis_where_there_are_any(vm):
    assert in_gic(vm)
    rows = vm.vgic.dist.sgis.rows
    assert rows["enabled"].all()
    assert (rows["group"] == 1).all()
    assert (rows["priority"] == 0xA0).all()
    assert pending_sgis(vm) == set(SENT)
    software = new_vm(host=new_host("source", architecture="4.0"))
    enable_sgis(software.vgic)
    assert not software.vgic.dist.sgis.rows["hw"].any()
    assert software.vgic.dist.enabled


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("direct", [True, False], ids=["in the GIC", "in software"])
def test_each_arrives_once(direct, release):
    hosts = [Host(name, GicConfig(redistributors=2), behaviour=RELEASES[release]) for name in ("one", "other")]
    vm = new_vm(VCPUS, 1, 3, hosts[0])
    enable_sgis(vm.vgic)
    ctlr(vm, 0)
    ctlr(vm, GICD_CTLR.pack(EnableGrp1=1, nASSGIreq=direct))
    assert in_gic(vm) is direct
    vm.run_vcpus()
    send(vm)
    fire_all(vm)
    target = migrate(vm, hosts[1])
    assert pending_sgis(target) == set(SENT)
    assert sorted(target.deliver()) == sorted([*SENT, (0, 8192), (1, 8193), (2, 8194)])
    assert in_gic(target) is direct
    assert list(target.deliver()) == []
    send(target)
    assert sorted(target.deliver()) == SENT
    assert [host.gic.errors for host in hosts] == [[], []]


@pytest.mark.parametrize("step", [name for name, _ in plan_of(Policy.AVOID_UNSET)])
def test_a_cancelled_migration_neither_loses_nor_doubles_them(vm, step):
    destination = new_host("destination")
    with pytest.raises(MigrationError, match="cancelled"):
        Migration(vm, destination, no_progress, Options(abort_at=step)).run()
    assert pending_interrupts(vm) == set(SENT)
    target = migrate(vm, destination)
    assert sorted(target.deliver()) == SENT
    assert list(target.deliver()) == []


def test_the_source_takes_them_when_the_migration_is_cancelled_and_new_ones_move(vm):
    destination = new_host("destination")
    with pytest.raises(MigrationError, match="cancelled"):
        Migration(vm, destination, no_progress, Options(abort_at="resume devices")).run()
    assert sorted(vm.deliver()) == SENT
    vm.run_vcpus()
    send(vm, [(2, 3), (2, 4)])
    assert sorted(migrate(vm, destination).deliver()) == [(2, 3), (2, 4)]


def test_a_vm_that_does_not_run_between_two_migrations_keeps_them_in_software(vm):
    there = migrate(vm, new_host("there"))
    assert pending_sgis(there) == set(SENT)
    assert not in_gic(there)
    back = migrate(there, new_host("back"))
    assert sorted(back.deliver()) == SENT


@pytest.mark.parametrize("architecture", ["3", "4.0"])
def test_a_host_without_vsgis_has_them_in_software(vm, architecture):
    target = migrate(vm, new_host("destination", architecture=architecture))
    assert sorted(target.deliver()) == SENT
    assert not target.vgic.dist.nassgireq
    assert not target.vgic.dist.sgis.rows["hw"].any()


def test_configuration_moves_too(vm):
    """A disabled SGI waits for its enable, and priorities decide about the order."""
    frame = vm.vgic.redistributors[0]
    frame.write(register("GICR_ICENABLER0").offset, 1 << 15, 4)
    frame.write(register("GICR_IPRIORITYR0").offset, 0x10A0_A0A0, 4)
    send(vm, [(0, 3)])
    target = migrate(vm)
    assert list(target.deliver([0])) == [(0, 3), (0, 0)]
    assert target.disabled(0, 15)
    target.vgic.redistributors[0].write(register("GICR_ISENABLER0").offset, 1 << 15, 4)
    assert list(target.deliver([0])) == [(0, 15)]


def test_pending_vsgis_cannot_be_saved_while_the_vpes_are_unmapped(vm):
    vm.pause_vcpus()
    vm.vgic.unmap_all_vpes()
    with pytest.raises(KvmError, match="EINVAL: vPE 0 has no vSGI 0, or is not mapped"):
        state.guest_registers(vm.vgic)
    vm.vgic.map_all_vpes()
    assert state.guest_registers(vm.vgic)["GICR0"]["ISPENDR0"] == 1 | 1 << 15


class Recorded:
    """A register face that notes what userspace writes."""

    def __init__(self, face, unit, log):
        self.face, self.unit, self.log = face, unit, log
        self.names = {}
        for name in NAMES[unit[:4]]:
            offset = register(f"{unit[:4]}_{name}", "3").offset
            self.names |= {offset: name} if name not in TABLES else {offset: name, offset + 4: f"{name} upper"}

    def user_write(self, offset, value):
        assert value < 1 << 32
        self.log.append(f"{self.unit} {self.names[offset]}")
        self.face.user_write(offset, value)


SGI_WRITES = ["IGROUPR0", "ICENABLER0", "ISENABLER0", "ICPENDR0", "ISPENDR0", *(f"IPRIORITYR{n}" for n in range(4))]
TABLES = ["PROPBASER", "PENDBASER"]
NAMES = {"GICD": ["CTLR"], "GICR": ["CTLR", *TABLES, *SGI_WRITES]}


def test_the_order_is_qemus(vm):
    """hw/intc/arm_gicv3_kvm.c, kvm_arm_gicv3_put: 64-bit registers as two words."""
    registers = state.guest_registers(vm.vgic)
    target = new_vm(VCPUS, 0, host=new_host("destination")).vgic
    log = []
    target.distributor = Recorded(target.distributor, "GICD", log)
    target.redistributors = [Recorded(face, f"GICR{n}", log) for n, face in enumerate(target.redistributors)]
    state.restore_redistributors(target, registers)
    tables = [f"GICR{n} {name}{half}" for n in range(VCPUS) for name in TABLES for half in ("", " upper")]
    each = [f"GICR{n} {name}" for n in range(VCPUS) for name in ("CTLR", *SGI_WRITES)]
    assert log == ["GICD CTLR", *tables, *each]


def saved_guest(vm, directory, forget=()):
    """The VM's RAM and registers, written and read; without the registers `forget`."""
    vm.pause_vcpus()
    vm.vgic.its[0].save_tables()
    vm.vgic.save_pending_tables()
    registers = state.guest_registers(vm.vgic)
    for frame in registers.values():
        for name in forget:
            frame.pop(name, None)
    write_elf(directory / "guest.elf", vm.memory)
    write_registers(directory / "guest.toml", registers)
    return SavedGuest(directory, read_image(directory / "guest.elf"), read_registers(directory / "guest.toml"))


def resumed(guest):
    return run_trial(GicConfig(redistributors=2), guest, Options(), no_progress, lambda machines: None)


def test_an_image_carries_them(vm, tmp_path):
    guest = saved_guest(vm, tmp_path)
    assert guest.pending_sgis() == set(SENT)
    verdict = resumed(guest)
    assert sorted(verdict.delivered) == SENT
    assert (verdict.passed, verdict.sgis_before, verdict.sgis_after, verdict.vlpis_expected) == (True, 4, 4, 0)


def test_registers_that_say_nothing_about_them_still_load(vm, tmp_path):
    fire_all(vm)
    guest = saved_guest(vm, tmp_path, forget=NAMES["GICR"][3:])
    del guest.registers["GICD"]
    verdict = resumed(guest)
    assert sorted(verdict.delivered) == [(0, 8192), (1, 8193), (2, 8194)]
    assert (verdict.passed, verdict.sgis_before) == (True, 0)


@pytest.mark.parametrize(
    ("frame", "name", "value", "held"),
    [
        ("GICR0", "ISENABLER0", 0, {(0, 0), (0, 15)}),
        ("GICR0", "IGROUPR0", 1, {(0, 15)}),
        ("GICD", "CTLR", GICD_CTLR.pack(nASSGIreq=1), set(SENT)),
    ],
)
def test_what_the_guest_does_not_want_is_held_and_not_lost(vm, tmp_path, frame, name, value, held):
    guest = saved_guest(vm, tmp_path)
    guest.registers[frame][name] = value
    verdict = resumed(guest)
    assert (verdict.held, verdict.lost, verdict.passed) == (held, [], True)
    assert set(verdict.delivered) == set(SENT) - held


def test_a_workload_is_owed_each_once(vm):
    workload = Workload(vm)
    list(vm.deliver())
    workload.send_sgis([(1, 2), (1, 2), (0, 4)])
    assert workload.owed([1]) == {(1, 2): 1}
    assert list(vm.deliver([1])) == [(1, 2)]
    assert workload.owed(range(VCPUS)) == {(0, 4): 1}
    assert list(vm.deliver()) == [(0, 4)]
