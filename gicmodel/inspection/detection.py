# SPDX-License-Identifier: Apache-2.0
"""Which profile the bytes of a dump fit, and the evidence for it.

A profile whose entries have another size than the registers say is out. Of the others, each entry that is not zero
speaks for or against: an entry of the profile has no RES0 bit set and points somewhere that makes sense. One that
points into a hole of the dump, between memory that it holds, is not seen to do either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import Dump
from gicmodel.inspection.its import Its
from gicmodel.inspection.profiles import OPAQUE, PROFILES, Profile
from gicmodel.inspection.table import ItsTable
from gicmodel.layouts.lpi_tables import FIRST_LPI, ID_BITS

SAMPLE = 1 << 12
"""How many entries of a table speak."""
ENOUGH = 0.5
"""The share of entries that must make sense."""


class Fit(NamedTuple):
    """What speaks for and against one profile: entries that make sense, entries seen, and why it is out, if it is."""

    profile: Profile
    sense: int
    seen: int
    excluded: str

    def __str__(self) -> str:
        if self.excluded:
            return f"{self.profile.name}: no, {self.excluded}"
        return f"{self.profile.name}: {self.sense} of {self.seen} entries make sense"


def detect(dump: Dump, units: Sequence[Its], told: Mapping[int, Sequence[int]]) -> tuple[Profile, list[str]]:
    """The profile that the tables of the ITSs fit best, `opaque` if none fits; and the evidence, one line a profile.

    `told` has, by ITS, where the kernel says that ITTs are: of a device table that the dump lacks in part they speak.
    """
    fits = [_judge(dump, units, profile, told) for profile in PROFILES.values() if profile is not OPAQUE]
    evidence = [str(fit) for fit in fits]
    fitting = [fit for fit in fits if not fit.excluded and fit.seen]
    best = max(fitting, key=lambda fit: (fit.sense / fit.seen, fit.sense), default=None)
    if best is None or best.sense < ENOUGH * best.seen:
        reason = "no known format fits" if fitting else "no entry tells its format"
        return OPAQUE, [*evidence, f"opaque: {reason}"]
    return best.profile, evidence


def _judge(dump: Dump, units: Sequence[Its], profile: Profile, told: Mapping[int, Sequence[int]]) -> Fit:
    sense = seen = 0
    for its in units:
        excluded = _excluded(its, profile)
        if excluded:
            return Fit(profile, 0, 0, excluded)
        for found in its.valid_tables.values():
            good, many = _sample(dump, found, profile)
            sense, seen = sense + good, seen + many
            if found.kind == "device" and found.absent:
                good, many = _events(dump, profile, np.array(told.get(its.number, ()), np.int64))
                sense, seen = sense + good, seen + many
    return Fit(profile, sense, seen, "")


def _excluded(its: Its, profile: Profile) -> str:
    """Why the registers rule a profile out; empty if they do not."""
    sizes = {kind: (found.register, "entries", found.entry_bytes) for kind, found in its.valid_tables.items()}
    if its.typer is not None and profile.event is not None:
        sizes["event"] = f"{its.frame}_TYPER", "ITT entries", its.typer["ITT_entry_size"] + 1
    for kind, (where, what, size) in sizes.items():
        entry = profile.entries[kind]
        if entry is None:
            return f"it has no {kind} table, and {where} is one"
        if entry.layout.bytes != size:
            return f"{where} has {what} of {size} bytes, {entry.layout.name} is {entry.layout.bytes}"
    return ""


def _sample(dump: Dump, found: ItsTable, profile: Profile) -> tuple[int, int]:
    entry = profile.entries[found.kind]
    assert entry is not None
    words = entry.words(found.octets[:SAMPLE])
    sense = entry.in_use(words) & ~entry.reserved(words)
    if found.kind not in _POINTERS:
        return int(sense.sum()), sense.size
    places = entry.column(words, _POINTERS[found.kind])
    hidden = sense & dump.in_hole(places)
    sense &= dump.offsets(places) >= 0
    good, many = _events(dump, profile, places[sense]) if found.kind == "device" else (0, 0)
    return int(sense.sum()) + good, int((~hidden).sum()) + many


_POINTERS = {"device": "ITT_addr", "vpe": "VPT_addr"}
"""The columns that point to memory."""


def _events(dump: Dump, profile: Profile, itts: NDArray[np.int64]) -> tuple[int, int]:
    """The first events of the devices whose ITTs are there: how many make sense, and how many there are."""
    event = profile.event
    assert event is not None
    # Two events are the fewest that a device can have, so both are inside every table.
    addresses = (itts[:, np.newaxis] + np.arange(2) * event.layout.bytes).reshape(-1)
    octets, held = dump.gather(addresses, event.layout.bytes)
    occupied_ones = octets[held & octets.any(axis=1)]
    entries = event.words(occupied_ones)
    intids = event.column(entries, "INTID")
    sense = event.in_use(entries) & ~event.reserved(entries) & (intids >= FIRST_LPI) & (intids < 1 << ID_BITS[-1])
    return int(sense.sum()), sense.size
