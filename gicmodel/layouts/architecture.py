# SPDX-License-Identifier: Apache-2.0
"""The generations of the GIC architecture that have an ITS; GICv3 and GICv3.1 count as one."""

ARCHITECTURES = ("3", "4.0", "4.1")
