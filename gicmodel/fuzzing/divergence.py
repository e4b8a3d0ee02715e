# SPDX-License-Identifier: Apache-2.0
"""That two which must agree do not."""

from __future__ import annotations

import re


class Divergence(AssertionError):
    """Two that must agree do not. `what` names the register, table or event; the message has both values."""

    def __init__(self, what: str, *sides: str) -> None:
        super().__init__(what, *sides)
        self.what = what
        self.sides = sides

    def __str__(self) -> str:
        return f"{self.what}: {', '.join(self.sides)}"

    @property
    def kind(self) -> str:
        """What differs, without its number: divergences of one kind most often have one cause."""
        return re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "n", self.what)


def agree(what: str, hardware: object, oracle: object) -> None:
    """Raise Divergence, naming what differs, unless hardware and oracle say the same."""
    if hardware != oracle:
        raise Divergence(what, f"hardware {hardware}", f"oracle {oracle}")
