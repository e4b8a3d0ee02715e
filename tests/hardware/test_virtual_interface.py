# SPDX-License-Identifier: Apache-2.0
"""The virtual CPU interface: list registers, vSGIs and vLPIs in one arbitration, and the maintenance interrupt."""

import pytest

from gicmodel.hardware import UndefinedRegister, load_snapshot, save_snapshot
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import NamedRegisters, encoding, register, system_register
from gicmodel.layouts.registers.distributor import GICD_TYPER
from gicmodel.layouts.registers.its import GITS_SGIR
from tests.hardware.bench import Bench, furnish

INVALID, PENDING, ACTIVE, PENDING_AND_ACTIVE = range(4)
SPURIOUS, IDLE = 1023, 0xFF
VLPI = FIRST_LPI + 1
EOI = 1 << 9
MAINTENANCE = 25


class Guest(Bench):
    """vPE 0 is resident on PE 0 with a vLPI of priority 0xA0 mapped, both groups are enabled, nothing is masked."""

    def __init__(self, **choices: object) -> None:
        super().__init__(**choices)
        furnish(self)
        if self.config.virtual:
            self.map_vpe()
            self.map_vlpi(7, VLPI)
            if self.config.v41:
                self.run("VSGI", vINTID=3, Enable=1, Group=1, Priority=0xB)
                self.run("VSGI", vINTID=6, Enable=1, Group=0, Priority=0xA)
            self.schedule(groups=0b11)
        self.ich("HCR", En=1)
        self.ich("VMCR", VPMR=0xFF, VENG0=1, VENG1=1)

    @property
    def cpu(self):
        return self.gic.redistributors[0].cpu

    def ich(self, name: str, **fields: int) -> None:
        """Write ICH_<name>_EL2."""
        entry = system_register(f"ICH_{name}_EL2")
        self.cpu.write(entry.encoding, entry.layout.pack(**fields))

    def ich_fields(self, name: str) -> dict[str, int]:
        """Read ICH_<name>_EL2."""
        entry = system_register(f"ICH_{name}_EL2")
        return entry.layout.unpack(self.cpu.read(entry.encoding))

    def mrs(self, name: str) -> int:
        """The guest reads ICC_<name>_EL1."""
        return self.cpu.read(encoding(f"ICC_{name}_EL1"), virtual=True)

    def msr(self, name: str, value: int) -> None:
        """The guest writes ICC_<name>_EL1."""
        self.cpu.write(encoding(f"ICC_{name}_EL1"), value, virtual=True)

    def list(self, place: int, vintid: int, **fields: int) -> None:
        """Write a list register: a pending Group 1 interrupt of priority 0xA8."""
        self.ich(f"LR{place}", **{"State": PENDING, "Group": 1, "Priority": 0xA8, "vINTID": vintid} | fields)

    def listed(self, place: int) -> int:
        """The state of a list register."""
        return self.ich_fields(f"LR{place}")["State"]

    def vsgi(self, vintid: int) -> None:
        """Another vCPU sends a vSGI."""
        self.write_its("SGIR", GITS_SGIR.pack(vPEID=0, vINTID=vintid))

    def vlpi(self) -> None:
        """A device raises the vLPI."""
        self.run("INT", DeviceID=1, EventID=7)

    def lines(self) -> str:
        """What the PE sees for its vPE."""
        return "".join(name for name, level in zip(("VIRQ", "VFIQ"), self.cpu.virtual.lines(), strict=True) if level)

    def misr(self) -> set[str]:
        """Why there would be a maintenance interrupt."""
        return {name for name, asked in self.ich_fields("MISR").items() if asked}

    def maintained(self) -> bool:
        """The level of the maintenance interrupt, a PPI."""
        return bool(self.read_rd("ISPENDR0") >> MAINTENANCE & 1)


@pytest.fixture
def guest() -> Guest:
    return Guest()


def taken(guest: Guest, group: int = 1) -> list[int]:
    """What the guest takes of one group, each ended before the next is taken."""
    found = []
    while (vintid := guest.mrs(f"IAR{group}")) != SPURIOUS:
        found.append(vintid)
        guest.msr(f"EOIR{group}", vintid)
    return found


