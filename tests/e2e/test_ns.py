# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Namespace changes by exact system calls: for every task of every case the records are those that follow from what
the task itself read in /proc before and after each step. Also fork and exit of each, in order, and nothing else."""

import calendar
import os
import re
import subprocess
import time

import pytest

import machine
import nsmonlib as lib


@pytest.mark.quick
def test_case(work, case):
    work.check(case)


def test_case_with_threads_and_failures(work_threads, case):
    work_threads.check(case)


@pytest.mark.once
def test_case_as_text(work_text, case):
    work_text.check(case)


def test_case_of_a_32_bit_program(work_32, case):
    work_32.check(case)


def test_the_book_is_not_empty(work):
    """Guards the guards: what the book's cases make is what their names say."""
    all_flags = lib.all_types(t for t in lib.CLONE_FLAGS if t in work.book[0]["own"])
    for case, missing in (("clone-all", {"time", "time_for_children"}), ("clone3-all", set())):
        entry = next(b for b in work.entries(case, "clone") if b["flags"])
        assert {c[0] for c in lib.changes(entry["own"], entry["child_ns"])} == all_flags - missing
    for name in lib.CLONE_FLAGS:
        if name not in work.book[0]["own"]:
            continue
        for call in ("clone", "clone3", "unshare", "setns"):
            entries = [b for b in work.entries(f"{call}-{name}") if b["op"] in ("clone", "unshare", "setns")]
            moved = {c[0] for b in entries if b["op"] != "clone" for c in lib.changes(b["own"], b["after"])}
            moved |= {c[0] for b in entries if b["op"] == "clone" for c in lib.changes(b["own"], b["child_ns"])}
            if (call, name) != ("clone", "time"):
                assert moved and moved <= lib.all_types([name]), (call, name)
    bystanders = work.entries("thread-net", "look")
    assert len(bystanders) == 2 and all(b["own"] == b["row"] == work.book[0]["own"] for b in bystanders)


@pytest.mark.quick
def test_order_of_several_types(work):
    """One change of several namespaces: one record for each type, in the contract's order, one after the other."""
    for case, reason in (("clone3-all", "clone"), ("unshare-all", "unshare"), ("pidfd-all", "setns")):
        records = [r for r in work.of(case, "ns") if r["reason"] == reason]
        types = [r["type"] for r in records]
        assert types == [t for t in lib.TYPES if t in types] and len(types) >= 6, case
        assert [r["seq"] for r in records] == list(range(records[0]["seq"], records[0]["seq"] + len(records)))


def test_clone_records_follow_their_fork_at_once(work):
    records = work.run.records
    seen = 0
    for i, r in enumerate(records):
        if r["event"] == "ns" and r["reason"] in ("clone", "fork"):
            before = records[i - 1]
            assert before["pid"] == r["pid"], r
            assert before["event"] == "fork" or before.get("reason") in ("clone", "fork"), r
            seen += 1
    assert seen > 20


def test_fork_is_first_and_exit_is_last(work):
    """Of each process, and its parent's fork comes before its own."""
    seen = set()
    ended = set()
    for r in work.run.records[1:-1]:
        if r["event"] == "fork":
            assert r["pid"] not in seen, "a pid was used twice; the test cannot tell"
            seen.add(r["pid"])
        else:
            assert r["pid"] in seen, f"before its fork: {r}"
        assert r["pid"] not in ended, f"after its exit: {r}"
        if r["event"] == "exit":
            ended.add(r["pid"])
    assert seen == ended


def test_no_unknown_switches(work, work_threads):
    """reason=kernel is for paths that nsmon does not know: none of these is one. Where the backend can count the
    switches of nsproxy itself, every one was accounted for."""
    for w in (work, work_threads):
        assert not [r for r in w.run.records if r.get("reason") == "kernel"]
        stop = w.run.records[-1]
        backend = w.run.records[0]["backend"]
        assert ("switches" in stop) == ("switches_known" in stop) == (backend != "tracepoint")
        if "switches" in stop:
            calls = [b for b in w.book if b["op"] in ("unshare", "setns") and b["ret"] == 0]
            user_only = [b for b in calls if b["flags"] & ~0x10000000 == 0]
            assert stop["switches"] == stop["switches_known"] >= (len(calls) - len(user_only)) // 2


