# SPDX-License-Identifier: Apache-2.0
"""The oracle's command queue: stall, retry, ignore, disabled."""

from collections.abc import Callable

from gicmodel.spec import AbstractGic

GOOD = ("MAPC", {"ICID": 0, "RDbase": 1, "V": 1})
BAD = ("MAPC", {"ICID": 99, "V": 1})
AFTER = ("MAPC", {"ICID": 1, "RDbase": 2, "V": 1})


def test_an_error_stalls_and_retry_repeats_it(make_oracle: Callable[..., AbstractGic]) -> None:
    oracle = make_oracle(command_errors="stall")
    queue = oracle.its[0]
    assert oracle.submit(0, GOOD, BAD, AFTER) == [0x010903]
    assert (queue.stalled, queue.completed, len(queue.waiting)) == (True, 1, 2)
    assert oracle.submit(0, GOOD) == []
    assert oracle.retry(0) == [0x010903]
    assert oracle.retry(0, GOOD) == []
    assert (queue.stalled, queue.completed, queue.collections) == (False, 4, {0: 1, 1: 2})


def test_an_error_is_ignored(make_oracle: Callable[..., AbstractGic]) -> None:
    oracle = make_oracle(command_errors="ignore")
    assert oracle.submit(0, BAD, GOOD, BAD) == [0x010903, 0x010903]
    assert (oracle.its[0].stalled, oracle.its[0].completed, oracle.its[0].collections) == (False, 3, {0: 1})


def test_a_disabled_its_leaves_the_queue_alone(oracle: AbstractGic) -> None:
    oracle.its[0].enabled = False
    assert oracle.submit(0, GOOD) == []
    assert (oracle.its[0].completed, oracle.its[0].collections) == (0, {})
    oracle.its[0].enabled = True
    oracle.run(0)
    assert oracle.its[0].collections == {0: 1}
