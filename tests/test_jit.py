# SPDX-License-Identifier: Apache-2.0
"""The kernel decorator, and the types numba gives to words."""

import numba
import numpy as np
import pytest

from gicmodel.jit import COMPILED, kernel, unlikely
from tests.typed_ir import differences, infer_as_declared

compiled_only = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT=1: there is no machine code to look at")

ONE = np.uint64(1)
EIGHT = np.uint64(8)


# The decorator


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
