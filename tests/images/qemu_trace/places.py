# SPDX-License-Identifier: Apache-2.0
"""Where the traces are that were once read wrongly."""

from pathlib import Path

DATA = Path(__file__).parent / "data"
CAPTURE = Path(__file__).parents[3] / "tables" / "linux-6.12-kvm-2vcpu"
