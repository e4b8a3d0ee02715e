# SPDX-License-Identifier: Apache-2.0
"""The kernel decorator and its cache, and the types numba gives to words."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import gicmodel
from gicmodel import jit
from gicmodel.jit import COMPILED, cache_directory, kernel, unlikely
from tests.typed_ir import differences, infer_as_declared

compiled_only = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT=1: there is no machine code to look at")

ONE = np.uint64(1)
EIGHT = np.uint64(8)


def run(program, checkout, **environment):
    """Run a program that imports the package of a checkout; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# The decorator


@pytest.fixture
def package(tmp_path):
    """A copy of the package's frame with one kernel, whose constant is in another module."""
    root = tmp_path / "checkout"
    for floor in ("layouts", "hardware", "kvm"):
        (root / "gicmodel" / floor).mkdir(parents=True)
        (root / "gicmodel" / floor / "__init__.py").touch()
    for name in ("__init__.py", "errors.py", "jit.py"):
        shutil.copy(Path(gicmodel.__file__).parent / name, root / "gicmodel")
    (root / "gicmodel/layouts/constant.py").write_text("CONSTANT = 20\n")
    (root / "gicmodel/hardware/kernels.py").write_text(
        "from gicmodel.jit import kernel\nfrom gicmodel.layouts.constant import CONSTANT\n"
        "@kernel\ndef answer():\n    return CONSTANT\n"
    )
    return root


def answer(package, cache):
    """Call the kernel in a fresh process: its answer, and how often machine code was found in the cache."""
    program = (
        "from gicmodel.hardware.kernels import answer\nfrom gicmodel.jit import cold_cache\n"
        "cold = cold_cache()\n"
        "print(answer(), sum(answer.stats.cache_hits.values()), cold, cold_cache())"
    )
    return run(program, package, NUMBA_CACHE_DIR=str(cache), NUMBA_DISABLE_JIT="0")


def test_an_edit_below_is_compiled_anew_and_the_rest_comes_from_the_cache(package, tmp_path):
    cache = tmp_path / "cache"
    assert answer(package, cache) == "20 0 True False"
    assert answer(package, cache) == "20 1 False False"
    (package / "gicmodel/kvm/above.py").write_text("CONSTANT = 40\n")
    assert answer(package, cache) == "20 1 False False"
    (package / "gicmodel/layouts/constant.py").write_text("CONSTANT = 30\n")
    assert answer(package, cache) == "30 0 True False"


def test_without_a_place_for_the_cache_kernels_still_run(package, tmp_path):
    (tmp_path / "file").touch()
    assert answer(package, tmp_path / "file" / "cache") == "20 0 True True"


def test_the_python_engine_is_the_function_itself(package):
    program = (
        "import sys, types\nfrom gicmodel.hardware.kernels import answer\nfrom gicmodel.jit import cold_cache\n"
        "print(type(answer) is types.FunctionType, answer(), cold_cache(), 'numba' in sys.modules)"
    )
    assert run(program, package, NUMBA_DISABLE_JIT="1") == "True 20 False False"


def guarded(words, index):
    if unlikely(index >= words.shape[0]):
        return ONE
    return words[index]


def test_unlikely_changes_no_result():
    words = np.array([5, 7], np.uint64)
    assert [kernel(guarded)(words, index) for index in (0, 1, 2)] == [5, 7, 1]


@compiled_only
def test_unlikely_reaches_the_compiler():
    compiled = numba.njit(guarded)
    compiled(np.array([5], np.uint64), 0)
    assert "branch_weights" in compiled.inspect_llvm(compiled.signatures[0])


@pytest.fixture
def fresh_digest():
    cache_directory.cache_clear()
    yield cache_directory
    cache_directory.cache_clear()


def test_bounds_checked_code_has_a_directory_of_its_own(fresh_digest, monkeypatch):
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    checked = fresh_digest()
    fresh_digest.cache_clear()
    monkeypatch.delenv("NUMBA_BOUNDSCHECK")
    assert fresh_digest() != checked


def test_the_cache_is_where_the_user_says(fresh_digest, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert fresh_digest("hardware").parent == tmp_path
    fresh_digest.cache_clear()
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(jit, "user_cache_path", lambda name: tmp_path / "user" / name)
    assert fresh_digest("hardware").parent == tmp_path / "user" / "gicmodel"


# The types of words


def holds(octet):
    return octet != 0


def set_field_with_literals(word):
    return (word | 1) >> 60


def set_field(word):
    return (word | ONE) >> np.uint64(60)


def select(word, condition):
    return word if condition else 0


def step(words):
    offset = words[0]
    for _ in range(4):
        offset = offset + 8
    return offset


def above(word, other):
    return word >= other + 5000


def indices(words):
    total = np.uint64(0)
    for i in range(2, words.size):
        total += words[i - 1] * EIGHT
    return total


@compiled_only
@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (set_field_with_literals, (ONE,), "or_(uint64, Literal[int](1)) is int64"),
        (select, (ONE, True), "is float64"),
        (step, (np.ones(1, np.uint64),), "is float64"),
        (above, (ONE, ONE), "add(uint64, Literal[int](5000)) is int64"),
    ],
)
def test_words_that_become_signed_or_floats_are_found(function, arguments, expected):
    found = differences(inferred(function, arguments))
    assert any(expected in difference for difference in found), found


@compiled_only
@pytest.mark.parametrize(
    ("function", "arguments"),
    [(set_field, (ONE,)), (indices, (np.ones(4, np.uint64),)), (holds, (np.uint8(1),))],
)
def test_words_that_stay_words_are_not(function, arguments):
    assert differences(inferred(function, arguments)) == []


def inferred(function, arguments):
    dispatcher = numba.njit(function)
    dispatcher.compile(tuple(numba.typeof(argument) for argument in arguments))
    return dispatcher


def mistaken(word: np.uint64, number: int) -> np.uint64:
    return number


@compiled_only
def test_a_result_that_is_not_the_declared_one_is_found():
    dispatcher = numba.njit(mistaken)
    (complaint,) = infer_as_declared(dispatcher, {})
    assert complaint.endswith("returns int64, declared as uint64")
