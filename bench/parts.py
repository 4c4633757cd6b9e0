# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is measured of nsmon alone, and of what it stands on: time in the kernel, the price of tracing system calls, rate,
latency, idleness, start. Each returns what it found."""

import contextlib
import json
import os
import pathlib
import pty
import select
import signal
import statistics
import subprocess
import time

import measure
import tracers
from measure import TRACER_CPU, Running, Watch, Workload

STATS = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")


@contextlib.contextmanager
def bpf_stats():
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        yield
    finally:
        STATS.write_text(before)


def programs(pid):
    """{id: (runs, ns)} of the BPF programs that a process holds."""
    found = {}
    for path in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
            if "run_cnt" in fields:
                found[int(fields["prog_id"])] = int(fields["run_cnt"]), int(fields["run_time_ns"])
    return found


def program_names():
    done = subprocess.run([os.environ.get("BPFTOOL", "bpftool"), "prog", "show", "-j"], stdout=subprocess.PIPE, check=True)
    return {p["id"]: p.get("name", str(p["id"])) for p in json.loads(done.stdout)}


def kernel_ns(tracer, kind, operations):
    """[(program, runs per operation, ns per run)] of a workload; the counting itself costs some tens of ns a run."""
    with bpf_stats(), Workload(kind, operations) as workload, Running(tracer, workload, kind == "threads") as running:
        before, names = programs(running.pid), program_names()
        workload.go()
        after = programs(running.pid)
    rows = []
    for number, (runs, ns) in after.items():
        runs, ns = runs - before[number][0], ns - before[number][1]
        if runs > operations / 100:
            rows.append((names.get(number, str(number)), runs / operations, ns / runs))
    return sorted(rows, key=lambda row: -row[1] * row[2])


def ways(rounds):
    """What empty programs cost a system call, in each of the ways without trampolines: the lines of bench/ways.c."""
    done = subprocess.run([str(measure.BUILD / "ways"), str(rounds)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
                          preexec_fn=measure.on_cpu(measure.WORK_CPU))
    return [json.loads(line) for line in done.stdout.splitlines()]


def together(workloads):
    """Lets all begin at once; records that are true of them all, and operations a second of each as long as it ran, added."""
    for workload in workloads:
        workload.begin()
    said = [workload.said() for workload in workloads]
    return sum(sum(s["true"].values()) for s in said), sum(s["operations"] * 1e9 / s["ns"] for s in said)


def writers(tracer, kind, operations, number):
    """So many workloads, each on a CPU of its own, with nsmon stopped, so that it takes no CPU from them; its buffer has to
    hold all."""
    cpus = measure.CPUS[:number]
    with contextlib.ExitStack() as stack:
        _, untraced = together([stack.enter_context(Workload(kind, operations, cpu=cpu)) for cpu in cpus])
    with contextlib.ExitStack() as stack:
        workloads = [stack.enter_context(Workload(kind, operations, cpu=cpu)) for cpu in cpus]
        stack.enter_context(bpf_stats())
        running = stack.enter_context(Running(tracer, workloads[0]))
        measure.quiet.wait()
        watch = Watch({running.pid, *(workload.pid for workload in workloads)})
        os.kill(running.pid, signal.SIGSTOP)
        try:
            before = programs(running.pid)
            records, traced = together(workloads)
            after = programs(running.pid)
        finally:
            os.kill(running.pid, signal.SIGCONT)
        why = watch.disturbance()
    ns = sum(after[n][1] - before[n][1] for n in after)
    return {"kind": kind, "writers": number, "untraced": untraced, "traced": traced, "records": records,
            "per_s": traced * records / (operations * number), "ns": ns / records, "disturbed": why}


def rate(tracer, kind, per_second, seconds):
    """One rung: as many events a second as asked for (0: as many as can be), and what became of their records."""
    each = 4 if kind == "sets" else 1
    operations = int(seconds * (per_second / each or {"sets": 100000, "setns": 300000, "spawn": 15000}[kind]))
    with Workload(kind, operations, per_second // each) as workload, Running(tracer, workload) as running:
        measure.quiet.wait()
        watch = Watch({workload.pid, running.pid})
        said = workload.go()
        why = watch.disturbance()
        cpu = running.usage()[0]
        running.end()
        kept, lost = tracer.count(running.out, workload)
    events = sum(said["true"].values())
    return {"kind": kind, "asked": per_second, "events_per_s": events * 1e9 / said["ns"], "events": events,
            "lost": lost, "missing": events - sum(kept.values()),
            "uncounted": measure.uncounted(said["true"], kept, lost or 0),
            "cpu_share": cpu * 1e9 / said["ns"], "disturbed": why}


def flood(tracers, operations, turns, say):
    """{name: CPU seconds of the tracer for 10⁶ forks with their exits, of each turn}; in each turn all of them, one after
    the other."""
    costs = {tracer.name: [] for tracer in tracers}
    for turn in range(turns):
        for tracer in tracers:
            say(f"flood of forks, {turn + 1} of {turns}: {tracer.name}")
            used = measure.traced("fork", operations, tracer)[2]
            costs[tracer.name].append(used["cpu_s"] * 1e6 / operations)
    return costs


def read_lines(fd, wanted, patience=10):
    """Times at which lines with `wanted` came, until nothing comes any more."""
    times, rest = [], b""
    while select.select([fd], [], [], patience)[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:  # a terminal that nobody holds any more
            break
        now = time.monotonic_ns()
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        times += [now] * sum(wanted in line for line in lines)
        patience = 1
    return times


def latency(backend, terminal, operations):
    """Milliseconds from just before an unshare() to the line at the reader: (median, 99th percentile, how many, why it is
    not to be trusted or None)."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    try:
        with Workload("paced", operations) as workload:
            process = subprocess.Popen([tracers.NSMON, "-q", "--backend", backend, "-p", str(workload.pid)],
                                       stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.DEVNULL,
                                       preexec_fn=measure.on_cpu(TRACER_CPU))
            os.close(writer)
            writer = None
            try:
                time.sleep(1)
                watch = Watch({workload.pid, process.pid})
                workload.process.stdin.write(b"go\n")
                workload.process.stdin.flush()
                times = read_lines(reader, workload.word.encode())
                why = watch.disturbance()
                stamps = json.loads(workload.process.stdout.readline())["stamps"]
            finally:
                measure.end(process)
    finally:
        for fd in (reader, writer):
            if fd is not None:
                os.close(fd)
    if len(times) != len(stamps):
        raise measure.CannotRun(f"{len(stamps)} changes and {len(times)} lines")
    delays = sorted((came - went) / 1e6 for went, came in zip(stamps, times))
    return statistics.median(delays), delays[min(len(delays) - 1, len(delays) * 99 // 100)], len(delays), why


def wakeups(pid):
    """Of all threads: (times put on a CPU, switches that it asked for, those that it did not)."""
    totals = [0, 0, 0]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        totals[0] += int((task / "schedstat").read_text().split()[2])
        for line in (task / "status").read_text().splitlines():
            for i, name in ((1, "voluntary_ctxt_switches:"), (2, "nonvoluntary_ctxt_switches:")):
                if line.startswith(name):
                    totals[i] += int(line.split()[1])
    return totals


def idle(backend, seconds, directory):
    """Wake-ups a second when nothing happens: it follows a process that sleeps."""
    with Workload("getppid", 1) as workload:
        process = subprocess.Popen(
            [tracers.NSMON, "-q", "--backend", backend, "-o", "json", "-w", str(pathlib.Path(directory) / "idle"),
             "-p", str(workload.pid)],
            stdin=subprocess.DEVNULL, preexec_fn=measure.on_cpu(TRACER_CPU))
        try:
            time.sleep(2)
            before, ran = wakeups(process.pid), measure.run_ns(process.pid)
            time.sleep(seconds)
            after, ran = wakeups(process.pid), measure.run_ns(process.pid) - ran
            resident = measure.status_kib(process.pid, "VmRSS")
        finally:
            measure.end(process)
    each = [(now - then) / seconds for now, then in zip(after, before)]
    return {"seconds": seconds, "on_cpu": each[0], "voluntary": each[1], "involuntary": each[2],
            "cpu_ms_per_s": ran / 1e6 / seconds, "resident_kib": resident}


def start_once(backend, resident):
    """(seconds from exec to the ready record at the reader, tasks that it told, KiB resident then, anonymous)"""
    began = time.monotonic()
    process = subprocess.Popen([tracers.NSMON, "-q", "--backend", backend, "-o", "json"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, bufsize=0)
    try:
        rest, took = b"", None
        while took is None:
            data = os.read(process.stdout.fileno(), 1 << 20)
            if not data:
                raise measure.CannotRun(f"nsmon ended with {process.wait()} before it was ready")
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if b'"event":"ready"' in line:
                    took = time.monotonic() - began
                    tasks = json.loads(line)["tasks"]
        if resident:
            time.sleep(0.2)
        kib = measure.status_kib(process.pid, "VmRSS"), measure.status_kib(process.pid, "RssAnon")
    finally:
        process.stdout.close()  # it ends at that, and quietly
        measure.end(process)
    return took, tasks, *kib


def start(backend, sleepers, times):
    """Medians of several starts with so many more processes on the machine."""
    with contextlib.ExitStack() as stack:
        if sleepers:
            stack.enter_context(Workload("sleepers", sleepers))
            time.sleep(0.5)
        found, disturbed = [], 0
        for _ in range(times):
            watch = Watch(())
            run = start_once(backend, True)
            disturbed += watch.disturbance() is not None
            found.append(run)
    took, tasks, resident, anonymous = (statistics.median(column) for column in zip(*found))
    return {"ready_s": took, "fastest_s": min(run[0] for run in found), "tasks": tasks, "resident_kib": resident,
            "anonymous_kib": anonymous, "times": times, "disturbed": disturbed, "backend": backend}
