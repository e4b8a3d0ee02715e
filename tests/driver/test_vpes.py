# SPDX-License-Identifier: Apache-2.0
"""VMs and vPEs: mapping, moving, residency, doorbells; commands, registers and the VPT in RAM."""

import pytest

from gicmodel.driver import DriverError, ItsVm, ItsVpe
from gicmodel.layouts.lpi_tables import FIRST_LPI, bit_of, byte_of
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER, GICR_VPENDBASER_V40, GICR_VPROPBASER_V40
from tests.driver.host import Host

VINTID = 8200
UNMAP_V40 = {"command_errors": "ignore"}
"""A GICv4.0 VMAPP needs the VSYNC that Linux sends after it, for a vPE that is unmapped by then."""


def pending_in_ram(host: Host, vpe: ItsVpe, vintid: int = VINTID) -> int:
    return host.memory.read_u8(vpe.vpt_page + byte_of(vintid)) >> bit_of(vintid) & 1


def with_vlpi(host: Host, vcpu: int = 0, vpes: int = 2) -> ItsVm:
    """A VM whose vLPI 8200 on `vcpu` is event 0 of device 1."""
    device = host.driver.lpis.create_device(1, 2)
    host.driver.lpis.activate(device, 0, cpus=3)
    vm = host.driver.vpes.create_vm(vpes)
    host.driver.vlpis.map(device, 0, vm, vcpu, VINTID, 0xA3)
    host.words()
    return vm


def test_a_new_vm_maps_every_vpe_on_cpu_0_and_unmasks_its_doorbell(host: Host) -> None:
    vm = host.driver.vpes.create_vm(2)
    first, second = vm.vpes
    tables = f"VCONF_addr={vm.vprop_page:#x} Default_Doorbell={first.doorbell_intid:#x}"
    assert host.commands()[:6] == [
        f"VMAPP Alloc=1 PTZ=0 {tables} vPEID=0x0 RDbase=0x0 V=1 VPT_size=0xf VPT_addr={first.vpt_page:#x}",
        "VSYNC vPEID=0x0",
        "VINVALL vPEID=0x0",
        "VSYNC vPEID=0x0",
        "INVDB vPEID=0x0",
        "VSYNC vPEID=0x0",
    ]
    assert (first.vpe_id, second.vpe_id) == (0, 1)
    assert second.doorbell_intid == first.doorbell_intid + 1
    doorbells = host.driver.gic.lpi_configuration.address + first.doorbell_intid - FIRST_LPI
    assert host.memory.read(doorbells, 3) == bytes([0xA3, 0xA3, 0xA2])
    assert host.memory.read(vm.vprop_page, 0xE000) == bytes([0xA2]) * 0xE000
    assert host.memory.read(first.vpt_page + 1024, 0x2000 - 1024) == bytes(0x2000 - 1024)
    assert all(address % 0x1_0000 == 0 for address in (vm.vprop_page, first.vpt_page, second.vpt_page))


def test_alloc_is_set_on_the_first_map_and_the_last_unmap_only() -> None:
    host = Host(its=3)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    assert vpe.vmapp_count == 3
    mapped = [next(line for line in host.commands(its) if line.startswith("VMAPP")) for its in range(3)]
    assert ["Alloc=1" in line for line in mapped] == [False, False, True], "Linux maps on the last ITS first"
    assert host.gic.errors == []
    host.driver.vpes.deactivate(vpe)
    assert vpe.vmapp_count == 0
    unmapped = [host.commands(its)[-1] for its in range(3)]
    assert ["Alloc=1" in line for line in unmapped] == [True, False, False]
    assert all(line.startswith("VMAPP") and "V=0" in line for line in unmapped)
    assert host.gic.errors == []


@pytest.mark.parametrize("vmovp", [True, False])
def test_where_one_its_will_do_it_is_the_last_that_was_probed(vmovp: bool) -> None:
    """Linux' its_nodes: INVDB, VSGI and GITS_SGIR go to its first, and VMOVP, unless every ITS must have it."""
    host = Host(its=3, vmovp=vmovp)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    mapped = "VMAPP VSYNC VINVALL VSYNC"
    assert [host.mnemonics(its) for its in range(3)] == [mapped, mapped, f"{mapped} INVDB VSYNC"]
    host.writes()
    host.driver.vpes.set_affinity(vpe, 1)
    moved = ["" if vmovp else "VMOVP VSYNC"] * 2 + ["VMOVP VSYNC"]
    assert [host.mnemonics(its) for its in range(3)] == moved
    assert [write.face for write in host.writes("GITS_CWRITER")] == ["ITS 2", "ITS 1", "ITS 0"][: 1 if vmovp else 3]
    host.driver.vsgis.configure(vpe, 0, True, 1, 0xA0)
    assert [host.mnemonics(its) for its in range(3)] == ["", "", "VSGI VSYNC"]
    host.writes()
    host.driver.vsgis.set_pending(vpe, 0, True)
    assert [write.face for write in host.writes("GITS_SGIR")] == ["ITS 2"]