def test_one_arbitration_of_list_registers_vsgis_and_vlpis(guest):
    """By priority, then by vINTID, and of one vINTID that in a list register first."""
    guest.list(0, 50)
    guest.list(1, 40)
    guest.list(2, 60, Priority=0xA0)
    guest.list(3, VLPI, Priority=0xA0)
    guest.vlpi()
    guest.vsgi(3)
    assert taken(guest) == [60, VLPI, VLPI, 40, 50, 3]
    assert [guest.listed(place) for place in range(4)] == [INVALID] * 4


@pytest.mark.parametrize("architecture", ["4.0", "4.1"])
def test_a_vlpi_is_taken_as_icv_iar1_has_it(architecture):
    guest = Guest(architecture=architecture)
    guest.vlpi()
    assert guest.lines() == "VIRQ"
    assert [guest.mrs(name) for name in ("HPPIR0", "IAR0", "HPPIR1", "IAR1", "IAR1")] == [
        *(SPURIOUS, SPURIOUS),
        *(VLPI, VLPI, SPURIOUS),
    ]
    assert (guest.mrs("RPR"), guest.mrs("AP1R0")) == (0xA0, 1 << 0xA0 // 8)
    guest.msr("EOIR1", VLPI)
    assert (guest.mrs("RPR"), guest.ich_fields("HCR")["EOIcount"]) == (IDLE, 0)


def test_list_registers_of_a_gic_without_vlpis():
    guest = Guest(architecture="3")
    guest.list(0, 40)
    assert taken(guest) == [40]
    assert guest.ich_fields("VTR")["nV4"] == 1


def test_groups_have_registers_and_lines_of_their_own(guest):
    """vSGI 6 is of Group 0. There is one highest priority pending interrupt."""
    guest.vsgi(6)
    assert guest.lines() == "VFIQ"
    guest.list(0, 40, Priority=0xA8)
    assert (guest.mrs("IAR1"), guest.mrs("HPPIR1"), guest.mrs("HPPIR0"), guest.mrs("IAR0")) == (1023, 1023, 6, 6)
    assert guest.lines() == ""
    guest.msr("EOIR0", 6)
    assert guest.lines() == "VIRQ"


@pytest.mark.parametrize(("enables", "seen"), [(0b00, 1023), (0b01, 6), (0b10, VLPI), (0b11, 6)])
def test_a_group_that_is_disabled_holds_nothing_back(enables, seen):
    guest = Guest()
    guest.vlpi()
    guest.vsgi(6)
    guest.msr("IGRPEN0", enables & 1)
    guest.msr("IGRPEN1", enables >> 1)
    assert {guest.mrs("HPPIR0"), guest.mrs("HPPIR1")} - {SPURIOUS} == {seen} - {SPURIOUS}
    assert guest.cpu.pending_virtual() == 6, "what the redistributor forwards"


def test_the_residency_enables_groups_of_vsgis_and_vlpis_only(guest):
    guest.deschedule()
    guest.schedule(groups=0b01)
    guest.vlpi()
    assert guest.mrs("HPPIR1") == SPURIOUS
    guest.list(0, 40)
    assert guest.mrs("HPPIR1") == 40


def test_nothing_comes_while_the_interface_is_off(guest):
    guest.list(0, 40)
    guest.vlpi()
    guest.ich("HCR", En=0)
    assert (guest.lines(), guest.mrs("HPPIR1"), guest.mrs("IAR1")) == ("", SPURIOUS, SPURIOUS)
    guest.ich("HCR", En=1)
    assert guest.lines() == "VIRQ"


def test_the_mask_and_the_running_priority_hold_back(guest):
    guest.list(0, 40, Priority=0xA8)
    guest.msr("PMR", 0xA8)
    assert (guest.lines(), guest.mrs("HPPIR1"), guest.mrs("IAR1")) == ("", 40, SPURIOUS)
    guest.msr("PMR", 0xB0)
    assert (guest.lines(), guest.mrs("IAR1"), guest.mrs("RPR")) == ("VIRQ", 40, 0xA8)
    guest.list(1, 41, Priority=0xA8)
    assert guest.lines() == ""
    guest.list(2, 42, Priority=0xA0)
    assert (guest.lines(), guest.mrs("IAR1"), guest.mrs("RPR")) == ("VIRQ", 42, 0xA0)
    guest.msr("EOIR1", 42)
    assert guest.mrs("RPR") == 0xA8


@pytest.mark.parametrize(
    ("group", "point", "preempts"), [(1, 3, True), (1, 5, True), (1, 6, False), (0, 4, True), (0, 5, False)]
)
def test_binary_points(guest, group, point, preempts):
    """0xA8 is active and 0x98 comes: binary point n cuts n bits of Group 1, n + 1 of Group 0."""
    guest.msr(f"BPR{group}", point)
    guest.list(0, 40, Group=group, Priority=0xA8)
    assert guest.mrs(f"IAR{group}") == 40
    guest.list(1, 41, Group=group, Priority=0x98)
    assert bool(guest.lines()) is preempts


def test_one_binary_point_for_both_groups(guest):
    guest.msr("CTLR", 1)
    guest.msr("BPR0", 5)
    guest.msr("BPR1", 7)
    assert (guest.mrs("BPR1"), guest.ich_fields("VMCR")["VBPR1"]) == (6, 3)
    guest.msr("BPR0", 7)
    assert guest.mrs("BPR1") == 7
    guest.msr("CTLR", 0)
    assert guest.mrs("BPR1") == 3


def test_the_end_of_an_interrupt_in_a_list_register(guest):
    guest.list(0, 40)
    assert (guest.mrs("IAR1"), guest.listed(0)) == (40, ACTIVE)
    guest.list(0, 40, State=PENDING_AND_ACTIVE)
    assert guest.mrs("HPPIR1") == SPURIOUS
    guest.msr("EOIR1", 40)
    assert guest.listed(0) == PENDING
    assert taken(guest) == [40]


def test_priority_drop_and_deactivation_apart(guest):
    guest.msr("CTLR", 2)
    guest.list(0, 40)
    assert guest.mrs("IAR1") == 40
    guest.msr("EOIR1", 40)
    assert (guest.mrs("RPR"), guest.listed(0)) == (IDLE, ACTIVE)
    guest.msr("DIR", 40)
    assert guest.listed(0) == INVALID
    guest.list(1, VLPI)
    assert (guest.mrs("IAR1"), guest.listed(1)) == (VLPI, ACTIVE)
    guest.msr("DIR", VLPI)
    assert guest.listed(1) == ACTIVE
    guest.msr("EOIR1", VLPI)
    assert guest.listed(1) == INVALID, "an LPI is deactivated in any mode"


def test_dir_is_ignored_where_eoir_deactivates(guest):
    guest.list(0, 40)
    assert guest.mrs("IAR1") == 40
    guest.msr("DIR", 40)
    assert guest.listed(0) == ACTIVE


@pytest.mark.parametrize("wrong", [{"Group": 0}, {"Priority": 0xB0}])
def test_a_list_register_that_was_changed_is_not_ended(guest, wrong):
    """VirtualWriteEOIR: of the group, and of the priority that is dropped."""
    guest.list(0, 40)
    assert guest.mrs("IAR1") == 40
    guest.list(0, 40, State=ACTIVE, **wrong)
    guest.msr("EOIR1", 40)
    assert (guest.listed(0), guest.mrs("RPR"), guest.ich_fields("HCR")["EOIcount"]) == (ACTIVE, IDLE, 0)


def test_what_ends_nothing(guest):
    """While no priority is active, and special INTIDs."""
    guest.list(0, 40, State=ACTIVE)
    guest.msr("EOIR1", 40)
    assert (guest.listed(0), guest.ich_fields("HCR")["EOIcount"]) == (ACTIVE, 0)
    guest.list(1, 41)
    assert guest.mrs("IAR1") == 41
    for vintid in range(1020, 1024):
        guest.msr("EOIR1", vintid)
    assert guest.mrs("RPR") == 0xA8


def test_a_special_vintid_in_a_list_register(guest):
    """UNPREDICTABLE; here it is returned once, and no priority becomes active."""
    guest.list(0, 1021)
    assert (guest.mrs("IAR1"), guest.listed(0), guest.mrs("RPR")) == (1021, INVALID, IDLE)


@pytest.mark.parametrize("pintid", [5, 20, 40])
def test_hw_deactivates_the_physical_interrupt(guest, pintid):
    registers = guest.lab.redistributors[0] if pintid < 32 else NamedRegisters(guest.gic.distributor, "4.1")
    active = "GICR_ISACTIVER0" if pintid < 32 else "GICD_ISACTIVER1"
    registers.write(active, 1 << pintid % 32)
    guest.list(0, 60, HW=1, pINTID=pintid)
    assert guest.mrs("IAR1") == 60
    assert registers.read(active) == 1 << pintid % 32
    guest.msr("EOIR1", 60)
    assert (registers.read(active), guest.listed(0)) == (0, INVALID)


@pytest.mark.parametrize("pintid", [400, 1019, 1023, 8191])
def test_hw_with_an_interrupt_that_is_not_there(guest, pintid):
    guest.list(0, 60, HW=1, pINTID=pintid)
    assert taken(guest) == [60]


def test_ends_of_what_is_in_no_list_register_are_counted(guest):
    """Not those of LPIs; of SGIs unless vSGIEOICount says so."""
    for count, vintid, more in [(1, 60, {}), (2, 5, {}), (2, VLPI, {}), (2, 5, {"vSGIEOICount": 1}), (3, 60, {})]:
        guest.ich("HCR", **guest.ich_fields("HCR") | {"vSGIEOICount": 0} | more)
        guest.ich("AP1R0", P=1)
        guest.msr("EOIR1", vintid)
        assert guest.ich_fields("HCR")["EOIcount"] == count
    guest.ich("HCR", En=1, EOIcount=31)
    guest.msr("CTLR", 2)
    guest.msr("DIR", 60)
    assert guest.ich_fields("HCR")["EOIcount"] == 0


MAINTENANCE_CASES = [
    ({"UIE": 1}, {}, {"U"}),
    ({"UIE": 1}, {"LR0": PENDING}, {"U"}),
    ({"UIE": 1}, {"LR0": PENDING, "LR3": ACTIVE}, set()),
    ({"NPIE": 1}, {"LR0": ACTIVE, "LR1": PENDING_AND_ACTIVE}, {"NP"}),
    ({"NPIE": 1}, {"LR2": PENDING}, set()),
    ({"LRENPIE": 1}, {}, set()),
    ({"LRENPIE": 1, "EOIcount": 1}, {}, {"LRENP"}),
    ({"VGrp0EIE": 1, "VGrp0DIE": 1, "VGrp1EIE": 1, "VGrp1DIE": 1}, {}, {"VGrp0E", "VGrp1D"}),
    ({"EOIcount": 3}, {}, set()),
]


@pytest.mark.parametrize(("control", "states", "causes"), MAINTENANCE_CASES)
def test_why_there_is_a_maintenance_interrupt(guest, control, states, causes):
    guest.ich("VMCR", VPMR=0xFF, VENG0=1)
    for place, state in states.items():
        guest.list(int(place[2:]), 40, State=state)
    guest.ich("HCR", En=1, **control)
    assert (guest.misr(), guest.maintained()) == (causes, bool(causes))
    guest.ich("HCR", En=0, **control)
    assert (guest.misr(), guest.maintained()) == (causes, False), "ICH_HCR_EL2.En lets it out"


def test_the_guest_makes_a_maintenance_interrupt(guest):
    """It follows what the guest does: an interrupt taken and ended, a group enabled."""
    guest.list(0, 40, pINTID=EOI)
    guest.list(1, 41)
    guest.ich("HCR", En=1, NPIE=1, VGrp1DIE=1)
    assert not guest.maintained()
    assert guest.mrs("IAR1") == 40
    assert not guest.maintained()
    guest.msr("EOIR1", 40)
    assert (guest.maintained(), guest.misr(), guest.ich_fields("EISR")["Status"]) == (True, {"EOI"}, 0b0001)
    assert guest.ich_fields("ELRSR")["Status"] == 0b1100
    guest.ich("LR0")
    assert (guest.maintained(), guest.ich_fields("ELRSR")["Status"]) == (False, 0b1101)
    guest.msr("IGRPEN1", 0)
    assert guest.misr() == {"VGrp1D"}
    guest.msr("IGRPEN1", 1)
    assert guest.mrs("IAR1") == 41
    assert guest.misr() == {"NP"}
    assert guest.maintained()


def test_a_maintenance_interrupt_of_another_ppi():
    guest = Guest(maintenance_intid=31)
    guest.ich("HCR", En=1, NPIE=1)
    assert guest.read_rd("ISPENDR0") == 1 << 31


def test_the_guests_registers_are_in_vmcr(guest):
    for name, value, field, shown in [
        *(("PMR", 0xAF, "VPMR", 0xA8), ("BPR0", 0, "VBPR0", 2), ("BPR1", 0, "VBPR1", 3), ("BPR1", 7, "VBPR1", 7)),
        *(("IGRPEN0", 0, "VENG0", 0), ("IGRPEN1", 1, "VENG1", 1)),
    ]:
        guest.msr(name, value)
        assert guest.ich_fields("VMCR")[field] == guest.mrs(name) == shown
    guest.msr("CTLR", 3)
    assert (guest.ich_fields("VMCR")["VEOIM"], guest.ich_fields("VMCR")["VCBPR"]) == (1, 1)
    guest.ich("VMCR")
    assert guest.ich_fields("VMCR") == dict.fromkeys(guest.ich_fields("VMCR"), 0) | {
        "VBPR0": 2,
        "VBPR1": 3,
        "VFIQEn": 1,
    }
    assert (guest.mrs("CTLR") & 3, guest.mrs("PMR")) == (0, 0)


@pytest.mark.parametrize("group", [0, 1])
def test_active_priorities_are_the_hypervisors_too(guest, group):
    guest.ich(f"AP{group}R0", P=0x8000_0100)
    assert (guest.mrs(f"AP{group}R0"), guest.mrs("RPR")) == (0x8000_0100, 0x40)
    guest.msr(f"AP{group}R0", 0xF_0000_0000)
    assert guest.ich_fields(f"AP{group}R0")["P"] == 0


@pytest.mark.parametrize(
    ("choices", "written"), [({}, 0xFFFF_FFFF_FFFF_FFFF), ({"architecture": "4.0"}, (1 << 64) - 1)]
)
def test_what_is_kept_of_all_ones(choices, written):
    guest = Guest(**choices)
    for name, kept in [("HCR", 0xF800_5DFF), ("LR0", 0xF0F8_1FFF_0000_3FFF), ("VMCR", 0xF8FC_021B)]:
        guest.cpu.write(encoding(f"ICH_{name}_EL2"), (1 << 64) - 1)
        if name == "HCR" and not guest.config.v41:
            kept &= ~(1 << 8)
        assert guest.cpu.read(encoding(f"ICH_{name}_EL2")) == kept


@pytest.mark.parametrize("count", [1, 4, 16])
def test_as_many_list_registers_as_there_are(count):
    guest = Guest(list_registers=count)
    assert guest.ich_fields("VTR")["ListRegs"] == count - 1
    guest.list(count - 1, 40)
    assert guest.ich_fields("ELRSR")["Status"] == (1 << count - 1) - 1
    assert taken(guest) == [40]
    for place in range(count, 16):
        with pytest.raises(UndefinedRegister, match=f"ICH_LR{place}_EL2 cannot be read"):
            guest.ich_fields(f"LR{place}")


def test_what_the_interface_does_not_have(guest):
    """A guest's SGIs are its hypervisor's to send; ICC_SRE_EL1 has no virtual counterpart."""
    for name in ("SGI0R", "SGI1R", "ASGI1R"):
        with pytest.raises(UndefinedRegister, match=f"ICC_{name}_EL1 cannot be written"):
            guest.msr(name, 0)
    for name in ("VTR", "MISR", "EISR", "ELRSR"):
        with pytest.raises(UndefinedRegister, match=f"ICH_{name}_EL2 cannot be written"):
            guest.ich(name)
    with pytest.raises(UndefinedRegister, match="ICC_EOIR1_EL1 cannot be read"):
        guest.mrs("EOIR1")
    with pytest.raises(UndefinedRegister, match="0xffff"):
        guest.cpu.read(0xFFFF, virtual=True)
    assert guest.mrs("SRE") == 7


def test_features(guest):
    """ICV_CTLR_EL1 has the features of ICC_CTLR_EL1, whose SGI registers reach every affinity; VTR says the same."""
    assert guest.ich_fields("VTR") == {
        **{"PRIbits": 4, "PREbits": 4, "IDbits": 0, "SEIS": 0, "A3V": 1, "nV4": 0},
        **{"TDS": 1, "DVIM": 0, "ListRegs": 3},
    }
    assert guest.mrs("CTLR") == guest.cpu.read(encoding("ICC_CTLR_EL1")) == 1 << 18 | 1 << 15 | 4 << 8
    distributor = GICD_TYPER.unpack(guest.gic.distributor.read(register("GICD_TYPER").offset, 4))
    assert (distributor["RSS"], distributor["A3V"]) == (1, 1)
    wide = Guest(intid_bits=17)
    assert (wide.ich_fields("VTR")["IDbits"], wide.mrs("CTLR") >> 11 & 7) == (1, 1)


def test_a_snapshot_has_the_interface(guest, tmp_path):
    guest.list(0, 40)
    guest.list(1, 41, Priority=0x80)
    assert guest.mrs("IAR1") == 41
    save_snapshot(guest.gic, tmp_path / "snapshot")
    other = load_snapshot(tmp_path / "snapshot")
    cpu = other.redistributors[0].cpu
    cpu.write(encoding("ICC_EOIR1_EL1"), 41, virtual=True)
    assert cpu.read(encoding("ICC_IAR1_EL1"), virtual=True) == 40


def test_what_the_guest_takes_is_its_own(guest):
    """The physical interface knows nothing of it, and the other way round."""
    guest.list(0, 40)
    assert guest.mrs("IAR1") == 40
    assert guest.cpu.read(encoding("ICC_RPR_EL1")) == IDLE
    assert guest.cpu.read(encoding("ICC_HPPIR1_EL1")) == SPURIOUS


def test_virtual_lines_are_told_as_they_change(guest):
    """By what the hypervisor lists, what a device and another vCPU send, and what the guest does."""
    told: list[tuple[int, str, bool]] = []
    guest.gic.on_line(lambda pe, line, level: told.append((pe, line.name, level)))

    def new() -> list[tuple[str, bool]]:
        found = [(name, level) for pe, name, level in told if pe == 0]
        assert len(found) == len(told)
        told.clear()
        return found

    guest.list(0, 40)
    assert new() == [("VIRQ", True)]
    guest.vsgi(6)
    assert sorted(new()) == [("VFIQ", True), ("VIRQ", False)]
    assert guest.mrs("IAR0") == 6
    assert new() == [("VFIQ", False)]
    guest.msr("EOIR0", 6)
    assert new() == [("VIRQ", True)]
    guest.msr("PMR", 0)
    assert new() == [("VIRQ", False)]
    guest.ich("LR0")
    guest.ich("VMCR", VPMR=0xFF, VENG1=1)
    guest.vlpi()
    assert new() == [("VIRQ", True)]
    guest.deschedule()
    assert new() == [("VIRQ", False)]
    guest.schedule(groups=0b10)
    assert new() == [("VIRQ", True)]


def test_the_maintenance_interrupt_is_one_of_the_pes(guest):
    """It comes and goes on the PE's own line as any other PPI."""
    told: list[tuple[str, bool]] = []
    guest.gic.on_line(lambda pe, line, level: told.append((line.name, level)))
    guest.write_rd("IGROUPR0", 1 << MAINTENANCE)
    guest.write_rd("ISENABLER0", 1 << MAINTENANCE)
    NamedRegisters(guest.gic.distributor, "4.1").set("GICD_CTLR", EnableGrp1=1)
    guest.cpu.write(encoding("ICC_PMR_EL1"), 0xFF)
    guest.cpu.write(encoding("ICC_IGRPEN1_EL1"), 1)
    guest.ich("HCR", En=1, NPIE=1)
    assert told == [("IRQ", True)]
    assert guest.cpu.read(encoding("ICC_IAR1_EL1")) == MAINTENANCE
    guest.list(0, 40)
    guest.cpu.write(encoding("ICC_EOIR1_EL1"), MAINTENANCE)
    assert told[1:] == [("IRQ", False), ("VIRQ", True)]
