# SPDX-License-Identifier: Apache-2.0
"""The strategies: what they draw is encodable, in range where it says so, and meets itself."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis import strategies as st

from gicmodel.config import GicConfig
from gicmodel.fuzzing.hypothesis.strategies import (
    boundary_commands,
    commands,
    configurations,
    geometries,
    malformed_words,
    programs,
    valid_commands,
)
from gicmodel.fuzzing.programs.universe import Universe, words
from gicmodel.lab.geometry import Geometry
from gicmodel.lab.placement import TablePlace
from gicmodel.layouts.commands import COMMANDS, OPCODES, decode_command, encode
from gicmodel.layouts.its_tables import DTE, ITE
from gicmodel.spec import AbstractGic
from gicmodel.spec.state import Command

ROOT = Path(__file__).parents[3]
UNIVERSES = {architecture: Universe(GicConfig(architecture=architecture)) for architecture in ("3", "4.0", "4.1")}
MALFORMED = {architecture: malformed_words(universe) for architecture, universe in UNIVERSES.items()}
FIND = settings(max_examples=2000, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("architecture", UNIVERSES)
@given(data=st.data())
def test_commands_survive_their_encoding(architecture: str, data: st.DataObject) -> None:
    command = data.draw(commands(UNIVERSES[architecture]))
    mnemonic, fields = decode_command(words(command, architecture), architecture)
    assert (mnemonic.removesuffix("_V40"), fields) == command


@pytest.mark.parametrize("architecture", UNIVERSES)
@given(data=st.data())
def test_valid_commands_are_never_out_of_range(architecture: str, data: st.DataObject) -> None:
    universe = UNIVERSES[architecture]
    oracle = AbstractGic(universe.config, universe.devices, universe.collections, universe.vpes)
    mnemonic, fields = data.draw(valid_commands(universe))
    out_of_range = {0x02, 0x03, 0x06, 0x11, 0x12, 0x13} | ({0x01} if mnemonic != "MOVALL" else set())
    if mnemonic not in ("MAPI", "VMAPI"):
        assert oracle.execute(0, mnemonic, **fields) & 0xFF not in out_of_range


@pytest.mark.parametrize("architecture", UNIVERSES)
def test_programs_make_every_command_succeed(architecture: str) -> None:
    universe = UNIVERSES[architecture]
    succeeded: set[str] = set()

    @seed(1)
    @settings(max_examples=800, database=None, suppress_health_check=list(HealthCheck))
    @given(programs(universe, max_size=60))
    def run(program: list[Command]) -> None:
        oracle = AbstractGic(universe.config, universe.devices, universe.collections, universe.vpes)
        succeeded.update(name for name, fields in program if oracle.execute(0, name, **fields) == 0)

    run()
    # These two need an event and both its targets: the machines set that up, programs rarely do.
    assert succeeded >= set(universe.mnemonics) - {"MOVI", "VMOVI"}


@pytest.mark.parametrize(
    ("mnemonic", "reason"),
    [("MAPD", 0x01), ("MAPD", 0x02), ("MAPC", 0x02), ("MAPC", 0x03), ("SYNC", 0x02), ("VMAPP", 0x12), ("VSGI", 0x11)],
)
def test_boundary_commands_reach_the_limits(mnemonic: str, reason: int) -> None:
    universe = UNIVERSES["4.1"]
    oracle = AbstractGic(universe.config, universe.devices, universe.collections, universe.vpes)
    opcode = 0x05 if mnemonic == "CLEAR" else OPCODES[mnemonic]
    number = 0x010000 + opcode * 0x100 + reason
    find(
        boundary_commands(universe, [mnemonic]),
        lambda command: oracle.execute(0, command[0], **command[1]) == number,
        settings=FIND,
    )


@pytest.mark.parametrize("architecture", UNIVERSES)
@given(data=st.data())
def test_malformed_words_are_four_words(architecture: str, data: st.DataObject) -> None:
    drawn = data.draw(MALFORMED[architecture])
    assert len(drawn) == 4
    assert all(0 <= word < 1 << 64 for word in drawn)


@pytest.mark.parametrize("kind", ["unknown opcode", "RES0 bits"])
def test_malformed_words_of_each_kind(kind: str) -> None:
    def is_kind(drawn: tuple[int, ...]) -> bool:
        layout = COMMANDS("4.0").get(drawn[0] & 0xFF)
        return layout is None if kind == "unknown opcode" else bool(layout and layout.res0_violations(drawn))

    find(malformed_words(UNIVERSES["4.0"]), is_kind, settings=FIND)


@given(st.sampled_from(sorted(UNIVERSES)), st.data())
def test_reserved_bits_do_not_change_the_fields(architecture: str, data: st.DataObject) -> None:
    drawn = data.draw(MALFORMED[architecture])
    layout = COMMANDS(architecture).get(drawn[0] & 0xFF)
    if layout is not None:
        mnemonic, fields = decode_command(drawn, architecture)
        clean = encode(mnemonic.removesuffix("_V40"), architecture, **fields)
        assert decode_command(clean, architecture) == (mnemonic, fields)
        assert not layout.res0_violations(clean)


@given(geometries())
def test_capacity(geometry: Geometry) -> None:
    table = TablePlace.of(geometry, DTE, 0)
    per_page = (0x1000 << 2 * geometry.page_size) // 8
    levels = per_page if geometry.indirect else 1
    assert table.capacity == geometry.pages * per_page * levels


def test_capacity_of_a_known_table() -> None:
    assert TablePlace.of(Geometry(page_size=2, indirect=True, pages=1), DTE, 0).capacity == 1 << 26
    assert TablePlace.of(Geometry(page_size=0, indirect=False, pages=1), ITE, 0).capacity == 341


@given(configurations(architecture="4.0", its=2))
def test_configurations_keep_what_is_fixed(config: GicConfig) -> None:
    assert (config.architecture, config.its) == ("4.0", 2)


@given(st.data())
def test_rdbase_of_every_redistributor(data: st.DataObject) -> None:
    config = data.draw(configurations())
    universe, oracle = Universe(config), AbstractGic(config, 1, 1, 1)
    numbers = range(config.redistributors)
    assert [oracle.redistributor(universe.config.rdbase(number)) for number in numbers] == list(numbers)


@given(configurations(its=st.integers(2, 3)))
def test_configurations_draw_from_what_is_given(config: GicConfig) -> None:
    assert config.its in (2, 3)


def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a project that has the package installed, as far as entry points go."""
    metadata = tmp_path / "gicmodel-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: gicmodel\nVersion: 0\n")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["hypothesis"]
    points = [f"{name} = {target}" for name, target in declared.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[hypothesis]", *points]))
    return os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


INFERS = """
import sys
from hypothesis import strategies as st, find
print(*sorted({"construct", "gicmodel.fuzzing.hypothesis.strategies", "numba"} & set(sys.modules)))
from gicmodel.config import GicConfig
from gicmodel.lab.geometry import Geometry
print(find(st.from_type(GicConfig), lambda config: config.its == 2).its, find(st.from_type(Geometry), bool).pages)
print(find(st.lists(st.from_type(GicConfig), min_size=1), bool)[0].architecture, "numba" in sys.modules)
"""


def test_where_the_package_is_installed_types_are_inferred_without_numba(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INFERS]
    run = subprocess.run(command, env=installed(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["", "2 1", "4.1 False"]


def test_strategies_do_not_import_numba() -> None:
    script = (
        "import sys, gicmodel.fuzzing.hypothesis.strategies as s; s.configurations(); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
