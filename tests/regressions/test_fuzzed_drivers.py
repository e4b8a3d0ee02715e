# SPDX-License-Identifier: Apache-2.0
"""What drivers on hardware that retains have brought to light, shrunk."""

from gicmodel.hardware import SPURIOUS
from tests.driver.host import Host


def test_an_lpi_masked_elsewhere_stays_masked_when_it_comes_back() -> None:
    """The redistributor that an LPI had left by MOVI still believed the configuration byte that it had read."""
    host = Host(architecture="3", redistributors=2, caching="retain", direct_lpi=False)
    device = host.driver.its_create_device(1, 2)
    host.driver.irq_activate(device, 0, cpu=0)
    host.gic.its[0].translate(1, 0)
    assert host.gic.redistributors[0].cpu.pending() == device.lpi_base
    host.driver.irq_set_affinity(device, 0, 1)
    host.driver.irq_mask(device, 0)
    host.driver.irq_set_affinity(device, 0, 0)
    assert host.gic.redistributors[0].cpu.pending() == SPURIOUS
