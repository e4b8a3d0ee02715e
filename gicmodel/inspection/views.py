# SPDX-License-Identifier: Apache-2.0
"""What a decoded dump shows: named tables of named columns, the same for text, JSON and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gicmodel.errors import printable
from gicmodel.images.registers import origin_of
from gicmodel.inspection import gaps, lpis
from gicmodel.inspection.entries import UNKNOWN, count_of, device_keys
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.join import pending_tables
from gicmodel.inspection.linux.vmlinux import GuestEvent
from gicmodel.inspection.paths import paths_of
from gicmodel.inspection.queue import whole_ring
from gicmodel.inspection.regions import Regions
from gicmodel.inspection.rules import Findings

Kind = Literal["number", "hex", "flag", "text"]
_BATCH = 1 << 14


@dataclass(frozen=True)
class Column:
    """One column: `values` (an array or a list, [n]); UNKNOWN, in one that is no text, means that nothing is known."""

    name: str
    kind: Kind
    values: Any

    @property
    def tells(self) -> bool:
        """Whether any value is known, and is not an empty text."""
        return any(self.values) if self.kind == "text" else bool(np.any(np.asarray(self.values) != UNKNOWN))

    def plain(self, start: int, end: int) -> list[Any]:
        """Values as JSON has them: numbers, flags, text, addresses as `0x...`, None for what is not known."""
        values = self.values[start:end]
        listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
        unknown = self.kind != "text" and UNKNOWN in listed
        shown = _SHOWN.get(self.kind)
        if shown is None:
            return [None if value == UNKNOWN else value for value in listed] if unknown else listed
        return [None if value == UNKNOWN else shown(value) for value in listed] if unknown else [*map(shown, listed)]


_SHOWN: dict[Kind, Callable[[Any], Any]] = {"hex": hex, "flag": bool}


@dataclass(frozen=True)
class View:
    """A table: its name, a title for people, and its columns."""

    name: str
    title: str
    columns: Sequence[Column]
    lines: Sequence[str] | None = None
    """How people read the rows, where that is no table."""
    gap: gaps.Gap = None
    """Why there may be more rows."""

    def __len__(self) -> int:
        return len(self.columns[0].values)

    def known(self) -> View:
        """The same without the columns of which nothing is known."""
        return replace(self, columns=[column for column in self.columns if column.tells])

    @property
    def heading(self) -> str:
        """The title with how many rows there are, or that it is not known, and why."""
        reason = "" if self.gap is None else f": {self.gap}"
        return f"{self.title} ({gaps.counted(len(self), self.gap)}{reason})"

    @property
    def unknown(self) -> bool:
        """Whether it is not known that there is any row."""
        return self.gap is not None and not len(self)

    def named(self) -> Iterator[dict[str, Any]]:
        """Row by row, by the names of the columns, as JSON has the values."""
        names = [column.name for column in self.columns]
        return (dict(zip(names, row, strict=True)) for row in self.rows())

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Row by row, as JSON has the values."""
        for start in range(0, len(self), _BATCH):
            yield from zip(*(column.plain(start, start + _BATCH) for column in self.columns), strict=True)


def _of(rows: NDArray[np.void], **kinds: Kind) -> list[Column]:
    """Columns of rows as they are."""
    return [Column(name, kind, rows[name]) for name, kind in kinds.items()]


def _place(rows: NDArray[np.void]) -> list[Column]:
    return _of(rows, address="hex", offset="hex")


def _its(found: Inspection, rows: NDArray[np.void]) -> list[Column]:
    """Which ITS: only where there are several."""
    return [Column("its", "number", rows["its"])] if len(found.its) > 1 else []


def _configured(configuration: NDArray[np.int16]) -> list[Column]:
    enabled = np.where(configuration == UNKNOWN, UNKNOWN, lpis.enabled(configuration))
    return [Column("enabled", "flag", enabled), Column("priority", "hex", lpis.priority(configuration))]


def events(found: Inspection, rows: NDArray[np.void]) -> View:
    """DeviceID and EventID to INTID, to collection or vPE, to redistributor."""
    virtual = rows["virtual"]
    columns = [
        *_its(found, rows),
        *_of(rows, DeviceID="hex", EventID="number", virtual="flag", INTID="number"),
        Column("ICID", "number", np.where(virtual, UNKNOWN, rows["ICID"].astype(np.int64))),
        Column("vPEID", "number", np.where(virtual, rows["vPEID"].astype(np.int64), UNKNOWN)),
        Column("RDbase", "number", rows["RDbase"]),
        *_configured(rows["configuration"]),
        *_of(rows, pending="flag", Doorbell="number"),
        *_kernel(found, rows),
        *_handled(found, rows),
        *_doubted(found, rows, "DeviceID", "EventID"),
        *_place(rows),
    ]
    return View("events", "events", columns)


