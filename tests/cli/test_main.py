# SPDX-License-Identifier: Apache-2.0
"""The frame of the command line: lazy verbs, exit statuses, one-line errors."""

import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel import __version__, cli
from gicmodel.cli import READER_LEFT, UNUSABLE, Verbs, main
from gicmodel.errors import UnusableInput


class OneVerb(Verbs):
    """The real group with one verb of the test's own."""

    def __init__(self, action):
        super().__init__(name="gicmodel")
        self.verb = click.Command("verb", callback=action)

    def list_commands(self, ctx):
        return ["verb"]

    def get_command(self, ctx, cmd_name):
        return self.verb


def test_version():
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith(f"gicmodel {__version__}\n")
    assert f"\nnumpy {np.__version__}\n" in result.output


@pytest.mark.parametrize("engine", ["auto", "python"])
def test_the_version_tells_the_engine(engine, monkeypatch):
    monkeypatch.setenv("GICMODEL_ENGINE", engine)
    assert f"\nengine {engine}\n" in CliRunner().invoke(main, ["--version"]).output


def test_the_version_tells_qemu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert CliRunner().invoke(main, ["--version"]).output.endswith("qemu-system-aarch64 not found\n")
    (tmp_path / "qemu-system-aarch64").write_text("#!/bin/sh\necho QEMU emulator version 12.0.1\n")
    (tmp_path / "qemu-system-aarch64").chmod(0o755)
    assert "\nQEMU 12.0.1, " in CliRunner().invoke(main, ["--version"]).output


def test_the_version_does_not_import_numba():
    program = (
        "import sys\nfrom gicmodel.cli import main\nmain(['--version'], standalone_mode=False)\n"
        "assert not {'numba', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)


@pytest.mark.parametrize(
    ("typed", "completed"), [("gicmodel mig", "migrate"), ("gicmodel inspect --expl", "--explain")]
)
def test_bash_completes(typed, completed):
    environment = os.environ | {
        "_GICMODEL_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    program = "from gicmodel.cli import main; main(prog_name='gicmodel')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.splitlines() == [f"plain,{completed}"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_GICMODEL_COMPLETE={shell}_complete" in result.output


def test_help_lists_every_verb():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for verb in main.list_commands(click.Context(main)):
        assert f"\n  {verb}" in result.output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["no-such-verb"], "gicmodel: No such command 'no-such-verb'; see gicmodel --help\n"),
        (["__init__"], "gicmodel: No such command '__init__'; see gicmodel --help\n"),
        (["--no-such-option"], "gicmodel: No such option '--no-such-option'; see gicmodel --help\n"),
        (["layouts", "--no-such-option"], "gicmodel: No such option '--no-such-option'; see gicmodel layouts --help\n"),
    ],
)
def test_usage_errors_exit_2_with_one_line(arguments, line):
    result = CliRunner().invoke(main, arguments, prog_name="gicmodel")
    assert (result.exit_code, result.stdout, result.stderr) == (UNUSABLE, "", line)


@pytest.mark.parametrize("verb", [verb for verb in main.list_commands(click.Context(main)) if verb != "completion"])
def test_json_is_asked_for_in_one_way(verb):
    names = {name for option in main.get_command(click.Context(main), verb).params for name in option.opts}
    assert {"--json", "--json-file"} <= names


def test_a_dash_is_no_file():
    """It was standard output once."""
    result = CliRunner().invoke(main, ["layouts", "ITE", "--json-file", "-"])
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert result.stderr == "gicmodel: - is no file: --json prints JSON on standard output\n"


def test_help_cuts_no_summary_off():
    result = CliRunner().invoke(main, ["--help"])
    words = " ".join(result.output.split())
    for verb in main.list_commands(click.Context(main)):
        assert main.get_command(click.Context(main), verb).help.replace("\n", " ").split(". ")[0] in words


def test_every_verb_is_in_one_group():
    modules = {file.stem for file in Path(cli.__file__).parent.glob("*.py") if "\ndef command(" in file.read_text()}
    assert sorted(main.list_commands(click.Context(main))) == sorted(modules)


def test_without_a_verb_there_is_help():
    result = CliRunner().invoke(main, [], prog_name="gicmodel")
    assert result.exit_code == UNUSABLE
    assert "\n  layouts" in result.output


def test_unusable_input_is_one_line_on_stderr():
    def action():
        raise UnusableInput("dump.elf: e_machine is 62,\nnot 183")

    result = CliRunner().invoke(OneVerb(action), ["verb"])
    assert result.exit_code == UNUSABLE
    assert result.stdout == ""
    assert result.stderr == "gicmodel: dump.elf: e_machine is 62, not 183\n"


def test_a_reader_that_leaves_early_sees_no_traceback():
    program = (
        "import click\nfrom gicmodel.cli import Verbs\n"
        "def action():\n"
        "    for _ in range(100_000): click.echo('a line')\n"
        "class One(Verbs):\n"
        "    def get_command(self, ctx, cmd_name): return click.Command('verb', callback=action)\n"
        "One(name='gicmodel')(['verb'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == b""
    assert process.returncode == READER_LEFT
