# SPDX-License-Identifier: Apache-2.0
"""`gicmodel fuzz`: campaigns, the programs they save, and running one of those again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gicmodel.cli import INTERRUPTED, main
from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.finding import ChunkResult, Plan
from gicmodel.fuzzing.peers import oracle
from gicmodel.fuzzing.peers.peer import Peer
from gicmodel.fuzzing.programs.text import read_program
from gicmodel.jit import COMPILED
from gicmodel.spec import AbstractGic

COMMANDS = 12_000 if COMPILED else 300


class ClearsNothing(AbstractGic):
    """CLEAR and DISCARD leave the pending bit."""

    def clear(self, target: object) -> None:
        pass


def fuzz(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fuzz", *map(str, arguments)])


def campaign(*arguments: object) -> dict[str, object]:
    """The JSON of a campaign that finds nothing, but for its time."""
    result = fuzz("--seed", 1, "--json", *arguments)
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


@pytest.mark.parametrize("against", ["oracle", "oracle,engine"])
def test_no_time_for_any_program_is_no_agreement(against: str):
    result = fuzz("--seconds", 1e-9, "--jobs", 1, "--against", against)
    assert result.exit_code == 2
    assert result.stderr.endswith("--seconds 1e-09: no program against oracle began in time\n")
    assert result.stdout.endswith("nothing was compared\n")


def test_one_peer_of_two_without_a_program_is_no_agreement(monkeypatch: pytest.MonkeyPatch):
    """What was compared with the first one is shown all the same."""
    shares = iter([60.0, 0.0])
    monkeypatch.setattr("gicmodel.fuzzing.campaign.Campaign.share", property(lambda _: next(shares)))
    result = fuzz("--commands", 50, "--seconds", 60, "--jobs", 1, "--against", "oracle,engine", "--architecture", "3")
    assert result.exit_code == 2
    assert "no program against engine began in time" in result.stderr
    assert result.stdout.endswith("no divergence so far\n")


def test_seconds_end_a_campaign():
    """Without --commands nothing else does."""
    assert campaign("--seconds", 0.2, "--jobs", 1, "--architecture", "3")["divergences"] == []


def test_a_divergence_is_shrunk_saved_and_reproduced(mistaken: None, tmp_path: Path):
    arguments = ("--commands", 1000, "--seed", 1, "--jobs", 1, "--architecture", "3", "--save", tmp_path / "found")
    result = fuzz(*arguments, "--json-file", tmp_path / "json")
    assert result.exit_code == 1
    divergences = json.loads((tmp_path / "json").read_text())["divergences"]
    assert divergences
    for divergence in divergences:
        file = Path(divergence["file"])
        assert read_program(file).commands <= 6
        assert divergence["difference"] in result.output
        again = fuzz("--reproduce", file, "--json")
        assert again.exit_code == 1
        assert json.loads(again.stdout)["difference"] == divergence["difference"]


ONE_FINDING = ("--commands", 1000, "--seed", 1, "--jobs", 1, "--architecture", "3")


def test_what_cannot_be_saved_at_the_end_is_shown(mistaken: None, tmp_path: Path):
    """Nobody can tell before that nothing can be made in /proc."""
    result = fuzz(*ONE_FINDING, "--save", "/proc/save", "--json-file", tmp_path / "json")
    assert result.exit_code == 2
    assert result.stderr.endswith("gicmodel: /proc/save: cannot be made: No such file or directory\n")
    assert "\ndivergence after " in result.stdout
    assert json.loads((tmp_path / "json").read_text())["divergences"][0]["file"] is None


def test_json_that_cannot_be_written_at_the_end_is_shown(mistaken: None, tmp_path: Path):
    """/dev/full can be written, as far as anybody can ask."""
    result = fuzz(*ONE_FINDING, "--save", tmp_path, "--json-file", "/dev/full")
    assert result.exit_code == 2
    assert result.stderr.endswith("gicmodel: /dev/full: cannot be written: No space left on device\n")
    assert "\ndivergence after " in result.stdout
    assert list(tmp_path.iterdir())


def test_json_is_written_although_standard_output_is_full(tmp_path: Path):
    arguments = ["fuzz", "--commands", "20", "--jobs", "1", "--json-file", str(tmp_path / "json")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "gicmodel", *arguments], stdout=full, check=False)
    assert done.returncode == 2
    assert json.loads((tmp_path / "json").read_text())["commands"] >= 20


def interrupted(*_: object) -> None:
    """Ctrl-C while a program is shrunk."""
    raise KeyboardInterrupt


def test_ctrl_c_while_shrinking_keeps_the_program_as_it_was(
    mistaken: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("gicmodel.fuzzing.campaign.shrunk", interrupted)
    arguments = ("--commands", 1000, "--seed", 1, "--jobs", 1, "--architecture", "3", "--save", tmp_path)
    result = fuzz(*arguments, "--json")
    outcome = json.loads(result.stdout)
    assert (result.exit_code, outcome["interrupted"]) == (INTERRUPTED, True)
    assert fuzz("--reproduce", outcome["divergences"][0]["file"]).exit_code == 1


def test_a_program_without_a_difference(tmp_path: Path):
    file = tmp_path / "program"
    file.write_text(
        "gicmodel fuzz program, version 1\nagainst oracle\nconfig architecture=3\n"
        "tables page_size=0 indirect=0 pages=1\nSYNC its=0 RDbase=0x0\nacknowledge rd=0\n"
    )
    steps = "1  SYNC its=0 RDbase=0x0\n2  acknowledge rd=0\n"
    result = fuzz("--reproduce", file)
    assert (result.exit_code, result.output) == (0, f"{steps}{file}: no difference\n")
    named = file.rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\033]0;pwned\007\xff")))
    result = fuzz("--reproduce", named)
    assert (result.exit_code, result.output) == (0, f"{steps}{tmp_path}/\\x1b]0;pwned\\x07\\udcff: no difference\n")
    assert json.loads(fuzz("--reproduce", named, "--json").stdout)["file"].endswith("\007\\udcff")


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
        ("--seconds", "0"),
        ("--seconds", "nan"),
        ("--seed", "-1"),
        ("--architecture", "5"),
        ("--jobs", "0"),
        ("--save", "/dev/null/x"),
        ("--save", ""),
        ("--json-file", ""),
        ("--json-file", "/nowhere/at/all"),
        ("--reproduce", "/nowhere/at/all"),
    ],
)
def test_unusable_arguments(arguments: tuple[str, str]):
    assert fuzz(*arguments).exit_code == 2


def dies(*_: object) -> None:
    """A chunk that takes its process along."""
    os._exit(3)


def test_a_process_that_dies_leaves_a_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("gicmodel.fuzzing.campaign.run_chunk", dies)
    result = fuzz("--commands", COMMANDS, "--jobs", 2, "--json-file", tmp_path / "json")
    assert result.exit_code == 2
    assert "gicmodel: a process of --jobs ended before its time: " in result.stderr
    assert json.loads((tmp_path / "json").read_text())["interrupted"] is True


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (UnusableInput("QEMU did not connect"), "QEMU did not connect"),
        (MemoryError(), "there is not enough memory for that"),
        (OSError(12, "Cannot allocate memory"), "there is not enough memory for that"),
    ],
)
def test_a_campaign_that_cannot_go_on_keeps_what_it_found(
    reason: Exception, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def second_chunk_fails(peer: Peer, plan: Plan, chunk: int) -> ChunkResult:
        if chunk:
            raise reason
        return ChunkResult(chunk, 7, Counter({("INT", 0): 7}), None)

    monkeypatch.setattr("gicmodel.fuzzing.campaign.run_chunk", second_chunk_fails)
    result = fuzz("--commands", 12_000, "--jobs", 1, "--json-file", tmp_path / "json")
    assert result.exit_code == 2
    assert result.stderr.endswith(f"gicmodel: {line}\n")
    assert result.stdout.startswith("7 commands in ")
    assert result.stdout.endswith("no divergence so far\n")
    assert json.loads((tmp_path / "json").read_text())["interrupted"] is True


def test_two_peers(mistaken: None):
    """A mistake of the oracle is none of the engines."""
    arguments = ("--commands", 100, "--seed", 1, "--jobs", 1, "--architecture", "3", "--json")
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
        "--json-file",
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
    assert process.returncode == INTERRUPTED
    assert json.loads((tmp_path / "json").read_text())["interrupted"] is True


def processes_of(parent: int) -> list[int]:
    """Those that a process has started and that are still there."""
    words = [file.read_text().split() for file in Path(f"/proc/{parent}/task").glob("*/children")]
    return [int(child) for children in words for child in children]


def there(process: int) -> bool:
    """Whether a process lives: one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in Linux's /proc")
@pytest.mark.parametrize(
    ("number", "of_all"),
    [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGHUP, True), (signal.SIGKILL, False)],
)
def test_no_process_outlives_the_one_that_was_started(tmp_path: Path, number: signal.Signals, of_all: bool):
    """Whoever gets the signal, a terminal's processes all do; what was found is written, if it is one to be heard."""
    arguments = ["fuzz", "--seconds", "600", "--architecture", "3", "--jobs", "2"]
    arguments += ["--json-file", str(tmp_path / "json")]
    with subprocess.Popen(
        [sys.executable, "-m", "gicmodel", *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        while "commands" not in (line := process.stderr.readline()):
            assert line, "it ended before a chunk did"
        children = processes_of(process.pid)
        (os.killpg if of_all else os.kill)(process.pid, number)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert len(children) >= 2
    deadline = time.monotonic() + 20
    while any(map(there, children)):
        assert time.monotonic() < deadline, "some are still there"
        time.sleep(0.05)
    if number is signal.SIGKILL:
        return
    assert (process.returncode, errors) == (128 + number, "gicmodel: interrupted\n")
    assert json.loads((tmp_path / "json").read_text())["interrupted"] is True
