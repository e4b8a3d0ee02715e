# SPDX-License-Identifier: Apache-2.0
"""Which rows say the same. `numpy.unique` tells it too, and imports numpy.ma, which takes as long as to read a dump."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def first_of(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """For each row ([n]) the first row that has the same value in every column."""
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
