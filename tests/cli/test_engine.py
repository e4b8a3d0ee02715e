# SPDX-License-Identifier: Apache-2.0
"""--engine: small work runs at once and without numba, both engines say the same, and workers run the same."""

import json
import lzma
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.jit import COMPILED

TRACE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu" / "host-vm-stopped.trace.xz"
MIGRATE = ("migrate", "--vcpus", "2", "--devices", "2", "--vectors", "4", "--hops", "2")
FUZZ = ("fuzz", "--seed", "1", "--commands", "300")

RUN = """
import atexit, sys
from gicmodel.cli import main
atexit.register(lambda: print("numba" in sys.modules, file=sys.stderr))
main(sys.argv[1:])
"""


def run(*arguments, **variables):
    """A verb in a process that nobody tells which engine to take: what it prints, and whether it imported numba."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GICMODEL_ENGINE", "NUMBA_DISABLE_JIT")
    }
    result = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr.splitlines()[-1] == "True"


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """The first events of a host, unpacked."""
    path = tmp_path_factory.mktemp("trace") / "host.trace"
    with lzma.open(TRACE) as packed:
        path.write_bytes(b"".join(packed.readlines()[:10000]))
    return path


def timeless(text):
    """A report without what differs from run to run."""
    document = json.loads(text)
    document.pop("seconds", None)
    for step in document.get("steps", ()):
        del step["seconds"]
    return document


@pytest.mark.parametrize("verb", [("migrate",), MIGRATE, (*FUZZ, "--jobs", "1"), (*FUZZ, "--seconds", "1")])
def test_small_work_never_imports_numba(verb, tmp_path):
    """With nothing compiled, and without a word about a compiler."""
    assert run(*verb, NUMBA_CACHE_DIR=str(tmp_path))[1] is False
    assert not any(tmp_path.iterdir())


def test_a_short_trace_is_replayed_without_numba(trace, tmp_path):
    assert run("replay", trace, NUMBA_CACHE_DIR=str(tmp_path))[1] is False


@pytest.mark.skipif(not COMPILED, reason="on the Python engine nothing has compiled the kernels")
@pytest.mark.parametrize("verb", [MIGRATE, (*FUZZ, "--jobs", "1"), (*FUZZ, "--jobs", "2"), ("replay",)], ids=" ".join)
def test_both_engines_say_the_same(verb, trace, tmp_path):
    said, bytes_ = [], []
    for engine in ("compiled", "python"):
        arguments = (*verb, trace) if verb == ("replay",) else verb
        if verb == MIGRATE:
            arguments = (*arguments, "--save", tmp_path / engine)
        text, numba = run(*arguments, "--json", "--engine", engine)
        assert numba is (engine == "compiled")
        said.append(timeless(text))
        bytes_.append({file.name: file.read_bytes() for file in sorted((tmp_path / engine).glob("*"))})
    assert said[0] == said[1]
    assert bytes_[0] == bytes_[1]


def test_processes_of_jobs_run_the_same_engine(tmp_path):
    """Machine code would be left in the cache."""
    run(*FUZZ, "--jobs", "2", "--engine", "python", NUMBA_CACHE_DIR=str(tmp_path))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["migrate", "fuzz", "bench"])
def test_a_variable_that_is_no_engine_is_one_line(verb, monkeypatch):
    monkeypatch.setattr("gicmodel.engine._settled", None)
    monkeypatch.setenv("GICMODEL_ENGINE", "fast")
    result = CliRunner().invoke(main, [verb])
    assert (result.exit_code, result.stderr) == (
        2,
        "gicmodel: GICMODEL_ENGINE='fast' is none of auto, compiled, python\n",
    )


def test_a_process_that_has_settled_refuses_the_other_engine():
    """The command line may be called from a program that has used the model before."""
    other = "python" if COMPILED else "compiled"
    result = CliRunner().invoke(main, ["migrate", "--engine", other])
    assert result.exit_code == 2
    assert re.fullmatch(r"gicmodel: this process runs the \w+ engine already, and has one only\n", result.stderr)


# What is over sooner


@pytest.mark.parametrize(
    ("arguments", "whole", "expected"),
    [
        (("migrate",), False, "python"),
        (("migrate",), True, "python"),
        (("migrate", "--vcpus", "64", "--devices", "64", "--vectors", "64"), False, "python"),
        (("migrate", "--vcpus", "64", "--devices", "64", "--vectors", "64"), True, "compiled"),
        (("migrate", "--compare-policies"), False, "python"),
        (("migrate", "--compare-policies"), True, "compiled"),
        (("migrate", "--hops", "1000"), False, "compiled"),
        (("fuzz",), False, "python"),
        (("fuzz", "--jobs", "1"), True, "compiled"),
        (("fuzz", "--commands", "100000000"), False, "compiled"),
        (("fuzz", "--seconds", "10"), False, "python"),
        (("fuzz", "--seconds", "10"), True, "compiled"),
        (("fuzz", "--seconds", "3600"), False, "compiled"),
        (("fuzz", "--commands", "100", "--against", "engine"), False, "compiled"),
        (("fuzz", "--commands", "100", "--cluster", "tcp://127.0.0.1:1"), False, "compiled"),
        (("fuzz", "--reproduce", __file__), True, "python"),
        (("replay", TRACE), False, "python"),
        (("bench",), False, "compiled"),
    ],
)
def test_auto_takes_the_engine_that_is_over_sooner(arguments, whole, expected, monkeypatch):
    """The verb ends there."""

    class Settled(Exception):
        pass

    def settle(engine):
        raise Settled(engine)

    monkeypatch.setattr("gicmodel.engine._settled", None)
    monkeypatch.delenv("GICMODEL_ENGINE", raising=False)
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr("gicmodel.cli.engine.is_whole", lambda: whole)
    monkeypatch.setattr("gicmodel.cli.engine.settle", settle)
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert isinstance(result.exception, Settled), result.output
    assert result.exception.args == (expected,)
