# SPDX-License-Identifier: Apache-2.0
"""The vSGIs of GICv4.1 vPEs: which are configured, and which are pending.

The first KiB of a virtual pending table, where implementations keep them, is IMPLEMENTATION DEFINED (IHI0069, "LPI
Pending tables"): a profile says where they are, if that is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump
from gicmodel.inspection.budget import Budget
from gicmodel.inspection.entries import UNKNOWN, VSGIS, table
from gicmodel.inspection.frames import Missing
from gicmodel.inspection.profiles.profile import VsgiStorage
from gicmodel.layouts import lpi_tables

UNPUBLISHED = Missing("vSGIs", "which are configured or pending: this format of a VPT's first KiB is not known")


def read_vsgis(dump: Dump, vpes: NDArray[np.void], storage: VsgiStorage, budget: Budget) -> NDArray[np.void]:
    """The vSGIs that are configured, pending, or absent from the dump; `address` is the configuration byte's."""
    most = budget.keep(vpes.size * lpi_tables.VSGIS, "vSGIs") // lpi_tables.VSGIS
    vpes, dump = vpes[:most], dump.pending
    words, pending_held = dump.gather(vpes["VPT_addr"] + storage.pending_byte, lpi_tables.VSGIS // 8)
    octets, held = dump.gather(vpes["VPT_addr"] + storage.configuration_byte, lpi_tables.VSGIS)
    pending = np.unpackbits(words, axis=1, bitorder="little").astype(np.int8)
    pending[~pending_held] = UNKNOWN
    configuration = octets.astype(np.int16)
    configuration[~held] = UNKNOWN
    of_vpe, vintid = np.nonzero((pending != 0) | (configuration != 0))
    address = vpes["VPT_addr"][of_vpe] + storage.configuration_byte + vintid
    return table(
        VSGIS,
        of_vpe.size,
        vPEID=vpes["vPEID"][of_vpe],
        vINTID=vintid,
        pending=pending[of_vpe, vintid],
        configuration=configuration[of_vpe, vintid],
        address=address,
        offset=dump.offsets(address),
    )
