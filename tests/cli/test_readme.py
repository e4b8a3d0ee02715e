# SPDX-License-Identifier: Apache-2.0
"""The console examples of the README print what the README shows, times aside."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```console\n\$ gicmodel ([^\n]*)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
LONG = ("fuzz --commands", "migrate --vcpus 64")
"""Minutes of plain Python."""
SCREENS = "--browse"
SHOWN = [
    pytest.param(arguments, shown, id=arguments)
    for arguments, shown in EXAMPLES
    if not arguments.startswith(LONG) and SCREENS not in arguments
]


def timeless(text: str) -> list[list[str]]:
    """The words of each line, without the milliseconds of a step of a migration."""
    return [re.sub(r"^(\D+?) +\d+\.\d( +[\d,]+)$", r"\1\2", line).split() for line in text.splitlines()]


@pytest.mark.parametrize(("arguments", "shown"), SHOWN)
def test_an_example_prints_what_is_shown(arguments: str, shown: str) -> None:
    command = f"{sys.executable} -m gicmodel {arguments}"
    run = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert timeless(run.stdout) == timeless(shown), run.stderr


def test_few_examples_are_left_aside() -> None:
    assert len(EXAMPLES) - len(SHOWN) == 3
