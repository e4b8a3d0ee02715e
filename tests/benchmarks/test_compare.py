# SPDX-License-Identifier: Apache-2.0
"""A run beside a saved one: changed is what is apart by more than the quartiles of both."""

import json
import math

import pytest

from gicmodel.benchmarks.compare import Change, Quantity, changes, flush_quantities, read_saved
from gicmodel.benchmarks.flush_points import FlushPoint
from gicmodel.benchmarks.harness import Spread
from gicmodel.errors import UnusableInput

POINT = dict.fromkeys(FlushPoint._fields, 1)


def verdict(before, now, more_is_better):
    (change,) = changes({"a": Quantity(before, more_is_better)}, {"a": Quantity(now, more_is_better)})
    return change.verdict


def test_what_overlaps_has_not_changed():
    assert verdict(Spread(1, 2, 3), Spread(3, 4, 5), True) == ""


@pytest.mark.parametrize(("more_is_better", "expected"), [(True, "better"), (False, "worse")])
def test_what_is_apart_has(more_is_better, expected):
    assert verdict(Spread(1, 2, 3), Spread(4, 5, 6), more_is_better) == expected


def test_what_one_run_lacks_is_named():
    quantity = Quantity(Spread(1, 2, 3), True)
    assert changes({"a": quantity}, {"b": quantity}) == [
        Change("b", None, quantity.spread, "new"),
        Change("a", quantity.spread, None, "gone"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"flushes": [{}]}',
        '{"flushes": 1}',
        "[" * 100_000,
        json.dumps({"flushes": [{**POINT, "seconds": {"whole": {"low": math.nan, "median": 1, "high": 1}}}]}),
        json.dumps({"flushes": [{**POINT, "seconds": {"whole": {"low": 1, "median": 1}}}]}),
    ],
)
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "saved.json"
    path.write_text(text)
    with pytest.raises(UnusableInput, match="is not what gicmodel flush --json-file writes"):
        read_saved(path, flush_quantities, "flush")
