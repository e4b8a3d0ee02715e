# SPDX-License-Identifier: Apache-2.0
"""Numbers among options."""

from __future__ import annotations

import math
from typing import Any

import click


class Real(click.FloatRange):
    """A range of numbers. click's own lets NaN pass, which is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{number} is not in the range {self._describe_range()}.", param, ctx)
        return number
