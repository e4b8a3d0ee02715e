# SPDX-License-Identifier: Apache-2.0
"""The state of SGIs, PPIs and SPIs as their registers show it: set and cleared, driven by inputs and messages."""

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic
from gicmodel.layouts.registers.by_name import NamedRegisters, register
from gicmodel.layouts.registers.distributor import GICD_CTLR
from gicmodel.memory import PAGE_BYTES, GuestMemory


class Inputs:
    """A GIC's registers, and those of one kind of interrupt: "GICD" for SPIs, "GICR" for SGIs and PPIs."""

    def __init__(self, frame: str = "GICD", **choices: object) -> None:
        self.gic = Gic(GicConfig(**choices), GuestMemory(0, PAGE_BYTES))  # type: ignore[arg-type]
        self.face = self.gic.distributor if frame == "GICD" else self.gic.redistributors[1]
        self.registers = NamedRegisters(self.face, "4.1")
        self.frame = frame
        self.word = 1 if frame == "GICD" else 0
        self.first = 32 * self.word
        """The first INTID of the word."""

    def read(self, name: str) -> int:
        return self.registers.read(f"{self.frame}_{name}{self.word}")

    def write(self, name: str, value: int) -> None:
        self.registers.write(f"{self.frame}_{name}{self.word}", value)

    def edges(self, bits: int) -> None:
        """Interrupts 16 to 31 of the word: edge-triggered, or level-sensitive."""
        value = sum(2 << 2 * n for n in range(16) if bits >> 16 + n & 1)
        self.registers.write(f"{self.frame}_ICFGR{2 * self.word + 1}", value)


@pytest.fixture(params=["GICD", "GICR"])
def inputs(request: pytest.FixtureRequest) -> Inputs:
    return Inputs(request.param)


@pytest.mark.parametrize("what", ["ENABLER", "ACTIVER", "PENDR"])
def test_ones_set_in_one_register_and_clear_in_the_other(inputs, what):
    inputs.write(f"IS{what}", 0x00F0_0F11)
    inputs.write(f"IS{what}", 0x0001_0002)
    inputs.write(f"IC{what}", 0x0010_0001)
    assert inputs.read(f"IS{what}") == inputs.read(f"IC{what}") == 0x00E1_0F12
    others = {"ENABLER", "ACTIVER", "PENDR"} - {what}
    assert [inputs.read(f"IS{other}") for other in others] == [0, 0]


def test_groups_are_written_as_they_are(inputs):
    inputs.write("IGROUPR", 0x1234_5678)
    inputs.write("IGROUPR", 0x8765_4321)
    assert inputs.read("IGROUPR") == 0x8765_4321


def test_a_priority_is_a_byte_of_which_five_bits_are_there(inputs):
    base = register(f"{inputs.frame}_IPRIORITYR0").offset
    for n in range(32):
        inputs.face.write(base + inputs.first + n, 8 * n + 7, 1)
    for n in range(32):
        assert inputs.face.read(base + inputs.first + n, 1) == 8 * n
    assert inputs.face.read(base + inputs.first + 4, 4) == 0x3830_2820
    inputs.face.write(base + inputs.first + 4, 0xFFAA_5500, 4)
    assert [inputs.face.read(base + inputs.first + n, 1) for n in range(3, 9)] == [0x18, 0, 0x50, 0xA8, 0xF8, 0x40]


def test_a_level_sensitive_interrupt_is_pending_while_its_input_is_high(inputs):
    bit, intid = 1 << 20, inputs.first + 20
    inputs.face.set_line(intid, True)
    assert inputs.read("ISPENDR") == bit
    inputs.write("ICPENDR", bit)
    assert inputs.read("ICPENDR") == bit
    inputs.face.set_line(intid, False)
    assert inputs.read("ISPENDR") == 0


def test_a_level_sensitive_interrupt_that_software_made_pending_stays_so(inputs):
    bit, intid = 1 << 20, inputs.first + 20
    inputs.face.set_line(intid, True)
    inputs.write("ISPENDR", bit)
    inputs.face.set_line(intid, False)
    assert inputs.read("ISPENDR") == bit
    inputs.write("ICPENDR", bit)
    assert inputs.read("ISPENDR") == 0


def test_an_edge_triggered_interrupt_becomes_pending_when_its_input_rises(inputs):
    bit, intid = 1 << 20, inputs.first + 20
    inputs.edges(bit)
    inputs.face.set_line(intid, True)
    inputs.face.set_line(intid, False)
    assert inputs.read("ISPENDR") == bit
    inputs.write("ICPENDR", bit)
    inputs.face.set_line(intid, True)
    inputs.write("ICPENDR", bit)
    inputs.face.set_line(intid, True)
    assert inputs.read("ISPENDR") == 0, "it did not rise again"


def test_an_input_that_was_high_before_is_no_edge(inputs):
    bit, intid = 1 << 20, inputs.first + 20
    inputs.face.set_line(intid, True)
    inputs.edges(bit)
    assert inputs.read("ISPENDR") == 0
    inputs.edges(0)
    assert inputs.read("ISPENDR") == bit


def test_configuration_is_two_bits_each_of_which_one_counts(inputs):
    name = f"{inputs.frame}_ICFGR{2 * inputs.word + 1}"
    inputs.registers.write(name, 0xFFFF_0000)
    assert inputs.registers.read(name) == 0xAAAA_0000
    inputs.registers.write(name, 0x5555_5558)
    assert inputs.registers.read(name) == 0x8


def test_sgis_are_edges():
    inputs = Inputs("GICR")
    inputs.registers.write("GICR_ICFGR0", 0)
    assert inputs.registers.read("GICR_ICFGR0") == 0xAAAA_AAAA


