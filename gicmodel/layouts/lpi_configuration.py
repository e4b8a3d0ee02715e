# SPDX-License-Identifier: Apache-2.0
"""The LPI configuration table: a byte for each physical or virtual LPI (IHI0069, "LPI Configuration tables")."""

from gicmodel.layouts.layout import RES1, Address, Flag, Layout

LPI_CONFIGURATION = Layout(
    "LPI_CONFIGURATION",
    Address("Priority", 7, 2, "Priority; its two lowest bits are zero"),
    RES1(1),
    Flag("Enable", "The LPI is enabled"),
    words=(8,),
    doc="LPI configuration table entry, at (INTID - 8192) bytes",
)
