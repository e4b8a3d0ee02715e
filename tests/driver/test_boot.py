# SPDX-License-Identifier: Apache-2.0
"""Boot: what stands in registers and RAM afterwards, and the commands that each CPU sends."""

import pytest

from gicmodel.driver import DriverError
from gicmodel.layouts.its_tables import CTE
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CBASER, GITS_CTLR
from gicmodel.layouts.registers.redistributor import (
    GICR_CTLR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_TYPER,
    GICR_VPENDBASER,
    GICR_VPENDBASER_V40,
    GICR_VPROPBASER,
    GICR_VPROPBASER_V40,
    GICR_WAKER,
)
from tests.driver.host import Host


def test_each_cpu_sends_mapc_and_invall_each_with_a_sync() -> None:
    host = Host(redistributors=2, boot=False)
    host.driver.probe()
    assert host.commands() == [
        "MAPC ICID=0x0 RDbase=0x0 V=1",
        "SYNC RDbase=0x0",
        "INVALL ICID=0x0",
        "SYNC RDbase=0x0",
        "MAPC ICID=0x1 RDbase=0x1 V=1",
        "SYNC RDbase=0x1",
        "INVALL ICID=0x1",
        "SYNC RDbase=0x1",
    ]


def test_cpus_map_their_collections_on_the_last_its_first() -> None:
    host = Host(its=3, redistributors=2, boot=False)
    host.driver.probe()
    rung = [write.face for write in host.writes("GITS_CWRITER") if write.value]
    assert rung == [face for _ in range(2) for face in ("ITS 2", "ITS 2", "ITS 1", "ITS 1", "ITS 0", "ITS 0")]


def test_boot_writes_registers_in_linux_order() -> None:
    """As Linux 6.12 does on the same GIC: what an earlier kernel left is taken away first, CPU 1 comes up last."""
    host = Host(its=2, redistributors=2, vmovp=False, boot=False)
    host.driver.probe()
    queue = ("GITS_CBASER", "GITS_CWRITER")
    tables = ["GITS_BASER0"] * 3 + ["GITS_BASER1"] * 2 + ["GITS_BASER2"]
    quiesce = [f"GITS_BASER{n}" for n in range(8)]
    cpu = ["GICR_PROPBASER", "GICR_PENDBASER", "GICR_CTLR", "GICR_VPROPBASER"]
    collection = ["GITS_CWRITER"] * 2
    expected = [
        ("RD 0", ["GICR_VPROPBASER"]),
        ("RD 1", ["GICR_VPROPBASER"]),
        ("RD 0", ["GICR_WAKER"]),
        ("ITS 0", quiesce),
        ("ITS 1", quiesce),
        ("ITS 0", ["GITS_CTLR", *tables, "GITS_BASER2", "GITS_BASER2", *queue, "GITS_CTLR"]),
        ("ITS 1", ["GITS_CTLR", *tables, "GITS_BASER2", *queue, "GITS_CTLR"]),
        ("RD 0", cpu),
        ("ITS 1", collection),
        ("ITS 0", collection),
        ("RD 1", ["GICR_WAKER", *cpu]),
        ("ITS 1", collection),
        ("ITS 0", collection),
    ]
    written = [(write.face, write.register) for write in host.writes()]
    assert written == [(face, register) for face, registers in expected for register in registers]


def test_probing_writes_the_values_that_linux_writes() -> None:
    """Recorded from Linux 6.12 with the same GIC, the tables' addresses masked."""
    host = Host(redistributors=1, boot=False)
    host.driver.probe()
    baser = [write for write in host.writes() if write.register in ("GITS_BASER0", "GITS_BASER1", "GITS_BASER2")][3:]
    assert [write.value & ~0xFFFF_FFFF_F000 for write in baser] == [
        *(0x0107_0000_0000_0200, 0x7800_0000_0000_0400, 0xF907_0000_0000_0600),
        *(0x0407_0000_0000_0200, 0xBC07_0000_0000_0600),
        *(0x021F_0000_0000_0200, 0x7800_0000_0000_0400, 0xFA1F_0000_0000_0600),
    ]


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_registers_after_boot(architecture: str) -> None:
    host = Host(architecture=architecture)
    its = GITS_CTLR.unpack(host.its("GITS_CTLR"))
    assert its["Enabled"] == 1
    assert its["ImDe"] == (architecture != "3")
    queue = GITS_CBASER.unpack(host.its("GITS_CBASER"))
    assert (queue["Valid"], queue["InnerCache"], queue["Shareability"], queue["Size"]) == (1, 7, 1, 15)
    assert queue["Physical_Address"] % 0x1_0000 == 0
    assert host.its("GITS_CWRITER") == host.its("GITS_CREADR") == 16 * 32
    for cpu in range(4):
        assert GICR_CTLR.unpack(host.rd("GICR_CTLR", cpu))["EnableLPIs"] == 1
        assert GICR_WAKER.unpack(host.rd("GICR_WAKER", cpu))["ChildrenAsleep"] == 0
        propbaser = GICR_PROPBASER.unpack(host.rd("GICR_PROPBASER", cpu))
        assert propbaser["Physical_Address"] == host.driver.gic.lpi_configuration.address
        assert (propbaser["IDbits"], propbaser["InnerCache"], propbaser["Shareability"]) == (15, 7, 1)
    pending_tables = {GICR_PENDBASER.unpack(host.rd("GICR_PENDBASER", cpu))["Physical_Address"] for cpu in range(4)}
    assert len(pending_tables) == 4
    assert (host.driver.gic.is_v4, host.driver.gic.is_v41) == (architecture != "3", architecture == "4.1")