def test_rows_of_a_reader(work):
    """A reader that only applies the stream has, for every process, the row that the process saw last in /proc."""
    driver = next(b for b in work.book if b["op"] == "clone" and b["case"] != "holder")
    rows = lib.apply(work.run.records, machine.own_ns(), work.run.records[1]["ppid"])
    assert rows[driver["pid"]] == driver["row"]
    last = {}
    for b in work.book:
        if b["op"] == "clone" and b["ret"] > 0 and "child_ns" in b:
            last.setdefault(b["child"], b["child_ns"])
    for b in work.book:
        if b["op"] in ("unshare", "setns") and b["pid"] == b["tid"] and b["ret"] == 0:
            last[b["pid"]] = b["after"]
        elif b["op"] == "report":
            last[b["pid"]] = b["own"]
    assert len(last) > 150
    for pid, seen in last.items():
        for kind, inum in seen.items():
            assert rows[pid][kind] == inum, f"{kind} of {pid}"


# ---- the fields that every task record has ----


def births(work):
    return [b for b in work.book if b["op"] == "clone" and b["ret"] > 0]


@pytest.mark.parametrize("variant", ["work", "work_threads", "work_32"])
def test_ids_of_every_record(variant, request):
    work = request.getfixturevalue(variant)
    adopted = {b["child"] for b in births(work) if b["case"] in ("clone-parent", "exit-orphan")}
    checked = 0
    for b in births(work):
        for r in work.run.of(b["child"]):
            assert r["vpid"] == b["child_vpid"], r
            if r["event"] == "fork" and r["tid"] == r["pid"]:
                assert (r["ppid"], r["ptid"]) == (b["pid"], b["tid"]), r
            elif r["event"] != "fork" and b["child"] not in adopted:
                assert r["ppid"] == b["pid"], r
            assert b["born_min"] <= r["start_ns"] <= b["born_max"], f"{r}, born in {b['born_min']}..{b['born_max']}"
            checked += 1
    assert checked > 400


def test_the_parent_that_clone_parent_gives(work):
    """The fork record names the creator; later records name the parent that ps shows."""
    child = next(b for b in work.entries("clone-parent", "clone") if b["flags"])
    creator = next(b for b in work.entries("clone-parent", "clone") if not b["flags"])
    for r in work.run.of(child["child"]):
        assert r["ppid"] == (child["pid"] if r["event"] == "fork" else creator["pid"]), r


@pytest.mark.once
def test_wall_clock(work):
    slack = 50_000_000
    for b in births(work):
        for r in work.run.of(b["child"]):
            assert b["wall_before"] - slack <= nanoseconds(r["time"]) <= b["wall_after"] + slack, r


