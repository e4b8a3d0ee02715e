# SPDX-License-Identifier: Apache-2.0
"""What Hypothesis calls when it is imported, in every project that has this package installed.

It names types only. Their strategies, and with them construct, load when one is first resolved, numba not even then.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gicmodel.config import GicConfig
from gicmodel.lab.geometry import Geometry


def register() -> None:
    """Let `from_type` and `@given` infer `GicConfig` and `Geometry`."""
    st.register_type_strategy(GicConfig, _configurations)
    st.register_type_strategy(Geometry, _geometries)


def _configurations(_: type[GicConfig]) -> SearchStrategy[GicConfig]:
    from gicmodel.fuzzing.hypothesis.strategies import configurations

    return configurations()


def _geometries(_: type[Geometry]) -> SearchStrategy[Geometry]:
    from gicmodel.fuzzing.hypothesis.strategies import geometries

    return geometries()
