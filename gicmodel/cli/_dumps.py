# SPDX-License-Identifier: Apache-2.0
"""What the verbs that read dumps share: numbers on the command line, and where an image's registers come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import click

from gicmodel.errors import UnusableInput
from gicmodel.images.qemu_trace import registers_of_trace
from gicmodel.images.registers import PAIRS, Registers, from_pairs, merged
from gicmodel.images.sources import is_snapshot, read_registers, registers_in

CAVEAT = "pending: as RAM has it; a GIC may hold newer bits of a mapped vPE, or while EnableLPIs is 1 (IHI0069 5.3.19)"
"""Printed wherever pending bits are."""

REGISTERS_NAME = "registers.toml"


class Number(click.ParamType[int]):
    """A number, decimal or with 0x."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it; a negative one is none."""
        try:
            number = int(str(value), 0)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        return number if number >= 0 else self.fail(f"{value!r} is negative", param, ctx)


def beside(image: Path) -> Path | None:
    """The registers file that belongs to an image: NAME.toml beside NAME.elf.xz, else registers.toml there."""
    name = image.name.partition(".")[0]
    candidates = [image.with_name(f"{name}.toml"), image.with_name(REGISTERS_NAME)]
    return next((path for path in candidates if path.is_file()), None)


def gather_registers(
    file: IO[bytes], image: Path, files: Sequence[Path], trace: Path | None, pairs: Sequence[str]
) -> tuple[Registers, list[str]]:
    """The registers of an open image and where they come from: a trace, then files, then pairs; the later ones count.

    Without any, the image itself if it is a snapshot, or the file beside it. Raises UnusableInput if there is none.
    """
    sources: list[tuple[str, Registers]] = []
    if trace is not None:
        sources.append((str(trace), registers_of_trace(trace)))
    sources += [(str(path), read_registers(path)) for path in files]
    if not sources and not pairs:
        sources.append(_own_registers(file, image))
    if pairs:
        sources.append((PAIRS, from_pairs(pairs)))
    return merged(registers for _, registers in sources), [name for name, _ in sources]


def _own_registers(file: IO[bytes], image: Path) -> tuple[str, Registers]:
    if is_snapshot(file, image):
        return str(image), registers_in(file, image)
    found = beside(image)
    if found is None:
        raise UnusableInput(
            f"{image}: its registers are not known: give --registers FILE, --set NAME=VALUE or --trace FILE"
        )
    return str(found), read_registers(found)
