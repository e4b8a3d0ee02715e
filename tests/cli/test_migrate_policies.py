# SPDX-License-Identifier: Apache-2.0
"""`gicmodel migrate` with policies, resets of forwarding, cancelled attempts and several hops."""

import json
from collections import Counter

import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.kvm import KvmError
from gicmodel.migration import STEPS, MigrationError, Policy
from gicmodel.migration.migrate import IMAGE_STEPS, plan_of
from gicmodel.migration.verdict import PolicyComparison, Verdict
from tests.cli.test_migrate import IMAGE, KEYS, SMALL, migrate, rows, verdict

POLICIES = [policy.value for policy in Policy]
REMEDIES = [policy for policy in POLICIES if policy != "rfc"]
ALL = (*SMALL, "--pending", 1)


def refused(*arguments):
    result = migrate(*arguments)
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    return result.stderr


def test_the_policies_are_the_models():
    told = "".join(migrate("--help").stdout.split())
    assert [policy for policy in POLICIES if f"({policy})" not in told] == []
    assert refused("--policy", "none").endswith(
        f"is not one of {', '.join(map(repr, POLICIES))}; see gicmodel migrate --help\n"
    )
    assert verdict(*SMALL)[1]["policy"] == Policy.AVOID_UNSET.value


def test_as_posted_the_lost_are_named():
    result = migrate(*ALL, "--policy", "rfc", "--forwarding-resets", 3)
    assert result.exit_code == 1
    assert rows(result.stdout)[1] == [
        "8 vLPIs: 8 pending before, 2 after; 2 delivered, 6 lost, 0 doubled",
        *(f"lost: vLPI {intid} of vCPU 0" for intid in (8192, 8194, 8196, 8198)),
        *(f"lost: vLPI {intid} of vCPU 1" for intid in (8193, 8197)),
        "the migration did not hold",
    ]


@pytest.mark.parametrize("resets", [1, 3, 64])
@pytest.mark.parametrize("policy", REMEDIES)
@pytest.mark.parametrize("machine", [ALL, (IMAGE,)], ids=["made up", "image"])
def test_remedies_lose_nothing(machine, policy, resets):
    code, document = verdict(*machine, "--policy", policy, "--forwarding-resets", resets)
    assert (code, document["lost"], document["duplicated"], document["policy"]) == (0, [], [], policy)
    assert document["pending_after"] == document["pending_before"] > 0
    assert set(document) == KEYS


def test_commands_and_unmaps_tell_the_policies_apart():
    documents = {name: verdict(*ALL, "--policy", name, "--forwarding-resets", 3)[1] for name in POLICIES}
    vmapti = {name: document["commands"]["VMAPTI"] for name, document in documents.items()}
    assert vmapti == dict.fromkeys(POLICIES, 2 * (1 + 2 + 3 + 4)) | {"avoid-unset": 8}
    unmaps = {name: document["unmaps"] for name, document in documents.items()}
    assert unmaps == dict.fromkeys(POLICIES, 2) | {"retrieve-on-unset": 2 + 2 * (1 + 2 + 2)}


@pytest.mark.parametrize("step", [name for name, _ in plan_of(Policy.AVOID_UNSET)])
def test_a_cancelled_migration_is_tried_again(step):
    code, document = verdict(*ALL, "--abort-at", step)
    assert (code, document["lost"], document["duplicated"]) == (0, [], [])
    assert document["aborted"] == [f"{step}: cancelled"]
    assert document["pending_after"] == document["pending_before"] == 8
    result = migrate(*ALL, "--abort-at", step)
    assert rows(result.stdout)[1] == [
        "8 vLPIs: 8 pending before, 8 after; 16 delivered, 0 lost, 0 doubled",
        f"aborted at {step}: cancelled; the guest went on where it was, and it was tried again",
        "every pending vLPI arrived once, on its vCPU",
    ]


def test_the_step_that_one_policy_has():
    options = ("--policy", "dedicated-interface", "--abort-at", "transfer pending state")
    assert verdict(*ALL, *options)[1]["aborted"] == ["transfer pending state: cancelled"]


