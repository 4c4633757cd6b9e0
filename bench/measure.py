# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Runs a workload with and without a tracer, each on a CPU of its own, and says what it took and whether something
else on the machine disturbed it. Knows no tracer by name."""

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import signal
import statistics
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
BUILD = TOP / "build" / "bench"
TICK = 1 / os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))
WORK_CPU, TRACER_CPU = CPUS[0], CPUS[-1]
PF_KTHREAD = 0x00200000
KINDS = ("fork", "exec", "exit", "ns")

# A run is disturbed where the hypervisor, or others' processes on any CPU, took more than this of its time.
STEAL_SHARE, OTHERS_SHARE = 0.01, 0.03


# ---- what the machine did meanwhile ----


def stat_fields(path):
    """The fields of /proc/PID/stat behind the name, which may hold anything."""
    return path.read_text(errors="replace").rpartition(")")[2].split()


def others(own):
    """CPU ticks of every process that is no kernel thread, and of its children that ended; without `own`."""
    ticks = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        if int(path.parent.name) in own:
            continue
        with contextlib.suppress(OSError, IndexError):
            fields = stat_fields(path)
            if not int(fields[6]) & PF_KTHREAD:
                ticks[path.parent.name] = sum(int(n) for n in fields[11:15])
    return ticks


def steal():
    """Ticks that the hypervisor gave to others, of our CPUs."""
    total = 0
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in (f"cpu{WORK_CPU}", f"cpu{TRACER_CPU}"):
            total += int(fields[7])
    return total


class Watch:
    """What else ran between start() and stop()."""

    def __init__(self, own):
        self.own = {os.getpid(), *own}
        self.others, self.steal, self.time = others(self.own), steal(), time.monotonic()

    def disturbance(self):
        """Why what ran meanwhile is not to be trusted; None where it is."""
        wall = time.monotonic() - self.time
        stolen = (steal() - self.steal) * TICK
        # What ended meanwhile has left its time, also that from before, with its parent.
        foreign = (sum(others(self.own).values()) - sum(self.others.values())) * TICK
        return judge(wall, stolen, foreign)


def judge(wall, stolen, foreign):
    """All in seconds. One or two ticks are what the clock cannot tell from nothing."""
    if stolen > max(TICK, STEAL_SHARE * wall):
        return f"steal {stolen:.2f} s of {wall:.2f}"
    if foreign > max(2 * TICK, OTHERS_SHARE * wall):
        return f"others {foreign:.2f} s of {wall:.2f}"
    return None


class Quiet:
    """Waits, so long in all, for the workload's CPU to be idle: others' work passes, and the kernel frees the namespaces
    of the run before after it has ended."""

    def __init__(self, budget):
        self.left = budget

    @staticmethod
    def idle_share(seconds):
        def ticks():
            for line in pathlib.Path("/proc/stat").read_text().splitlines():
                name, *fields = line.split()
                if name == f"cpu{WORK_CPU}":
                    return int(fields[3]) + int(fields[4])
            return 0
        before = ticks()
        time.sleep(seconds)
        return (ticks() - before) * TICK / seconds

    def wait(self, at_most=1.5):
        began = time.monotonic()
        while self.left > 0 and time.monotonic() - began < at_most and self.idle_share(0.1) < 0.85:
            pass
        self.left -= time.monotonic() - began


quiet = Quiet(0)


# ---- processes ----


def run_ns(pid):
    """Nanoseconds that all threads of a process have run."""
    total = 0
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(path.read_text().split()[0])
    return total


def user_and_kernel(pid):
    """Seconds, by ticks."""
    fields = stat_fields(pathlib.Path(f"/proc/{pid}/stat"))
    return int(fields[11]) * TICK, int(fields[12]) * TICK


def status_kib(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def on_cpu(cpu):
    return lambda: os.sched_setaffinity(0, {cpu})


def end(process, how=signal.SIGINT, patience=30):
    """Asks a process that we started to end, and makes sure that it does."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


