# SPDX-License-Identifier: Apache-2.0
"""`gicmodel migrate`: does every pending vLPI survive?"""

from __future__ import annotations

from pathlib import Path

import click

from gicmodel.cli._migrate_report import Watcher, show, to_json, write_json
from gicmodel.errors import UnusableInput
from gicmodel.images import read_image
from gicmodel.registers_file import read_registers

DEFAULT_REGISTERS = "registers.toml"


@click.command()
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option("--vcpus", default=4, show_default=True, type=click.IntRange(1, 512), help="vCPUs of the VM.")
@click.option("--devices", default=8, show_default=True, type=click.IntRange(0, 4096), help="VFIO devices of the VM.")
@click.option("--vectors", default=32, show_default=True, type=click.IntRange(1, 2048), help="MSI vectors per device.")
@click.option(
    "--pending",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Fraction of the vLPIs that are pending when the migration begins.",
)
@click.option(
    "--architecture", default="4.1", show_default=True, type=click.Choice(["4.1", "4.0"]), help="GIC of the hosts."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Which of the vLPIs are pending.")
@click.option(
    "--registers",
    type=click.Path(path_type=Path),
    help=f"Registers of IMAGE; {DEFAULT_REGISTERS} beside it if not given.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the RAM of hosts and guests as ELF cores with their registers.",
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the verdict as JSON; - for standard output.")
@click.option("--no-progress", is_flag=True, help="No progress bar.")
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

    request = Request(vcpus, devices, vectors, pending, architecture, seed, save)
    if image is None and registers is not None:
        raise click.UsageError("--registers describes an IMAGE, and there is none")
    saved = None if image is None else (image, read_image(image), _registers(image, registers))
    with Watcher(enabled=not no_progress) as watcher:
        verdict = run(request, saved, watcher)
    if json_file is not None:
        write_json(json_file, to_json(verdict))
    if json_file != "-":
        show(verdict)
    ctx.exit(0 if verdict.passed else 1)


def _registers(image: Path, registers: Path | None) -> dict[str, dict[str, int]]:
    path = registers or image.with_name(DEFAULT_REGISTERS)
    if not path.exists():
        raise UnusableInput(f"{path}: the registers of {image} are not there; give them with --registers FILE")
    return read_registers(path)