def test_unmapping_has_no_vsync_and_makes_the_vpt_current(host: Host) -> None:
    vm = with_vlpi(host)
    vpe = vm.vpes[0]
    host.gic.its[0].translate(1, 0)
    assert pending_in_ram(host, vpe) == 0, "the redistributor keeps what is pending"
    host.driver.vpes.deactivate(vpe)
    assert host.mnemonics() == "INVDB VSYNC VMAPP"
    assert pending_in_ram(host, vpe) == 1
    host.driver.vpes.activate(vpe)
    assert host.mnemonics() == "VMAPP VSYNC VINVALL VSYNC INVDB VSYNC"
    host.driver.vpes.schedule(vpe, 0)
    assert host.gic.redistributors[0].cpu.acknowledge_virtual() == VINTID


def test_the_doorbells_of_a_vm_are_a_power_of_two(host: Host) -> None:
    """Linux' its_vpe_irq_domain_alloc: a VM of three vPEs takes four LPIs."""
    free = host.driver.lpis.intids.free
    vm = host.driver.vpes.create_vm(3)
    assert (vm.nr_db_lpis, host.driver.lpis.intids.free) == (4, free - 4)
    host.driver.vpes.destroy_vm(vm)
    assert host.driver.lpis.intids.free == free


def test_a_vpe_that_is_mapped_again_is_on_cpu_0(host: Host) -> None:
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.driver.vpes.set_affinity(vpe, 2)
    host.driver.vpes.deactivate(vpe)
    host.words()
    host.driver.vpes.activate(vpe)
    assert vpe.col_idx == 0
    assert " RDbase=0x0 V=1 " in host.commands()[0]


def test_maps_and_unmaps_do_not_wait_for_the_end_of_a_batch() -> None:
    """Alloc orders them between ITSs, and the VPT may be read next."""
    host = Host(its=2)
    vm = with_vlpi(host)
    host.gic.its[0].translate(1, 0)
    host.words(1)
    with host.driver.gic.batch():
        host.driver.vpes.deactivate(vm.vpes[0])
        assert pending_in_ram(host, vm.vpes[0]) == 1
        assert (host.mnemonics(0), host.mnemonics(1)) == ("VMAPP", "INVDB VSYNC VMAPP")
        host.driver.vpes.activate(vm.vpes[0])
        mapped = "VMAPP VSYNC VINVALL VSYNC"
        assert (host.mnemonics(0), host.mnemonics(1)) == (mapped, f"{mapped} INVDB VSYNC")


@pytest.mark.parametrize("choices", [{}, {"its": 2}, {"architecture": "4.0"}, {"architecture": "4.0", "its": 2}])
def test_many_vpes_are_mapped_and_unmapped_with_the_commands_of_one_by_one(choices: dict[str, object]) -> None:
    """The same commands in the same order in each queue, and one CWRITER write for all of them."""
    host, twin = (Host(**choices) for _ in range(2))  # type: ignore[arg-type]
    many, single = host.driver.vpes, twin.driver.vpes
    vpes, alike = many.create_vm(5).vpes, single.create_vm(5).vpes
    many.set_affinity(vpes[1], 2)
    single.set_affinity(alike[1], 2)
    host.writes()
    many.deactivate(*vpes[::-1])
    many.activate(*vpes)
    written = [write.face for write in host.writes("GITS_CWRITER")]
    for vpe in alike[::-1]:
        single.deactivate(vpe)
    for vpe in alike:
        single.activate(vpe)
    assert [host.words(its) for its in range(len(host.gic.its))] == [
        twin.words(its) for its in range(len(host.gic.its))
    ]
    assert host.memory.read(host.driver.gic.lpi_configuration.address, 0xE000) == twin.memory.read(
        twin.driver.gic.lpi_configuration.address, 0xE000
    )
    assert len(written) == 2 * len(host.gic.its)


