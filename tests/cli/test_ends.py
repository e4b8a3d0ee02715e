# SPDX-License-Identifier: Apache-2.0
"""Ends that are no verdict: output that cannot be written, a signal, no memory. Real processes and signals."""

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from gicmodel.benchmarks.harness import Benchmark
from gicmodel.cli import INTERRUPTED, READER_LEFT, UNUSABLE, layouts, main
from gicmodel.migration import trial
from gicmodel.replay.replayer import Replayer
from tests.conftest import needed
from tests.replay.tracelog import EVENT, Log

TABLES = Path(__file__).parents[2] / "tables" / "gicmodel-v4.1-2vcpu"
HOST, GUEST = TABLES / "source-host.elf.xz", TABLES / "source-guest.elf.xz"
SMALL = ("--vcpus", 1, "--devices", 1, "--vectors", 2)
VERBS = {
    "help": ("--help",),
    "version": ("--version",),
    "layouts": ("layouts", "ITE"),
    "layouts, JSON": ("layouts", "ITE", "--json"),
    "inspect": ("inspect", HOST),
    "inspect, JSON": ("inspect", HOST, "--json"),
    "inspect, CSV": ("inspect", HOST, "--csv"),
    "diff": ("diff", GUEST, TABLES / "destination-guest.elf.xz"),
    "migrate": ("migrate", *SMALL),
    "migrate, JSON": ("migrate", *SMALL, "--json"),
    "replay": ("replay",),
    "fuzz": ("fuzz", "--commands", 20, "--jobs", 1, "--architecture", 3),
    "flush": ("flush", "--vcpus", 1, "--vlpis", 2, "--repeat", 1, "--engine", "python"),
    "bench": ("bench", "--quick", "decode"),
}
READERS = {
    "inspect": ("inspect",),
    "diff": ("diff", GUEST),
    "migrate": ("migrate",),
    "replay": ("replay",),
    "fuzz": ("fuzz", "--reproduce"),
}
PATIENCE = 60


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gicmodel", *map(str, arguments)]


@pytest.fixture
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[object, ...]:
    """Of a verb of VERBS, with something to do."""
    return (*VERBS[request.param], trace(tmp_path)) if request.param == "replay" else VERBS[request.param]


def trace(directory: Path) -> Path:
    log = Log(directory / "gic.trace")
    log.setup()
    log.mappings()
    log.cwriter(5 * 32)
    log.msi(EVENT)
    return log.write()


@pytest.mark.parametrize("arguments", VERBS, indirect=True)
def test_a_full_device_is_one_line(arguments: tuple[object, ...]):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == UNUSABLE
    assert done.stderr.splitlines()[-1] == "gicmodel: the output cannot be written: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("arguments", VERBS, indirect=True)
def test_a_closed_standard_output_is_one_line_before_any_work(arguments: tuple[object, ...]):
    closed = ["sh", "-c", '"$@" >&-', "sh", *command(*arguments)]
    done = subprocess.run(closed, capture_output=True, text=True, check=False)
    assert done.returncode == UNUSABLE
    assert done.stderr == "gicmodel: the output cannot be written: standard output is closed\n"


@pytest.mark.parametrize("redirection", ["2>&-", "<&-", "2>/dev/full"])
def test_the_other_streams_are_nobodys_need(redirection: str):
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command("migrate", *SMALL)], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"arrived once" in done.stdout


def test_a_refusal_that_nobody_can_read():
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command("layouts", "nothing"), stderr=full, check=False).returncode == UNUSABLE


