# SPDX-License-Identifier: Apache-2.0
"""Strategies and state machines, for tests of this and of other software. The strategies do not import numba."""