def test_every_lpi_starts_disabled_at_priority_a0(host: Host) -> None:
    table = host.memory.read(host.driver.gic.lpi_configuration.address, (1 << 16) - 8192)
    assert table == bytes([0xA2]) * len(table)


def test_gicv40_redistributors_learn_the_width_of_vintids_before_any_vpe() -> None:
    host = Host(architecture="4.0")
    assert GICR_VPROPBASER_V40.unpack(host.rd("GICR_VPROPBASER", 3))["IDbits"] == 15
    assert GICR_VPENDBASER_V40.unpack(host.rd("GICR_VPENDBASER", 3))["Valid"] == 0


def test_gicv41_redistributors_use_the_table_of_the_its_where_they_share_it(host: Host) -> None:
    baser = GITS_BASER.unpack(host.its("GITS_BASER2"))
    vprop = GICR_VPROPBASER.unpack(host.rd("GICR_VPROPBASER", 2))
    assert not any(GICR_VPROPBASER.unpack(write.value)["Z"] for write in host.writes("GICR_VPROPBASER"))
    for name in ("Physical_Address", "Indirect", "Page_Size", "Size", "Shareability", "InnerCache", "Valid"):
        assert vprop[name] == baser[name], name
    assert all(rd.vpe_table == host.driver.gic.its[0].tables[2] for rd in host.driver.gic.redistributors)


def test_gicv41_without_sharing_one_table_per_group_of_redistributors() -> None:
    """CommonLPIAff = 3: redistributors of one Aff1 share, and there are 16 to a cluster."""
    host = Host(redistributors=18, svpet=0, common_lpi_aff=3)
    tables = [GICR_VPROPBASER.unpack(host.rd("GICR_VPROPBASER", cpu))["Physical_Address"] for cpu in range(18)]
    assert tables[:16] == [tables[0]] * 16
    assert tables[16:] == [tables[16]] * 2
    assert len({tables[0], tables[16], GITS_BASER.unpack(host.its("GITS_BASER2"))["Physical_Address"]}) == 3
    fields = GICR_VPROPBASER.unpack(host.rd("GICR_VPROPBASER"))
    assert (fields["Valid"], fields["InnerCache"], fields["Shareability"]) == (1, 3, 1)
    zero = [write.face for write in host.writes("GICR_VPROPBASER") if GICR_VPROPBASER.unpack(write.value)["Z"]]
    assert zero == ["RD 0", "RD 16"], "only who builds a table may say that it is zero"


def test_several_itss_share_one_vpe_table_where_svpet_says_so() -> None:
    shared, apart = Host(its=2), Host(its=2, svpet=0)
    assert shared.its("GITS_BASER2", 0) == shared.its("GITS_BASER2", 1)
    assert apart.its("GITS_BASER2", 0) != apart.its("GITS_BASER2", 1)


def test_pta_collections_are_addresses_of_redistributors() -> None:
    host = Host(pta=True, redistributors=2, boot=False)
    host.driver.probe()
    assert [line for line in host.commands() if line.startswith("MAPC")] == [
        "MAPC ICID=0x0 RDbase=0x80a V=1",
        "MAPC ICID=0x1 RDbase=0x80e V=1",
    ]
    collections = GITS_BASER.unpack(host.its("GITS_BASER1"))["Physical_Address"]
    assert CTE.unpack(host.memory.read_u64(collections + 8))["Valid"] == 1


