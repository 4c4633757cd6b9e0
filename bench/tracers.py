# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The tracers that are compared: how each is started, when it is ready, and how the records that it delivered of one
workload are counted. Nothing is measured here."""

import contextlib
import dataclasses
import os
import re
import shutil
import subprocess
import typing

from measure import BUILD, KINDS, TOP

NSMON = os.environ.get("NSMON", str(TOP / "nsmon"))
ALL = frozenset(KINDS)


@dataclasses.dataclass(frozen=True)
class Tracer:
    name: str
    argv: typing.Callable  # (output file, workload, threads?) -> list
    count: typing.Callable  # (output file, workload) -> ({kind: records}, records lost or None)
    ready: typing.Callable = lambda running: True
    settle: float = 0.0  # seconds from then on, where it says nothing of its own
    prints: bool = True  # on standard output, not into a file that it is told
    sees: frozenset = ALL
    threads: bool = False  # does it tell threads, too?
    clones: bool = False  # does it tell the namespaces of a new process?
    slow: int = 1  # so many times fewer operations
    polls: bool = False  # it works also where nothing happens: there is no end to wait for
    program: str = ""  # what has to be installed


def nothing():
    return dict.fromkeys(KINDS, 0)


def lines_of(path):
    with open(path, "rb") as file:
        yield from file


def says(*words):
    """Ready as soon as one of the files says so."""
    def ready(running):
        return any(path.exists() and word in path.read_bytes() for word in words for path in (running.out, running.err))
    return ready


def holds(kind, number):
    """Ready as soon as it holds so many BPF objects of a kind: for one that keeps what it says in a buffer."""
    def ready(running):
        found = 0
        for fd in os.scandir(f"/proc/{running.pid}/fd"):
            with contextlib.suppress(OSError):
                found += os.readlink(fd.path) == f"anon_inode:{kind}"
        return found >= number
    return ready


# ---- nsmon ----


def count_text(path, workload):
    kept, lost, name = nothing(), 0, b" comm=" + workload.word.encode()
    for line in lines_of(path):
        if name in line and not line.endswith(b" recovered\n"):
            kind = line.partition(b":")[0].decode()
            if kind in kept:
                kept[kind] += 1
        elif line.startswith(b"lost: "):
            lost += int(re.search(rb"count=(\d+)", line).group(1))
    return kept, lost


def count_json(path, workload):
    """lost is what the stop record says."""
    kept, lost, name, line = nothing(), None, b'"comm":"%s"' % workload.word.encode(), b""
    for line in lines_of(path):
        if name in line and b'"recovered":true' not in line:
            kind = line.partition(b'"event":"')[2].partition(b'"')[0].decode()
            if kind in kept:
                kept[kind] += 1
    if b'"event":"stop"' in line:
        lost = int(re.search(rb'"lost":(\d+)', line).group(1))
    return kept, lost


def nsmon(form, backend, *more):
    name = " ".join(["nsmon", form, *more]) + f" ({backend})"
    return Tracer(
        name,
        lambda out, workload, threads: [NSMON, "-v", "--backend", backend, "-o", form, "-w", str(out), *more,
                                        *(["-T"] if threads else [])],
        count_json if form == "json" else count_text,
        says(b'"event":"ready"') if form == "json" else says(b"nsmon: start:"),
        settle=1.5, prints=False, threads=True, clones=True)  # it looks at all tasks once more after a second


def backends():
    """Of nsmon: {name: None where it works here, else why not}, as `nsmon check` says."""
    text = subprocess.run([NSMON, "check"], stdout=subprocess.PIPE, text=True, check=False).stdout
    found = re.findall(r"^backend\s+(\w+)\s+(works|no)(?:: )?(.*)", text, re.M)
    return {name: None if verdict == "works" else why for name, verdict, why in found}


# ---- peers ----


def count_words(path, workload):
    """Lines "KIND ... NAME ...". """
    kept, name = nothing(), workload.word.encode()
    for line in lines_of(path):
        kind = line.partition(b" ")[0].decode(errors="replace")
        if kind in kept and name in line:
            kept[kind] += 1
    return kept, None


def count_forkstat(path, workload):
    """A fork is two lines, parent and child; an exec and an exit have the pid alone where it was too short to be named.
    Where a child has ended before it looked, its parent is 0, the idle task, which forks nothing after boot: it is ours."""
    kept, pids, of_ours = nothing(), set(), False
    for line in lines_of(path):
        words = line.split()
        if len(words) < 3 or not words[2].isdigit():
            continue
        kind, pid = words[1].decode(), int(words[2])
        if kind == "fork" and b"parent" in words:
            of_ours = pid in (workload.pid, 0)
        elif kind == "fork" and of_ours:
            kept["fork"] += 1
            pids.add(pid)
        elif kind in ("exec", "exit") and pid in pids:
            kept[kind] += 1
    return kept, None


def count_execsnoop(path, workload):
    return {**nothing(), "exec": sum(1 for line in lines_of(path) if line.split()[:1] == [workload.word.encode()])}, None


# perf says how often it lost, not what.
PERF_TRACE = re.compile(rb": (\S+)/\d+ (?:\.\.\. \[continued\]: )?(clone3?|vfork|execve|exit_group|exit|unshare|setns)\(")


def count_perf_trace(path, workload):
    kinds = {b"clone": "fork", b"clone3": "fork", b"vfork": "fork", b"execve": "exec", b"exit_group": "exit",
             b"exit": "exit", b"unshare": "ns", b"setns": "ns"}
    kept, name = nothing(), workload.word.encode()
    for line in lines_of(path):
        match = PERF_TRACE.search(line)
        # Once where it is begun, and perhaps once more where it returns.
        if match and match.group(1) == name and b"[continued]" not in line:
            kept[kinds[match.group(2)]] += 1
    return kept, None


PERF_TASK = re.compile(rb"PERF_RECORD_(?:(FORK|EXIT|NAMESPACES)[( ](\d+)[:/](\d+)(?:\):\((\d+))?|(COMM exec): .*:(\d+)/(\d+)$)")


def count_perf_record(path, workload):
    """Children by their parent. Each fork has one record of namespaces as well, which is no change."""
    kept, pids = nothing(), {workload.pid: "new"}
    script = subprocess.Popen(["perf", "script", "-f", "-i", path, "--show-task-events", "--show-namespace-events"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in script.stdout:
        match = PERF_TASK.search(line.rstrip())
        if not match:
            continue
        what, tid, parent = match[1] or match[5], int(match[3] or match[7]), match[4]
        if what == b"FORK":
            if int(parent or 0) == workload.pid:
                kept["fork"] += 1
                pids[tid] = "new"
        elif what == b"NAMESPACES":
            if pids.get(tid) == "new":
                pids[tid] = "known"
            elif tid in pids:
                kept["ns"] += 1
        elif tid in pids and tid != workload.pid:
            kept["exit" if what == b"EXIT" else "exec"] += 1
    script.wait()
    return kept, None


def count_strace(path, workload):
    """-f puts the pid before each line."""
    kinds = ((b" execve(", "exec"), (b" unshare(", "ns"), (b" setns(", "ns"), (b" clone(", "fork"), (b" clone3(", "fork"),
             (b"+++ exited", "exit"))
    kept, own = nothing(), str(workload.pid).encode()
    for line in lines_of(path):
        for mark, kind in kinds:
            if mark in line and not (kind == "exit" and line.split()[0] == own):
                kept[kind] += 1
                break
    return kept, None


# What there is to tell, and no more: nothing to be compared with, but what the kernel asks for on this machine.
def floor(what, name):
    return Tracer(f"floor: {name}", lambda out, workload, threads: [str(BUILD / "floor"), what], lambda out, workload: (nothing(), None),
                  says(b"ready"), settle=0.1, sees=frozenset(), polls=True)


FLOORS = [floor("empty", "programs that do nothing"), floor("records", "and records that nobody fills in"),
          floor("text", "and filled in with any bytes, each read and a line for it")]
LINES = [floor(form, f"a {form} line of nsmon's length for each record") for form in ("text", "json")]

PEERS = [
    Tracer("forkstat", lambda out, workload, threads: ["forkstat", "-l", "-e", "fork,exec,exit"],
           count_forkstat, settle=0.5, sees=frozenset(("fork", "exec", "exit")), program="forkstat"),
    Tracer("execsnoop", lambda out, workload, threads: ["execsnoop"],
           count_execsnoop, settle=1.5, sees=frozenset(("exec",)), program="execsnoop"),
    Tracer("bpftrace", lambda out, workload, threads: ["bpftrace", "-o", str(out), str(TOP / "bench" / "peers.bt")],
           count_words, holds("bpf-prog", 5), settle=1.0, prints=False, threads=True, program="bpftrace"),
    Tracer("perf trace", lambda out, workload, threads: [
        "perf", "trace", "-a", "-o", str(out), "-e", "clone,clone3,vfork,execve,exit,exit_group,unshare,setns"],
        count_perf_trace, settle=1.5, prints=False, threads=True, program="perf"),
    Tracer("perf record --namespaces", lambda out, workload, threads: [
        "perf", "record", "-a", "-e", "dummy:u", "--namespaces", "-o", str(out)],
        count_perf_record, settle=1.0, prints=False, threads=True, program="perf"),
    Tracer("strace -f", lambda out, workload, threads: [
        "strace", "-f", "-o", str(out), "-p", str(workload.pid)],
        count_strace, says(b"attached"), settle=0.1, prints=False, threads=True, slow=20, program="strace"),
    Tracer("poller, 100 ms", lambda out, workload, threads: [str(BUILD / "poller"), "100"],
           count_words, settle=0.3, polls=True),
]


def told_by(tracer, workload):
    """The kinds of records of a workload that a tracer can tell."""
    if workload == "threads" and not tracer.threads:
        return frozenset()
    return tracer.sees - ({"ns"} if workload == "clone" and not tracer.clones else set())


def why_not(tracer):
    """Why a peer cannot be tried; None where it can."""
    if tracer.program and not shutil.which(tracer.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return f"{tracer.program} is not installed (dist/deps install bench)"
    return None
