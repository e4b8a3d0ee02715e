# SPDX-License-Identifier: Apache-2.0
"""`gicmodel migrate`: does every pending vLPI survive?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from gicmodel.cli.engine import choose_engine, engine_option
from gicmodel.cli.options import Directory, Number, Real, SourceFile, as_one, given
from gicmodel.cli.output import Results, json_options, print_table, say
from gicmodel.cli.progress import Watcher
from gicmodel.errors import Interrupted, LinuxError, UnusableInput
from gicmodel.images.segments import read_image
from gicmodel.images.sources import REGISTERS_NAME, beside, read_registers
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.policy import Policy

if TYPE_CHECKING:
    from gicmodel.migration.machine import Delivery, VirtualMachine
    from gicmodel.migration.migrate import Options
    from gicmodel.migration.saved_guest import SavedGuest
    from gicmodel.migration.steps import Progress
    from gicmodel.migration.trial import BeforeDelivery, VmSize
    from gicmodel.migration.verdict import PolicyComparison, Verdict

MADE_UP = ("vcpus", "devices", "vectors", "pending", "seed")
"""Options of the VM that is made up when there is no IMAGE."""
OF_AN_IMAGE = ("registers", "base")
SHOWN = 10
"""How many lost or doubled interrupts are named."""
COLUMNS = ("policy", "resets", "pending", "lost", "doubled", "ITS commands", "vPE unmaps")
COMPARED_RUNS = 48
"""Single migrations that take as long as --compare-policies."""
NOT_COMPARED = ("policy", "forwarding_resets", "abort_at", "save")
"""Options that a comparison of policies decides itself, or that make no sense for many runs."""


size_options = as_one(
    "size",
    dict,
    vcpus=click.option("--vcpus", default=4, show_default=True, type=click.IntRange(1, 512), help="vCPUs of the VM."),
    devices=click.option(
        "--devices", default=8, show_default=True, type=click.IntRange(0, 4096), help="VFIO devices of the VM."
    ),
    vectors=click.option(
        "--vectors", default=32, show_default=True, type=click.IntRange(1, 2048), help="MSI vectors per device."
    ),
)
course_options = as_one(
    "course",
    dict,
    policy=click.option(
        "--policy",
        default=Policy.AVOID_UNSET.value,
        show_default=True,
        metavar="POLICY",
        type=click.Choice([policy.value for policy in Policy]),
        help="What is done about forwarding that is reset while the destination loads a device: the monitor allocates "
        "all vectors first (avoid-unset); KVM transfers pending state when all is loaded (dedicated-interface); "
        "unset_forwarding reads it back (retrieve-on-unset); or nothing (rfc).",
    ),
    forwarding_resets=click.option(
        "--forwarding-resets",
        default=0,
        show_default=True,
        type=click.IntRange(0, 2048),
        help="How often that happens to each device: its vectors are enabled one by one, each time after all previous "
        "ones were disabled; the last time all that are left. avoid-unset does not let it happen.",
    ),
    hops=click.option(
        "--hops", default=1, show_default=True, type=click.IntRange(1, 1000), help="Migrate to and fro so often."
    ),
    abort_at=click.option(
        "--abort-at",
        metavar="STEP",
        help="Cancel the migration after this step; the source takes its interrupts, or an image stays as it was, and "
        "then it is tried again. A name that no step has lists them.",
    ),
)


@click.command()
@click.argument("image", required=False, type=SourceFile())
@click.option("--base", type=Number(), help="Physical address of a raw IMAGE's first byte.")
@size_options
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
@course_options
@click.option("--compare-policies", is_flag=True, help="Migrate with every policy and 0, 1, 3 and 64 resets; a table.")
@click.option(
    "--registers",
    metavar="FILE",
    type=SourceFile(),
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
    size: dict[str, int],
    pending: float,
    architecture: str,
    seed: int,
    course: dict[str, Any],
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

    With --hops it goes to and fro between the two. In between every second vCPU takes its interrupts, and vCPUs move to
    other CPUs; of a VM that is made up devices fire, the guest masks interrupts, gives them other affinities and maps
    them anew, reloads a driver and resets a device.

    Exit status: 0 nothing is lost and nothing arrives twice (of policies compared: but for what rfc loses by resets), 1
    otherwise, 2 unusable input.
    """
    _check_options(ctx, image, compare_policies)
    runs = COMPARED_RUNS if compare_policies else course["hops"] * (1 + course["forwarding_resets"] / 8)
    choose_engine(engine, 0 if image else runs * _saved_seconds(**size), not no_progress)
    # The kernels come with these, and numba on the compiled engine.
    from gicmodel.migration import Options
    from gicmodel.migration.trial import VmSize
    from gicmodel.migration.verdict import compare_policies as compare

    options = Options(**course | {"policy": Policy(course["policy"])}, fraction=pending, seed=seed)
    _check_step(options, of_an_image=image is not None)
    unsaved: list[UnusableInput] = []
    guest = partial(VmSize, **size) if image is None else _saved(image, base, registers)

    def trial(policy: Policy, resets: int) -> Verdict:
        chosen = replace(options, policy=policy, forwarding_resets=resets)
        return _migrate(architecture, guest(), chosen, watcher.progress, _saver(save, unsaved))

    try:
        with Watcher(enabled=not no_progress) as watcher:
            came_to = compare(trial) if compare_policies else trial(options.policy, options.forwarding_resets)
    except Interrupted as stop:
        results.publish(stop.so_far.to_json(), partial(_show, stop.so_far))
        raise
    results.publish(came_to.to_json(), partial(_show, came_to))
    if unsaved:
        raise unsaved[0]
    ctx.exit(0 if came_to.passed else 1)


