# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Instructions that a system call and a fork take, untraced and with each backend, counted in a virtual machine whose clock
goes on by a nanosecond with each of them (tests/vm/run --icount). All that runs meanwhile is in it, user space as well."""

import json
import os
import statistics
import subprocess

from measure import TOP

BACKENDS = ("fentry", "kprobe", "tracepoint")
STATES = ("untraced", *BACKENDS, "again")  # "again": untraced once more
FREE = ("again", "fentry", "kprobe")  # what must leave getppid() as it is

# Operations of a run. Where another one has twice as many, their difference is free of what is needed once. In virtual time
# a run takes less than a millisecond: most see no interrupt of the timer, which comes every 4 ms.
LENGTHS = {"nothing": (200, 400), "nops": (200, 400), "getppid": (300, 600), "unshare": (25, 50), "setns": (25, 50),
           "spawn": (2,), "fork": (2,)}
RUNS = {"nothing": 25, "nops": 25, "getppid": 15,  # short: an interrupt in all of them would be seen as instructions
        "spawn": 41, "fork": 41}  # they differ a little
MOST_RUNS = 9  # of the others
NOPS = 1000  # instructions more in "nops" than in "nothing"

ARM64 = os.uname().machine == "aarch64"
KERNELS = tuple(name + "-arm64" * ARM64 for name in ("6.1", "6.12", "newest"))
KERNEL = KERNELS[1]  # of `check`

# In the guest: NSMON WORKLOAD STATES, and KIND OPERATIONS RUNS as one word each. A line for each run: state, kind,
# operations, what the workload says; and one for each backend: "cannot", 0, why; or "told", how many changes of namespaces,
# the last record.
GUEST = r"""
nsmon=$1 workload=$2 states=$3
shift 3
out=$(mktemp -d)
echo go >"$out/go"
# Nothing else is left to run when the workload begins: no other end of a pipe. And each begins at another moment between
# two of the timer's interrupts, else all would meet one, or none.
runs() {
	i=0
	while [ $i -lt "$4" ]; do
		pause=$((i * 52 % 300))
		while [ $pause -gt 0 ]; do
			pause=$((pause - 1))
		done
		"$workload" "$2" "$3" <"$out/go" >"$out/said"
		{ read -r said && read -r said; } <"$out/said"
		echo "$1 $2 $3 $said"
		i=$((i + 1))
	done
}
for state in $states; do
	pid=
	case $state in
	untraced | again) ;;
	*)
		"$nsmon" -q -o json --backend "$state" -w "$out/$state" 2>"$out/err" &
		pid=$!
		while ! grep -q '"event":"ready"' "$out/$state" 2>/dev/null; do
			kill -0 $pid 2>/dev/null || { echo "$state cannot 0 $(tail -n 1 "$out/err")"; continue 2; }
			sleep 0.05
		done
		sleep 0.5 # it has more to do than its picture
		;;
	esac
	for one; do
		# shellcheck disable=SC2086 # three words
		runs "$state" $one
	done
	[ -n "$pid" ] || continue
	kill -INT $pid
	wait $pid
	echo "$state told $(grep -c '"event":"ns"' "$out/$state") $(tail -n 1 "$out/$state")"
done
echo "end release 0 $(uname -r)"
"""


class CannotRun(Exception):
    """There is no such machine; the reason."""


def runs_of(kind):
    return RUNS.get(kind, MOST_RUNS)


def programs(kernel):
    """nsmon and the workload for a kernel's architecture."""
    build = TOP / "build" / "arm64" if kernel.endswith("-arm64") and not ARM64 else TOP / "build"
    return (build if build.name == "arm64" else TOP) / "nsmon", build / "bench" / "workload"


def run(kernel, kinds, timeout=540):
    """What the guest prints."""
    command = [TOP / "tests/vm/run", kernel, "--icount", "--timeout", str(timeout), "--log", TOP / "build/vm/icount.log", "--",
               "sh", "-c", GUEST, "icount", *programs(kernel), " ".join(STATES),
               *(f"{kind} {n} {runs_of(kind)}" for kind in kinds for n in LENGTHS[kind])]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          cwd=TOP, check=False)
    if done.returncode:
        raise CannotRun((done.stderr.strip().splitlines() or [f"tests/vm/run ended with {done.returncode}"])[0])
    return done.stdout


def read(text):
    """{kind: {state: {operations: [ns, ...]}}}; {backend: why not}; {backend: (changes told, records lost)}; the release."""
    times, cannot, told, release = {}, {}, {}, ""
    for line in text.splitlines():
        state, kind, number, rest = line.split(" ", 3)
        if kind == "cannot":
            cannot[state] = rest
        elif kind == "told":
            told[state] = int(number), json.loads(rest)["lost"]
        elif kind == "release":
            release = rest
        else:
            times.setdefault(kind, {}).setdefault(state, {}).setdefault(int(number), []).append(json.loads(rest)["ns"])
    return times, cannot, told, release


def each(runs):
    """Instructions of one operation. Of two lengths the least of each: what comes between only adds to it."""
    if len(runs) == 1:
        ((operations, ns),) = runs.items()
        return statistics.median(ns) / operations
    few, many = sorted(runs)
    return (min(runs[many]) - min(runs[few])) / (many - few)


def changes(kinds):
    """Of namespaces, that all runs of a state make."""
    made = {"unshare": lambda n: n, "setns": lambda n: n + 2}  # two unshares prepare it
    return sum(runs_of(kind) * made[kind](n) for kind in kinds if kind in made for n in LENGTHS[kind])


def count(kernel, kinds):
    """What bench/report.py shows of a kernel: instructions of an operation by kind and state, without the loop's own."""
    times, cannot, told, release = read(run(kernel, ("nothing", "nops", *kinds)))
    counts = {kind: {state: each(runs) for state, runs in by_state.items()} for kind, by_state in times.items()}
    for state, loop in counts.pop("nothing").items():
        for kind, by_state in counts.items():
            by_state[state] -= loop
    return {"kernel": kernel, "release": release, "counts": counts, "cannot": cannot, "told": told, "made": changes(kinds)}


def verdicts(found):
    """[(what, is it so, the numbers)]. Whole instructions: the guest's clock is off by less than a millionth."""
    getppid = {state: round(n) for state, n in found["counts"]["getppid"].items()}
    nops = {state: round(n) for state, n in found["counts"]["nops"].items()}
    rows = [(f"the clock counts instructions: {NOPS} more are {NOPS} ns", all(n == NOPS for n in nops.values()), nops)]
    for backend in BACKENDS:
        told = found["told"].get(backend)
        rows.append((f"{backend} tells all {found['made']} changes of namespaces", told == (found["made"], 0),
                     found["cannot"].get(backend) or f"told, lost: {told}"))
    for state in FREE:
        name = "untraced again" if state == "again" else state
        rows.append((f"getppid, {name}: as many instructions as untraced", getppid.get(state) == getppid["untraced"], getppid))
    rows.append(("getppid, tracepoint: more, which is seen", getppid.get("tracepoint", 0) > getppid["untraced"], getppid))
    return rows