def _kernel(found: Inspection, rows: NDArray[np.void]) -> list[Column]:
    """What the kernel has for each event: only where its structures were read."""
    if not found.kernel.source:
        return []
    known = found.kernel.events()
    told = [known.get(key) for key in rows[["its", "DeviceID", "EventID"]].tolist()]
    return [Column("kernel", "text", [None if event is None else str(event) for event in told])]


def _doubted(found: Inspection, rows: NDArray[np.void], *names: str) -> list[Column]:
    """Why each row need not be so: only where something contradicts what is told."""
    units = {unit.number: unit for unit in found.its if unit.doubts}
    if not units:
        return []
    kinds = [{"DeviceID": "device", "EventID": "event", "vPEID": "vpe"}[name] for name in names]
    subjects = [dict(zip(kinds, numbers, strict=True)) for numbers in rows[[*names]].tolist()]
    pairs = zip(rows["its"].tolist(), subjects, strict=True)
    return [Column("doubt", "text", [units[its].doubt(**one) or None if its in units else None for its, one in pairs])]


def _handled(found: Inspection, rows: NDArray[np.void]) -> list[Column]:
    """How Linux handles each event's LPI: only where debug information told."""
    if not found.kernel.interrupts:
        return []
    handled = [path.interrupt for path in paths_of(found, rows)]
    return [
        Column("irq", "number", [UNKNOWN if one is None else one.irq for one in handled]),
        Column("handlers", "text", [None if one is None else one.handlers for one in handled]),
        Column("device", "text", [None if one is None else one.device for one in handled]),
    ]


def paths(found: Inspection, rows: NDArray[np.void]) -> View:
    """The whole way of each event's interrupt, and where it is pending."""
    told = paths_of(found, rows)
    names = list(told[0].document()) if told else ["verdict"]
    documents = [path.document() for path in told]
    columns = [Column(name, "text", [document[name] for document in documents]) for name in names]
    return View("paths", "the way of each interrupt", columns, [str(path) for path in told])


def guests(found: Inspection) -> View:
    """The events of guests' own ITSs, as KVM has them."""
    rows = found.kernel.guest_events
    kinds: dict[str, Kind] = dict.fromkeys(("enabled", "pending_latch", "active", "hw"), "flag")
    kinds |= dict.fromkeys(("its", "device_id", "priority"), "hex")
    columns = [
        Column(name, kinds.get(name, "number"), [_or_unknown(getattr(row, name)) for row in rows])
        for name in GuestEvent._fields
    ]
    return View(
        "guests", "events of guests, as KVM has them; no guest's own RAM is read", columns, gap=gaps.guests(found)
    )


def _or_unknown(value: int | None) -> int:
    return UNKNOWN if value is None else int(value)


def devices(found: Inspection, rows: NDArray[np.void]) -> View:
    """The devices and their interrupt translation tables."""
    count = count_of(device_keys(rows), device_keys(found.events))
    unread = [device_keys(gaps.unread(found, unit)) for unit in found.its]
    count[np.isin(device_keys(rows), np.concatenate([np.empty(0, np.uint64), *unread]))] = UNKNOWN
    columns = [
        *_its(found, rows),
        Column("DeviceID", "hex", rows["DeviceID"]),
        Column("EventID_bits", "number", rows["Size"].astype(np.int64) + 1),
        Column("ITT_addr", "hex", rows["ITT_addr"]),
        Column("events", "number", count),
        *_doubted(found, rows, "DeviceID"),
        *_place(rows),
    ]
    return View("devices", "devices", columns)


def collections(found: Inspection, rows: NDArray[np.void]) -> View:
    """The collections and their redistributors."""
    columns = [*_its(found, rows), *_of(rows, ICID="number", RDbase="number"), *_place(rows)]
    return View("collections", "collections", columns)


def vpes(found: Inspection, rows: NDArray[np.void]) -> View:
    """The vPEs with their tables, doorbell and residency."""
    of_vpes = found.pending[found.pending["virtual"]]
    count = np.bincount(of_vpes["target"], minlength=1 << 16)[rows["vPEID"] & 0xFFFF]
    count[~gaps.pending_known(found, pending_tables([], rows))] = UNKNOWN
    columns = [
        *_of(rows, vPEID="number", RDbase="number", resident="number", VPT_addr="hex"),
        Column("vINTID_bits", "number", rows["VPT_size"].astype(np.int64) + 1),
        *_of(rows, VCONF_addr="hex", Default_Doorbell="number", DoorbellArmed="flag"),
        Column("pending", "number", count),
        *_doubted(found, rows, "vPEID"),
        *_place(rows),
    ]
    return View("vpes", "vPEs", columns)


