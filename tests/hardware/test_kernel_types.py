# SPDX-License-Identifier: Apache-2.0
"""Every kernel, with the argument types it declares: words stay words, and it returns what it says."""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import gicmodel
import gicmodel.hardware
from gicmodel.config import GicConfig
from gicmodel.hardware.kernels.state import Machine, new_machine
from gicmodel.jit import COMPILED
from gicmodel.layouts.its_tables import LEVEL1
from gicmodel.layouts.layout import Field
from gicmodel.memory import PAGE_BYTES, GuestMemory
from tests.typed_ir import differences, infer_as_declared, infer_only

ROOT = Path(gicmodel.__file__).parent.parent


def kernels():
    """All kernels of the hardware floor, each from the module that defines it."""
    names = [module.name for module in pkgutil.walk_packages(gicmodel.hardware.__path__, "gicmodel.hardware.")]
    values = [(name, value) for name in names for value in vars(importlib.import_module(name)).values()]
    return [value for name, value in values if hasattr(value, "py_func") and value.py_func.__module__ == name]


def complaints():
    """Infer the types of all kernels, which then cannot be called any more, and describe what is wrong with them."""
    samples = {Machine: new_machine(GicConfig(), GuestMemory(0, PAGE_BYTES)), Field: LEVEL1["Valid"]}
    dispatchers = kernels()
    for dispatcher in dispatchers:
        infer_only(dispatcher)
    results = [result for dispatcher in dispatchers for result in infer_as_declared(dispatcher, samples)]
    return results + [difference for dispatcher in dispatchers for difference in differences(dispatcher)]


@pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT=1: there is no machine code to look at")
def test_words_stay_words_and_results_are_as_declared():
    assert len(kernels()) > 50
    program = "import json\nfrom tests.hardware.test_kernel_types import complaints\nprint(json.dumps(complaints()))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == []
