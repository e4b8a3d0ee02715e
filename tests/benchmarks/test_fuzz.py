# SPDX-License-Identifier: Apache-2.0
"""Two trees' campaigns, each in a process of its own. Here both are this tree's."""

from pathlib import Path

import pytest

from gicmodel.benchmarks.fuzz import EARLIER, campaign
from gicmodel.benchmarks.harness import QUICK, PeerMissing, measure
from gicmodel.jit import COMPILED

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not COMPILED, reason="what is measured is compiled")
def test_both_trees_run_as_many_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EARLIER, str(ROOT))
    with campaign(True) as case:
        measured = measure(case, "speed", QUICK)
    assert measured.model.median > 0
    assert case.model.work == case.peer.work > 200


@pytest.mark.parametrize("named", ["", "/nowhere"])
def test_without_an_earlier_tree(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv(EARLIER, named)
    with pytest.raises(PeerMissing, match=f"{EARLIER} names no checkout"), campaign(True):
        pass
