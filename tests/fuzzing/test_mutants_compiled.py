# SPDX-License-Identifier: Apache-2.0
"""A campaign on the compiled engine finds every planted bug too: one process, one build, in about a minute of CPU."""

import json
import os
import subprocess
import sys

import pytest

from gicmodel.jit import COMPILED
from tests.fuzzing.mutants import MUTANTS


@pytest.mark.skipif(not COMPILED, reason="test_mutants.py looks for them on the Python engine")
def test_a_compiled_campaign_finds_every_bug_and_no_other() -> None:
    # What is compiled runs for seconds only: optimise it less.
    environment = os.environ | {"NUMBA_OPT": "1", "GICMODEL_ENGINE": "compiled"}
    command = [sys.executable, "-m", "tests.fuzzing.mutants.switched"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    asleep = {name: commands for name, commands in found.items() if name.startswith("none, ")}
    assert len(asleep) >= 4
    assert set(asleep.values()) == {None}
    assert {name for name, commands in found.items() if commands} == {mutant.name for mutant in MUTANTS}