def test_vpes_that_are_mapped_or_unmapped_twice_are_refused(host: Host) -> None:
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    with pytest.raises(DriverError, match="EEXIST: vPE 0 is mapped"):
        host.driver.vpes.activate(vpe)
    host.driver.vpes.deactivate(vpe)
    host.words()
    for operation in (
        lambda: host.driver.vpes.deactivate(vpe),
        lambda: host.driver.vpes.set_affinity(vpe, 1),
        lambda: host.driver.vpes.schedule(vpe, 0),
        lambda: host.driver.vsgis.get_pending(vpe, 0),
    ):
        with pytest.raises(DriverError, match="EINVAL") as caught:
            operation()
        assert caught.value.errno == "EINVAL"
    assert host.commands() == []


def test_affinity_is_one_vmovp_with_the_doorbell(host: Host) -> None:
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.words()
    host.driver.vpes.set_affinity(vpe, 0)
    assert host.commands() == [], "it is there already"
    host.driver.vpes.set_affinity(vpe, 2)
    assert host.commands() == [
        f"VMOVP SeqNum=0x0 ITSList=0x0 vPEID=0x0 RDbase=0x2 DB=1 Default_Doorbell={vpe.doorbell_intid:#x}",
        "VSYNC vPEID=0x0",
    ]
    with pytest.raises(DriverError, match=r"EINVAL: CPUs are 0\.\.3"):
        host.driver.vpes.set_affinity(vpe, 4)


def test_without_single_vmovp_every_its_gets_the_same_sequence_number() -> None:
    host = Host(its=2, vmovp=False)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.driver.vpes.set_affinity(vpe, 3)
    host.words(0), host.words(1)
    host.driver.vpes.set_affinity(vpe, 2)
    for its in range(2):
        move, sync = host.commands(its)
        assert move.startswith("VMOVP SeqNum=0x1 ITSList=0x3 vPEID=0x0 RDbase=0x2 DB=1")
        assert sync == "VSYNC vPEID=0x0"
    host.driver.vpes._vmovp_sequence = 0xFFFF
    host.driver.vpes.set_affinity(vpe, 1)
    host.driver.vpes.set_affinity(vpe, 0)
    moves = [line for line in host.commands(1) if line.startswith("VMOVP")]
    assert [line.split()[1] for line in moves] == ["SeqNum=0xffff", "SeqNum=0x0"]
    assert host.gic.errors == []


def test_gicv41_residency_registers(host: Host) -> None:
    vpe = host.driver.vpes.create_vm(2).vpes[1]
    host.driver.vpes.set_affinity(vpe, 2)
    host.driver.vpes.schedule(vpe, 2, vgrp0=True, vgrp1=True)
    host.driver.vpes.commit(vpe)
    register = GICR_VPENDBASER.unpack(host.rd("GICR_VPENDBASER", 2))
    assert (register["Valid"], register["vPEID"], register["VGrp0En"], register["VGrp1En"]) == (1, vpe.vpe_id, 1, 1)
    host.driver.vpes.deschedule(vpe, doorbell=False)
    register = GICR_VPENDBASER.unpack(host.rd("GICR_VPENDBASER", 2))
    assert (register["Valid"], register["Doorbell"], register["PendingLast"]) == (0, 0, 1)
    assert vpe.pending_last, "whoever asks for no doorbell is told that something may be pending"


@pytest.mark.parametrize("pending", [False, True])
def test_a_blocking_vcpu_learns_what_is_pending_or_gets_one_doorbell(host: Host, pending: bool) -> None:
    vpe = with_vlpi(host).vpes[0]
    host.driver.vpes.set_affinity(vpe, 1)
    host.driver.vpes.schedule(vpe, 1)
    if pending:
        host.gic.its[0].translate(1, 0)
    host.driver.vpes.deschedule(vpe, doorbell=True)
    assert vpe.pending_last == pending
    host.gic.its[0].translate(1, 0)
    doorbell = host.gic.redistributors[1].cpu.acknowledge()
    assert doorbell == (1023 if pending else vpe.doorbell_intid)
    of_doorbell = {vpe.doorbell_intid: vpe for vpe in host.driver.vpes.by_id.values()}
    assert of_doorbell.get(doorbell) is (None if pending else vpe)
    assert FIRST_LPI not in of_doorbell


