# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The machine that the records are from: this one, or the one whose runs tests/vm/record recorded, which left its facts
beside them."""

import contextlib
import os
import pathlib
import platform
import subprocess

# The directory that tests/vm/record filled; None where the runs are made here.
RECORDED = os.environ.get("NSMON_RECORDED")

# As in /proc/PID/ns, in the order in which nsmon names them.
TYPES = ["mnt", "uts", "ipc", "net", "pid", "pid_for_children", "user", "cgroup", "time", "time_for_children"]


def _recorded(fact):
    """The rest of each line of the recorded facts that begins with `fact`, by words."""
    lines = (pathlib.Path(RECORDED) / "facts").read_text(encoding="utf-8").splitlines()
    assert lines.pop() == "end", "the facts of the recording are not whole"
    return [line.split(" ", 1)[1] for line in lines if line.split(" ", 1)[0] == fact]


def release():
    """(major, minor) of the kernel."""
    text = _recorded("release")[0] if RECORDED else platform.release()
    return tuple(int(n) for n in text.split("-")[0].split(".")[:2])


def preempts():
    """Is it a kernel that may preempt itself?"""
    return "PREEMPT" in (_recorded("version")[0] if RECORDED else os.uname().version)


def preempts_now():
    """And was it booted so? Where nobody says, it may be."""
    mode = ""
    if RECORDED:
        mode = "".join(_recorded("preempt"))
    else:
        with contextlib.suppress(OSError):
            mode = pathlib.Path("/sys/kernel/debug/sched/preempt").read_text(encoding="ascii")
    return preempts() and not ("(none)" in mode or "(voluntary)" in mode)


def skips_tracepoints():
    """May it skip a raw tracepoint's program where another task on that processor is in the midst of it? From 7.0 on."""
    return preempts() and release() >= (7, 0)


def overcounts():
    """May nsmon count more as lost than there was? Of programs that a kernel skipped it knows how often each was, not
    whether for the same event. A trampoline's are skipped wherever the kernel preempts itself."""
    return skips_tracepoints() or (os.environ.get("NSMON_BACKEND") == "fentry" and preempts_now())


def hierarchy_root():
    """Where the cgroup hierarchy is mounted that container managers use: cgroup v2 where /sys/fs/cgroup is that, else
    the first controller of cgroup v1."""
    if RECORDED:
        return pathlib.Path(_recorded("hierarchy")[0])
    mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    for _, where, fs, *_ in mounts:
        if fs == "cgroup2" and where == "/sys/fs/cgroup":
            return pathlib.Path(where)
    for controller in ("memory", "pids", "cpu", "devices", "freezer", "blkio"):
        for _, where, fs, options, *_ in mounts:
            if fs == "cgroup" and controller in options.split(","):
                return pathlib.Path(where)
    return next((pathlib.Path(where) for _, where, fs, *_ in mounts if fs == "cgroup2"), None)


def returns_are_few():
    """Return probes, one for each processor before 6.1, are the only ones that see a failure: a call that finds none may have
    failed, and is counted as lost."""
    return os.environ.get("NSMON_BACKEND") == "kprobe" and release() < (6, 1)


def inode(path):
    """The inode number of one of the cgroups that the runs are given."""
    if not RECORDED:
        return path.stat().st_ino
    return next(int(n) for n, name in (fact.split(" ", 1) for fact in _recorded("inode")) if name == str(path))


def proc_ns(pid="self"):
    """The row of a process as /proc has it."""
    row = {}
    for t in TYPES:
        with contextlib.suppress(OSError, IndexError, ValueError):
            row[t] = int(os.readlink(f"/proc/{pid}/ns/{t}").split("[")[1].rstrip("]"))
    return row


def own_ns():
    """The row of whoever starts nsmon."""
    if not RECORDED:
        return proc_ns()
    return {t: int(inum) for t, inum in (fact.split() for fact in _recorded("ns"))}


def cannot_run(program):
    """Why there is no run of this 32-bit program; None where there is one."""
    if RECORDED:
        return dict(fact.split(" ", 1) for fact in _recorded("cannot")).get(os.path.basename(program))
    if not os.access(program, os.X_OK):
        return "was not built: there was no 32-bit C library"
    try:
        subprocess.run([program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return "is a 32-bit program, and this kernel runs none (CONFIG_IA32_EMULATION, CONFIG_COMPAT)"
    return None
