# SPDX-License-Identifier: Apache-2.0
"""NUMBA_DISABLE_JIT=1 python -m tests.fuzzing.mutants: the table of docs/bugs.md."""

from tests.fuzzing.mutants import MUTANTS
from tests.fuzzing.mutants.hunting import hunt_for

print("| Bug | Where it was | Commands until found | Steps of the shrunk program |\n|---|---|---:|---:|")
for mutant in MUTANTS:
    finding = hunt_for(mutant)
    found = f"{finding.commands} | {len(finding.program.steps)}" if finding else "not found | "
    print(f"| {mutant.bug} | {mutant.origin} | {found} |", flush=True)
