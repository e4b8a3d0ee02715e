# SPDX-License-Identifier: Apache-2.0
"""Corrupted images give a report or one line; `python -m tests.inspection.corrupted` tries many more."""

import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from tests.inspection.corrupted import SAMPLES, check, corrupted


def test_intact_samples_are_read(tmp_path):
    assert {check(tmp_path, ("ram.elf", sample.contents, sample.registers)) for sample in SAMPLES} <= {0, 1}


@settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
@given(image=corrupted())
def test_a_corrupted_image_is_a_report_or_one_line(tmp_path, image):
    check(tmp_path, image)


def test_the_campaign_runs_in_bounded_memory():
    command = [sys.executable, "-m", "tests.inspection.corrupted", "--images", "20"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("20 images: {0: ")