def vsgis(found: Inspection, rows: NDArray[np.void]) -> View:
    """The vSGIs that are configured or pending."""
    storage, known = found.profile.vsgi, rows["configuration"] != UNKNOWN
    words = rows["configuration"].astype(np.uint64)[:, np.newaxis]

    def field(name: str) -> NDArray[np.integer]:
        values = rows["configuration"] if storage is None else storage.configuration.column(words, name)
        return np.where(known, values, UNKNOWN)

    columns = [
        *_of(rows, vPEID="number", vINTID="number"),
        Column("enabled", "flag", field("Enable")),
        Column("group", "number", field("Group")),
        Column("priority", "hex", field("Priority")),
        Column("pending", "flag", rows["pending"]),
        *_place(rows),
    ]
    return View("vsgis", "vSGIs", columns)


def redistributors(found: Inspection) -> View:
    """The redistributors and their tables."""
    rows = found.redistributors
    physical = found.pending[~found.pending["virtual"]]["target"].tolist()
    known = gaps.pending_known(found, pending_tables(rows, found.vpes[:0])).tolist()
    counts = [physical.count(row.processor_number) if told else UNKNOWN for row, told in zip(rows, known, strict=True)]
    columns = [
        Column("number", "number", [row.number for row in rows]),
        Column("RDbase", "number", [row.processor_number for row in rows]),
        Column("LPIs_enabled", "flag", [UNKNOWN if row.enabled is None else row.enabled for row in rows]),
        Column("INTID_bits", "number", [UNKNOWN if row.declared_id_bits is None else row.id_bits for row in rows]),
        Column("configuration", "hex", [row.configuration for row in rows]),
        Column("pending_table", "hex", [row.pending for row in rows]),
        Column("pending", "number", counts),
        Column("resident", "hex", [row.resident for row in rows]),
    ]
    return View("redistributors", "redistributors", columns)


def origins(found: Inspection) -> View:
    """The registers that were given, and where each value comes from."""
    rows = [
        (f"{frame}_{name}", value) for frame, values in found.frames.values.items() for name, value in values.items()
    ]
    columns = [
        Column("register", "text", [name for name, _ in rows]),
        Column("value", "hex", [value for _, value in rows]),
        Column("origin", "text", [printable(origin_of(value) or "-") for _, value in rows]),
    ]
    return View("origins", "registers and their origins", columns)


def pending(found: Inspection, rows: NDArray[np.void]) -> View:
    """The pending interrupts, of redistributors and of vPEs."""
    columns = [
        *_of(rows, virtual="flag", target="number", INTID="number"),
        *_configured(rows["configuration"]),
        Column("events", "number", rows["events"]),
        *_place(rows),
    ]
    return View("pending", "pending interrupts", columns)


def queue(found: Inspection, whole: bool = False) -> View:
    """The commands around CREADR, or with `whole` all that stand in the ring."""
    rows = [
        (one.its, command)
        for one in found.queues
        for command in (whole_ring(found.dump, one, found.architecture) if whole else one.commands)
    ]
    columns = [
        *([Column("its", "number", [its for its, _ in rows])] if len(found.queues) > 1 else []),
        Column("slot", "hex", [command.offset for _, command in rows]),
        Column("state", "text", [command.state for _, command in rows]),
        Column("command", "text", [command.text for _, command in rows]),
        Column("address", "hex", [command.address for _, command in rows]),
        Column("offset", "hex", [command.file_offset for _, command in rows]),
    ]
    return View("queue", "command queue, from the oldest on" if whole else "command queue around CREADR", columns)


def memory(found: Inspection) -> View:
    """The address map of all tables; `held` bytes of each are in the dump."""
    regions = Regions(found)
    rows = regions.rows
    columns = [
        *_of(rows, address="hex", size="hex"),
        Column("held", "hex", found.dump.held_each(rows["address"], rows["size"])),
        Column("offset", "hex", rows["offset"]),
        Column("what", "text", [regions.name(row) for row in rows]),
    ]
    return View("memory", "memory of the tables", columns)


def findings(found: Findings) -> View:
    """The findings, errors first."""
    columns = [
        Column("severity", "text", [finding.rule.severity for finding in found.told]),
        Column("id", "text", [finding.rule.identifier for finding in found.told]),
        Column("sentence", "text", [finding.sentence for finding in found.told]),
        Column("address", "hex", [finding.address for finding in found.told]),
        Column("offset", "hex", [finding.offset for finding in found.told]),
    ]
    return View("findings", "findings", columns)


OF_ROWS: dict[str, Callable[[Inspection, NDArray[np.void]], View]] = {
    view.__name__: view for view in (devices, events, collections, vpes, vsgis, pending, paths)
}
"""The views of rows of what was decoded, by the name of both."""
OF_ALL: dict[str, Callable[[Inspection], View]] = {
    view.__name__: view for view in (redistributors, queue, memory, origins, guests)
}
