# SPDX-License-Identifier: Apache-2.0
"""Rows that say the same, beside numpy.unique."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gicmodel.inspection.distinct import among, distinct, first_of, is_first
from tests.inspection.museum import HOST

COLUMNS = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2)), max_size=30)


@given(COLUMNS)
def test_rows_lead_to_the_first_that_is_the_same(pairs):
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    assert first_of(rows[:, 0], rows[:, 1]).tolist() == [pairs.index(pair) for pair in pairs]
    assert is_first(rows[:, 0]).tolist() == [n == rows[:, 0].tolist().index(pair[0]) for n, pair in enumerate(pairs)]
    assert distinct(rows[:, 0]).tolist() == np.unique(rows[:, 0]).tolist()


@given(st.lists(st.integers(-3, 1 << 50)), st.lists(st.integers(-3, 1 << 50)))
def test_rows_that_have_one_of_the_values(column, values):
    assert among(np.array(column, np.int64), values).tolist() == [value in values for value in column]


def test_a_dump_without_findings_is_read_without_masked_arrays():
    program = (
        "import sys\nfrom gicmodel.cli import main\n"
        f"main(['inspect', {str(HOST[0])!r}], standalone_mode=False)\n"
        "assert not {'numpy.ma', 'rich', 'zipfile', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
