# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The runs that most tests look at: a workload that keeps a book, under nsmon. They are made here; or they were recorded
on a machine where Python takes longer than they do, and only looked at here (NSMON_RECORDED, the directory).
"""

import os
import pathlib
import shlex
import typing

import machine

REPO = pathlib.Path(__file__).resolve().parents[2]


class Run(typing.NamedTuple):
    workload: str  # the program, which knows --book
    arguments: tuple
    options: tuple = ()  # nsmon's; with the same ones several are recorded in one go
    form: str = "json"
    once: bool = False  # looked at with one backend alone, the one that auto takes
    long: bool = False  # made, but not recorded: another stands for it where all is slow
    since: tuple = (0, 0)  # the first Linux on which the workload can do it
    beside: str = ""  # where it is recorded, that is another nsmon beside the one of this run, which is of the same workload

    @property
    def threads(self):
        return "-T" in self.options

    @property
    def failed(self):
        return "--failed" in self.options


def _walk(seed, *more, workload="walk", **kwargs):
    return Run(workload, ("--seed", str(seed), "--steps", "1000", *more), **kwargs)


RUNS = {
    "cases": Run("driver", ("cases",)),
    "cases-threads": Run("driver", ("cases",), ("-T", "--failed"), beside="cases"),
    "cases-text": Run("driver", ("cases",), form="text", once=True, beside="cases"),
    "cases-32": Run("driver32", ("cases",), ("--failed",)),
    "walk-1": _walk(1),
    "walk-2": _walk(2, long=True),
    "walk-3": _walk(3, long=True),
    "walk-8": _walk(8, "--threads", "8"),
    "walk-8-threads": _walk(8, "--threads", "8", options=("-T", "--failed"), beside="walk-8"),
    "walk-32": _walk(32, workload="walk32", options=("--failed",)),
    # The ways into a mount namespace that only the newest kernels have.
    **{
        f"newest-{way}{suffix}": Run("walk", ("--newest", way), options, since=since, beside=suffix and f"newest-{way}")
        for way, since in (("unshare", (7, 1)), ("clone", (7, 1)), ("open_tree", (7, 0)), ("fsmount", (7, 1)))
        for suffix, options in (("", ()), ("-threads", ("-T", "--failed")))
    },
}


def program(workload, environment=None):
    """Where a workload is: NSMON_DRIVER, NSMON_WALK32, ..., or what this tree builds."""
    environment = os.environ if environment is None else environment
    return environment.get(f"NSMON_{workload.upper()}", str(REPO / "build" / workload))


class Cgroups(typing.NamedTuple):
    """Directories that the driver takes: a cgroup of the hierarchy that nsmon looks at, one of cgroup v2, and one that
    lets in a single process. None where there is none."""

    new: typing.Optional[pathlib.Path]
    into: typing.Optional[pathlib.Path]
    pids: typing.Optional[pathlib.Path]


def workload_argv(run, path, directory, cgroups):
    """The command of the workload, which is at `path`; it works in `directory`, where it leaves its book."""
    argv = [path, "--book", f"{directory}/book"]
    if run.arguments[0] == "cases":
        argv += ["--dir", str(directory)]
        for option, path in (("--pids-cgroup", cgroups.pids), ("--cgroup", cgroups.new), ("--into-cgroup", cgroups.into)):
            argv += [option, str(path)] if path else []
    return argv + list(run.arguments)


# ---- recorded ones ----

# What tests/vm/record makes in the virtual machine, which has cgroup v2.
THERE = Cgroups(*(pathlib.Path("/sys/fs/cgroup/nsmon-test" + suffix) for suffix in ("", "-into", "-pids")))


def together(name):
    """The runs that are recorded with this one, by one nsmon: the first gives its name to them all."""
    return [other for other, run in RUNS.items()
            if (run.options, run.form) == (RUNS[name].options, RUNS[name].form) and not run.long]


def recorded(name):
    """(exit status, output, messages, where the book is) of a recorded run. What is not there fails."""
    top = pathlib.Path(machine.RECORDED)
    nsmon = top / together(name)[0]
    assert (nsmon / "status").exists(), f"there is no recording of {name} in {top}"
    return (int((nsmon / "status").read_text(encoding="ascii")), (nsmon / "out").read_bytes(), (nsmon / "err").read_bytes(),
            top / (RUNS[name].beside or name) / "book")


def of_workload(records, pid):
    """Of several workloads under one nsmon, the records of one: of its first process, `pid`, and of those that descend
    from it. What is of no task is everybody's."""
    pids, found = {pid}, []
    for record in records:
        if record["event"] == "fork" and record["ppid"] in pids:
            pids.add(record["pid"])
        if record.get("pid", pid) in pids:
            found.append(record)
    return found


def plan(base, environment):
    """What tests/vm/record executes to leave all runs in `base`.BACKEND, of each backend: lines of shell, with that
    script's functions.

    environment: what says where the programs are there.
    """
    nsmon, work = environment.get("NSMON", str(REPO / "nsmon")), "/tmp/nsmon-recorded"
    lines = [shlex.join(["begin", base, work]), shlex.join(["cgroups", *map(str, THERE)]),
             shlex.join(["list", program("driver", environment)])]
    for first in dict.fromkeys(together(name)[0] for name in RUNS if not RUNS[name].beside):
        for name in together(first):
            run, path = RUNS[name], program(RUNS[name].workload, environment)
            conditions = []
            if run.since > (0, 0):
                conditions.append(shlex.join(["since", *map(str, run.since)]))
            if run.workload.endswith("32"):
                conditions.append(shlex.join(["runs", path]))
            command = shlex.join(workload_argv(run, path, f"{work}/{name}", THERE))
            lines.append(" && ".join([*conditions, shlex.join(["workload", name, command])]))
        for name in [first, *(other for other in RUNS if RUNS[other].beside == first)]:
            argv = [nsmon, "-o", RUNS[name].form, "--no-snapshot", *RUNS[name].options]
            if RUNS[name].threads:
                argv.insert(1, "-vv")  # what verification costs is told there as well
            backends = "$AUTO" if RUNS[name].once else "$BACKENDS"
            lines.append(f'nsmon "{backends}" ' + shlex.join([name, shlex.join(argv)]))
        lines.append("trace")
    return "\n".join([*lines, "end", ""])
