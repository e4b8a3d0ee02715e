# SPDX-License-Identifier: Apache-2.0
"""C drivers for tests: the example, and variations of it."""

from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples" / "native"
BOOT = 'gic_done("boot");'


def driver(directory: Path, body: str, before: str = "") -> Path:
    """A C file whose driver does this."""
    path = directory / "driver.c"
    path.write_text(f'#include "gicmodel.h"\n{before}\nint driver(void)\n{{\n{body}\n}}\n')
    return path


def example_with(directory: Path, old: str, new: str) -> Path:
    """The example, with a piece of text replaced."""
    text = (EXAMPLES / "its.c").read_text()
    assert text.count(old) == 1, old
    path = directory / "its.c"
    path.write_text(text.replace(old, new))
    return path
