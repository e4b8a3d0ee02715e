# SPDX-License-Identifier: Apache-2.0
"""`gicmodel flush` on small VMs: that it measures, shows and refuses; never how fast anything is."""

import csv
import json

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from tests.conftest import needed

SMALL = ("--vcpus", "2", "--vlpis", "64", "--repeat", "2")


@pytest.fixture
def flush(monkeypatch):
    """On the engine that this process has settled for."""
    monkeypatch.setattr("gicmodel.cli.flush.choose_engine", lambda *arguments: None)
    return lambda *arguments: CliRunner().invoke(main, ["flush", *map(str, arguments)])


def test_a_sweep_has_a_row_for_each_vm(flush):
    result = flush(*SMALL, "--spread", "in-turn,runs", "--pending", "0.1,1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("processor")
    assert "vcpus 2, vlpis 64" in lines[1]
    assert lines[3].split()[:3] == ["pending", "spread", "flush"]
    assert [line.split()[:2] for line in lines[4:]] == [
        ["0.1", "in-turn"],
        ["0.1", "runs"],
        ["1.0", "in-turn"],
        ["1.0", "runs"],
    ]


def test_json_csv_and_figure_say_the_same(flush, tmp_path):
    needed("matplotlib")
    result = flush(*SMALL, "--json", "--csv", tmp_path / "f.csv", "--figure", tmp_path / "f.svg")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["flushes"]
    (row,) = csv.DictReader((tmp_path / "f.csv").read_text().splitlines())
    assert float(row["whole_median"]) == found["seconds"]["whole"]["median"]
    assert float(row["read_high"]) == found["seconds"]["read"]["high"]
    assert found["table_bytes"] == 2 * 8192
    assert row["peak_bytes"] == str(found["peak_bytes"] or "")
    assert "<svg" in (tmp_path / "f.svg").read_text()


def test_gicv3_has_nothing_to_unmap(flush):
    result = flush(*SMALL, "--architecture", "3", "--json")
    assert "unmap" not in json.loads(result.stdout)["flushes"][0]["seconds"]
    assert " - " in flush(*SMALL, "--architecture", "3").stdout.splitlines()[-1]


def test_a_slower_run_does_not_hold(flush, tmp_path):
    saved = tmp_path / "saved.json"
    assert flush(*SMALL, "--json-file", saved).exit_code == 0
    document = json.loads(saved.read_text())
    for part in ("whole", "unmap"):
        document["flushes"][0]["seconds"][part] = {"low": 1e-9, "median": 1e-9, "high": 1e-9}
    saved.write_text(json.dumps(document))
    result = flush(*SMALL, "--compare", saved)
    assert result.exit_code == 1
    assert "worse" in result.stdout


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--vlpis", "129", "129 vLPIs: more than 128 must be a multiple of it"),
        ("--vlpis", "0", "0 is not in the range"),
        ("--pending", "2", "2.0 is not in the range"),
        ("--pending", "nan", "nan is not in the range"),
        ("--spread", "in-turn,both", "'both' is not one of"),
        ("--architecture", "4.0", "'4.0' is not one of"),
        ("--compare", "/nowhere.json", "/nowhere.json: cannot be read"),
        ("--vcpus", "", "is not a valid"),
    ],
)
def test_what_it_refuses(flush, option, value, said):
    result = flush(*SMALL, option, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
