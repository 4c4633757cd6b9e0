# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""nsmon check, the backends that it names, and the schema. A claim that a backend works is held against a run with
it; a claim that it does not, too."""

import copy
import fcntl
import json
import os
from pathlib import Path
import struct

import pytest

import nsmonlib as lib

# With one backend of each kernel; with each_backend: with all of them.
pytestmark = pytest.mark.once

NS_GET_MNTNS_ID = 0x8008B705
NS_GET_ID = 0x8008B70D
BACKENDS = ["fentry", "kprobe", "tracepoint"]


@pytest.fixture(scope="module")
def claims():
    run = lib.run([lib.NSMON, "check", "-o", "json"])
    found = json.loads(run.stdout)
    found["status"] = run.returncode
    return found


def kernel_tells(link, request):
    fd = os.open(f"/proc/self/ns/{link}", os.O_RDONLY)
    try:
        return struct.unpack("Q", fcntl.ioctl(fd, request, bytes(8)))[0] > 0
    except OSError:
        return False
    finally:
        os.close(fd)


@pytest.mark.quick
@pytest.mark.vital
def test_check(claims):
    uname = os.uname()
    assert (claims["kernel"], claims["arch"]) == (uname.release, uname.machine)
    assert claims["btf"] == {"path": "/sys/kernel/btf/vmlinux", "found": os.path.exists("/sys/kernel/btf/vmlinux")}
    assert claims["capabilities"] == {"cap_bpf": True, "cap_perfmon": True}
    links = set(os.listdir("/proc/self/ns"))
    assert claims["types"] == {t: t in links for t in lib.TYPES}
    assert set(claims["backends"]) == set(BACKENDS)
    works = [b for b in BACKENDS if claims["backends"][b]["works"]]
    assert claims.get("auto") == (works[0] if works else None)
    assert claims["status"] == (0 if works else 1)
    for b in claims["backends"].values():
        assert b["works"] or len(b["reason"]) > 5


@pytest.mark.vital
def test_check_of_namespace_ids(claims):
    if kernel_tells("net", NS_GET_ID):
        assert claims["ns_id"] == "all"
    elif kernel_tells("mnt", NS_GET_MNTNS_ID):
        assert claims["ns_id"] == "mnt"
    else:
        assert claims["ns_id"] in ("none", "mnt"), "a kernel without the ioctl may have the id all the same"


@pytest.mark.vital
def test_check_of_pictures(claims):
    """Where they work the stream begins with this very process, with the namespaces that it is in."""
    run = lib.trace(["true"], "-s")
    rows = [r for r in run.records if r["event"] == "proc"]
    assert claims["snapshot"] == bool(rows)
    if rows:
        assert {t: n["inum"] for t, n in rows[0]["ns"].items()} == lib.proc_ns(), "nsmon is where its test is"


@pytest.mark.vital
def test_check_of_cgroups(claims):
    """Which hierarchy is looked at; and there is nsmon's own cgroup, as /proc shows it."""
    root = lib.hierarchy_root()
    assert claims.get("cgroup_mount") == (str(root) if root else None)
    name = claims["cgroup_hierarchy"]
    own = {}
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        own.update({controller or "v2": path for controller in controllers.split(",")})
    start, forked, *_ = lib.trace(["true"]).records
    assert start["cgroup_hierarchy"] == name
    assert forked["cgroup"] == own[name]
    assert forked["cgroup_id"] == (root / own[name].lstrip("/")).stat().st_ino


@pytest.mark.anywhere
def test_check_as_text(claims):
    run = lib.run([lib.NSMON, "check"], text=True)
    assert run.returncode == claims["status"]
    lines = run.stdout.splitlines()
    assert any(claims["kernel"] in line for line in lines)
    for name, claim in claims["backends"].items():
        line = next(line for line in lines if line.startswith("backend") and name in line)
        assert ("works" in line) == claim["works"]
        assert claim["works"] or claim["reason"] in line
    assert f"snapshot      {'works' if claims['snapshot'] else 'no'}" in run.stdout
    for kind, there in claims["types"].items():
        line = next(line for line in lines if kind in line.split())
        assert ("missing" in line) != there


