# SPDX-License-Identifier: Apache-2.0
"""The floor's kernels, with the argument types they declare: words stay words, and they return what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import gicmodel
from gicmodel.jit import COMPILED
from gicmodel.kvm.lpi import LPI
from gicmodel.kvm.pending_tables import save_lpi_by_lpi
from gicmodel.kvm.restore_tables import restore_events
from gicmodel.kvm.save_plan import find_lpis, find_spans, save_words
from tests.typed_ir import differences, infer_as_declared, infer_only

ROOT = Path(gicmodel.__file__).parent.parent


def complaints():
    """Infer the types of the kernels, which then cannot be called any more, and describe what is wrong with them."""
    dispatchers = (save_lpi_by_lpi, save_words, find_lpis, find_spans, restore_events)
    for dispatcher in dispatchers:
        infer_only(dispatcher)
    results = [
        result
        for dispatcher in dispatchers
        for result in infer_as_declared(dispatcher, {NDArray[np.void]: np.zeros(1, LPI)})
    ]
    return results + [difference for dispatcher in dispatchers for difference in differences(dispatcher)]


@pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT=1: there is no machine code to look at")
def test_words_stay_words_and_results_are_as_declared():
    program = "import json\nfrom tests.kvm.test_kernel_types import complaints\nprint(json.dumps(complaints()))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == []
