# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A random walk through namespaces, from a seed: a thousand transitions of every kind, mixed, some of which fail. For
every task the records are those that follow from what the walker itself read in /proc before and after each step: none
is missing, none is too many, none is out of order.

A book and a stream that were made elsewhere are compared by: test_walk.py BOOK STREAM [threads]
"""

import subprocess
import sys

import pytest

import machine
import nsmonlib as lib
import runs

STEPS = 1000  # of each of runs.RUNS


# ---- what follows from a book ----


def ns_records(old, new, old_id, new_id, reason):
    """Records of a change: reason is that of all types, or a function of the type."""
    return [
        ("ns", t, reason if isinstance(reason, str) else reason(t), was, now, was_id or None, now_id or None)
        for t, was, now, was_id, now_id in lib.changes(old, new, old_id, new_id)
    ]


def handed_on(own, t, vm):
    """What a child has of type t when its clone() makes none: the inode numbers that are possible."""
    if t == "pid":
        return {own["pid_for_children"]}
    if t == "time":  # a child that shares its creator's memory takes it up at its exec
        return {own["time"]} if vm else {own["time_for_children"]}
    return {own[t]}


class Expected:
    """For each task, as (pid, tid), its records in order: tuples that begin with the event.

    threads: with -T, where rows belong to tasks and each task has its fork and exit.
    """

    def __init__(self, book, threads=False):
        self.threads = threads
        self.streams = {}
        self.births = {}  # token -> line of the book
        self.pids = {}  # token -> pid of the child
        self.begin = book[0]
        assert self.begin["op"] == "begin", self.begin
        reports = {}
        for entry in book:
            if entry["op"] == "report":
                reports.setdefault(entry["token"], entry)
        for entry in book:
            if entry["op"] == "clone" and entry["ret"] == 0:
                self._birth(entry, reports)
        first = self.streams.setdefault((self.begin["pid"],) * 2, [])
        first += [("fork", None, None), ("exec",)]  # by nsmon, which has no book
        for entry in book:
            if entry["op"] == "thread":
                self._thread(entry)
        self._steps(book)
        for entry in book:
            if entry["op"] == "end":
                birth = self.births[entry["token"]]
                assert entry["status"] == birth["code"] << 8, f"{entry} of {birth}"
                pid = self.pids[entry["token"]]
                self.streams[(pid, pid)].append(("exit", entry["status"]))
        first.append(("exit", 0))
        if threads:
            for entry in book:
                if entry["op"] == "thread":
                    self.streams[(entry["pid"], entry["tid"])].append(("exit", 0))

    def _birth(self, entry, reports):
        token = entry["token"]
        own, own_id = entry["own"], entry["own_id"]
        if entry["call"] == "spawn":
            # It began with what a child that shares its creator's memory is handed on.
            pid = reports[token]["pid"]
            child, child_id = dict(own), dict(own_id)
            child["pid"], child_id["pid"] = own["pid_for_children"], own_id["pid_for_children"]
        else:
            pid, child, child_id = entry["child"], entry["child_ns"], entry["child_ns_id"]
        base, base_id = (own, own_id) if self.threads else (entry["row"], entry["row_id"])
        vm = entry["call"] in ("vfork", "spawn")

        def reason(t):
            return "fork" if child[t] in handed_on(own, t, vm) else "clone"

        assert (pid, pid) not in self.streams, f"pid {pid} was used twice; the test cannot tell"
        self.births[token] = entry
        self.pids[token] = pid
        self.streams[(pid, pid)] = [("fork", entry["pid"], entry["tid"])]
        self.streams[(pid, pid)] += ns_records(base, child, base_id, child_id, reason)
        if entry["call"] == "spawn":
            # The other half of its birth: the program.
            report = reports[token]
            self.streams[(pid, pid)].append(("exec",))
            self.streams[(pid, pid)] += ns_records(child, report["own"], child_id, report["own_id"], "exec")

    def _thread(self, entry):
        stream = self.streams.setdefault((entry["pid"], entry["tid"]), [])
        if self.threads:
            stream.append(("fork", entry["pid"], entry["ptid"]))
            stream += ns_records(entry["creator"], entry["own"], entry["creator_id"], entry["own_id"], "fork")

    def _steps(self, book):
        execs = {}  # the exec that a task has begun
        now = {}  # what a task was in last
        spawned = {self.pids[t] for t, b in self.births.items() if b["call"] == "spawn"}
        for entry in book:
            op, key = entry["op"], (entry["pid"], entry["tid"])
            if op in ("begin", "thread", "report"):
                now[key] = entry["own"]
            if "own" in entry and key in now:  # nothing changes unless by a step
                for t, inum in now[key].items():
                    assert entry["own"].get(t, inum) == inum or op == "clone", f"{t} before {entry}"
            if op in ("unshare", "setns"):
                records = ns_records(entry["own"], entry["after"], entry["own_id"], entry["after_id"], op)
                assert entry["ret"] == 0 or not records, f"a failed call changed something: {entry}"
                self.streams[key] += records
                now[key] = entry["after"]
            elif op == "exec":
                execs[key] = entry
            elif op == "exec-failed":
                del execs[key]
            elif op == "report" and key in execs:
                before = execs.pop(key)
                self.streams[key].append(("exec",))
                self.streams[key] += ns_records(before["own"], entry["own"], before["own_id"], entry["own_id"], "exec")
            elif op == "report":
                assert entry["pid"] in spawned, f"a program out of nowhere: {entry}"
        assert not execs, f"an exec without an end: {execs}"


def summary(r):
    kind = r["event"]
    if kind == "fork":
        return ("fork", r["ppid"], r["ptid"])
    if kind == "exec":
        return ("exec",) if "old_tid" not in r else ("exec", r["old_tid"])
    if kind == "exit":
        return ("exit", lib.status_of(r))
    if kind == "ns" and "type" in r:
        return ("ns", r["type"], r["reason"], r["old_inum"], r["inum"], r.get("old_ns_id"), r.get("ns_id"))
    return (kind, r)


def sort_out(expected, records, name):
    """(what the book lets one expect, what there is) of each task that has anything, as records in order."""
    actual = {}
    for r in records[1:-1]:
        assert "pid" in r, f"{name}: {r}"
        actual.setdefault((r["pid"], r["tid"]), []).append(summary(r))
    streams = {k: v for k, v in expected.streams.items() if v}
    first = (expected.begin["pid"],) * 2
    if actual.get(first, [()])[0][0] == "fork":  # nsmon's own pid is not in the book
        actual[first][0] = ("fork", None, None)
    return {key: (streams.get(key, []), actual.get(key, [])) for key in sorted(set(streams) | set(actual))}


def compare(expected, records, spare=0):
    """Holds a stream against what the book lets one expect; so many records may have been counted as lost."""
    name = f"seed {expected.begin.get('seed')}"
    stop = records[-1]
    for key, (want, got) in sort_out(expected, records, name).items():
        for i in range(max(len(want), len(got))):
            if want[i : i + 1] != got[i : i + 1]:
                raise AssertionError(
                    f"{name}: record {i + 1} of task {key[0]}/{key[1]} is {got[i : i + 1]} and should be "
                    f"{want[i : i + 1]}; all of it: {got}; the book says: {want}; the end: {stop}"
                )
    assert stop["lost"] <= spare or machine.overcounts(), stop
    assert stop.get("switches") == stop.get("switches_known"), stop


# ---- runs ----


class Walk:
    def __init__(self, recording, name, steps=STEPS):
        made = recording(name)
        self.book, self.threads = made.book, made.threads
        self.spare = 0
        if made.failed and machine.returns_are_few():
            failed = [b for b in self.book if "errno" in b and b["op"] in ("unshare", "setns", "clone")]
            self.spare = len(failed) - len([r for r in made.run.records if "errno" in r])
        # Attempts that failed are for the driver's cases to look at.
        self.records = [r for r in made.run.records if "errno" not in r]
        self.steps = [b for b in self.book if b.get("step")]
        assert len(self.steps) == steps or not steps

    def compare(self):
        compare(Expected(self.book, self.threads), self.records, self.spare)


@pytest.fixture(scope="session")
def long_walk(recording):
    return Walk(recording, "walk-1")


@pytest.mark.quick
def test_a_thousand_steps(long_walk):
    long_walk.compare()


@pytest.mark.once
@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
def test_other_seeds(recording, seed):
    Walk(recording, f"walk-{seed}").compare()


@pytest.mark.parametrize("name", ["walk-8", "walk-8-threads"])
def test_eight_threads(recording, name):
    walk = Walk(recording, name)
    walk.compare()
    alone = [b for b in walk.steps if b["op"] in ("unshare", "setns") and b["ret"] == 0 and b["pid"] != b["tid"]]
    assert len(alone) > STEPS // 6
    assert [b for b in walk.steps if b["op"] == "clone" and b["ret"] == 0 and b["own"] != b["row"]]


def test_steps_of_a_32_bit_program(recording):
    Walk(recording, "walk-32").compare()


# ---- guards of all of these ----


def test_the_walk_goes_everywhere(long_walk):
    """A thousand steps have changed every type in every way, and have failed in every way."""
    present = set(long_walk.book[0]["own"])
    expected = Expected(long_walk.book)
    made = {r[1:3] for stream in expected.streams.values() for r in stream if r[0] == "ns"}
    assert {(t, "clone") for t in present} <= made
    assert {(t, "unshare") for t in present - {"pid", "time"}} <= made
    assert {(t, "setns") for t in present - {"pid"}} <= made
    assert {(t, "fork") for t in present & {"pid", "time"}} <= made
    if machine.release() >= (6, 12):
        assert {(t, "exec") for t in present & {"time"}} <= made
    calls = {b["call"] for b in long_walk.steps if b["op"] == "clone" and b["ret"] == 0}
    assert calls == {"fork", "clone", "clone3", "vfork", "spawn"}
    joined = {b["of"] for b in long_walk.steps if b["op"] == "setns" and b["ret"] == 0 and b["own"] != b["after"]}
    assert joined >= {"holder", "initial", "pool", "pidfd-holder"}
    unmoved = [b for b in long_walk.steps if b["op"] == "setns" and b["ret"] == 0 and b["own"] == b["after"]]
    assert len(unmoved) > 30
    failed = {lib.error_name(b["errno"]) for b in long_walk.book if "errno" in b}
    assert failed >= {"EPERM", "EINVAL", "EBADF", "EEXIST", "ENOENT"}
    assert sum(1 for b in long_walk.book if "errno" in b) < len(long_walk.steps) / 2
    assert sum(len(s) for s in expected.streams.values()) > 1000


def test_ids(long_walk):
    """The book has ids where the kernel's ioctls tell them; their equality is part of every comparison."""
    first = long_walk.book[0]["own_id"]
    if machine.release() >= (6, 18):
        assert all(first.values()), first
    elif machine.release() >= (6, 11):
        assert first["mnt"], first
    else:
        assert not any(first.values()), first
        assert not [r for r in long_walk.records if "ns_id" in r or "old_ns_id" in r]


