# SPDX-License-Identifier: Apache-2.0
"""`python -m gicmodel`."""

from gicmodel.cli import main

if __name__ == "__main__":
    main(prog_name="gicmodel")
