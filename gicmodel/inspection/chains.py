# SPDX-License-Identifier: Apache-2.0
"""The `next` chains of tables that KVM saved, followed as KVM's restore does (Linux vgic-its.c, scan_its_table).

An entry in use tells the distance to the next one, 0 for the last; a distance too large for the field saturates. From
an entry that is not in use, restore goes on by one. Distances are positive, so a chain cannot loop; it can end early,
jump over entries, lead to none, or leave its table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Chain(NamedTuple):
    """Which entries restore does not reach, and whose `next` leads to an entry not in use, or out of the table."""

    skipped: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    leaving: NDArray[np.bool_]


def follow(
    ids: NDArray[np.int64],
    distance: NDArray[np.int64],
    group: NDArray[np.int64],
    end: NDArray[np.int64],
    bits: int,
    page: int | None = None,
) -> Chain:
    """Follow many chains: entries by group, ascending in each; `end` is the size of each entry's table.

    All arrays are [n]. `bits` is the width of the distance. `page` is how many entries a level 2 page has: a `next`
    that leaves its page is not followed by address, restore begins at the first entry of the next page there is.
    """
    target = ids + distance
    last = distance == 0
    leaving = ~last & (target >= end)
    hit = _is_entry(ids, group, target)
    saturated = distance == (1 << bits) - 1
    reached = target if page is None else np.minimum(target, (ids // page + 1) * page)
    successor = _first_at(ids, group, reached)
    return Chain(_skipped(group, successor, last), ~last & ~leaving & ~hit & ~saturated, leaving)


def _is_entry(ids: NDArray[np.int64], group: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each target is an entry of the same group."""
    found = _first_at(ids, group, target)
    there = np.minimum(found, ids.size - 1)
    return np.asarray((found < ids.size) & (group[there] == group) & (ids[there] == target))


def _first_at(ids: NDArray[np.int64], group: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each entry, the first entry of its group with an id of at least `target`, or one beyond the group's end."""
    wide = int(max(ids.max(initial=0), target.max(initial=0))) + 1
    numbers = np.cumsum(np.diff(group, prepend=group[:1]) != 0)
    return np.searchsorted(numbers * wide + ids, numbers * wide + target).astype(np.int64)


def _skipped(group: NDArray[np.int64], successor: NDArray[np.int64], last: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count = group.size
    skipped = np.zeros(count, np.bool_)
    begins = np.flatnonzero(np.diff(group, prepend=group[:1] - 1) != 0)
    ends = np.append(begins[1:], count)
    if not count:
        return skipped
    # Where every entry but a group's last leads to its neighbour there is nothing to follow.
    odd = last | (successor != np.arange(count) + 1)
    odd[ends - 1] = False
    strange = np.logical_or.reduceat(odd, begins)
    for begin, end in zip(begins[strange].tolist(), ends[strange].tolist(), strict=True):
        skipped[begin:end] = True
        entry = begin
        while entry < end:
            skipped[entry] = False
            entry = end if last[entry] else int(successor[entry])
    return skipped