@pytest.mark.parametrize(("intid", "word"), [(32, 1), (63, 1), (64, 2), (319, 9)])
def test_the_bit_of_each_spi(intid, word):
    gic = Gic(GicConfig(), GuestMemory(0, PAGE_BYTES))
    gic.distributor.set_line(intid, True)
    pending = {n: gic.distributor.read(0x200 + 4 * n, 4) for n in range(32)}
    assert {n: value for n, value in pending.items() if value} == {word: 1 << intid % 32}


@pytest.mark.parametrize("redistributor", [0, 3])
def test_ppis_are_those_of_one_pe(redistributor):
    gic = Gic(GicConfig(), GuestMemory(0, PAGE_BYTES))
    gic.redistributors[redistributor].set_line(27, True)
    pending = [each.read(register("GICR_ISPENDR0").offset, 4) for each in gic.redistributors]
    assert pending == [1 << 27 if n == redistributor else 0 for n in range(4)]


@pytest.mark.parametrize("intid", [-1, 0, 31, 320, 1019, 1023, 8192])
def test_what_is_no_spi_has_no_input(intid):
    with pytest.raises(ValueError, match=f"the SPI is {intid}, not from 32 to 319"):
        Gic(GicConfig(), GuestMemory(0, PAGE_BYTES)).distributor.set_line(intid, True)


@pytest.mark.parametrize("intid", [-1, 0, 15, 32, 1056])
def test_what_is_no_ppi_has_no_input(intid):
    with pytest.raises(ValueError, match=f"the PPI is {intid}, not from 16 to 31"):
        Gic(GicConfig(), GuestMemory(0, PAGE_BYTES)).redistributors[0].set_line(intid, True)


def test_a_message_is_an_edge_or_the_level_of_an_spi():
    inputs = Inputs()
    inputs.edges(1 << 16)
    for intid in (48, 49):
        inputs.registers.set("GICD_SETSPI_NSR", INTID=intid)
    assert inputs.read("ISPENDR") == 0x3_0000
    inputs.write("ICPENDR", 0x3_0000)
    assert inputs.read("ISPENDR") == 0x2_0000, "the level stays"
    inputs.registers.set("GICD_SETSPI_NSR", INTID=48)
    for intid in (48, 49):
        inputs.registers.set("GICD_CLRSPI_NSR", INTID=intid)
    assert inputs.read("ISPENDR") == 0
    for intid in (0, 31, 320, 1023, 8191):
        inputs.registers.set("GICD_SETSPI_NSR", INTID=intid)
    inputs.registers.set("GICD_SETSPI_SR", INTID=48)
    assert all(inputs.face.read(0x200 + 4 * n, 4) == 0 for n in range(32))


@pytest.mark.parametrize("architecture", ["3", "4.1"])
def test_sgis_without_an_active_state_are_chosen_while_the_distributor_is_off(architecture):
    inputs = Inputs(architecture=architecture)
    chosen = GICD_CTLR.pack(nASSGIreq=architecture == "4.1", EnableGrp1=1, DS=1, ARE=1)
    inputs.registers.set("GICD_CTLR", nASSGIreq=1, EnableGrp1=1)
    assert inputs.registers.read("GICD_CTLR") == chosen
    inputs.registers.set("GICD_CTLR", EnableGrp0=1, EnableGrp1=1)
    assert inputs.registers.read("GICD_CTLR") == chosen | GICD_CTLR.pack(EnableGrp0=1)
    inputs.registers.set("GICD_CTLR")
    assert inputs.registers.read("GICD_CTLR") == GICD_CTLR.pack(DS=1, ARE=1)


def test_rwp_stands_until_what_was_disabled_is():
    """GICD_CTLR.RWP, GICR_CTLR.RWP (DDI0601): of a group or an interrupt that is disabled, not of one enabled."""
    for frame in ("GICD", "GICR"):
        inputs = Inputs(frame, commands_per_step=1)
        rwp = lambda inputs=inputs: inputs.registers.fields(f"{inputs.frame}_CTLR")["RWP"]  # noqa: E731
        inputs.write("ISENABLER", 1)
        assert rwp() == 0
        inputs.write("ICENABLER", 1)
        assert rwp() == 1
        inputs.gic.step()
        assert rwp() == 0
    distributor = Inputs(commands_per_step=1)
    distributor.registers.set("GICD_CTLR", EnableGrp0=1, EnableGrp1=1)
    assert distributor.registers.fields("GICD_CTLR")["RWP"] == 0
    distributor.registers.set("GICD_CTLR", EnableGrp0=1)
    assert distributor.registers.fields("GICD_CTLR")["RWP"] == 1


def test_rwp_of_a_disabled_ppi_keeps_nothing_of_lpis_back():
    inputs = Inputs("GICR", commands_per_step=1)
    inputs.write("ICENABLER", 1 << 27)
    inputs.registers.write("GICR_PROPBASER", 0x1000_000D)
    inputs.registers.set("GICR_CTLR", EnableLPIs=1)
    assert inputs.registers.read("GICR_PROPBASER") == 0x1000_000D
    assert inputs.registers.fields("GICR_CTLR")["EnableLPIs"] == 1


def test_without_spis_the_distributor_has_none():
    inputs = Inputs(spis=0)
    assert inputs.registers.fields("GICD_TYPER")["ITLinesNumber"] == 0
    assert inputs.registers.fields("GICD_TYPER")["MBIS"] == 0
    inputs.write("ISENABLER", 0xFFFF_FFFF)
    assert inputs.read("ISENABLER") == 0
