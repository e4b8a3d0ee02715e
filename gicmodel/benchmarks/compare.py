# SPDX-License-Identifier: Apache-2.0
"""A run held against a saved one: what has changed by more than its noise.

A quantity has changed when the quartiles of the two runs do not overlap.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gicmodel.benchmarks.flush_points import FlushPoint
from gicmodel.benchmarks.harness import Spread
from gicmodel.errors import UnusableInput

Verdict = Literal["better", "worse", "", "new", "gone"]


class Quantity(NamedTuple):
    """A figure of a run, of which more is better, or less."""

    spread: Spread
    more_is_better: bool


class Change(NamedTuple):
    """A quantity before and now; None where a run does not have it."""

    name: str
    before: Spread | None
    now: Spread | None
    verdict: Verdict


def changes(before: dict[str, Quantity], now: dict[str, Quantity]) -> list[Change]:
    """Every quantity of either run, those of the present one first."""
    names = [*now, *(name for name in before if name not in now)]
    return [_change(name, before.get(name), now.get(name)) for name in names]


def bench_quantities(document: Any) -> dict[str, Quantity]:
    """The ratios of a document of `gicmodel bench`. KeyError, TypeError or ValueError if it is none."""
    return {
        f"{entry['group']}: {entry['name']}": Quantity(
            _spread(entry["measured"]["ratio"]), (entry["goal"] or {}).get("kind") != "cost"
        )
        for entry in document["benchmarks"]
        if entry["measured"] is not None
    }


def flush_quantities(document: Any) -> dict[str, Quantity]:
    """The seconds of a document of `gicmodel flush`, whole and by part. Errors as `bench_quantities`."""
    return {
        f"{_point(entry)}: {part}": Quantity(_spread(spread), False)
        for entry in document["flushes"]
        for part, spread in entry["seconds"].items()
    }


def read_saved(path: Path, quantities: Any, verb: str) -> dict[str, Quantity]:
    """The quantities of a saved run of a verb. UnusableInput if the file holds none."""
    try:
        found: dict[str, Quantity] = quantities(json.loads(path.read_bytes()))
    except OSError as error:
        raise UnusableInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UnusableInput(f"{path}: is not what gicmodel {verb} --json-file writes") from error
    return found


def _change(name: str, before: Quantity | None, now: Quantity | None) -> Change:
    if before is None or now is None:
        verdict: Verdict = "new" if before is None else "gone"
        return Change(name, before and before.spread, now and now.spread, verdict)
    old, new = before.spread, now.spread
    if new.low <= old.high and old.low <= new.high:
        return Change(name, old, new, "")
    return Change(name, old, new, "better" if (new.median > old.median) == now.more_is_better else "worse")


def _spread(document: Any) -> Spread:
    """Three finite numbers."""
    spread = Spread(*(float(document[name]) for name in Spread._fields))
    if not all(map(math.isfinite, spread)):
        raise ValueError(spread)
    return spread


def _point(entry: Any) -> str:
    return ", ".join(f"{name} {entry[name]}" for name in FlushPoint._fields)
