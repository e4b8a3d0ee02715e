# SPDX-License-Identifier: Apache-2.0
"""`gicmodel fuzz`: campaigns, the programs they save, and running one of those again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gicmodel.cli import main
from gicmodel.fuzzing.oracle import Oracle
from gicmodel.fuzzing.peers import oracle
from gicmodel.fuzzing.program_text import read_program
from gicmodel.jit import COMPILED

COMMANDS = 12_000 if COMPILED else 300


class ClearsNothing(Oracle):
    """CLEAR and DISCARD leave the pending bit."""

    def clear(self, target: object) -> None:
        pass


def fuzz(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fuzz", *map(str, arguments)])


def campaign(*arguments: object) -> dict[str, object]:
    """The JSON of a campaign that finds nothing, but for its time."""
    result = fuzz("--seed", 1, "--json", "-", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) | {"seconds": None}


@pytest.fixture
def mistaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle is wrong."""
    monkeypatch.setattr(oracle, "PEER", oracle.OraclePeer(ClearsNothing))


def test_hardware_and_oracle_agree():
    outcome = campaign("--commands", COMMANDS, "--jobs", 1)
    assert outcome["commands"] >= COMMANDS
    assert outcome["divergences"] == []
    assert outcome["outcomes"]["MAPD"].keys() >= {"OK"}
    assert sum(map(len, outcome["outcomes"].values())) > (90 if COMPILED else 15)


def test_results_do_not_depend_on_jobs():
    assert campaign("--commands", COMMANDS, "--jobs", 2) == campaign("--commands", COMMANDS, "--jobs", 1)


def test_one_architecture():
    outcomes = campaign("--commands", 300, "--jobs", 1, "--architecture", "3")["outcomes"]
    assert "MAPTI" in outcomes
    assert "VMAPTI" not in outcomes


def test_seconds_end_a_campaign():
    """Without --commands nothing else does."""
    assert campaign("--seconds", 0.2, "--jobs", 1, "--architecture", "3")["divergences"] == []


def test_a_divergence_is_shrunk_saved_and_reproduced(mistaken: None, tmp_path: Path):
    arguments = ("--commands", 1000, "--seed", 1, "--jobs", 1, "--architecture", "3", "--save", tmp_path / "found")
    result = fuzz(*arguments, "--json", tmp_path / "json")
    assert result.exit_code == 1
    divergences = json.loads((tmp_path / "json").read_text())["divergences"]
    assert divergences
    for divergence in divergences:
        file = Path(divergence["file"])
        assert read_program(file).commands <= 6
        assert divergence["difference"] in result.output
        again = fuzz("--reproduce", file, "--json", "-")
        assert again.exit_code == 1
        assert json.loads(again.stdout)["difference"] == divergence["difference"]


def interrupted(*_: object) -> None:
    """Ctrl-C while a program is shrunk."""
    raise KeyboardInterrupt


def test_ctrl_c_while_shrinking_keeps_the_program_as_it_was(
    mistaken: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("gicmodel.cli._fuzz_run.shrunk_of", interrupted)
    arguments = ("--commands", 1000, "--seed", 1, "--jobs", 1, "--architecture", "3", "--save", tmp_path)
    result = fuzz(*arguments, "--json", "-")
    outcome = json.loads(result.stdout)
    assert (result.exit_code, outcome["interrupted"]) == (1, True)
    assert fuzz("--reproduce", outcome["divergences"][0]["file"]).exit_code == 1


def test_a_program_without_a_difference(tmp_path: Path):
    file = tmp_path / "program"
    file.write_text(
        "gicmodel fuzz program, version 1\nagainst oracle\nconfig architecture=3\n"
        "tables page_size=0 indirect=0 pages=1\nSYNC its=0 RDbase=0x0\nacknowledge rd=0\n"
    )
    result = fuzz("--reproduce", file)
    assert (result.exit_code, result.output) == (0, f"{file}: no difference\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\x7fELF\0\0", 1),
        ("gicmodel fuzz program, version 99\n", 1),
        ("gicmodel fuzz program, version 1\nagainst oracle\nconfig\ntables pages=1\n", 4),
    ],
)
def test_what_is_no_program_is_one_line(tmp_path: Path, text: str, line: int):
    file = tmp_path / "program"
    file.write_text(text)
    result = fuzz("--reproduce", file)
    assert result.exit_code == 2
    assert result.output.startswith(f"gicmodel: {file}:{line}: ")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--against", "nobody"),
        ("--commands", "0"),
        ("--seconds", "-1"),
        ("--seed", "-1"),
        ("--architecture", "5"),
        ("--jobs", "0"),
        ("--save", "/dev/null/x"),
        ("--json", "/nowhere/at/all"),
        ("--reproduce", "/nowhere/at/all"),
    ],
)
def test_unusable_arguments(arguments: tuple[str, str]):
    assert fuzz(*arguments).exit_code == 2


def dies(*_: object) -> None:
    """A chunk that takes its process along."""
    os._exit(3)


def test_a_process_that_dies_leaves_a_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("gicmodel.cli._fuzz_run.chunk_against", dies)
    result = fuzz("--commands", COMMANDS, "--jobs", 2, "--json", tmp_path / "json")
    assert result.exit_code == 2
    assert "gicmodel: a process of --jobs ended before its time: " in result.stderr
    assert json.loads((tmp_path / "json").read_text())["interrupted"] is True


def test_two_peers(mistaken: None):
    """A mistake of the oracle is none of the engines."""
    arguments = ("--commands", 100, "--seed", 1, "--jobs", 1, "--architecture", "3", "--json", "-")
    result = fuzz("--against", "oracle,engine", *arguments)
    assert result.exit_code == 1
    assert {divergence["against"] for divergence in json.loads(result.stdout)["divergences"]} == {"oracle"}


@pytest.mark.skipif(not COMPILED, reason="signals do not depend on the engine, and a chunk takes long on this one")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_keeps_what_was_found(tmp_path: Path, jobs: int):
    """The JSON is written, and no process complains."""
    program = "from gicmodel.cli import main; main()"
    arguments = [
        "fuzz",
        "--commands",
        "100000000",
        "--seed",
        "1",
        "--jobs",
        str(jobs),
        "--json",
        str(tmp_path / "json"),
    ]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        while "commands" not in first:
            assert first, "it ended before a chunk did"
            first = process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert errors.endswith("gicmodel: interrupted\n")
    assert "Traceback" not in errors
    assert process.returncode == 0
    assert json.loads((tmp_path / "json").read_text())["interrupted"] is True
