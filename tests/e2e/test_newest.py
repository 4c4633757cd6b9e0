# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The ways into a mount namespace that only the newest kernels have, none of which is CLONE_NEWNS: what is told follows
from the namespaces before and after, not from flags. The walker's book says what they were."""

import platform

import pytest

import nsmonlib as lib
import test_walk

# The first kernel that has it, and the reasons of the mnt records in the order in which the walker makes them.
WAYS = {
    "unshare": ((7, 1), ["unshare"] * 3),  # UNSHARE_EMPTY_MNTNS
    "clone": ((7, 1), ["clone"] * 3),  # clone3() with CLONE_EMPTY_MNTNS
    "open_tree": ((7, 0), ["setns"] * 4),  # OPEN_TREE_NAMESPACE, setns() there and back, twice
    "fsmount": ((7, 1), ["setns"] * 2),  # FSMOUNT_NAMESPACE, there and back
}


@pytest.mark.parametrize("options", [(), ("-T", "--failed")], ids=["plain", "threads"])
@pytest.mark.parametrize("way", WAYS)
def test_new_way_into_a_mount_namespace(tmp_path, way, options):
    since, reasons = WAYS[way]
    if test_walk.RELEASE < since:
        pytest.skip(f"Linux {platform.release()}: {way} makes such a mount namespace from {since[0]}.{since[1]} on")
    test_walk.runnable(test_walk.WALK, "the walker (NSMON_WALK)")
    walk = test_walk.Walk(tmp_path, *options, more=("--newest", way))
    refused = [b for b in walk.steps if b["ret"] < 0]
    assert not refused, f"the kernel refused {[lib.error_name(b['errno']) for b in refused]}: {refused}"
    walk.compare(threads="-T" in options)
    mnt = [r for r in walk.records if r.get("type") == "mnt"]
    assert [r["reason"] for r in mnt] == reasons
    assert all(r["old_inum"] != r["inum"] and r["old_ns_id"] != r["ns_id"] for r in mnt)
