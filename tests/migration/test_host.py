# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.layouts.registers.its import GITS_BASER, GITS_CTLR
from gicmodel.layouts.registers.redistributor import GICR_CTLR, GICR_PROPBASER
from gicmodel.migration import config_for
from tests.migration.machines import new_host


def test_a_host_has_booted_its_gic():
    host = new_host(cpus=3)
    assert host.cpus == 3
    registers = host.gic.registers()
    assert set(registers) == {"GITS0", "GICR0", "GICR1", "GICR2", "GICD"}
    assert GITS_CTLR.unpack(registers["GITS0"]["CTLR"])["Enabled"]
    assert GICR_CTLR.unpack(registers["GICR2"]["CTLR"])["EnableLPIs"]
    assert registers["GICD"]["CTLR"] == 0x153, "as Linux leaves it: tables/linux-6.1-cover-letter-gicv4.1/end.toml"


@pytest.mark.parametrize(
    ("architecture", "of_redistributors", "of_distributor"),
    [
        ("3", {"CTLR", "TYPER", "PROPBASER", "PENDBASER"}, {"CTLR", "TYPER"}),
        ("4.0", {"CTLR", "TYPER", "PROPBASER", "PENDBASER", "VPROPBASER", "VPENDBASER"}, {"CTLR", "TYPER"}),
        ("4.1", {"CTLR", "TYPER", "PROPBASER", "PENDBASER", "VPROPBASER", "VPENDBASER"}, {"CTLR", "TYPER", "TYPER2"}),
    ],
)
def test_registers_are_those_that_the_architecture_has(architecture, of_redistributors, of_distributor):
    registers = new_host(architecture=architecture).gic.registers()
    assert set(registers["GICR1"]) == of_redistributors
    assert set(registers["GICD"]) == of_distributor


def test_registers_lead_to_the_tables():
    host = new_host()
    registers = host.gic.registers()
    tables = {}
    for n in range(8):
        baser = GITS_BASER.unpack(registers["GITS0"][f"BASER{n}"])
        if baser["Valid"]:
            tables[baser["Type"]] = baser["Physical_Address"]
    assert tables == {kind: table.address for kind, table in host.driver.gic.its[0].tables.items()}
    propbaser = GICR_PROPBASER.unpack(registers["GICR0"]["PROPBASER"])
    assert propbaser["Physical_Address"] == host.driver.gic.lpi_configuration.address


def test_interrupts_are_taken_once():
    host = new_host()
    device = host.driver.lpis.create_device(5, 4)
    host.driver.lpis.activate(device, np.arange(4), np.array([0, 1, 0, 1]))
    for event in (0, 1, 3):
        host.gic.its[0].translate(5, event)
    assert sorted(host.take_interrupts()) == [device.lpi_base + event for event in (0, 1, 3)]
    assert host.take_interrupts() == []


@pytest.mark.parametrize(
    ("lpis", "bits"),
    [(0, 16), (57_344, 16), (57_345, 17), ((1 << 24) - 8192, 24)],
)
def test_intids_are_as_wide_as_the_lpis_need(lpis, bits):
    assert config_for(GicConfig(), lpis).intid_bits == bits


def test_intids_never_get_narrower():
    assert config_for(GicConfig(intid_bits=20), 10).intid_bits == 20


def test_more_lpis_than_any_gic_has():
    with pytest.raises(ValueError, match="16769025 LPIs need 25 INTID bits"):
        config_for(GicConfig(), (1 << 24) - 8191)


def test_a_host_whose_rdbases_are_addresses():
    host = new_host(pta=True)
    assert host.driver.gic.its[0].targets == [0x80A, 0x80E]