@pytest.mark.parametrize("step", ["", "lunch", "transfer pending state"])
def test_a_step_that_there_is_not(step):
    names = ", ".join(name for name, _ in STEPS if name != "transfer pending state")
    message = f"gicmodel: --abort-at {step!r}: with policy avoid-unset the steps are {names}\n"
    assert refused(*ALL, "--abort-at", step) == message


def test_a_host_that_cannot_does_not_get_better_by_trying_again():
    code, document = verdict(*ALL, "--architecture", "4.0", "--abort-at", "set forwarding")
    assert code == 1
    assert document["aborted"] == [document["error"]]
    assert (document["lost"], document["duplicated"]) == ([], [])


@pytest.mark.parametrize("policy", REMEDIES)
def test_to_and_fro(policy):
    options = ("--hops", 3, "--forwarding-resets", 2, "--policy", policy, "--abort-at", "flush pending tables")
    code, document = verdict(*SMALL, "--pending", 0.5, *options)
    assert (code, document["lost"], document["duplicated"]) == (0, [], [])
    assert len(document["aborted"]) == 3
    assert document["unmaps"] >= 3 * 2
    assert len(document["steps"]) == len(plan_of(Policy(policy)))


def test_to_and_fro_as_posted_ends_with_the_first_loss():
    code, document = verdict(*ALL, "--hops", 50, "--forwarding-resets", 1, "--policy", "rfc")
    assert code == 1
    assert document["lost"] != []
    assert document["unmaps"] < 50


def test_every_policy_with_every_number_of_resets():
    code, table = verdict(*ALL, "--compare-policies")
    assert code == 0
    assert [(row["policy"], row["forwarding_resets"]) for row in table] == [
        (policy.value, resets) for policy in Policy for resets in (0, 1, 3, 64)
    ]
    assert {row["pending"] for row in table} == {8}
    assert [row["lost"] for row in table] == [0, 2, 6, 8] + [0] * 12
    assert {row["duplicated"] for row in table} == {0}
    assert all(row["commands"]["VMAPP"] > 0 for row in table)


def test_the_comparison_as_a_table():
    lines = migrate(*ALL, "--compare-policies").stdout.splitlines()
    assert lines[0].split("|")[1].strip() == "policy"
    assert len(lines) == 2 + 16
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[5].split("|")[1:6]] == ["rfc", "64", "8", "8", "0"]
    document = verdict(*ALL, "--compare-policies")[1]
    assert [int(line.split("|")[6]) for line in lines[2:]] == [sum(row["commands"].values()) for row in document]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--policy", "rfc"), "--policy"),
        (("--forwarding-resets", 1), "--forwarding-resets"),
        (("--abort-at", "set forwarding"), "--abort-at"),
        (("--save", "somewhere"), "--save"),
    ],
)
def test_what_a_comparison_cannot_take(options, named):
    message = f"gicmodel: {named} is for one migration; --compare-policies makes many\n"
    assert refused("--compare-policies", *options) == message


@pytest.mark.parametrize("step", [step.name for step in plan_of(Policy.AVOID_UNSET, IMAGE_STEPS)])
def test_a_cancelled_resume_of_an_image_is_tried_again(step):
    code, document = verdict(IMAGE, "--abort-at", step)
    assert (code, document["lost"], document["duplicated"], document["image_identical"]) == (0, [], [], True)
    assert document["aborted"] == [f"{step}: cancelled"]
    assert (document["pending_before"], document["pending_after"]) == (2, 2)
    assert [report["name"] for report in document["steps"]] == [
        s.name for s in plan_of(Policy.AVOID_UNSET, IMAGE_STEPS)
    ]
    plain = verdict(IMAGE)[1]
    assert (document["commands"], document["unmaps"]) == (plain["commands"], plain["unmaps"])


