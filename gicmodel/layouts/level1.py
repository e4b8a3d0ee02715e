# SPDX-License-Identifier: Apache-2.0
"""The level 1 entry of two-level device, collection and vPE tables (DDI0601 GITS_BASER<n>, Indirect)."""

from gicmodel.layouts.layout import RES0, Address, Flag, Layout

LEVEL1 = Layout(
    "LEVEL1",
    Flag("Valid", "The level 2 page exists"),
    RES0(11),
    Address("Physical_Address", 51, 12, "Address of the level 2 page, aligned to the page size"),
    RES0(12),
    doc="Level 1 entry of a two-level table",
)
