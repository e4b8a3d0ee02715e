# SPDX-License-Identifier: Apache-2.0
"""The formats of table entries that the inspection can read, declared over their layouts.

IHI0069 fixes what the entries of ITS tables must hold and leaves their formats to the implementation. A profile names
the layouts and which of their fields are what; the decoder knows no other difference between implementations. A new
one is a `Profile` here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.layouts.its_tables import CTE, DTE, ITE, VPE_CONFIGURATION, VTE
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import VSGI_CONFIGURATION, VSGI_CONFIGURATION_BYTE, VSGIS

Rows = slice | NDArray[np.bool_]
"""Which entries, as an index: a mask, or one of the slices ALL and NONE, which need no pass over memory."""
ALL, NONE = slice(None), slice(0)


class Decoded(NamedTuple):
    """Entries by column: which of all are in use, which have a RES0 bit set, and the columns of those in use ([m]).

    A column's values are integers of any width.
    """

    used: Rows
    reserved: Rows
    columns: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Entry:
    """One kind of table entry: its layout, the field that is not zero in an entry in use, and names for its fields.

    `fields` maps the inspection's column names, which are those of `inspection.entries`, to the layout's fields.
    """

    layout: Layout
    used: str
    fields: Mapping[str, str]

    def words(self, octets: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Entries in memory, uint8 [n, bytes], as their words, uint64 [n, words]."""
        return self.layout.words_of(octets).reshape(-1, len(self.layout.word_bits))

    def column(self, words: NDArray[np.uint64], name: str) -> NDArray[np.int64]:
        """A column (int64, [n]) of entries given as words [n, words]."""
        return self.layout.column(words, self.fields[name]).astype(np.int64)

    def in_use(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which entries map something."""
        word, mask = self.layout.mask_in_word(self.used)
        return np.asarray(words[:, word] & mask != 0)

    def reserved(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which entries have a RES0 bit set."""
        broken = np.zeros(len(words), np.bool_)
        for word, mask in self.layout.res0_masks:
            broken |= words[:, word] & mask != 0
        return broken

    def decode(self, octets: NDArray[np.uint8]) -> Decoded:
        """Entries in memory, uint8 [n, bytes]: which are in use, and every column of those."""
        words = self.words(octets)
        used = ALL if self._all_in_use(words) else self.in_use(words)
        reserved = self.reserved(words) if self._any_reserved(words) else NONE
        words = words[used]
        return Decoded(used, reserved, {name: self.layout.column(words, known) for name, known in self.fields.items()})

    def _all_in_use(self, words: NDArray[np.uint64]) -> bool:
        """Whether the field that tells has a bit that is set in every entry; if not, there may yet be one in each."""
        word, mask = self.layout.mask_in_word(self.used)
        return bool(np.bitwise_and.reduce(words[:, word]) & mask)

    def _any_reserved(self, words: NDArray[np.uint64]) -> bool:
        return any(np.bitwise_or.reduce(words[:, word]) & mask for word, mask in self.layout.res0_masks)


class VsgiStorage(NamedTuple):
    """Where a virtual pending table's first KiB has the vSGIs: a bit each, and a configuration byte each."""

    pending_byte: int
    configuration_byte: int
    configuration: Entry

    @property
    def octets(self) -> set[int]:
        """The bytes that it takes."""
        bits = range(self.pending_byte, self.pending_byte + VSGIS // 8)
        return {*bits, *range(self.configuration_byte, self.configuration_byte + VSGIS)}


@dataclass(frozen=True)
class Profile:
    """The formats of one implementation. A table whose entry is None has a format that nobody published."""

    name: str
    doc: str
    device: Entry | None = None
    event: Entry | None = None
    collection: Entry | None = None
    vpe: Entry | None = None
    collection_list: bool = False
    """The collection table is a list whose entries carry their ICID, and ends at the first entry not in use."""
    not_mapped: int | None = None
    """The RDbase of a collection that is listed without a redistributor."""
    next_bits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """The width of the distance to the next entry, for `device` and `event`, where entries are chained."""
    vsgi: VsgiStorage | None = None
    """Where the vSGIs are; nothing else of a virtual pending table's first KiB is in use."""

    @property
    def formats(self) -> dict[str, Entry]:
        """The formats that are known, by the name of the rows that they become in an `Inspection`."""
        vsgi = None if self.vsgi is None else self.vsgi.configuration
        rows = {"devices": self.device, "events": self.event, "collections": self.collection, "vpes": self.vpe}
        return {name: entry for name, entry in (rows | {"vsgis": vsgi}).items() if entry is not None}

    @property
    def entries(self) -> dict[str, Entry | None]:
        """The kinds of entry by name."""
        return {"device": self.device, "event": self.event, "collection": self.collection, "vpe": self.vpe}


DEVICE = Entry(DTE, "Valid", {"ITT_addr": "ITT_addr", "Size": "Size"})
EVENT = Entry(
    ITE,
    "Valid",
    {"INTID": "IntID", "physical": "IntType", "ICID": "ICID", "vPEID": "vPEID", "Doorbell": "Doorbell"},
)
COLLECTION = Entry(CTE, "Valid", {"RDbase": "RDbase"})
VPE = Entry(VTE, "Valid", {"VPT_addr": "VPT_addr", "VPT_size": "VPT_size", "RDbase": "RDbase"})

QEMU = Profile("qemu", "QEMU's GICv3 and GICv4.0", DEVICE, EVENT, COLLECTION, VPE)
"""QEMU's TCG model (hw/intc/gicv3_internal.h)."""

_VPE_FIELDS = ("VPT_addr", "VPT_size", "RDbase", "VCONF_addr", "Default_Doorbell", "DoorbellArmed", "ITSMap")
GICMODEL = Profile(
    "gicmodel",
    "this model's GICv4.1",
    DEVICE,
    EVENT,
    COLLECTION,
    Entry(VPE_CONFIGURATION, "Valid", {name: name for name in _VPE_FIELDS}),
    vsgi=VsgiStorage(
        0,
        VSGI_CONFIGURATION_BYTE,
        Entry(VSGI_CONFIGURATION, "Enable", {name: name for name in ("Enable", "Group", "Priority")}),
    ),
)
"""This package's own GICv4.1: QEMU's device, translation and collection entries, its own vPE configuration entry."""

KVM = Profile(
    "kvm-rev0",
    "tables that KVM saved, ABI revision 0",
    Entry(KVM_DTE, "V", {"ITT_addr": "ITT_addr", "Size": "Size", "next": "next"}),
    Entry(KVM_ITE, "pINTID", {"INTID": "pINTID", "ICID": "ICID", "next": "next"}),
    Entry(KVM_CTE, "V", {"RDbase": "RDBase", "ICID": "ICID"}),
    collection_list=True,
    not_mapped=COLLECTION_NOT_MAPPED,
    next_bits={"device": KVM_DTE.spans["next"].bits, "event": KVM_ITE.spans["next"].bits},
)
"""A guest's RAM after KVM_DEV_ARM_ITS_SAVE_TABLES (Linux Documentation/virt/kvm/devices/arm-vgic-its.rst)."""

OPAQUE = Profile("opaque", "unknown entries; level-1 entries, configuration and pending tables are architected")
"""Hardware whose entries nobody published: what the architecture fixes still decodes."""

PROFILES = {profile.name: profile for profile in (QEMU, GICMODEL, KVM, OPAQUE)}
"""Every profile by its name."""