class Workload:
    """bench/workload, ready to begin. The tasks of its loop have a name that no other has."""

    def __init__(self, kind, operations, rate=0, cpu=WORK_CPU):
        self.word = "w" + secrets.token_hex(5)
        self.directory = tempfile.TemporaryDirectory(dir=BUILD)
        self.link = pathlib.Path(self.directory.name) / self.word
        self.link.symlink_to(BUILD / "tiny")
        self.process = subprocess.Popen(
            [BUILD / "workload", kind, str(operations), self.word, self.link, str(rate)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=on_cpu(cpu))
        assert self.process.stdout.readline() == b"ready\n", f"the workload {kind} did not begin"

    @property
    def pid(self):
        return self.process.pid

    def begin(self):
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def go(self):
        """Returns what the workload says of itself, a dict."""
        self.begin()
        return self.said()

    def said(self):
        line = self.process.stdout.readline()
        assert line, f"the workload ended with {self.process.wait()}"
        said = json.loads(line)
        said["true"] = {k: said["ns_records" if k == "ns" else k] for k in KINDS}
        return said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.directory.cleanup()


class Running:
    """A tracer that has been started; its output in files of a directory of its own."""

    def __init__(self, tracer, workload, threads=False, cpu=TRACER_CPU):
        self.directory = tempfile.TemporaryDirectory(dir=BUILD)
        self.out = pathlib.Path(self.directory.name) / "out"
        self.err = pathlib.Path(self.directory.name) / "err"
        argv = tracer.argv(self.out, workload, threads)
        with open(self.out if tracer.prints else os.devnull, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            preexec_fn=on_cpu(cpu))
        self.tracer = tracer
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        self.ran, self.ticks = run_ns(self.pid), user_and_kernel(self.pid)

    @property
    def pid(self):
        return self.process.pid

    def _wait_ready(self):
        deadline = time.monotonic() + 30
        while not self.tracer.ready(self):
            if self.process.poll() is not None:
                said = self.err.read_text(errors="replace").strip().splitlines() or ["without a word"]
                raise CannotRun(f"it ended with {self.process.returncode}: {said[-1]}")
            if time.monotonic() > deadline:
                raise CannotRun("it was not ready in 30 s")
            time.sleep(0.01)
        time.sleep(self.tracer.settle)
        if self.process.poll() is not None:
            said = self.err.read_text(errors="replace").strip().splitlines() or ["without a word"]
            raise CannotRun(f"it ended with {self.process.returncode}: {said[-1]}")

    def usage(self):
        """Waits until what has happened is worked off; (seconds of CPU, kernel's share of them, KiB now and at most)."""
        last = run_ns(self.pid)
        for _ in range(1 if self.tracer.polls else 100):
            time.sleep(0.12)
            ran = run_ns(self.pid)
            if ran - last < 2000000:
                break
            last = ran
        user, kernel = (now - then for now, then in zip(user_and_kernel(self.pid), self.ticks))
        share = kernel / (user + kernel) if user + kernel >= 20 * TICK else None  # of a few ticks it would say nothing
        return (ran - self.ran) / 1e9, share, status_kib(self.pid, "VmRSS"), status_kib(self.pid, "VmHWM")

    def end(self):
        return end(self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process)
        self.directory.cleanup()


class CannotRun(Exception):
    """A tracer that this machine does not let run; the reason."""


# ---- one run, a pair, many pairs ----


def untraced(kind, operations):
    with Workload(kind, operations) as workload:
        quiet.wait()
        watch = Watch({workload.pid})
        said = workload.go()
        return said, watch.disturbance()


def traced(kind, operations, tracer, threads=False):
    """(what the workload said, why it is disturbed or None, what the tracer used and kept)"""
    with Workload(kind, operations) as workload, Running(tracer, workload, threads) as running:
        quiet.wait()
        watch = Watch({workload.pid, running.pid})
        said = workload.go()
        why = watch.disturbance()
        cpu, kernel, resident, peak = running.usage()
        running.end()
        kept, lost = tracer.count(running.out, workload)
        return said, why, {"cpu_s": cpu, "kernel_share": kernel, "resident_kib": resident, "peak_kib": peak,
                           "kept": kept, "lost": lost}


def uncounted(true, kept, lost):
    """Records that are neither in the output nor said to be lost."""
    missing = sum(max(0, true[k] - kept[k]) for k in true)
    return max(0, missing - lost)


@dataclasses.dataclass
class Pairs:
    """The pairs of one workload with one tracer."""

    ratios: list = dataclasses.field(default_factory=list)
    runs: list = dataclasses.field(default_factory=list)  # the traced ones: (said, used)
    dropped: int = 0
    kept_all: bool = False  # no pair was left undisturbed, so all are in it

    def quartiles(self):
        if len(self.ratios) < 2:
            return (self.ratios * 3)[:3]
        low, middle, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return [low, middle, high]

    def of(self, name):
        """The median of what the tracer used."""
        values = [used[name] for _, used in self.runs if used[name] is not None]
        return statistics.median(values) if values else None

    def share_kept(self, kinds):
        """(median, worst) share of the true records of these kinds that were delivered; None where there are none."""
        shares = []
        for said, used in self.runs:
            true = sum(said["true"][k] for k in kinds)
            if true:
                shares.append(sum(min(used["kept"][k], said["true"][k]) for k in kinds) / true)
        return (statistics.median(shares), min(shares)) if shares else None

    def lost(self):
        return sum(used["lost"] or 0 for _, used in self.runs)

    def uncounted(self, kinds):
        return sum(uncounted({k: said["true"][k] for k in kinds}, used["kept"], used["lost"] or 0)
                   for said, used in self.runs)


def alternate(kind, operations, tracer, pairs, spare, threads=False):
    """As many undisturbed pairs as asked for, of at most `spare` more; which of a pair is first alternates."""
    result, disturbed = Pairs(), []
    for i in range(pairs + spare):
        if len(result.ratios) == pairs:
            break
        if i % 2:
            said, why, used = traced(kind, operations, tracer, threads)
            base, base_why = untraced(kind, operations)
        else:
            base, base_why = untraced(kind, operations)
            said, why, used = traced(kind, operations, tracer, threads)
        ratio = said["ns"] / base["ns"]
        if why or base_why:
            result.dropped += 1
            disturbed.append((ratio, (said, used)))
        else:
            result.ratios.append(ratio)
            result.runs.append((said, used))
    if not result.ratios:
        result.kept_all = True
        result.ratios = [ratio for ratio, _ in disturbed]
        result.runs = [run for _, run in disturbed]
    return result
