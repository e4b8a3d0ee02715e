# SPDX-License-Identifier: Apache-2.0
"""The error of the host driver, Linux's errno by name and the cause."""

from __future__ import annotations

from gicmodel.errors import LinuxError


class DriverError(LinuxError):
    """An operation that Linux' irq-gic-v3-its.c would refuse, or that the hardware did not complete."""
