# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A reader of the JSON stream that never looks into /proc: it applies the records to an empty table, by the contract's
rules only. And what /proc says, to hold the table against.

A stream that was made elsewhere is read by: replay.py STREAM [threads]
"""

import contextlib
import json
import os
import sys
import typing

TYPES = ("mnt", "uts", "ipc", "net", "pid", "pid_for_children", "user", "cgroup", "time", "time_for_children")
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
PF_EXITING = 0x4  # include/linux/sched.h, as /proc/PID/stat shows it


class Table:
    """Rows by tid, of processes (their main threads), or with threads of tasks.

    It minds neither `lost` nor `recovered`: a reader that ignores both must end up right. Only what it complains of
    depends on them. What a stream without loss cannot contain goes to `errors`; between a `lost` record and the `ready`
    that ends the repair, records may be about tasks that were never told of, and the same goes to `tolerated`.
    """

    def __init__(self, threads):
        self.threads = threads
        self.rows = {}  # tid -> {"pid", "start_ns", "ns": {type: inum}}
        self.leaders = {}  # with threads: pid -> row of a main thread that has exited
        self.errors = []
        self.tolerated = []
        self.repairing = False
        self.ready = False  # the snapshot is whole
        self.told = 0  # proc records so far

    def apply(self, r):
        handler = getattr(self, "_" + r["event"], None)
        if handler:
            handler(r)

    def _complain(self, what, r):
        (self.tolerated if self.repairing else self.errors).append((what, r))

    def _lost(self, _):
        self.repairing = True

    def _ready(self, r):
        if not self.ready and r["tasks"] != self.told:
            self._complain(f"ready tells of {r['tasks']} tasks, {self.told} were told", r)
        self.ready = True
        self.repairing = False

    def _of_table(self, r):
        return self.threads or r["pid"] == r["tid"]

    def _proc(self, r):
        self.told += 1
        if self.ready and not r.get("recovered"):
            self._complain("proc in the live stream", r)
        if not self._of_table(r):
            return
        ns = {t: n["inum"] for t, n in r["ns"].items()}
        # A row that could not be told whole (its main thread had ended) may be told again (another thread has execed).
        if r["tid"] in self.rows and (not r.get("recovered") or ns.keys() <= self.rows[r["tid"]]["ns"].keys()):
            self._complain("proc of a task that is in the table", r)
        self.rows[r["tid"]] = {"pid": r["pid"], "start_ns": r["start_ns"], "ns": ns}

    def _fork(self, r):
        if not self._of_table(r):
            return
        if r["tid"] in self.rows:
            self._complain("fork of a task that is in the table", r)
        creator = self.rows.get(r["ptid"] if self.threads else r["ppid"])
        if creator is None:
            self._complain("fork by a task that is not in the table", r)
        ns = dict(creator["ns"]) if creator else {}
        self.rows[r["tid"]] = {"pid": r["pid"], "start_ns": r["start_ns"], "ns": ns}

    def _row(self, key, r):
        row = self.rows.get(key)
        if row is None:
            self._complain(f"{r['event']} of a task that is not in the table", r)
        elif row["start_ns"] != r["start_ns"] or row["pid"] != r["pid"]:
            self._complain(f"{r['event']} of another task than that in the table: {row}", r)
        return row

    def _exec(self, r):
        """With threads, the one that execs becomes the main one of its process; the others have exited before. The ns
        records that follow are differences to what the main thread was."""
        if self.threads and "old_tid" in r:
            row = self._row(r["old_tid"], r)
            if row is not None:
                del self.rows[r["old_tid"]]
                self.rows[r["tid"]] = row
                row["leader"] = self.leaders.pop(r["pid"], {}).get("ns")
        else:
            self._row(r["pid"], r)

    def _ns(self, r):
        if "type" not in r or not self._of_table(r):  # without a type: an attempt that failed
            return
        row = self._row(r["tid"], r)
        if row is None:
            return
        # Of a process whose main thread had ended nobody knows most of the row, nor of those that it creates.
        known = {row["ns"].get(r["type"], r.get("old_inum"))}
        if r.get("reason") == "exec" and "leader" in row:
            # Where the exit of the main thread was lost, or came before its changes were repaired, nobody knows.
            known.add(row["leader"].get(r["type"]) if row["leader"] else r.get("old_inum"))
        if r.get("old_inum") not in known:
            self._complain(f"ns from another namespace than {row['ns'].get(r['type'])}", r)
        row["ns"][r["type"]] = r["inum"]

    def _exit(self, r):
        key = r["tid"] if self.threads else r["pid"]
        if self._row(key, r) is not None:
            row = self.rows.pop(key)
            if self.threads and r["pid"] == r["tid"] and not self.repairing:
                self.leaders[r["pid"]] = row


# ---- /proc ----


class Row(typing.NamedTuple):
    pid: int
    tid: int
    start: int  # of the process, in ticks since boot
    ns: dict  # what can be read
    dead: bool  # the main thread has ended, others live: only `user` and `pid` can be read


def read_stat(path):
    """(state, flags, ppid, start) of a task; None when it is gone."""
    try:
        with open(path + "/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[6]), int(fields[1]), int(fields[19])


def ended(stat):
    return stat[0] in "ZX" or stat[1] & PF_EXITING


def read_ns(path):
    ns = {}
    for t in TYPES:
        with contextlib.suppress(OSError):
            ns[t] = int(os.readlink(f"{path}/ns/{t}").split("[")[1][:-1])
    return ns


def task_row(pid, tid, start, dead=False):
    """One task as it is now; None when it ended meanwhile."""
    path = f"/proc/{pid}/task/{tid}"
    before = read_stat(path)
    if before is None or bool(ended(before)) != dead:
        return None
    ns = read_ns(path)
    after = read_stat(path)
    if after is None or before[3] != after[3] or bool(ended(after)) != dead:
        return None
    return Row(pid, tid, start, ns, dead)


def process_ids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def task_ids(pid):
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return []


def proc_table(threads, pids=None):
    """tid -> Row of every task that has not ended; only of these processes, or of all."""
    table = {}
    for pid in process_ids() if pids is None else pids:
        stat = read_stat(f"/proc/{pid}")
        main = read_stat(f"/proc/{pid}/task/{pid}")
        if stat is None or main is None:
            continue
        tids = task_ids(pid)
        dead = bool(ended(main))
        others = [tid for tid in tids if tid != pid] if dead or threads else []
        rows = [task_row(pid, tid, stat[3]) for tid in others]
        rows = [row for row in rows if row is not None]
        if not dead or rows:
            rows.append(task_row(pid, pid, stat[3], dead))
        for row in rows:
            if row is not None and (threads or row.tid == pid):
                table[row.tid] = row
    return table


def descendants(pid):
    """pid and every process below it."""
    parents = {}
    for p in process_ids():
        stat = read_stat(f"/proc/{p}")
        if stat:
            parents[p] = stat[2]
    found = {pid}
    for p in parents:
        chain = []
        while p in parents and p not in found and p not in chain:
            chain.append(p)
            p = parents[p]
        if p in found:
            found.update(chain)
    return found


def compare(table, proc, proc_all=None):
    """The differences, as a set of tuples: (what, tid, ...). proc_all: rows that the table may have as well."""
    found = set()
    for tid, row in proc.items():
        told = table.rows.get(tid)
        if told is None:
            # With threads, a dead one's exit was told. And some platforms keep a process of theirs from tracers: then
            # /proc shows its namespaces to nobody, not even to root.
            if not (row.dead and table.threads) and (row.ns or row.dead):
                found.add(("not in the table", tid, row.pid, row.start))
            continue
        if told["pid"] != row.pid:
            found.add(("pid", tid, told["pid"], row.pid))
        if told["start_ns"] // TICK_NS != row.start:
            found.add(("start", tid, told["start_ns"] // TICK_NS, row.start))
        for t, inum in row.ns.items():
            if told["ns"].get(t) != inum:
                found.add((t, tid, told["ns"].get(t), inum))
    for tid in table.rows:
        if tid not in proc and tid not in (proc_all or ()):
            found.add(("not in /proc", tid, table.rows[tid]["pid"], table.rows[tid]["start_ns"] // TICK_NS))
    return found


if __name__ == "__main__":
    the_table = Table(sys.argv[2:] == ["threads"])
    with open(sys.argv[1], "rb") as stream:
        for line in stream:
            the_table.apply(json.loads(line))
    for what, record in the_table.errors:
        print(f"{what}: {record}")
    print(f"{len(the_table.rows)} rows, {len(the_table.errors)} errors, {len(the_table.tolerated)} while repairing")
