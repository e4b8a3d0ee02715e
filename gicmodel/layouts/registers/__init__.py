# SPDX-License-Identifier: Apache-2.0
"""The memory-mapped registers of ITS, redistributor and distributor, and the system registers of a PE (DDI0601)."""