def _migrate(
    architecture: str, guest: VmSize | SavedGuest, options: Options, progress: Progress, save: BeforeDelivery
) -> Verdict:
    """One trial, of a VM that is made up or saved. UnusableInput if its hosts cannot carry it."""
    from gicmodel.migration.trial import VmSize, hosts_for, run_trial

    what = f"a VM of {guest.vcpus} vCPUs"
    if isinstance(guest, VmSize):
        what += f" with {guest.devices} devices of {guest.vectors} vectors"
    else:
        what = f"{guest.path}: {what}"
    hosts = hosts_for(guest.vcpus, cast(Literal["4.0", "4.1"], architecture))
    try:
        return run_trial(hosts, guest, options, progress, save)
    except LinuxError as error:
        raise UnusableInput(f"{what} does not fit: {error}") from error


def _saver(directory: Path | None, failures: list[UnusableInput]) -> BeforeDelivery:
    """What saves RAM, if that is wanted, in the middle of a trial, which goes on if it fails: `failures` tell why."""
    from gicmodel.migration.machine import save_ram

    def save(machines: list[VirtualMachine]) -> None:
        try:
            if directory is not None:
                save_ram(directory, machines)
        except UnusableInput as failure:
            failures.append(failure)

    return save


def _check_step(options: Options, of_an_image: bool) -> None:
    """UnusableInput if no migration comes to the step at which it is to be aborted."""
    from gicmodel.migration.trial import steps_of

    step, steps = options.abort_at, steps_of(options, of_an_image)
    if step is not None and step not in steps:
        raise UnusableInput(f"--abort-at {step!r}: with policy {options.policy.value} the steps are {', '.join(steps)}")


def _saved_seconds(vcpus: int, devices: int, vectors: int) -> float:
    """What machine code saves of one migration: of 512 vCPUs 2.3 of 4.1 s, of 4096 vLPIs on 64 vCPUs 1.0 of 1.8 s."""
    return 4e-3 * vcpus + 2e-4 * devices * vectors


def _saved(image: Path, base: int | None, registers: Path | None) -> Callable[[], SavedGuest]:
    """What makes the guest in an image anew for each trial, which writes to its RAM."""
    from gicmodel.migration.saved_guest import SavedGuest

    segments, place = read_image(image, base), registers or beside(image)
    if place is None:
        names = f"{image.name.partition('.')[0]}.toml nor {REGISTERS_NAME}"
        raise UnusableInput(f"{image}: beside it is neither {names}; give its registers with --registers FILE")
    return partial(SavedGuest, image, segments, read_registers(place))