def test_pta_needs_the_addresses_of_redistributors() -> None:
    host = Host(pta=True, boot=False)
    host.driver.gic.redistributor_bases = ()
    with pytest.raises(DriverError, match=r"EINVAL: ITS 0 has GITS_TYPER.PTA = 1"):
        host.driver.probe()


def test_its_list_numbers_are_kept_only_without_single_vmovp() -> None:
    assert Host(its=3, vmovp=False).driver.gic.its_list == [0, 1, 2]
    assert Host(its=3).driver.gic.its_list == []


@pytest.mark.parametrize("steps", [None, 2])
def test_a_second_driver_takes_over_from_the_first(steps: int | None) -> None:
    """As a kernel after kexec: everything is on, and the tables are another's."""
    host = Host(commands_per_step=steps)
    vm = host.driver.vpes.create_vm(1)
    host.driver.vpes.schedule(vm.vpes[0], 1)
    old = host.rd("GICR_PROPBASER")
    driver = host.new_driver()
    driver.probe()
    assert host.rd("GICR_PROPBASER") != old
    quiescent = {GITS_CTLR.unpack(write.before)["Quiescent"] for write in host.writes("GITS_CTLR") if write.value & 1}
    assert quiescent == {1}
    assert GICR_VPENDBASER.unpack(host.rd("GICR_VPENDBASER", 1))["Valid"] == 0
    device = driver.lpis.create_device(3, 4)
    driver.lpis.activate(device, 2, cpus=3)
    host.gic.its[0].translate(3, 2)
    assert host.gic.redistributors[3].cpu.acknowledge() == device.lpi_base + 2


def test_an_its_number_that_is_taken_or_too_high_is_refused() -> None:
    its = Host(vmovp=False).driver.gic.its[0]
    with pytest.raises(DriverError, match=r"EINVAL: ITS 0 has GITS_CTLR.ITS_Number 0, as another ITS does"):
        its.assign_list_number([0])
    with pytest.raises(DriverError, match="EINVAL: ITS 0 is beyond the 16 of an ITS list"):
        its.assign_list_number(range(16))


class SlowToWake:
    """A redistributor that is asleep for three more reads of GICR_WAKER; `early` counts enables before it woke."""

    def __init__(self, real: object) -> None:
        self.real, self.asleep, self.early = real, 3, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def read(self, offset: int, size: int) -> int:
        value = int(self.real.read(offset, size))  # type: ignore[attr-defined]
        if offset == register("GICR_WAKER").offset and self.asleep:
            self.asleep -= 1
            return value | GICR_WAKER.pack(ChildrenAsleep=1)
        return value

    def write(self, offset: int, value: int, size: int) -> None:
        if offset == register("GICR_CTLR").offset and self.asleep:
            self.early += 1
        self.real.write(offset, value, size)  # type: ignore[attr-defined]


def test_a_redistributor_is_awake_before_its_lpis_are_enabled() -> None:
    host = Host(boot=False)
    slow = SlowToWake(host.gic.redistributors[2])
    host.gic.redistributors[2] = slow  # type: ignore[call-overload]
    host.new_driver().probe()
    assert (slow.asleep, slow.early) == (0, 0)


class StubbornRedistributor:
    """A redistributor whose EnableLPIs cannot be cleared (GICR_CTLR.CES = 0), or that has no LPIs."""

    def __init__(self, real: object, plpis: int) -> None:
        self.real, self.plpis = real, plpis

    def read(self, offset: int, size: int) -> int:
        value = self.real.read(offset, size)  # type: ignore[attr-defined]
        if offset == 0:
            return int(value) | GICR_CTLR.pack(EnableLPIs=1)
        return int(value) & ~GICR_TYPER.pack(PLPIS=1) | self.plpis if offset == 8 else int(value)

    def write(self, offset: int, value: int, size: int) -> None:
        self.real.write(offset, value, size)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("plpis", "errno"), [(1, "EBUSY"), (0, "ENXIO")])
def test_lpi_tables_that_cannot_be_changed_are_refused(plpis: int, errno: str) -> None:
    host = Host(boot=False)
    host.gic.redistributors[1] = StubbornRedistributor(host.gic.redistributors[1], plpis)  # type: ignore[call-overload]
    with pytest.raises(DriverError) as caught:
        host.new_driver().probe()
    assert caught.value.errno == errno


def test_everything_boots_and_delivers_when_the_gic_runs_in_steps() -> None:
    host = Host(commands_per_step=1)
    device = host.driver.lpis.create_device(1, 2)
    host.driver.lpis.activate(device, 1, cpus=2)
    host.gic.its[0].translate(1, 1)
    assert host.gic.redistributors[2].cpu.acknowledge() == device.lpi_base + 1
