# SPDX-License-Identifier: Apache-2.0
"""The memory-mapped registers of the ITS and the redistributor, and those of the distributor that matter (DDI0601)."""
