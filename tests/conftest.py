# SPDX-License-Identifier: Apache-2.0
"""Settings of the whole suite."""

import os

from hypothesis import settings

# The first call of a kernel compiles it, so no example has a deadline.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("nightly", max_examples=20_000, deadline=None)
if not os.environ.get("CI"):
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
