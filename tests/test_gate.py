# SPDX-License-Identifier: Apache-2.0
"""What a missing peer does to the suite: nothing on a user's machine, and a failure in a gate."""

from pathlib import Path

import pytest

from tests.conftest import missing, needed

TESTS = Path(__file__).parent


@pytest.mark.parametrize(("setting", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_peer(monkeypatch: pytest.MonkeyPatch, setting: str, outcome: type[BaseException]):
    monkeypatch.setenv("CI", setting)
    with pytest.raises(outcome, match="no such peer"):
        missing("no such peer")
    with pytest.raises(outcome, match="no_such_module is not installed"):
        needed("no_such_module")


def test_a_module_that_is_there():
    assert needed("pytest") is pytest


@pytest.mark.parametrize("evasion", ["importor" + "skip", "which(BINARY)", 'which("tmux")'])
def test_nobody_skips_without_the_gate_knowing(evasion: str):
    found = [path.name for path in TESTS.rglob("*.py") if evasion in path.read_text() and path != Path(__file__)]
    assert found == []