def _check_options(ctx: click.Context, image: Path | None, compare_policies: bool) -> None:
    """Refuse options that would be silently without effect."""
    if image is None and (option := given(ctx, OF_AN_IMAGE)):
        raise UnusableInput(f"{option} describes an IMAGE, and there is none")
    if image is not None and (option := given(ctx, MADE_UP)):
        raise UnusableInput(f"{option} is for a VM that is made up; the one in IMAGE is as it was saved")
    if compare_policies and (option := given(ctx, NOT_COMPARED)):
        raise UnusableInput(f"{option} is for one migration; --compare-policies makes many")


def _show(came_to: Verdict | PolicyComparison) -> None:
    """The table of steps and the verdict, or the table of policies."""
    from gicmodel.migration.verdict import PolicyComparison

    if isinstance(came_to, PolicyComparison):
        _show_policies(came_to)
        return
    steps = [(step.name, f"{step.seconds * 1e3:.1f}", f"{step.bytes:,}") for step in came_to.steps]
    print_table(("step", "ms", "bytes"), steps, right=(1, 2))
    for line in _sentences(came_to):
        say(line)


def _show_policies(comparison: PolicyComparison) -> None:
    """A table in Markdown."""
    rows = [row | {"commands": sum(row["commands"].values())} for row in comparison.to_json()]
    cells = [[str(cell) for cell in list(row.values())[: len(COLUMNS)]] for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for line in (COLUMNS, rule, *cells):
        say(f"| {line[0].ljust(widths[0])} | {' | '.join(map(str.rjust, line[1:], widths[1:]))} |")
    for failure in dict.fromkeys(row["error"] for row in rows if "error" in row):
        say(f"not migrated: {failure}")


def _sentences(verdict: Verdict) -> list[str]:
    lines = [f"{verdict.vlpis} vLPIs: {_tally(verdict, verdict.pending_before, verdict.pending_after, is_sgi=False)}"]
    if verdict.sgis_before or verdict.sgis_after:
        lines.append(f"vSGIs: {_tally(verdict, verdict.sgis_before, verdict.sgis_after, is_sgi=True)}")
    commands = f"{sum(verdict.commands.values())} ITS commands, vPEs unmapped {verdict.unmaps} times"
    lines.append(f"policy {verdict.policy.value}: {commands}")
    lines += [
        f"aborted at {error}; the guest went on where it was, and it was tried again" for error in verdict.aborted
    ]
    if verdict.image_identical is not None:
        lines.append(f"saved again: {'identical to the image' if verdict.image_identical else 'NOT the bytes it was'}")
    lines += _listed("lost", verdict.lost) + _listed("doubled", verdict.duplicated)
    return [*lines, _conclusion(verdict)]


def _tally(verdict: Verdict, before: int, after: int, is_sgi: bool) -> str:
    """What became of one kind of interrupts."""

    def count(deliveries: Iterable[Delivery]) -> int:
        return sum((intid < VSGIS) is is_sgi for _, intid in deliveries)

    held = f", {count(verdict.held)} disabled and pending still" if count(verdict.held) else ""
    delivered, lost, doubled = map(count, (verdict.delivered.elements(), verdict.lost, verdict.duplicated))
    then = "" if verdict.interrupted else f", {after} after"
    return f"{before} pending before{then}; {delivered} delivered, {lost} lost, {doubled} doubled{held}"


def _conclusion(verdict: Verdict) -> str:
    unharmed = not (verdict.lost or verdict.duplicated)
    if verdict.interrupted:
        return f"interrupted after {verdict.migrations} migrations" + unharmed * ", in which nothing was lost"
    if verdict.failure is not None:
        return f"not migrated: {verdict.failure}; the guest goes on where it was" + unharmed * " and has lost nothing"
    if not verdict.passed:
        return "the migration did not hold"
    if not verdict.expected:
        return "no vLPI was pending, so there was nothing to lose"
    return f"every pending {'vLPI' if verdict.vlpis_expected else 'vSGI'} arrived once, on its vCPU"


def _listed(what: str, deliveries: list[Delivery]) -> list[str]:
    named = [f"{what}: {_kind(intid)} {intid} of vCPU {vcpu}" for vcpu, intid in deliveries[:SHOWN]]
    return named + ([f"{what}: {len(deliveries) - SHOWN} more"] if len(deliveries) > SHOWN else [])


def _kind(intid: int) -> str:
    return "vSGI" if intid < VSGIS else "vLPI"
