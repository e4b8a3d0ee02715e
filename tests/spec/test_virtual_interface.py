# SPDX-License-Identifier: Apache-2.0
"""List registers, vSGIs and vLPIs at the virtual CPU interface of the oracle, and the maintenance interrupt."""

from collections.abc import Callable

import pytest

from gicmodel.spec import SPURIOUS, AbstractGic, distributor

VPT, VCONF = 0x9001_0000, 0x9000_0000
VLPI = 8193
PENDING, ACTIVE, BOTH = 1, 2, 3
EOI = 1 << 9


@pytest.fixture(autouse=True)
def ready(oracle: AbstractGic, run: Callable[..., None]) -> None:
    """PE 0 runs vPE 0, whose vSGI 5 has priority 0xA0 in Group 0, and whose vLPI has 0x80; both groups are enabled."""
    run("VMAPP", vPEID=0, V=1, Alloc=1, RDbase=0, VPT_addr=VPT, VCONF_addr=VCONF, VPT_size=15, Default_Doorbell=1023)
    run("VSGI", vPEID=0, vINTID=5, Enable=1, Group=0, Priority=0xA)
    oracle.set_virtual_configuration(VCONF, VLPI, 0x81)
    oracle.schedule(0, 0)
    control(oracle, En=1)
    vmcr = {"VPMR": 0xFF, "VBPR0": 0, "VBPR1": 0, "VEOIM": 0, "VCBPR": 0, "VENG0": 1, "VENG1": 1}
    oracle.write_system(0, "ICH_VMCR_EL2", vmcr)


def control(oracle: AbstractGic, **fields: int) -> None:
    names = "EOIcount TDIR TALL1 TALL0 TC vSGIEOICount VGrp1DIE VGrp1EIE VGrp0DIE VGrp0EIE NPIE LRENPIE UIE En".split()
    oracle.write_system(0, "ICH_HCR_EL2", dict.fromkeys(names, 0) | fields)


def list_register(oracle: AbstractGic, place: int, vintid: int, **fields: int) -> None:
    defaults = {"State": PENDING, "HW": 0, "Group": 1, "NMI": 0, "Priority": 0x88, "pINTID": 0}
    oracle.write_system(0, f"ICH_LR{place}_EL2", defaults | {"vINTID": vintid} | fields)


def read(oracle: AbstractGic, register: str) -> int:
    (value,) = oracle.read_system(0, register).values()
    return value


def write(oracle: AbstractGic, register: str, **fields: int) -> None:
    oracle.write_system(0, register, fields)


def state(oracle: AbstractGic, place: int) -> int:
    return oracle.read_system(0, f"ICH_LR{place}_EL2")["State"]


def reasons(oracle: AbstractGic) -> set[str]:
    return {name for name, asked in oracle.read_system(0, "ICH_MISR_EL2").items() if asked}


def test_one_arbitration(oracle: AbstractGic) -> None:
    """Two list registers, a vLPI and a vSGI: by priority, then by vINTID."""
    list_register(oracle, 0, 50)
    list_register(oracle, 3, 40)
    oracle.write_sgir(0, 0, 5)
    oracle.set_virtual(oracle.vpes[0], VLPI)
    taken = []
    for group in (1, 1, 1, 0):
        assert oracle.lines(0) == {"VIRQ" if group else "VFIQ"}
        taken.append(read(oracle, f"ICV_IAR{group}_EL1"))
        write(oracle, f"ICV_EOIR{group}_EL1", INTID=taken[-1])
    assert taken == [VLPI, 40, 50, 5]
    assert (oracle.lines(0), read(oracle, "ICV_IAR1_EL1"), oracle.virtual_pending(0)) == (set(), SPURIOUS, set())


def test_both_enables_of_a_group_count_for_what_is_directly_injected(oracle: AbstractGic) -> None:
    oracle.deschedule(0)
    oracle.schedule(0, 0, frozenset({0}))
    oracle.set_virtual(oracle.vpes[0], VLPI)
    assert read(oracle, "ICV_HPPIR1_EL1") == SPURIOUS
    oracle.write_sgir(0, 0, 5)
    assert read(oracle, "ICV_HPPIR0_EL1") == 5
    write(oracle, "ICV_IGRPEN0_EL1", Enable=0)
    assert read(oracle, "ICV_HPPIR0_EL1") == SPURIOUS


def test_a_virtual_interface_that_is_off(oracle: AbstractGic) -> None:
    list_register(oracle, 0, 50)
    control(oracle, En=0)
    assert (oracle.lines(0), read(oracle, "ICV_IAR1_EL1"), read(oracle, "ICV_HPPIR1_EL1")) == (set(), 1023, 1023)


@pytest.mark.parametrize("vintid", [40, VLPI])
@pytest.mark.parametrize("mode", [0, 1])
def test_a_list_register_from_pending_to_invalid(oracle: AbstractGic, vintid: int, mode: int) -> None:
    """An LPI is active in a list register, too, until its EOI whatever EOImode is."""
    write(oracle, "ICV_CTLR_EL1", EOImode=mode, CBPR=0)
    list_register(oracle, 1, vintid)
    assert (read(oracle, "ICV_IAR1_EL1"), state(oracle, 1), read(oracle, "ICV_RPR_EL1")) == (vintid, ACTIVE, 0x88)
    write(oracle, "ICV_EOIR1_EL1", INTID=vintid)
    ends_at_eoi = vintid == VLPI or not mode
    assert (state(oracle, 1), read(oracle, "ICV_RPR_EL1")) == (0 if ends_at_eoi else ACTIVE, 0xFF)
    write(oracle, "ICV_DIR_EL1", INTID=vintid)
    assert (state(oracle, 1), oracle.pes[0].virtual.control["EOIcount"]) == (0, 0)