def test_a_reader_that_leaves_before_json_is_written(tmp_path: Path):
    """sys.stdout is flushed at last when a verb ends with a status of its own."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = subprocess.run(
            command("fuzz", *VERBS["fuzz"][1:], "--json"), stdout=nobody, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == READER_LEFT
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_reader_that_leaves_a_file_that_is_a_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = subprocess.run(
            command("migrate", *SMALL, "--json-file", "/dev/stdout"), stdout=nobody, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (READER_LEFT, b"")


def test_a_figure_that_cannot_be_written_is_refused_before_anything_is_read():
    needed("matplotlib")
    result = CliRunner().invoke(main, ["inspect", str(HOST), "--figure", "/nowhere/at/all.svg"])
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert result.stderr == "gicmodel: /nowhere/at/all.svg: cannot be written: /nowhere/at is not a directory\n"


def test_too_little_memory_is_one_line():
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    done = subprocess.run(
        command("migrate", *SMALL), capture_output=True, text=True, preexec_fn=limited, check=False, env=one_thread()
    )
    assert (done.returncode, done.stdout) == (UNUSABLE, "")
    assert done.stderr == "gicmodel: there is not enough memory for that\n"


def one_thread() -> dict[str, str]:
    """NumPy's BLAS reserves memory for a thread a CPU, which is none of this."""
    return os.environ | {"OPENBLAS_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("verb", READERS)
def test_a_signal_while_a_file_is_read(verb: str, number: signal.Signals, tmp_path: Path):
    fifo = tmp_path / "endless"
    os.mkfifo(fifo)
    arguments = command(*READERS[verb], fifo)
    # The second context waits until the file is opened for reading.
    with (
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        fifo.open("wb"),
    ):
        # One that comes right before Python's read begins is heard after it, which has no end here.
        for _ in range(PATIENCE):
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
                break
        output, errors = process.communicate(timeout=1)
    assert (process.returncode, output, errors) == (128 + number, "", "gicmodel: interrupted\n")


def test_nohup_is_heeded():
    hangup = (
        "import signal; from gicmodel.cli import layouts, main; layouts.page = lambda _: signal.raise_signal(1) or ''"
    )
    program = [sys.executable, "-c", f"{hangup}; main(['layouts', 'ITE'])"]
    assert subprocess.run(program, check=False).returncode == 128 + signal.SIGHUP
    assert subprocess.run(["sh", "-c", 'trap "" HUP; "$@"', "sh", *program], check=False).returncode == 0


def interrupt_at(call: int, function: object) -> object:
    """The function, but that Ctrl-C comes with a call of it."""
    calls = 0

    def interrupted(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **named)

    return interrupted


def invoke(*arguments: object) -> object:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == INTERRUPTED, result.output
    assert result.stderr.endswith("gicmodel: interrupted\n")
    return result


def test_a_migration_tells_what_held_until_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial._Chain, "_between_hops", interrupt_at(3, trial._Chain._between_hops))
    result = invoke("migrate", *SMALL, "--hops", 10, "--json-file", tmp_path / "json")
    assert result.stdout.endswith("interrupted after 3 migrations, in which nothing was lost\n")
    document = json.loads((tmp_path / "json").read_text())
    assert (document["interrupted"], document["migrations"], document["lost"]) == (True, 3, [])
    assert document["pending_after"] is None
    assert document["steps"]


def test_a_comparison_of_policies_shows_its_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gicmodel.migration.trial.run_trial", interrupt_at(3, trial.run_trial))
    result = invoke("migrate", *SMALL, "--compare-policies")
    assert len(result.stdout.splitlines()) == 2 + 2


def test_a_replay_shows_what_it_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Replayer, "feed", interrupt_at(15, Replayer.feed))
    result = invoke("replay", trace(tmp_path), "--json-file", tmp_path / "json")
    assert "\n14 events: " in result.stdout
    document = json.loads((tmp_path / "json").read_text())
    assert (document["interrupted"], document["events"]) == (True, 14)


def test_a_measurement_shows_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from gicmodel.benchmarks.report import benchmarks

    def stop(quick: bool) -> None:
        signal.raise_signal(signal.SIGINT)

    first, *_ = benchmarks("decode")
    monkeypatch.setattr("gicmodel.benchmarks.report.benchmarks", lambda group: (first, Benchmark("never", stop)))
    result = invoke("bench", "--quick", "decode", "--json-file", tmp_path / "json")
    assert f"decode: {first.name}" in result.stdout
    assert [entry["name"] for entry in json.loads((tmp_path / "json").read_text())["benchmarks"]] == [first.name]


def test_the_end_of_a_file_is_no_abort(monkeypatch: pytest.MonkeyPatch):
    """click takes EOFError for an answer of the user's; here it can only be a bug."""

    def ends(_: object) -> None:
        raise EOFError

    monkeypatch.setattr(layouts, "page", ends)
    result = CliRunner().invoke(main, ["layouts", "ITE"])
    assert isinstance(result.exception, RuntimeError)
    assert isinstance(result.exception.__cause__, EOFError)
