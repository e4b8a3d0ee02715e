# SPDX-License-Identifier: Apache-2.0
"""Speed, measured: the model and a peer side by side in one run, and never a time without what it is compared with.

`harness` says what a benchmark is and times it; each other module holds one kind of work. `catalogue` names them all.
"""
