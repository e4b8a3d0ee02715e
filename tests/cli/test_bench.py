# SPDX-License-Identifier: Apache-2.0
"""`gicmodel bench --quick`: that it measures, shows and refuses; never how fast anything is."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gicmodel.benchmarks import report
from gicmodel.benchmarks.harness import Benchmark, Unproven
from gicmodel.cli import main
from gicmodel.fuzzing.peers.qemu.process import QemuMissing
from gicmodel.jit import COMPILED
from tests.conftest import needed

compiled = pytest.mark.skipif(not COMPILED, reason="what is measured is compiled")


def bench(*arguments):
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@compiled
def test_table_names_the_machine_and_both_sides():
    result = bench("--quick", "lpi", "decode")
    assert result.exit_code == 0, result.output
    assert "processor" in result.stdout.splitlines()[0]
    assert "lpi: load, 16-bit tables" in result.stdout
    assert "numpy.copyto" in result.stdout
    assert "decode: device table, full" in result.stdout
    assert "vpt" not in result.stdout


@compiled
def test_json_and_figure(tmp_path):
    needed("matplotlib")
    figure = tmp_path / "speed.svg"
    result = bench("--quick", "vpt", "--json", "--figure", figure)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["machine"]["numba"]
    entries = {entry["name"]: entry for entry in found["benchmarks"]}
    dirty = entries["clean, all dirty"]
    assert dirty["goal"] == {"kind": "speed", "bound": 0.9}
    assert dirty["verdict"] in ("pass", "short")
    assert dirty["measured"]["ratio"]["median"] > 0
    assert "<svg" in figure.read_text()


@compiled
def test_without_qemu_the_table_says_so(monkeypatch):
    def missing(*_):
        raise QemuMissing("qemu-system-aarch64 is not installed")

    monkeypatch.setattr("gicmodel.benchmarks.boards.QemuProcess", missing)
    result = bench("--quick", "residency")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("missing") == 3 + 1
    assert result.stdout.splitlines()[-1] == "peer missing: qemu-system-aarch64 is not installed"


@compiled
def test_start_up_is_measured_in_processes():
    result = bench("--quick", "startup", "--json")
    assert result.exit_code == 0, result.output
    names = [entry["name"] for entry in json.loads(result.stdout)["benchmarks"]]
    assert names == ["layouts", "inspect", "migrate, warm", "migrate, nothing compiled"]


def test_a_wrong_result_ends_with_status_1(monkeypatch):
    def build(quick):
        raise Unproven("VPTs: the two sides differ")

    monkeypatch.setattr("gicmodel.benchmarks.report.benchmarks", lambda group: (Benchmark("name", build),))
    result = bench("--quick", "vpt")
    assert result.exit_code == 1
    assert "gicmodel: vpt: VPTs: the two sides differ" in result.stderr


def test_an_unknown_name_is_refused_with_those_there_are():
    result = bench("warp")
    assert result.exit_code == 2
    for name in report.GROUPS:
        assert name in result.stderr


@pytest.mark.parametrize(
    ("file", "complaint"), [("speed.bmp", ".svg, .png, .pdf"), ("no/such/speed.svg", "is not a directory")]
)
def test_a_figure_that_cannot_be_is_refused_before_anything_is_measured(tmp_path, file, complaint):
    result = bench("--quick", "vpt", "--figure", tmp_path / file)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stdout == ""


def test_help_does_not_import_numba():
    lines = (
        "import sys; from gicmodel.cli import main",
        "main(['bench', '--help'], standalone_mode=False)",
        "assert 'numba' not in sys.modules",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert "vpt" in done.stdout
