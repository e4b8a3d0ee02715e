# SPDX-License-Identifier: Apache-2.0
"""A rule that a dump can break, and what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 100
"""How many findings of one rule are told one by one."""

Severity = Literal["error", "warning"]
Row = Mapping[str, Any] | np.void


class Rule(NamedTuple):
    """A rule with its stable identifier, what it asks and why, and where that is written.

    An `error` is something the architecture or KVM forbids; a `warning` is legal, and how interrupts get lost or late,
    or says what could not be told.
    """

    identifier: str
    severity: Severity
    text: str
    source: str


class Group(NamedTuple):
    """What breaks one rule: rows that have at least `address` and `offset`, and the sentence for each."""

    rule: Rule
    rows: Sequence[Row] | NDArray[np.void]
    sentence: Callable[[Any], str]


class Finding(NamedTuple):
    """One sentence about one place; `address` and `offset` are ABSENT if it has none."""

    rule: Rule
    sentence: str
    address: int
    offset: int


def place(address: int, offset: int, **columns: Any) -> dict[str, Any]:
    """A row for what is not in an array."""
    return {"address": address, "offset": offset, **columns}
