# SPDX-License-Identifier: Apache-2.0
"""`gicmodel compile`, and what other verbs do before they need machine code."""

import ast
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import gicmodel
from gicmodel.cli import compiling
from gicmodel.fuzzing.workers import local
from gicmodel.jit import COMPILED

PACKAGE = Path(gicmodel.__file__).parent
RUN = "import sys; from gicmodel.cli import main; main(sys.argv[1:])"

compiled_only = pytest.mark.skipif(not COMPILED, reason="on the Python engine there is nothing to compile")


def process(program, *arguments, stderr=subprocess.PIPE, **variables):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=os.environ | variables,
        text=True,
        check=False,
    )


def on_a_terminal(program, **variables):
    """What a program writes to stderr, if that is a terminal."""
    reader, writer = pty.openpty()
    try:
        result = process(program, stderr=writer, TERM="xterm", COLUMNS="100", **variables)
        return result, os.read(reader, 1 << 16).decode()
    finally:
        os.close(reader)
        os.close(writer)


@compiled_only
def test_what_is_compiled_is_all_that_a_verb_needs():
    """A migration with hops of the machine code engine then misses nothing."""
    result = process(RUN, "compile", GICMODEL_ENGINE="compiled")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{len(compiling.declared())} kernels are compiled, in ")
    program = (
        "import atexit, sys\nfrom gicmodel.cli import main\n"
        "def count():\n"
        "    from gicmodel.jit import KERNELS\n"
        "    print([str(each) for each in KERNELS if each.stats.cache_misses], file=sys.stderr)\n"
        "atexit.register(count)\nmain(['migrate', '--hops', '2', '--engine', 'compiled'])"
    )
    assert process(program).stderr == "[]\n"


@compiled_only
def test_every_kernel_says_for_which_types_it_is_compiled():
    sources = [
        source for floor in ("layouts", "hardware", "driver", "kvm") for source in (PACKAGE / floor).rglob("*.py")
    ]
    functions = [node for source in sources for node in ast.walk(ast.parse(source.read_text()))]
    decorated = {
        node.name
        for node in functions
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(name, ast.Name) and name.id in ("kernel", "inlined") for name in node.decorator_list)
    }
    declared = {kernel.py_func.__name__ for kernel, _ in compiling.declared()}
    assert len(decorated) > 200
    assert decorated - declared == set()


@compiled_only
def test_a_kernel_waits_for_all_that_it_calls():
    number = {kernel.py_func.__name__: number for number, (kernel, _) in enumerate(compiling.declared())}
    callees = compiling._callees()
    assert {number["covers_aligned"], number["word_address"]} <= callees[number["bit_reachable"]]


def test_callees_come_first_and_those_that_most_wait_for(monkeypatch):
    order = []
    monkeypatch.setattr(compiling, "compile_one", order.append)
    callees = {0: {1, 2}, 1: {3}, 2: set(), 3: {4}, 4: set(), 5: set()}
    with local(1) as workers:
        assert len([*compiling._compiled(workers, callees)]) == 6
    assert order.index(4) == 0
    assert order.index(3) < order.index(1) < order.index(0)
    assert order.index(2) < order.index(0)
    assert sorted(order) == [*range(6)]


@pytest.mark.parametrize(("kept", "whole"), [([True, True], True), ([True, False], False)])
def test_what_could_not_be_kept_is_not_said_to_be_there(monkeypatch, kept, whole):
    marks = []
    monkeypatch.setattr(compiling, "mark_whole", lambda: marks.append(True))
    monkeypatch.setattr(compiling, "_compiled", lambda workers, callees: iter(kept))
    monkeypatch.setattr(compiling, "can_be_written", lambda: False)
    assert compiling.compile_all(False) is whole
    assert marks == [True] * whole


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    result = process(RUN, "compile", GICMODEL_ENGINE="compiled", NUMBA_CACHE_DIR=str(tmp_path / "file"))
    assert result.returncode == 2
    assert result.stderr == f"gicmodel: {tmp_path / 'file'}: machine code cannot be kept there\n"


BAR = """
from gicmodel.cli import compiling
compiling.declared = lambda: range(3)
compiling.can_be_written = compiling.mark_whole = compiling._callees = lambda: None
compiling._compiled = lambda workers, callees: iter([True, True])
compiling.compile_all({bar})
"""


def test_a_terminal_sees_how_many_are_left():
    result, seen = on_a_terminal(BAR.format(bar=True), GICMODEL_ENGINE="python")
    assert result.returncode == 0
    assert "compiling kernels" in seen
    assert "1 left" in seen


def test_a_pipe_gets_one_line_and_so_does_a_terminal_that_wants_no_bar():
    line = "gicmodel: compiling 3 kernels (first run only, up to a minute)\n"
    assert process(BAR.format(bar=True), GICMODEL_ENGINE="python").stderr == line
    assert on_a_terminal(BAR.format(bar=False), GICMODEL_ENGINE="python")[1] == line.replace("\n", "\r\n")


@compiled_only
def test_numbers_of_kernels_do_not_depend_on_what_else_is_imported():
    """A process of workers that has imported other kernels, or in another order, compiles what it is told to."""
    show = (
        "from gicmodel.cli import compiling\n"
        "print([(each.py_func.__module__, each.py_func.__name__) for each, _ in compiling.declared()])"
    )
    other = "import gicmodel.kvm.save_plan, gicmodel.benchmarks.translater\n" + show
    names = [process(program, GICMODEL_ENGINE="compiled").stdout for program in (show, other)]
    assert names[0] == names[1] != ""
