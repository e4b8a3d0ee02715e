# SPDX-License-Identifier: Apache-2.0
"""What drivers on hardware that retains have brought to light, shrunk."""

from gicmodel.layouts.lpi_tables import SPURIOUS
from tests.driver.host import Host

ENABLED, MASKED = 0xA3, 0xA2


def test_an_lpi_masked_elsewhere_stays_masked_when_it_comes_back() -> None:
    """The redistributor that an LPI had left by MOVI still believed the configuration byte that it had read."""
    host = Host(architecture="3", redistributors=2, caching="retain", direct_lpi=False)
    device = host.driver.lpis.create_device(1, 2)
    host.driver.lpis.activate(device, 0, cpus=0)
    host.gic.its[0].translate(1, 0)
    assert host.gic.redistributors[0].cpu.pending() == device.lpi_base
    host.driver.lpis.set_affinity(device, 0, 1)
    host.driver.lpis.mask(device, 0)
    host.driver.lpis.set_affinity(device, 0, 0)
    assert host.gic.redistributors[0].cpu.pending() == SPURIOUS


def test_a_vlpi_masked_elsewhere_stays_masked_when_it_comes_back() -> None:
    """So did the vPE that a vLPI had left, by DISCARD or by VMOVI; Linux sends no INV when it maps the vLPI again."""
    for leave_by_discard in (True, False):
        host = Host(architecture="4.1", redistributors=2, caching="retain", direct_lpi=False)
        driver = host.driver
        device = driver.lpis.create_device(1, 2)
        driver.lpis.activate(device, 0, cpus=0)
        first, second = driver.vpes.create_vm(2).vpes
        driver.vlpis.map(device, 0, first.vm, 0, 8192, ENABLED)
        driver.vpes.schedule(first, first.col_idx)
        host.gic.its[0].translate(1, 0)
        cpu = host.gic.redistributors[first.col_idx].cpu
        assert cpu.acknowledge_virtual() == 8192
        if leave_by_discard:
            driver.vlpis.unmap(device, 0)
        driver.vlpis.map(device, 0, second.vm, 1, 8192, ENABLED)
        driver.vlpis.prop_update(device, 0, MASKED)
        if leave_by_discard:
            driver.vlpis.unmap(device, 0)
        driver.vlpis.map(device, 0, first.vm, 0, 8192, MASKED)
        host.gic.its[0].translate(1, 0)
        assert cpu.acknowledge_virtual() == SPURIOUS
