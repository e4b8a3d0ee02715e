# SPDX-License-Identifier: Apache-2.0
"""docs/schemas has a schema for every verb, which leaves nothing undocumented, and which its output is true to.

The outputs of all other tests of this folder are checked, too (conftest.py).
"""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from gicmodel.benchmarks import report
from gicmodel.benchmarks.harness import QUICK, Benchmark, Case, Goal, PeerMissing, Point, Side
from gicmodel.cli import main
from gicmodel.inspection.selection import ON_DEMAND, TABLES
from tests.cli.schemas import SCHEMAS, schema, wrong
from tests.cli.test_ends import trace
from tests.conftest import needed, needs_program

ROOT = Path(__file__).parents[2]
KVM, LINUX, MODEL = (
    ROOT / "tables" / name for name in ("linux-6.12-kvm-2vcpu", "linux-virt-dumps", "gicmodel-v4.1-2vcpu")
)
SMALL = "--vcpus 1 --devices 1 --vectors 2"
VERBS = [
    verb
    for verb in main.list_commands(click.Context(main))
    if any(option.name == "as_json" for option in main.get_command(click.Context(main), verb).params)
]
DOCUMENTS = (
    f"inspect {KVM}/host-vm-stopped.elf.xz",
    f"inspect {KVM}/guest-saved-tables.elf.xz",
    f"inspect {LINUX}/v3crash.elf.xz",
    f"inspect {LINUX}/scrambled.elf.xz",
    f"inspect {LINUX}/v4run.elf.xz",
    f"inspect {LINUX}/v4run.elf.xz --device 0x10",
    f"inspect {MODEL}/source-host.elf.xz",
    f"inspect {MODEL}/source-guest.elf.xz --set GITS_CBASER=0xb8000000431d040f",
    f"inspect {MODEL}/source-host.elf.xz --limit 3",
    f"inspect {MODEL}/source-host.elf.xz --vpe 0",
    "inspect --set GITS0_BASER0=0xf9070000431d0600 --set GICD_CTLR=0",
    *(f"inspect {MODEL}/source-host.elf.xz --table {name}" for name in (*TABLES, *ON_DEMAND)),
    f"diff {MODEL}/source-guest.elf.xz {MODEL}/destination-guest.elf.xz",
    f"diff {MODEL}/source-host.elf.xz {MODEL}/source-guest.elf.xz",
    f"diff {MODEL}/source-host.elf.xz {MODEL}/destination-host.elf.xz",
    "decode GITS_BASER 0xf9070000431d0600",
    "decode GITS_CBASER 0xffffffffffffffff",
    "decode DTE 0x10e37e05",
    "decode 0x8 0x1 0x80000000 0",
    "layouts",
    "layouts DTE",
    "layouts VMAPP",
    "layouts GITS_CTLR",
    f"migrate {SMALL}",
    f"migrate {SMALL} --architecture 4.0",
    f"migrate {SMALL} --policy rfc --forwarding-resets 3",
    f"migrate {SMALL} --hops 2 --abort-at 'pause devices'",
    f"migrate {SMALL} --compare-policies",
    f"migrate {KVM}/guest-saved-tables.elf.xz",
    "replay gic.trace",
    "flush --vcpus 1 --vlpis 2 --repeat 1",
    "flush --vcpus 1 --vlpis 2 --repeat 1 --architecture 3",
    "fuzz --commands 100 --jobs 1 --seed 1",
    "fuzz --reproduce program",
)
PROGRAM = (
    "gicmodel fuzz program, version 1\nagainst oracle\nconfig architecture=3\n"
    "tables page_size=0 indirect=0 pages=1\nacknowledge rd=0\n"
)


def output(arguments: str) -> Any:
    """What a verb prints with --json."""
    result = CliRunner().invoke(main, f"{arguments} --json")
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("arguments", DOCUMENTS)
def test_an_output_is_true_to_its_schema(arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program").write_text(PROGRAM)
    trace(tmp_path)
    assert wrong(arguments.split()[0], output(arguments)) is None


@pytest.mark.parametrize("driver", ["its.c", "forgotten_inv.c"])
def test_a_driver_in_c(driver: str) -> None:
    needed("cffi")
    needs_program("cc")
    assert wrong("native", output(f"native {ROOT}/examples/native/{driver}")) is None


def missing(quick: bool) -> nullcontext[Case]:
    """A benchmark that nothing can be compared with."""
    raise PeerMissing("not installed")


def test_benchmarks() -> None:
    """Real rounds of something short."""
    side = Side("addition", lambda: sum(range(100)))
    case = nullcontext(Case(side, side, "sum", lambda: None))
    found = (
        Benchmark("sums", lambda quick: case, Goal("speed", 0.5), Point("sums", "numbers", 100)),
        Benchmark("costs", lambda quick: case, Goal("cost", 0.5)),
        Benchmark("alone", missing),
    )
    document = report.document([report.run("sums", each, True, QUICK) for each in found])
    assert len(document["benchmarks"]) == 3
    assert wrong("bench", document) is None


@pytest.mark.parametrize("verb", VERBS)
def test_a_schema_documents_every_property(verb: str) -> None:
    Draft202012Validator.check_schema(schema(verb))
    for part in parts(schema(verb)):
        if part.get("type") == "object":
            assert "additionalProperties" in part
        if "properties" in part:
            assert part["additionalProperties"] is False
            assert [
                name for name, of in part["properties"].items() if "description" not in of | referred(verb, of)
            ] == []
            assert set(part["required"]) <= set(part["properties"])


def referred(verb: str, part: dict[str, Any]) -> dict[str, Any]:
    """What a $ref of a schema leads to; nothing if it is none."""
    found: dict[str, Any] = schema(verb)["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else {}
    return found


def parts(part: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a schema."""
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from parts(inner)
    if isinstance(part, list):
        for inner in part:
            yield from parts(inner)


def test_what_is_not_documented_is_wrong() -> None:
    document = output("decode GITS_BASER 0xf9070000431d0600")
    document[0]["Valid"] = 1
    assert "'Valid' was unexpected" in str(wrong("decode", document))


def test_a_schema_is_of_a_verb_and_each_verb_has_one() -> None:
    assert sorted(file.stem for file in SCHEMAS.glob("*.json")) == sorted(VERBS)
    page = (SCHEMAS.parent / "json.md").read_text()
    assert [verb for verb in VERBS if f"](schemas/{verb}.json)" not in page] == []
