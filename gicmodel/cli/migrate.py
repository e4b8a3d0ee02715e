# SPDX-License-Identifier: Apache-2.0
"""`gicmodel migrate`: does every pending vLPI survive?"""

from __future__ import annotations

import math
from pathlib import Path

import click
from click.core import ParameterSource

from gicmodel.cli._migrate_report import Watcher, show, to_json, write_json
from gicmodel.cli._writable import require_writable
from gicmodel.errors import UnusableInput
from gicmodel.images import read_image
from gicmodel.registers_file import read_registers

DEFAULT_REGISTERS = "registers.toml"
MADE_UP = ("vcpus", "devices", "vectors", "pending", "seed")
"""Options of the VM that is made up when there is no IMAGE."""


def _not_nan(ctx: click.Context, param: click.Parameter, number: float) -> float:
    """click's ranges let NaN pass."""
    if math.isnan(number):
        raise click.BadParameter(f"{number} is not in the range 0<=x<=1.")
    return number


@click.command()
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option("--vcpus", default=4, show_default=True, type=click.IntRange(1, 512), help="vCPUs of the VM.")
@click.option("--devices", default=8, show_default=True, type=click.IntRange(0, 4096), help="VFIO devices of the VM.")
@click.option("--vectors", default=32, show_default=True, type=click.IntRange(1, 2048), help="MSI vectors per device.")
@click.option(
    "--pending",
    default=0.25,
    show_default=True,
    metavar="FRACTION",
    type=click.FloatRange(0, 1),
    callback=_not_nan,
    help="How many of the vLPIs are pending when the migration begins.",
)
@click.option(
    "--architecture",
    default="4.1",
    show_default=True,
    type=click.Choice(["4.1", "4.0"]),
    help="GIC of the hosts. GICv4.0 cannot do it; the error says why.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Which of the vLPIs are pending.")
@click.option(
    "--registers",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Registers of IMAGE; by default its own name with .toml, else {DEFAULT_REGISTERS}, beside it.",
)
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the RAM of hosts and guests as ELF cores with their registers, before the interrupts are taken.",
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the verdict as JSON; - for standard output.")
@click.option("--no-progress", is_flag=True, help="No progress bar; there is none anyway unless stderr is a terminal.")
@click.pass_context
def command(
    ctx: click.Context,
    image: Path | None,
    vcpus: int,
    devices: int,
    vectors: int,
    pending: float,
    architecture: str,
    seed: int,
    registers: Path | None,
    save: Path | None,
    json_file: str | None,
    no_progress: bool,
) -> None:
    """Migrate a virtual machine whose devices inject vLPIs directly, and check that each pending one arrives once.

    Without IMAGE a VM is made up, some of its vLPIs become pending, and it moves between two hosts. With IMAGE, the RAM
    of a guest that a KVM host has saved (an ELF core), the guest is resumed, saved again and compared byte for byte.

    Exit status: 0 nothing is lost and nothing arrives twice, 1 otherwise, 2 unusable input.
    """
    # numba comes with these; `gicmodel --help` does without.
    from gicmodel.cli._migrate_run import Request, run

    _check_options(ctx, image, registers)
    require_writable(save, json_file)
    request = Request(vcpus, devices, vectors, pending, architecture, seed, save)
    saved = None if image is None else (image, read_image(image), read_registers(_registers_of(image, registers)))
    with Watcher(enabled=not no_progress) as watcher:
        verdict = run(request, saved, watcher)
    if json_file != "-":
        show(verdict)
    if json_file is not None:
        write_json(json_file, to_json(verdict))
    ctx.exit(0 if verdict.passed else 1)


def _check_options(ctx: click.Context, image: Path | None, registers: Path | None) -> None:
    """Refuse options that would be silently without effect."""
    if image is None and registers is not None:
        raise UnusableInput("--registers describes an IMAGE, and there is none")
    given = [name for name in MADE_UP if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if image is not None and given:
        raise UnusableInput(f"--{given[0]} is for a VM that is made up; the one in IMAGE is as it was saved")


def _registers_of(image: Path, registers: Path | None) -> Path:
    if registers is not None:
        return registers
    stem = image.name.removesuffix(".xz").removesuffix(".gz").removesuffix(".elf")
    candidates = [image.with_name(f"{stem}.toml"), image.with_name(DEFAULT_REGISTERS)]
    for path in candidates:
        if path.exists():
            return path
    names = " nor ".join(path.name for path in candidates)
    raise UnusableInput(f"{image}: beside it is neither {names}; give its registers with --registers FILE")