def nanoseconds(text):
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z", text)
    assert match, f"not RFC 3339 in UTC with nanoseconds: {text}"
    return calendar.timegm(time.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(match.group(2))


def test_real_ids(work):
    child = next(b["child"] for b in work.entries("uid", "clone") if b["pid"] in work.expected.births)
    worker = work.expected.births[child]["pid"]
    assert {(r["uid"], r["gid"]) for r in work.run.of(child)} == {(1001, 2001)}
    assert [(r["uid"], r["gid"]) for r in work.run.of(worker)] == [(0, 0), (1001, 2001), (1001, 2001)]
    elsewhere = set(work.expected.births) - {child, worker}
    nobody = {p for c in ("unshare-eperm", "setns-eperm") for p in work.expected.cases[c]}
    assert {(r["uid"], r["gid"]) for r in work.run.of(elsewhere - nobody)} == {(0, 0)}


def test_cgroup(work):
    """The id is the inode number of the cgroup's directory."""
    if not work.cgroup:
        pytest.skip("no cgroup can be made here")
    path = "/" + str(work.cgroup.relative_to(lib.hierarchy_root()))
    inode = machine.inode(work.cgroup)
    worker = next(b["child"] for b in work.entries("cgroup", "clone") if b["pid"] not in work.expected.births)
    child = next(b["child"] for b in work.entries("cgroup", "clone") if b["pid"] == worker)
    forked, *later = work.run.of(worker)
    assert forked["event"] == "fork" and forked["cgroup_id"] != inode
    assert later and {(r["cgroup_id"], r["cgroup"]) for r in later} == {(inode, path)}
    assert later[0]["event"] == "cgroup" and later[0]["old_cgroup_id"] == forked["cgroup_id"]
    assert {(r["cgroup_id"], r["cgroup"]) for r in work.run.of(child)} == {(inode, path)}
    assert not any("container" in r for r in later)


def test_clone_into_cgroup(work):
    """Nothing is moved: the child begins there."""
    if not work.into or not work.into.is_relative_to(lib.hierarchy_root()):
        pytest.skip("CLONE_INTO_CGROUP takes cgroup v2, and here cgroup v1 is what container managers use")
    into = next(b["child"] for b in work.entries("clone3-into-cgroup", "clone") if b["flags"])
    assert [r["event"] for r in work.run.of(into)] == ["fork", "ns", "exit"]
    assert {r["cgroup_id"] for r in work.run.of(into)} == {machine.inode(work.into)}


def test_namespace_ids(work):
    """On kernels that tell a namespace's 64-bit id the records have it; its equality is part of test_case."""
    if not work.expected.ids:
        pytest.skip("this kernel has no ioctl for the ids of namespaces")
    records = [r for r in work.run.records if r["event"] == "ns"]
    assert records and all("ns_id" in r and "old_ns_id" in r and r["ns_id"] != r["old_ns_id"] for r in records)


# ---- failed attempts ----


def test_no_failure_without_the_option(work):
    failures = [b for b in work.book if b.get("ret", 0) < 0]
    assert len(failures) >= 10
    assert not [r for r in work.run.records if "errno" in r]


def test_failures_that_were_seen(work_threads):
    """Each failing call of the book, and no other, has its record."""
    want = sorted(
        (b["pid"], b["tid"], b["op"], b["errno"])
        for b in work_threads.book
        if b["op"] in ("clone", "unshare", "setns") and b["ret"] < 0 and lib.asks_for_namespace(b)
    )
    got = sorted((r["pid"], r["tid"], r["reason"], r["errno"]) for r in work_threads.run.records if "errno" in r)
    assert got == want
    names = {r["error"] for r in work_threads.run.records if "errno" in r}
    assert {"EPERM", "EINVAL", "EBADF", "EEXIST", "ENOSPC"} <= names


# ---- a process whose main thread moves, or is gone, while another thread forks ----

RACE = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
home, done = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), False
def forks():
    global done
    for _ in range(int(sys.argv[1])):
        pid = os.fork()
        if not pid:
            os.write(1, b"%d %s\\n" % (os.getpid(), os.readlink(b"/proc/thread-self/ns/mnt")))
            os._exit(0)
        os.waitpid(pid, 0)
    done = True
threading.Thread(target=forks).start()
while not done:
    assert libc.unshare(0x00020000) == 0 and libc.setns(home, 0x00020000) == 0
"""


def test_fork_while_the_main_thread_moves(tmp_path):
    """A reader's row for each child, from the row that it had for the process, is what the child itself saw."""
    out = tmp_path / "out"
    argv = lib.nsmon_argv("-q", "-o", "json", "--buffer=64M", "-w", out,
                          command=["/usr/bin/python3", "-c", RACE, "400" if lib.SLOW <= 1 else "60"])
    run = lib.run(argv, timeout=120)
    assert run.returncode == 0, run
    witness = dict(line.split() for line in run.stdout.decode().splitlines())
    rows, home, away = {}, os.readlink("/proc/self/ns/mnt"), 0
    for r in lib.parse_json(out.read_bytes()):
        if r["event"] == "fork":
            rows[r["pid"]] = rows.get(r["ppid"], home)
            away += rows[r["pid"]] != home
        elif r["event"] == "ns" and r["tid"] == r["pid"]:
            assert r["type"] == "mnt" and rows[r["pid"]] == f"mnt:[{r['old_inum']}]"
            rows[r["pid"]] = f"mnt:[{r['inum']}]"
    assert len(witness) >= 60 and away, "no child was made while the main thread was away; the test shows nothing"
    assert {pid: rows[int(pid)] for pid in witness} == witness


