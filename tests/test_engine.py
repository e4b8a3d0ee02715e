# SPDX-License-Identifier: Apache-2.0
"""Who says which engine runs the kernels, and that it is said once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gicmodel import engine
from gicmodel.engine import ENGINES, Engine, asked, settle, settled
from gicmodel.errors import UnusableInput


@pytest.fixture
def fresh(monkeypatch):
    """A process that has not settled, and asks for nothing."""
    monkeypatch.setattr(engine, "_settled", None)
    monkeypatch.delenv("GICMODEL_ENGINE", raising=False)
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("option", "variable", "disable_jit", "expected"),
    [
        (None, None, None, "auto"),
        (None, None, "0", "auto"),
        (None, None, "", "auto"),
        (None, None, "1", "python"),
        (None, "", "1", "python"),
        (None, "compiled", "1", "compiled"),
        (None, "auto", "1", "auto"),
        (None, "python", "0", "python"),
        ("compiled", "python", "1", "compiled"),
        ("python", "compiled", "0", "python"),
        ("auto", "python", "1", "auto"),
    ],
)
def test_the_option_goes_before_the_variable_and_that_before_numbas(fresh, option, variable, disable_jit, expected):
    for name, value in (("GICMODEL_ENGINE", variable), ("NUMBA_DISABLE_JIT", disable_jit)):
        if value is not None:
            fresh.setenv(name, value)
    assert asked(option) == expected


def test_a_variable_that_is_no_engine_is_refused(fresh):
    fresh.setenv("GICMODEL_ENGINE", "fast")
    with pytest.raises(UnusableInput, match=r"GICMODEL_ENGINE='fast' is none of auto, compiled, python"):
        asked()


@pytest.mark.parametrize(
    ("variable", "expected"), [("auto", "compiled"), ("compiled", "compiled"), ("python", "python")]
)
def test_a_library_is_compiled_unless_somebody_says_otherwise(fresh, variable, expected):
    assert set(ENGINES) == {"auto", "compiled", "python"}
    fresh.setenv("GICMODEL_ENGINE", variable)
    assert settled() == expected


def test_a_process_settles_once_and_those_that_it_starts_follow(fresh):
    settle(Engine.PYTHON)
    settle(Engine.PYTHON)
    with pytest.raises(UnusableInput, match="runs the python engine already"):
        settle(Engine.COMPILED)
    assert (settled(), os.environ["GICMODEL_ENGINE"]) == ("python", "python")


KERNEL = """
import sys
from pathlib import Path
from gicmodel.hardware.kernels.words import get
print(type(get).__name__, "numba" in sys.modules)
"""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "CPUDispatcher True"),
        ({"NUMBA_DISABLE_JIT": "1"}, "function False"),
        ({"GICMODEL_ENGINE": "python"}, "function False"),
        ({"GICMODEL_ENGINE": "compiled", "NUMBA_DISABLE_JIT": "1"}, "CPUDispatcher True"),
    ],
)
def test_kernels_are_what_was_asked_for(variables, expected):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GICMODEL_ENGINE", "NUMBA_DISABLE_JIT")
    }
    result = subprocess.run(
        [sys.executable, "-c", KERNEL], env=environment | variables, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == expected


BUILT_IN = """
from gicmodel.jit import kernel

@kernel
def least(a: int, b: int) -> int:
    return min(a, b)

print(least(3, 5), type(least).__name__)
"""


def test_numba_compiles_what_it_has_for_a_built_in_function_too(tmp_path):
    """The word of the project goes before numba's until the last kernel is compiled, not until it is declared."""
    (tmp_path / "least.py").write_text(BUILT_IN)
    variables = {"GICMODEL_ENGINE": "compiled", "NUMBA_DISABLE_JIT": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    variables["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, tmp_path / "least.py"]
    result = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("3 CPUDispatcher\n", "")


def test_a_word_that_wraps_warns_on_neither_engine():
    program = (
        "import numpy as np, gicmodel.jit\n"
        "assert np.uint64(1 << 63) * np.uint64(2) == 0\nassert np.uint64(0) - np.uint64(1) == (1 << 64) - 1"
    )
    environment = os.environ | {"GICMODEL_ENGINE": "python", "PYTHONWARNINGS": "error"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
