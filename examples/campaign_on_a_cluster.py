# SPDX-License-Identifier: Apache-2.0
"""A campaign on a dask cluster: whoever runs a program, the findings are the same."""

from distributed import LocalCluster

from gicmodel.fuzzing.campaign import Campaign, run_campaign

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        result = run_campaign(Campaign(commands=4000, seed=7, cluster=cluster.scheduler_address))
    print(f"{result.commands} commands, {len(result.findings)} findings")
