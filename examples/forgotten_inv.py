# SPDX-License-Identifier: Apache-2.0
"""A driver that forgets an INV, and the program that shows it: a GIC may keep the old configuration for ever."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gicmodel.driver import GicDriver
from gicmodel.driver.lpis import PhysicalLpis
from gicmodel.fuzzing.hypothesis.driver_machine import DriverUnderCaching


class ForgetfulLpis(PhysicalLpis):
    """mask() changes the configuration byte and tells nobody."""

    def mask(self, device, events):
        """LPIs off."""
        self.gic.lpi_configuration.write(device.lpi_base + events, 0xA2)


class ForgetfulDriver(GicDriver):
    """Linux's driver, but for that."""

    lpis_class = ForgetfulLpis


class Machine(DriverUnderCaching):
    """The driver on two GICs that it must not be able to tell apart."""

    driver_class = ForgetfulDriver


brief = settings(
    derandomize=True,
    database=None,
    print_blob=False,
    stateful_step_count=15,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
try:
    run_state_machine_as_test(Machine, settings=brief)
except AssertionError as found:
    print(str(found).splitlines()[0])