def test_main_thread_ended_before(tmp_path):
    """Nothing is known of it: what its process forks is compared with the thread that does it."""
    code = ("import ctypes, os, sys, threading, time\n"
            "def forks():\n"
            "    while open('/proc/self/task/%%d/stat' %% os.getpid()).read().split()[2] != 'Z': time.sleep(.01)\n"
            "    os.write(1, b'.'); os.read(0, 1)\n"
            "    pid = os.fork() or os._exit(3)\n"
            "    os.waitpid(pid, 0); os._exit(4)\n"
            "threading.Thread(target=forks).start()\n"
            "ctypes.CDLL(None).syscall(%d, 0)\n" % {"x86_64": 60, "aarch64": 93}[os.uname().machine])
    process = subprocess.Popen(["/usr/bin/python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process, lib.Live(tmp_path, "-v", "-p", process.pid) as nsmon:
        process.stdout.read(1)
        # Not while the first picture is taken, which may show the child.
        lib.wait_until(lambda: "a picture of " in nsmon.err, "the look after the first picture")
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert nsmon.wait() == 0
        records = lib.parse_json(nsmon.out)
    # And what no reader can know from its row is told as a whole.
    assert [(r["event"], r.get("code")) for r in records[1:-1] if r["event"] != "ready"] == [
        ("fork", None), ("proc", None), ("exit", 3), ("exit", 4)]


# ---- the guard of all of these ----


COMPARED = ["type", "reason", "inum", "old_inum", "ns_id", "old_ns_id", "ppid", "ptid", "code", "signal", "old_tid"]


# A process that makes a network namespace, which takes long, and then a child, until `stop` is there. It says its own number,
# the child's, and where it was when it made it.
MAKER = """
import ctypes, os, sys
libc, stop = ctypes.CDLL(None, use_errno=True), sys.argv[1]
while not os.path.exists(stop):
    if libc.unshare(0x40000000):  # CLONE_NEWNET
        sys.exit(os.strerror(ctypes.get_errno()))
    inum = os.stat("/proc/self/ns/net").st_ino
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    print(os.getpid(), child, inum, flush=True)
"""
MAKERS = 3
OTHERS = 6


@pytest.mark.once
def test_other_tracers_come_and_go(tmp_path):
    """A kernel does not run what is attached to a function's end where it is in the midst of it while another tracer
    attaches there, or goes: what the call did is told all the same, before whatever the task does next."""
    stop = tmp_path / "stop"
    makers = f"for i in $(seq {MAKERS}); do /usr/bin/python3 -c \"$0\" {stop} >{tmp_path}/$i.book & done; wait"
    with lib.Live(tmp_path, command=["sh", "-c", makers, MAKER]) as nsmon:
        try:
            for i in range(1, MAKERS + 1):
                lib.wait_until((tmp_path / f"{i}.book").exists, "the makers")
                lib.wait_until((tmp_path / f"{i}.book").read_bytes, "a namespace")
            for _ in range(OTHERS):
                assert lib.run(lib.nsmon_argv("-q", "-o", "json", command=["true"])).returncode == 0
        finally:
            stop.touch()
        assert nsmon.wait() == 0, nsmon.err
    trace = lib.Trace(0, nsmon.out, nsmon.err.encode(), "json")
    steps = [tuple(map(int, line.split())) for i in range(1, MAKERS + 1)
             for line in (tmp_path / f"{i}.book").read_text(encoding="ascii").splitlines()]
    assert len(steps) > OTHERS
    assert all(r["code"] == 0 for r in trace.of({step[0] for step in steps}, "exit"))
    for pid in {step[0] for step in steps}:
        wanted = []
        for _, child, inum in (step for step in steps if step[0] == pid):
            wanted += [("ns", "unshare", "net", inum), ("fork", child)]
        last = max(r["seq"] for r in trace.of(pid, "exec"))
        got = [("ns", r["reason"], r["type"], r["inum"]) if r["event"] == "ns" else ("fork", r["pid"])
               for r in trace.records
               if r["event"] == "ns" and r["pid"] == pid and r["seq"] > last or r["event"] == "fork" and r["ppid"] == pid]
        assert got == wanted
    assert not trace.of({step[1] for step in steps}, "ns")
    assert trace.records[-1]["lost"] == 0 or machine.overcounts()


@pytest.mark.once
@pytest.mark.anywhere
def test_the_comparison_can_fail(work):
    """A stream in which one record is missing, doubled, changed or out of order is refused."""
    tried = 0
    for case in ("clone3-all", "setns-net", "thread-net", "thread-moved-exec", "unshare-time-spawn", "exit-kill"):
        records = work.of(case)
        lib.check_case(work.expected, records, case)
        for i, record in enumerate(records):
            wrong = [records[:i] + records[i + 1 :], records[:i] + [record, record] + records[i + 1 :]]
            if i and records[i - 1]["tid"] == record["tid"]:
                wrong.append([*records[: i - 1], record, records[i - 1], *records[i + 1 :]])
            others = {"type": "uts" if record.get("type") != "uts" else "ipc", "reason": "kernel"}
            for member in COMPARED:
                if member in record and (member != "ppid" or record["event"] == "fork"):
                    other = others.get(member, 99)
                    wrong.append([*records[:i], {**record, member: other}, *records[i + 1 :]])
            for stream in wrong:
                with pytest.raises(AssertionError):
                    lib.check_case(work.expected, stream, case)
                tried += 1
    assert tried > 100
