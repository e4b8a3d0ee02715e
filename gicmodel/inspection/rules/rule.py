# SPDX-License-Identifier: Apache-2.0
"""A rule that a dump can break, and what breaks it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gicmodel.images.dump import ABSENT

MOST = 100
"""How many findings of one rule are told one by one."""

Severity = Literal["error", "warning"]


class Rule(NamedTuple):
    """A rule with its stable identifier, what it asks and why, and where that is written."""

    severity: Severity
    identifier: str
    text: str
    source: str


error, warning = partial(Rule, "error"), partial(Rule, "warning")
"""An error is something the architecture or KVM forbids; a warning is legal, and how interrupts get lost or late, or
says what could not be told."""


class Finding(NamedTuple):
    """One sentence about one place; `address` and `offset` are ABSENT if it has none."""

    rule: Rule
    sentence: str
    address: int = ABSENT
    offset: int = ABSENT


class Group(NamedTuple):
    """What breaks one rule: rows that have at least `address` and `offset`, and the sentence for each."""

    rule: Rule
    rows: NDArray[np.void]
    sentence: Callable[[np.void], str]

    def first(self, count: int) -> list[Finding]:
        """So many of them, in words."""
        rows = self.rows[:count]
        return [Finding(self.rule, self.sentence(row), int(row["address"]), int(row["offset"])) for row in rows]


Broken = Group | Finding
