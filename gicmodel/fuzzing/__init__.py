# SPDX-License-Identifier: Apache-2.0
"""Fuzzing command sequences: the oracle, the Hypothesis strategies and the state machines that compare with it.

`oracle` and `strategies` never import numba; `machines` drives the real hardware and does.
"""
