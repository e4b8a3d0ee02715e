# SPDX-License-Identifier: Apache-2.0
"""`gicmodel native`: exit statuses, JSON, and one line for what it cannot use."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.native import INCLUDE
from tests.conftest import needed

needed("cffi")
pytestmark = pytest.mark.needs("cc")
EXAMPLES = Path(__file__).parents[2] / "examples" / "native"


def native(*arguments: str):
    return CliRunner().invoke(main, ["native", *arguments])


def test_a_driver_without_fault():
    result = native(str(EXAMPLES / "its.c"), "--redistributors", "1", "--its", "2", "--architecture", "3")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "nothing is wrong")


def test_json_and_nothing_else():
    result = native(str(EXAMPLES / "forgotten_inv.c"), "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["findings"][-1] == "late hardware: the driver returned 5"
    assert [drive["returned"] for drive in document["drives"]] == [0, 5]
    assert document["drives"][0]["taken"] == [{"pe": 0, "intid": 8197, "virtual": False, "times": 2}]


def test_what_a_compiler_needs():
    result = native("--cflags")
    assert (result.exit_code, result.stdout) == (0, f"-shared -fPIC -I{INCLUDE}\n")
    assert (INCLUDE / "gicmodel.h").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--its", "17"], "GicConfig.its is 17: a whole number from 1 to 16"),
        (["--entry", "start"], "it has no function int start(void)"),
        (["--seconds", "0"], "Invalid value for '--seconds'"),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments, said):
    result = native(str(EXAMPLES / "its.c"), *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_c_file_with_an_error(tmp_path):
    path = tmp_path / "driver.c"
    path.write_text('#include "gicmodel.h"\nint driver(void) { return gic_read33(0) }\n')
    result = native(str(path))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"gicmodel: {path}: does not compile: ")
    assert result.stderr.count("\n") == 1
