# SPDX-License-Identifier: Apache-2.0
"""`gicmodel migrate`: does every pending vLPI survive?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from gicmodel.cli._dumps import REGISTERS_NAME, beside
from gicmodel.cli._migrate_report import Report, Watcher
from gicmodel.cli.engine import choose_engine, engine_option
from gicmodel.cli.options import Directory, Number, Real
from gicmodel.cli.output import Results, json_options
from gicmodel.errors import Interrupted, UnusableInput
from gicmodel.images.registers import read_registers
from gicmodel.images.segments import read_image

POLICIES = ("avoid-unset", "dedicated-interface", "retrieve-on-unset", "rfc")
MADE_UP = ("vcpus", "devices", "vectors", "pending", "seed", "hops", "abort_at")
"""Options of the VM that is made up when there is no IMAGE."""
OF_AN_IMAGE = ("registers", "base")
COMPARED_RUNS = 48
"""Single migrations that take as long as --compare-policies."""
NOT_COMPARED = ("policy", "forwarding_resets", "abort_at", "save")
"""Options that a comparison of policies decides itself, or that make no sense for many runs."""


@click.command()
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option("--base", type=Number(), help="Physical address of a raw IMAGE's first byte.")
@click.option("--vcpus", default=4, show_default=True, type=click.IntRange(1, 512), help="vCPUs of the VM.")
@click.option("--devices", default=8, show_default=True, type=click.IntRange(0, 4096), help="VFIO devices of the VM.")
@click.option("--vectors", default=32, show_default=True, type=click.IntRange(1, 2048), help="MSI vectors per device.")
@click.option(
    "--pending",
    default=0.25,
    show_default=True,
    metavar="FRACTION",
    type=Real(0, 1),
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
    "--policy",
    default=POLICIES[0],
    show_default=True,
    type=click.Choice(POLICIES),
    help="What is done about forwarding that is reset while the destination loads a device: the monitor allocates all "
    "vectors first; KVM transfers pending state when all is loaded; unset_forwarding reads it back; or nothing.",
)
@click.option(
    "--forwarding-resets",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2048),
    help="How often that happens to each device: its vectors are enabled one by one, each time after all previous "
    "ones were disabled; the last time all that are left. avoid-unset does not let it happen.",
)
@click.option("--hops", default=1, show_default=True, type=click.IntRange(1, 1000), help="Migrate to and fro so often.")
@click.option(
    "--abort-at",
    metavar="STEP",
    help="Cancel the migration after this step; the source takes its interrupts, and then it is tried again. "
    "A name that no step has lists them.",
)
@click.option("--compare-policies", is_flag=True, help="Migrate with every policy and 0, 1, 3 and 64 resets; a table.")
@click.option(
    "--registers",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Registers of IMAGE; by default its own name with .toml, else {REGISTERS_NAME}, beside it.",
)
@click.option(
    "--save",
    metavar="DIR",
    type=Directory(),
    help="Write the RAM of hosts and guests as ELF cores with their registers, before the interrupts are taken.",
)
@json_options
@click.option("--no-progress", is_flag=True, help="No progress bar; there is none anyway unless stderr is a terminal.")
@engine_option
@click.pass_context
def command(
    ctx: click.Context,
    image: Path | None,
    base: int | None,
    vcpus: int,
    devices: int,
    vectors: int,
    pending: float,
    architecture: str,
    seed: int,
    policy: str,
    forwarding_resets: int,
    hops: int,
    abort_at: str | None,
    compare_policies: bool,
    registers: Path | None,
    save: Path | None,
    results: Results,
    no_progress: bool,
    engine: str | None,
) -> None:
    """Migrate a virtual machine whose devices inject vLPIs directly, and check that each pending one arrives once.

    Without IMAGE a VM is made up, some of its vLPIs and vSGIs become pending, and it moves between two hosts. With
    IMAGE, the RAM of a guest that a KVM host has saved (an ELF core, or raw bytes with --base), the guest is resumed,
    saved again and compared byte for byte.

    With --hops it goes to and fro between the two, and in between devices fire, the guest masks interrupts, gives them
    other affinities and maps them anew, reloads a driver and resets a device, and vCPUs move to other CPUs.

    Exit status: 0 nothing is lost and nothing arrives twice (of policies compared: but for what rfc loses by resets), 1
    otherwise, 2 unusable input.
    """
    _check_options(ctx, image, compare_policies)
    runs = COMPARED_RUNS if compare_policies else hops * (1 + forwarding_resets / 8)
    choose_engine(engine, 0 if image else runs * _saved_seconds(vcpus, devices * vectors), not no_progress)
    # The kernels come with these, and numba on the compiled engine.
    from gicmodel.cli._migrate_run import Request, compare, run

    request = Request(
        vcpus, devices, vectors, pending, architecture, seed, policy, forwarding_resets, hops, abort_at, save
    )
    saved = None if image is None else (image, read_image(image, base), read_registers(_registers_of(image, registers)))
    try:
        with Watcher(enabled=not no_progress) as watcher:
            report: Report = compare(request, saved, watcher) if compare_policies else run(request, saved, watcher)
    except Interrupted as stop:
        results.publish(stop.so_far.to_json(), stop.so_far.show)
        raise
    results.publish(report.to_json(), report.show)
    if report.unsaved is not None:
        raise report.unsaved
    ctx.exit(0 if report.passed else 1)


def _saved_seconds(vcpus: int, vlpis: int) -> float:
    """What machine code saves of one migration: of 512 vCPUs 2.3 of 4.1 s, of 4096 vLPIs on 64 vCPUs 1.0 of 1.8 s."""
    return 4e-3 * vcpus + 2e-4 * vlpis


def _check_options(ctx: click.Context, image: Path | None, compare_policies: bool) -> None:
    """Refuse options that would be silently without effect."""
    if image is None and (name := _given(ctx, OF_AN_IMAGE)):
        raise UnusableInput(f"--{name} describes an IMAGE, and there is none")
    if image is not None and (name := _given(ctx, MADE_UP)):
        raise UnusableInput(f"--{name} is for a VM that is made up; the one in IMAGE is as it was saved")
    if compare_policies and (name := _given(ctx, NOT_COMPARED)):
        raise UnusableInput(f"--{name} is for one migration; --compare-policies makes many")


def _given(ctx: click.Context, names: Sequence[str]) -> str | None:
    """The first of these options that is on the command line, as it is written there."""
    given = (name for name in names if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT)
    return next((name.replace("_", "-") for name in given), None)


def _registers_of(image: Path, registers: Path | None) -> Path:
    if registers is not None:
        return registers
    path = beside(image)
    if path is None:
        names = f"{image.name.partition('.')[0]}.toml nor {REGISTERS_NAME}"
        raise UnusableInput(f"{image}: beside it is neither {names}; give its registers with --registers FILE")
    return path