def test_pending_and_active(oracle: AbstractGic) -> None:
    write(oracle, "ICV_CTLR_EL1", EOImode=1, CBPR=0)
    list_register(oracle, 0, 40, State=BOTH)
    assert oracle.lines(0) == set()
    write(oracle, "ICV_DIR_EL1", INTID=40)
    assert (state(oracle, 0), oracle.lines(0)) == (PENDING, {"VIRQ"})


@pytest.mark.parametrize("fields", [{"Group": 0}, {"Priority": 0x90}])
def test_an_eoi_of_another_group_or_priority_only_drops(oracle: AbstractGic, fields: dict[str, int]) -> None:
    list_register(oracle, 0, 40)
    read(oracle, "ICV_IAR1_EL1")
    list_register(oracle, 0, 40, State=ACTIVE, **fields)
    write(oracle, "ICV_EOIR1_EL1", INTID=40)
    assert (state(oracle, 0), read(oracle, "ICV_RPR_EL1")) == (ACTIVE, 0xFF)


def test_a_hardware_interrupt_is_deactivated_with_its_virtual_one(oracle: AbstractGic) -> None:
    distributor.write(oracle.spis, "ISACTIVER", 1, 1 << 8 | 1 << 9)
    list_register(oracle, 0, 50, HW=1, pINTID=40)
    read(oracle, "ICV_IAR1_EL1")
    write(oracle, "ICV_EOIR1_EL1", INTID=50)
    assert oracle.spis.active == {41}


def test_what_ends_without_a_list_register_is_counted(oracle: AbstractGic) -> None:
    def counted(vintid: int) -> int:
        write(oracle, "ICH_AP1R0_EL2", P=1 << 4)
        write(oracle, "ICV_EOIR1_EL1", INTID=vintid)
        assert read(oracle, "ICV_RPR_EL1") == (0x20 if vintid == SPURIOUS else 0xFF)
        return oracle.read_system(0, "ICH_HCR_EL2")["EOIcount"]

    assert [counted(vintid) for vintid in (40, 5, VLPI, SPURIOUS)] == [1, 2, 2, 2]
    control(oracle, En=1, vSGIEOICount=1, EOIcount=31)
    assert [counted(vintid) for vintid in (5, 16)] == [31, 0]
    write(oracle, "ICH_AP1R0_EL2", P=0)
    write(oracle, "ICV_EOIR1_EL1", INTID=40)
    assert oracle.read_system(0, "ICH_HCR_EL2")["EOIcount"] == 0
    write(oracle, "ICV_CTLR_EL1", EOImode=1, CBPR=0)
    assert counted(40) == 0
    write(oracle, "ICV_DIR_EL1", INTID=40)
    assert oracle.read_system(0, "ICH_HCR_EL2")["EOIcount"] == 1


def test_reasons_of_a_maintenance_interrupt(oracle: AbstractGic) -> None:
    control(oracle, En=1, UIE=1, NPIE=1, LRENPIE=1, EOIcount=1, VGrp0DIE=1, VGrp1EIE=1)
    assert reasons(oracle) == {"U", "NP", "LRENP", "VGrp1E"}
    list_register(oracle, 0, 40)
    list_register(oracle, 1, 41, State=ACTIVE)
    list_register(oracle, 2, 42, State=0, pINTID=EOI)
    write(oracle, "ICV_IGRPEN0_EL1", Enable=0)
    assert reasons(oracle) == {"EOI", "LRENP", "VGrp1E", "VGrp0D"}
    assert (read(oracle, "ICH_EISR_EL2"), read(oracle, "ICH_ELRSR_EL2")) == (0b0100, 0b1000)
    assert distributor.read(oracle.pes[0].bank, "ISPENDR", 0) == 1 << oracle.config.maintenance_intid
    control(oracle, En=0, UIE=1)
    assert distributor.read(oracle.pes[0].bank, "ISPENDR", 0) == 0


def test_the_hypervisors_view_is_the_guests_registers(oracle: AbstractGic) -> None:
    write(oracle, "ICV_PMR_EL1", Priority=0xF7)
    write(oracle, "ICV_BPR0_EL1", BinaryPoint=4)
    write(oracle, "ICV_CTLR_EL1", EOImode=1, CBPR=1)
    vmcr = oracle.read_system(0, "ICH_VMCR_EL2")
    assert vmcr == {
        **{"VPMR": 0xF0, "VBPR0": 4, "VBPR1": 3, "VEOIM": 1, "VCBPR": 1, "VFIQEn": 1},
        **{"VENG0": 1, "VENG1": 1},
    }
    assert read(oracle, "ICV_BPR1_EL1") == 5
    oracle.write_system(0, "ICH_VMCR_EL2", vmcr | {"VPMR": 0x4F, "VCBPR": 0, "VBPR1": 6, "VBPR0": 0, "VENG0": 0})
    assert [read(oracle, f"ICV_{name}_EL1") for name in ("PMR", "BPR0", "BPR1", "IGRPEN0")] == [0x48, 2, 6, 0]


def test_a_special_intid_in_a_list_register(oracle: AbstractGic) -> None:
    list_register(oracle, 0, 1021)
    assert (read(oracle, "ICV_IAR1_EL1"), state(oracle, 0), read(oracle, "ICV_RPR_EL1")) == (1021, 0, 0xFF)
