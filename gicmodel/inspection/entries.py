# SPDX-License-Identifier: Apache-2.0
"""What is decoded, whatever the format it had in memory: the columns of devices, events, collections and vPEs.

`its` is the number of the ITS, `address` an entry's physical address, `offset` its place in the file. A column that a
format lacks holds the value that means nothing: UNKNOWN, or 1023 for a doorbell. And what tells rows apart: keys, and
which rows say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gicmodel.layouts.its_tables import NO_DOORBELL

UNKNOWN = -1

Keys = NDArray[np.uint64]
"""Numbers that tell rows apart: [n]."""
_HIGH, _LOW = np.uint64(32), np.uint64(0xFFFF_FFFF)
_VIRTUAL, _TARGET = np.uint64(60), np.uint64(0xFFF_FFFF)

_PLACE = ", address i8, offset i8"


def _rows(columns: str, align: bool = False) -> np.dtype[np.void]:
    """Rows of columns, each with its type as NumPy writes it."""
    return np.dtype([(name, kind) for name, kind in map(str.split, columns.split(","))], align=align)


DEVICES = _rows("its i2, DeviceID u4, ITT_addr i8, Size u1, next u2" + _PLACE, align=True)
"""`Size` is the number of EventID bits, minus one."""

EVENTS = _rows(
    "its i2, DeviceID u4, EventID u4, INTID u4, virtual ?, ICID u2, vPEID u2, Doorbell i8, next u2, "
    "RDbase i8, configuration i2, pending i1" + _PLACE,
    align=True,
)
"""RDbase is the target's redistributor, `configuration` the LPI's byte, `pending` 0 or 1; they and the Doorbell may be
UNKNOWN."""

COLLECTIONS = _rows("its i2, ICID u4, RDbase i8" + _PLACE)
"""RDbase is UNKNOWN for a collection that is listed without a redistributor."""

VPES = _rows(
    "its i2, vPEID u4, RDbase i8, VPT_addr i8, VPT_size u1, VCONF_addr i8, Default_Doorbell i8, DoorbellArmed ?, "
    "resident i4" + _PLACE
)
"""`VPT_size` is the number of vINTID bits, minus one; `resident` the redistributor that has the vPE, or UNKNOWN."""

PENDING_TABLE = _rows("virtual ?, target i8, address i8, id_bits i8, configuration i8")
"""The pending table of redistributor or vPE `target`, its width, and the address of the configuration table."""

PENDING = _rows("virtual ?, target i8, INTID u4, configuration i2, events i8" + _PLACE)
"""A pending bit: of redistributor or vPE `target`; `events` counts the events that map to it, or is UNKNOWN."""

VSGIS = _rows("vPEID u4, vINTID u1, pending i1, configuration i2" + _PLACE)
"""A vSGI of a vPE; `pending` is 0 or 1, `configuration` the byte in the format's own layout; both may be UNKNOWN."""


_NOTHING = {
    **dict.fromkeys(("RDbase", "VCONF_addr", "resident", "configuration", "pending"), UNKNOWN),
    **dict.fromkeys(("Doorbell", "Default_Doorbell"), NO_DOORBELL),
}


def table(dtype: np.dtype[np.void], count: int, **columns: object) -> NDArray[np.void]:
    """A structured array of `count` rows from columns, of which the type may lack some.

    A column that is not given has the value that means nothing, else zero.
    """
    rows = np.zeros(count, dtype)
    for name, values in {**_NOTHING, **columns}.items():
        if name in (dtype.names or ()):
            rows[name] = values
    return rows


def count_of(wanted: Keys, keys: Keys) -> NDArray[np.int64]:
    """How often each of the wanted is among the keys."""
    ordered = np.sort(keys)
    return np.searchsorted(ordered, wanted, "right") - np.searchsorted(ordered, wanted, "left")


def device_keys(rows: NDArray[np.void]) -> Keys:
    """One number for the ITS and the DeviceID of devices or events."""
    return np.asarray(rows["its"].astype(np.uint64) << _HIGH | rows["DeviceID"])


def event_keys(rows: NDArray[np.void]) -> Keys:
    """One number for the DeviceID and the EventID of an ITS's events."""
    return np.asarray(rows["DeviceID"].astype(np.uint64) << _HIGH | rows["EventID"])


def interrupt_keys(virtual: NDArray[np.bool_] | bool, target: NDArray[np.integer], intid: NDArray[np.integer]) -> Keys:
    """One number for an interrupt: of which vPE, if `virtual`, or redistributor it is, and its INTID."""
    kind = np.asarray(virtual).astype(np.uint64) << _VIRTUAL
    return np.asarray(kind | (target.astype(np.uint64) & _TARGET) << _HIGH | intid.astype(np.uint64))


def interrupt_name(virtual: object, target: object, intid: object) -> str:
    """How an interrupt of a vPE, if `virtual`, or of a redistributor is called."""
    return f"vINTID {intid} of vPE {target}" if virtual else f"INTID {intid} of redistributor {target}"


def interrupts_of(keys: Keys) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Of keys that `interrupt_keys` gave: whether virtual, the target, the INTID."""
    return keys >> _VIRTUAL != 0, (keys >> _HIGH & _TARGET).astype(np.int64), (keys & _LOW).astype(np.int64)


def first_of(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """For each row ([n]) the first row that has the same value in every column.

    `numpy.unique` tells it too, and imports numpy.ma, which takes as long as to read a dump.
    """
    order = np.lexsort(columns)
    begins = np.ones(order.size, np.bool_)
    begins[1:] = False
    for column in columns:
        ordered = column[order]
        begins[1:] |= ordered[1:] != ordered[:-1]
    first = np.empty(order.size, np.intp)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return first


def is_first(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows are the first that have their values."""
    first = first_of(*columns)
    return np.asarray(first == np.arange(first.size))


def distinct(column: NDArray[Any]) -> NDArray[Any]:
    """The values of a column, ascending, each once."""
    return np.sort(column[is_first(column)])


def among(column: NDArray[Any], values: Iterable[int]) -> NDArray[np.bool_]:
    """Which rows of a column of integers have one of the values."""
    known = np.fromiter(values, np.int64)
    # Of an empty list NumPy makes floats, and compares as with those.
    return np.isin(column, known) if known.size else np.zeros(column.shape, np.bool_)