def test_a_host_that_cannot_save_an_image_does_not_get_better_by_trying_again():
    code, document = verdict(IMAGE, "--architecture", "4.0", "--abort-at", "flush pending tables")
    assert (code, document["lost"], document["duplicated"]) == (1, [], [])
    assert document["aborted"] == [document["error"]]
    assert document["error"].startswith("flush ITS tables: EACCES: ")


@pytest.mark.parametrize("policy", REMEDIES)
@pytest.mark.parametrize("hops", [2, 5])
def test_an_image_goes_to_and_fro(policy, hops):
    code, document = verdict(IMAGE, "--hops", hops, "--policy", policy, "--forwarding-resets", 2)
    assert (code, document["lost"], document["duplicated"], document["image_identical"]) == (0, [], [], True)
    assert document["vlpis"] == 6
    # vCPU 0 has taken its own before the second migration, vCPU 1 waits to the end.
    assert (document["pending_before"], document["pending_after"]) == (1, 1)
    assert {report["name"] for report in document["steps"]} == {step.name for step in plan_of(Policy(policy))}


def test_as_posted_an_image_loses_on_its_way():
    code, document = verdict(IMAGE, "--hops", 2, "--policy", "rfc", "--forwarding-resets", 3)
    assert (code, document["image_identical"]) == (1, False)
    assert [lost["intid"] for lost in document["lost"]] == [8193, 8194]


@pytest.mark.parametrize("step", ["precopy RAM", "set forwarding", "resume devices"])
def test_what_is_cancelled_between_the_hops_of_an_image(step):
    code, document = verdict(IMAGE, "--hops", 3, "--abort-at", step)
    assert (code, document["lost"], document["duplicated"]) == (0, [], [])
    resumes = step in [step.name for step in plan_of(Policy.AVOID_UNSET, IMAGE_STEPS)]
    assert document["aborted"] == [f"{step}: cancelled"] * (2 + resumes)


def test_a_step_that_an_image_does_not_come_to():
    names = ", ".join(step.name for step in plan_of(Policy.AVOID_UNSET, IMAGE_STEPS))
    message = f"gicmodel: --abort-at 'precopy RAM': with policy avoid-unset the steps are {names}\n"
    assert refused(IMAGE, "--abort-at", "precopy RAM") == message


@pytest.mark.parametrize(
    "options", [("--policy", "none"), ("--forwarding-resets", -1), ("--hops", 0), ("--forwarding-resets", "many")]
)
def test_usage(options):
    refused(*options)


def test_a_comparison_in_a_file(tmp_path):
    arguments = ["migrate", *map(str, SMALL), "--compare-policies", "--json-file", str(tmp_path / "table.json")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert len(json.loads((tmp_path / "table.json").read_text())) == 16


def test_a_comparison_of_hosts_that_cannot():
    arguments = (*ALL, "--architecture", "4.0", "--compare-policies")
    code, table = verdict(*arguments)
    assert code == 1
    (error,) = {row["error"] for row in table}
    assert error.startswith("flush ITS tables: EACCES: ")
    lines = migrate(*arguments).stdout.splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[-1] == f"not migrated: {error}"


def judged(policy, **parts):
    return Verdict(2, Counter([(0, 8192)]), policy=Policy(policy), **parts)


@pytest.mark.parametrize(
    ("resets", "parts", "passed"),
    [
        (0, {"delivered": Counter([(0, 8192)])}, True),
        (3, {}, True),
        (3, {"image_identical": False}, True),
        (0, {}, False),
        (3, {"delivered": Counter({(0, 8192): 2})}, False),
        (3, {"delivered": Counter({(0, 8193): 1})}, False),
        (3, {"delivered": Counter([(0, 8192)]), "image_identical": False}, False),
        (3, {"failure": MigrationError("flush ITS tables", KvmError("EACCES", "no"))}, False),
    ],
)
def test_rfc_may_lose_by_resets_and_nothing_else(resets, parts, passed):
    comparison = PolicyComparison([(resets, judged("rfc", **parts))])
    assert comparison.passed is passed


def test_a_remedy_may_lose_nothing():
    comparison = PolicyComparison([(3, judged("avoid-unset"))])
    assert not comparison.passed