def test_a_new_gicv40_vpe_has_no_valid_implementation_defined_area() -> None:
    """Linux' its_alloc_vcpu_irqs: IDAI = 1 until a deschedule has read it back."""
    host = Host(architecture="4.0")
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.writes()
    for _ in range(2):
        host.driver.vpes.schedule(vpe, 0)
        host.driver.vpes.deschedule(vpe, doorbell=False)
    valid = [GICR_VPENDBASER_V40.unpack(write.value) for write in host.writes("GICR_VPENDBASER")][::2]
    read_back = GICR_VPENDBASER_V40.unpack(host.rd("GICR_VPENDBASER"))["IDAI"]
    assert [(fields["Valid"], fields["IDAI"]) for fields in valid] == [(1, 1), (1, read_back)]


def test_a_vpe_is_resident_in_one_place_and_a_cpu_has_one_vpe(host: Host) -> None:
    first, second = host.driver.vpes.create_vm(2).vpes
    host.driver.vpes.schedule(first, 0)
    for errno, operation in (
        ("EBUSY", lambda: host.driver.vpes.schedule(second, 0)),
        ("EBUSY", lambda: host.driver.vpes.schedule(first, 1)),
        ("EBUSY", lambda: host.driver.vpes.deactivate(first)),
        ("EBUSY", lambda: host.driver.vpes.set_affinity(first, 1)),
        ("EBUSY", lambda: host.driver.vpes.destroy_vm(first.vm)),
        ("EINVAL", lambda: host.driver.vpes.deschedule(second, doorbell=False)),
        ("EINVAL", lambda: host.driver.vpes.commit(second)),
    ):
        with pytest.raises(DriverError) as caught:
            operation()
        assert caught.value.errno == errno
    assert first.vmapp_count == 1


def test_residency_waits_for_dirty_when_the_gic_takes_its_time() -> None:
    """GICR_VPENDBASER is never written while Dirty is 1, preempted before the commit or not."""
    host = Host(commands_per_step=4)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.writes()
    for commit in (True, False):
        host.driver.vpes.schedule(vpe, 0)
        assert GICR_VPENDBASER.unpack(host.rd("GICR_VPENDBASER"))["Dirty"] == 1
        if commit:
            host.driver.vpes.commit(vpe)
            assert GICR_VPENDBASER.unpack(host.rd("GICR_VPENDBASER"))["Dirty"] == 0
        host.driver.vpes.deschedule(vpe, doorbell=True)
        assert GICR_VPENDBASER.unpack(host.rd("GICR_VPENDBASER"))["Dirty"] == 0
        assert not vpe.pending_last
    writes = host.writes("GICR_VPENDBASER")
    assert len(writes) == 4
    assert [GICR_VPENDBASER.unpack(write.before)["Dirty"] for write in writes] == [0] * 4


@pytest.mark.parametrize(("architecture", "mnemonics"), [("4.1", ""), ("4.0", "VINVALL VSYNC")])
def test_invall_reloads_every_vlpi(architecture: str, mnemonics: str) -> None:
    host = Host(architecture=architecture, caching="retain")
    vm = with_vlpi(host)
    vpe = vm.vpes[0]
    host.driver.vpes.schedule(vpe, 0)
    host.gic.its[0].translate(1, 0)
    assert host.gic.redistributors[0].cpu.acknowledge_virtual() == VINTID
    host.words()
    vm.vprop.write(VINTID, 0xA2)
    host.driver.vpes.invall(vpe)
    assert host.mnemonics() == mnemonics
    host.gic.its[0].translate(1, 0)
    assert host.gic.redistributors[0].cpu.acknowledge_virtual() == 1023


def test_a_vm_gives_everything_back(host: Host) -> None:
    host.driver.vpes.destroy_vm(host.driver.vpes.create_vm(3))
    before = (host.allocator.free_bytes, host.driver.lpis.intids.free, host.driver.vpes.ids.free)
    vm = host.driver.vpes.create_vm(3)
    host.driver.vpes.deactivate(vm.vpes[1])
    host.driver.vpes.destroy_vm(vm)
    assert (host.allocator.free_bytes, host.driver.lpis.intids.free, host.driver.vpes.ids.free) == before
    assert host.driver.vpes.by_id == {}
    assert host.gic.errors == []


@pytest.mark.parametrize("resource", ["vpe_ids", "lpi_ids", "memory"])
def test_a_vm_that_does_not_fit_leaves_nothing_behind(resource: str) -> None:
    host = Host(vpe_id_bits=2)
    host.driver.vpes.destroy_vm(host.driver.vpes.create_vm(1))
    if resource == "lpi_ids":
        host.driver.lpis.intids.take(host.driver.lpis.intids.free - 3)
    if resource == "memory":
        while host.allocator.free_bytes > 0x2_8000:
            host.allocator.alloc(0x4000 if host.allocator.free_bytes < 0x10_0000 else 0x4_0000)
    before = (host.allocator.free_bytes, host.driver.lpis.intids.free, host.driver.vpes.ids.free)
    with pytest.raises(DriverError) as caught:
        host.driver.vpes.create_vm(5)
    assert caught.value.errno == ("ENOMEM" if resource == "memory" else "ENOSPC")
    assert (host.allocator.free_bytes, host.driver.lpis.intids.free, host.driver.vpes.ids.free) == before
    assert host.driver.vpes.by_id == {}