@pytest.mark.anywhere
def test_check_without_privilege(program):
    prefix = [program("setpriv"), "--bounding-set=-bpf,-perfmon,-sys_admin"]
    run = lib.run([*prefix, lib.NSMON, "check", "-o", "json"])
    assert run.returncode == 1
    found = json.loads(run.stdout)
    assert found["capabilities"] == {"cap_bpf": False, "cap_perfmon": False}
    assert "auto" not in found and not any(b["works"] for b in found["backends"].values())


@pytest.mark.quick
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.vital
def test_backend(tmp_path, claims, backend):
    """The claims about each backend, by using it."""
    book = tmp_path / "book"
    only = "fork,clone-net,clone3-all,unshare-uts,unshare-user,unshare-eperm,setns-net,pidfd-all,unshare-time-exec"
    only += ",thread-net"
    command = [lib.DRIVER, "--book", book, "--only", only, "cases"]
    argv = [lib.NSMON, f"--backend={backend}", "-o", "json", "--failed", "--", *command]
    run = lib.run(argv)
    if not claims["backends"][backend]["works"]:
        assert (run.returncode, run.stdout) == (1, b"")
        lines = run.stderr.decode().splitlines()
        assert len(lines) == 1 and backend in lines[0] and claims["backends"][backend]["reason"] in lines[0]
        assert not book.exists(), "the command was started"
        return
    assert run.returncode == 0, run.stderr
    records = lib.parse_json(run.stdout)
    assert records[0]["backend"] == backend
    # Each of these kernels has a function that can be probed beside the returns, which are not all seen.
    assert "limit" not in claims["backends"][backend] and "does next" not in run.stderr.decode()
    expected = lib.Expected(lib.read_book(book), failed=True)
    for case in only.split(","):
        if case not in expected.cannot:
            lib.check_case(expected, records, case)


@pytest.mark.vital
def test_auto_says_what_it_takes(claims):
    """Where auto does not get the best backend, one line says which one it took, and why."""
    if "auto" not in claims:
        pytest.skip("no backend works on this kernel")
    argv = [lib.NSMON, "-o", "json", "--", "true"]
    run = lib.run(argv)
    assert lib.parse_json(run.stdout)[0]["backend"] == claims["auto"]
    lines = run.stderr.decode().splitlines()
    if claims["auto"] == "fentry":
        assert not lines
    else:
        assert len(lines) == 1 and claims["auto"] in lines[0] and claims["backends"]["fentry"]["reason"] in lines[0]


# ---- the schema ----


@pytest.mark.anywhere
def test_schema_refuses(work):
    """The guard of every other test: what breaks the contract is refused."""
    schema = lib.schema()
    ns = next(r for r in work.run.records if r["event"] == "ns" and "ns_id" not in r or r["event"] == "ns")
    exited = next(r for r in work.run.records if r["event"] == "exit")
    wrong = []
    for change in (
        lambda r: r.pop("pid"),
        lambda r: r.pop("time"),
        lambda r: r.update(event="other"),
        lambda r: r.update(type="netns"),
        lambda r: r.update(reason="set"),
        lambda r: r.update(inum=str(r["inum"])),
        lambda r: r.update(inum=-1),
        lambda r: r.update(comm=None),
        lambda r: r.update(time="yesterday"),
        lambda r: r.update(seq=0),
    ):
        record = copy.deepcopy(ns)
        change(record)
        wrong.append(record)
    for change in (lambda r: r.update(code=256), lambda r: r.update(signal="9"), lambda r: r.update(core=False),
                   lambda r: r.update(code=1, signal=9), lambda r: r.update(code=1, signal=9, core=True)):
        record = copy.deepcopy(exited)
        change(record)
        wrong.append(record)
    accepted = [r for r in wrong if schema.valid(r)]
    assert not accepted
    assert not any(map(schema.quick, wrong))
    assert schema.valid(ns) and schema.valid(exited)


@pytest.mark.anywhere
def test_schema_number_is_in_the_stream(work):
    assert work.run.records[0]["schema"] >= 1
