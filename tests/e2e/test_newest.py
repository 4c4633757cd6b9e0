# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The ways into a mount namespace that only the newest kernels have, none of which is CLONE_NEWNS: what is told follows
from the namespaces before and after, not from flags. The walker's book says what they were."""

import pytest

import machine
import nsmonlib as lib
import runs
import test_walk

# The reasons of the mnt records in the order in which the walker makes them.
WAYS = {
    "unshare": ["unshare"] * 3,  # UNSHARE_EMPTY_MNTNS
    "clone": ["clone"] * 3,  # clone3() with CLONE_EMPTY_MNTNS
    "open_tree": ["setns"] * 4,  # OPEN_TREE_NAMESPACE, setns() there and back, twice
    "fsmount": ["setns"] * 2,  # FSMOUNT_NAMESPACE, there and back
}


@pytest.mark.parametrize("suffix", ["", "-threads"], ids=["plain", "threads"])
@pytest.mark.parametrize("way", WAYS)
def test_new_way_into_a_mount_namespace(recording, way, suffix):
    since = runs.RUNS["newest-" + way].since
    if machine.release() < since:
        release, first = (".".join(map(str, version)) for version in (machine.release(), since))
        pytest.skip(f"Linux {release}: {way} makes such a mount namespace from {first} on")
    walk = test_walk.Walk(recording, f"newest-{way}{suffix}", steps=None)
    refused = [b for b in walk.steps if b["ret"] < 0]
    assert not refused, f"the kernel refused {[lib.error_name(b['errno']) for b in refused]}: {refused}"
    walk.compare()
    mnt = [r for r in walk.records if r.get("type") == "mnt"]
    assert [r["reason"] for r in mnt] == WAYS[way]
    assert all(r["old_inum"] != r["inum"] and r["old_ns_id"] != r["ns_id"] for r in mnt)