@pytest.mark.once
@pytest.mark.anywhere
def test_a_walk_is_determined_by_its_seed(tmp_path):
    """Without nsmon: the same seed does the same."""

    def steps(name, seed):
        path = tmp_path / name
        argv = [runs.program("walk"), "--book", path, "--seed", str(seed), "--steps", "60"]
        subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=lib.seconds(60), check=True)
        tasks = {}
        for b in lib.read_book(path):
            if b.get("step"):
                what = (b["op"], b.get("call"), b.get("flags"), b.get("of"), b.get("errno"))
                tasks.setdefault(b["pid"], []).append(what)
        return sorted(map(repr, tasks.values()))

    first = steps("a", 5)
    assert first == steps("b", 5) != steps("c", 6)


@pytest.mark.once
@pytest.mark.anywhere
def test_the_comparison_can_fail(long_walk):
    """A stream in which one record is missing, doubled, changed or out of order is refused."""
    expected = Expected(long_walk.book)
    records = long_walk.records
    compare(expected, records)
    last = None
    tried = set()
    for i, r in enumerate(records[1:-1], 1):
        key = (r["pid"], r["tid"])
        wrong = [("missing", records[:i] + records[i + 1 :]), ("doubled", records[:i] + [r] + records[i:])]
        if last == key and summary(r) != summary(records[i - 1]):
            wrong.append(("out of order", [*records[: i - 1], r, records[i - 1], *records[i + 1 :]]))
        for member in ("inum", "old_inum", "ns_id", "old_ns_id", "reason", "ptid", "code"):
            if member in r and r["pid"] != long_walk.book[0]["pid"]:
                other = "kernel" if member == "reason" else r[member] + 1
                wrong.append((member, [*records[:i], {**r, member: other}, *records[i + 1 :]]))
        last = key
        for what, stream in wrong:
            kind = (what, r["event"], r.get("reason"))
            if kind in tried:
                continue
            tried.add(kind)
            with pytest.raises(AssertionError):
                compare(expected, stream)
    assert len(tried) > 25


if __name__ == "__main__":
    with open(sys.argv[2], "rb") as stream_file:
        stream_records = lib.parse_json(stream_file.read())
    of_the_book = Expected(lib.read_book(sys.argv[1]), threads=sys.argv[3:] == ["threads"])
    compare(of_the_book, stream_records)
    print(f"{sum(len(s) for s in of_the_book.streams.values())} records: equal")
