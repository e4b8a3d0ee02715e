# SPDX-License-Identifier: Apache-2.0
"""A campaign on a dask cluster: whoever runs a program, the findings are the same."""

from distributed import LocalCluster

from gicmodel.fuzzing.campaign import Campaign, run_campaign

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        campaign = Campaign(
            commands=4000,
            seconds=None,
            seed=7,
            against=("oracle",),
            architecture=None,
            jobs=2,
            cluster=cluster.scheduler_address,
        )
        result = run_campaign(campaign, report=lambda results: None)
    print(f"{result.results.commands} commands, {len(result.findings)} findings")