def test_gicv40_maps_with_vsync_and_without_tables_of_the_redistributor() -> None:
    host = Host(architecture="4.0", **UNMAP_V40)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    assert host.commands() == [
        f"VMAPP vPEID=0x0 RDbase=0x0 V=1 VPT_size=0xf VPT_addr={vpe.vpt_page:#x}",
        "VSYNC vPEID=0x0",
        "VINVALL vPEID=0x0",
        "VSYNC vPEID=0x0",
    ]
    host.driver.vpes.deactivate(vpe)
    assert host.commands() == ["VMAPP vPEID=0x0 RDbase=0x0 V=0 VPT_size=0x0 VPT_addr=0x0", "VSYNC vPEID=0x0"]


def test_gicv40_residency_registers_name_the_tables() -> None:
    host = Host(architecture="4.0")
    vm = with_vlpi(host)
    vpe = vm.vpes[0]
    vpe.idai = True
    host.driver.vpes.schedule(vpe, 0)
    vprop = GICR_VPROPBASER_V40.unpack(host.rd("GICR_VPROPBASER"))
    assert (vprop["Physical_Address"], vprop["IDbits"]) == (vm.vprop_page, 15)
    assert (vprop["InnerCache"], vprop["Shareability"]) == (3, 1)
    vpend = GICR_VPENDBASER_V40.unpack(host.rd("GICR_VPENDBASER"))
    assert (vpend["Valid"], vpend["IDAI"], vpend["PendingLast"]) == (1, 1, 1)
    assert (vpend["Physical_Address"], vpend["InnerCache"], vpend["Shareability"]) == (vpe.vpt_page, 7, 1)
    host.driver.vpes.commit(vpe)
    vpe.idai = False
    host.driver.vpes.deschedule(vpe, doorbell=True)
    assert (vpe.pending_last, vpe.idai) == (False, True), "as the register says"
    host.driver.vpes.schedule(vpe, 0)
    host.gic.its[0].translate(1, 0)
    host.driver.vpes.deschedule(vpe, doorbell=True)
    assert vpe.pending_last


def test_gicv40_with_an_its_list_maps_vpes_where_the_vm_has_vlpis() -> None:
    host = Host(architecture="4.0", its=2, vmovp=False, **UNMAP_V40)
    driver = host.driver
    device = driver.lpis.create_device(1, 2, its=1)
    driver.lpis.activate(device, 0)
    driver.lpis.activate(device, 1)
    vm = driver.vpes.create_vm(2)
    assert [vpe.vmapp_count for vpe in vm.vpes] == [0, 0]
    driver.vpes.set_affinity(vm.vpes[0], 1)
    host.words(0), host.words(1)
    driver.vlpis.map(device, 0, vm, 0, VINTID, 0xA3)
    assert host.mnemonics(1) == "VMAPP VSYNC VINVALL VSYNC VMAPP VSYNC VINVALL VSYNC DISCARD SYNC VMAPTI VSYNC"
    driver.vlpis.map(device, 1, vm, 0, VINTID + 1, 0xA3)
    assert host.mnemonics(1) == "DISCARD SYNC VMAPTI VSYNC"
    driver.vpes.set_affinity(vm.vpes[0], 2)
    assert host.commands(1)[0].startswith("VMOVP SeqNum=0x0 ITSList=0x2 vPEID=0x0 RDbase=0x2 DB=0")
    driver.vpes.invall(vm.vpes[0])
    assert host.mnemonics(1) == "VINVALL VSYNC"
    driver.vlpis.unmap(device, 0)
    assert "VMAPP" not in host.mnemonics(1)
    driver.vlpis.unmap(device, 1)
    assert host.mnemonics(1).endswith("VMAPP VSYNC VMAPP VSYNC")
    assert host.commands(0) == []
    driver.vpes.deactivate(vm.vpes[0])
    driver.vpes.activate(vm.vpes[0])
    driver.vpes.invall(vm.vpes[0])
    assert host.commands(1) == [], "no ITS has the vPE"
