# SPDX-License-Identifier: Apache-2.0
"""Rules of the registers themselves, which need no memory: what switches interrupts off, or points nowhere."""

from __future__ import annotations

from collections.abc import Iterator

from gicmodel.inspection.frames import Frames
from gicmodel.inspection.inspection import Inspection
from gicmodel.inspection.rules.rule import Finding, error, warning
from gicmodel.inspection.values import problems
from gicmodel.layouts.lpi_tables import ID_BITS
from gicmodel.layouts.registers.its import BASERS

GROUPS_OFF = warning(
    "groups-disabled",
    "The distributor forwards no group of interrupts, or routes none by affinity: no LPI reaches a PE.",
    "DDI0601 GICD_CTLR.EnableGrp1, ARE",
)
NO_TABLES = error(
    "lpis-without-tables",
    "LPIs are enabled, and the redistributor has no memory for their configuration or their pending state.",
    "DDI0601 GICR_CTLR.EnableLPIs, GICR_PROPBASER, GICR_PENDBASER",
)
NO_QUEUE = error(
    "queue-without-memory",
    "Commands wait, or the ITS is enabled to execute them, and GITS_CBASER gives no queue: none is ever executed.",
    "DDI0601 GITS_CBASER.Valid, GITS_CTLR.Enabled",
)
TWICE = error(
    "table-twice",
    "Two valid GITS_BASER<n> are for the same kind of table: it is not defined which the ITS goes by.",
    "DDI0601 GITS_BASER<n>.Type",
)
VALUE = error(
    "register-value",
    "A field of a register has a value that is reserved, or that cannot work.",
    "DDI0601 (gicmodel decode NAME WORD)",
)
TOO_SMALL = error(
    "table-too-small",
    "A mapped DeviceID is beyond what the device table has room for: the ITS refuses the command that maps it.",
    "IHI0069 MAPD; DDI0601 GITS_BASER<n>.Size",
)

_ENABLE_ANY_GROUP = 0b111
"""GICD_CTLR [2:0]: what enables groups, in each view of the register."""
_ROUTE_BY_AFFINITY = 0b11_0000
"""GICD_CTLR [5:4]: ARE of each Security state."""
_CHECKED = ("CBASER", *(f"BASER{number}" for number in range(BASERS)))


def check(found: Inspection) -> Iterator[Finding]:
    """What the registers break."""
    frames = found.frames
    yield from (Finding(GROUPS_OFF, text) for text in _distributor(frames))
    for rule, unit, texts in _OF_FRAMES:
        for number in frames.numbers(unit):
            yield from (Finding(rule, text) for text in texts(frames, f"{unit}{number}"))
    yield from (Finding(TOO_SMALL, text) for text in _too_small(found))


def _distributor(frames: Frames) -> Iterator[str]:
    value = frames.value("GICD", "CTLR")
    if value is None:
        return
    if not value & _ENABLE_ANY_GROUP:
        yield f"GICD_CTLR is {value:#x}: no group of interrupts is enabled"
    if not value & _ROUTE_BY_AFFINITY:
        yield f"GICD_CTLR is {value:#x}: without affinity routing there are no LPIs"


def _no_tables(frames: Frames, frame: str) -> Iterator[str]:
    ctlr = frames.fields(frame, "CTLR")
    if ctlr is None or not ctlr["EnableLPIs"]:
        return
    for name, what in (("PROPBASER", "configuration"), ("PENDBASER", "pending")):
        fields = frames.fields(frame, name)
        if fields is not None and not fields["Physical_Address"]:
            yield f"{frame} has LPIs enabled and its {what} table at address 0"
    propbaser = frames.fields(frame, "PROPBASER")
    if propbaser is not None and propbaser["IDbits"] + 1 < ID_BITS[0]:
        yield f"{frame} has LPIs enabled and {propbaser['IDbits'] + 1} INTID bits: there is none below {ID_BITS[0]}"


def _no_queue(frames: Frames, frame: str) -> Iterator[str]:
    cbaser, ctlr = frames.fields(frame, "CBASER"), frames.fields(frame, "CTLR")
    creadr, cwriter = frames.fields(frame, "CREADR"), frames.fields(frame, "CWRITER")
    if cbaser is None or cbaser["Valid"]:
        return
    if ctlr is not None and ctlr["Enabled"]:
        yield f"{frame} is enabled and {frame}_CBASER is not valid"
    elif creadr is not None and cwriter is not None and creadr["Offset"] != cwriter["Offset"]:
        yield f"{frame} has commands waiting and {frame}_CBASER is not valid"


def _twice(frames: Frames, frame: str) -> Iterator[str]:
    first: dict[int, str] = {}
    for name in (f"BASER{n}" for n in range(BASERS)):
        fields = frames.fields(frame, name)
        if fields is None or not fields["Valid"] or not fields["Type"]:
            continue
        if fields["Type"] in first:
            yield f"{frame}_{name} and {frame}_{first[fields['Type']]} are both for tables of type {fields['Type']}"
        first.setdefault(fields["Type"], name)


def _values(frames: Frames, frame: str) -> Iterator[str]:
    for name in _CHECKED:
        value = frames.value(frame, name)
        if value is not None:
            yield from (f"{frame}_{name} is {value:#x}: {text}" for text in problems(f"GITS_{name}", [value]))


_OF_FRAMES = (
    (NO_TABLES, "GICR", _no_tables),
    (NO_QUEUE, "GITS", _no_queue),
    (TWICE, "GITS", _twice),
    (VALUE, "GITS", _values),
)


def _too_small(found: Inspection) -> Iterator[str]:
    for unit in found.its:
        table = unit.tables.get("device")
        if table is not None and table.valid:
            kernels = found.kernel.devices.get(unit.number, [])
            mapped = {*unit.devices["DeviceID"].tolist(), *(device.device_id for device in kernels)}
            for device in sorted(device for device in mapped if device >= table.capacity):
                yield f"device {device:#x} is mapped and {table.register} has room for {table.capacity:#x} DeviceIDs"
