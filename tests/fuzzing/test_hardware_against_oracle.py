# SPDX-License-Identifier: Apache-2.0
"""The real hardware agrees with the oracle, on both engines."""

from hypothesis import HealthCheck, settings

from gicmodel.fuzzing.machines import HardwareAgainstOracle

TestHardwareAgainstOracle = HardwareAgainstOracle.TestCase
TestHardwareAgainstOracle.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
