# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The benchmark's parts do what its table claims. How fast anything is, is asserted nowhere: the machine is not ours
alone."""

import collections
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

import nsmonlib as lib

pytestmark = [pytest.mark.once, pytest.mark.anywhere]

TOP = pathlib.Path(__file__).resolve().parents[2]
BENCH = TOP / "bench"
WORKLOADS = ["fork", pytest.param("exec", marks=pytest.mark.quick), "threads", pytest.param("clone", marks=pytest.mark.quick),
             "spawn", "unshare", "setns", "getppid"]


@pytest.fixture(scope="module")
def bench():
    """The runner's modules, with what they start."""
    if lib.SLOW > 1:
        pytest.skip("the virtual machine's files are read-only; run on the machine itself")
    subprocess.run(["make", "--no-print-directory", "bench-tools"], cwd=TOP, check=True, stdout=subprocess.DEVNULL)
    sys.path.insert(0, str(BENCH))
    try:
        import measure
        import report
        import tracers
        import virtual
    finally:
        sys.path.remove(str(BENCH))
    return collections.namedtuple("Bench", "measure report tracers virtual")(measure, report, tracers, virtual)


@pytest.fixture(scope="module")
def working(bench):
    return [name for name, why in bench.tracers.backends().items() if why is None]


@pytest.mark.parametrize("kind", WORKLOADS)
def test_what_a_workload_calls_true_strace_sees(bench, program, kind):
    program("strace")
    with bench.measure.Workload(kind, 50) as workload:
        strace = next(t for t in bench.tracers.PEERS if t.name == "strace -f")
        with bench.measure.Running(strace, workload) as running:
            said = workload.go()
            running.usage()
            running.end()
            seen, _ = strace.count(running.out, workload)
            text = running.out.read_text()
    assert said["operations"] == 50 and said["ns"] > 0
    # A system call for several namespaces is one line: the flags say how many.
    flags = "CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWPID|CLONE_NEWCGROUP"
    changed = [line for line in text.splitlines() if re.search(r" clone3?\(", line) and "CLONE_NEW" in line]
    if kind == "clone":
        assert len(changed) == 50 and all(all(f in line for f in flags.split("|")) for line in changed)
        seen["ns"] += 5 * len(changed)  # the pid namespace is `pid` and `pid_for_children`
    else:
        assert not changed
    assert said["true"] == seen


@pytest.mark.parametrize("kind", [*WORKLOADS, "sets"])
def test_nsmon_delivers_what_is_true(bench, working, kind):
    for form in ("text", "json"):
        said, _, used = bench.measure.traced(kind, 2000, bench.tracers.nsmon(form, working[0]), kind == "threads")
        assert used["lost"] == 0, "the default buffer is too small for a workload of the benchmark"
        assert used["kept"] == said["true"], form
        assert (used["cpu_s"] > 0 or not any(said["true"].values())) and used["peak_kib"] >= used["resident_kib"] > 0


def test_what_is_lost_is_counted(bench, working):
    """A reader that is stopped meanwhile: what is not in the file is in the stop record's count."""
    tracer = bench.tracers.nsmon("json", working[0], "--buffer=64K")
    with bench.measure.Workload("unshare", 5000) as workload, bench.measure.Running(tracer, workload) as running:
        running.process.send_signal(signal.SIGSTOP)
        said = workload.go()
        running.process.send_signal(signal.SIGCONT)
        running.usage()
        running.end()
        kept, lost = tracer.count(running.out, workload)
    assert lost > 0 and kept["ns"] < 5000
    assert kept["ns"] + lost >= 5000
    assert bench.measure.uncounted(said["true"], kept, lost) == 0
    assert bench.measure.uncounted({"ns": 100}, {"ns": 60}, 30) == 10


def test_disturbed_runs_are_told_apart(bench):
    judge = bench.measure.judge
    assert judge(1, 0, 0) is None
    assert judge(1, 0, 0.02) is None
    assert "others" in judge(1, 0, 0.05)
    assert "steal" in judge(1, 0.02, 0)
    assert judge(0.1, 0, 0.02) is None  # two ticks


def test_others_are_seen(bench):
    """A process that computes meanwhile counts, and also one that has ended; not where it is one of the run's own."""
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    started = {"args": [sys.executable, "-c", burn], "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    watch = bench.measure.Watch(())
    with subprocess.Popen(**started) as other:
        other.stdout.readline()
        assert bench.measure.others(set())[str(other.pid)] * bench.measure.TICK >= 0.4
        assert str(other.pid) not in bench.measure.others({other.pid})
        watch.time -= 1  # of a run of a second and more
        assert "others" in watch.disturbance() or "steal" in watch.disturbance()


def test_pairs_and_their_spread(bench):
    said = {"operations": 100, "true": {"fork": 100, "exec": 0, "exit": 100, "ns": 0}}
    used = {"cpu_s": 0.001, "kernel_share": None, "resident_kib": 1, "peak_kib": 1, "lost": 20,
            "kept": {"fork": 90, "exec": 0, "exit": 80, "ns": 0}}
    pairs = bench.measure.Pairs([1.0, 1.2, 1.1], [(said, used)] * 3)
    assert pairs.quartiles() == pytest.approx([1.05, 1.1, 1.15])
    assert pairs.share_kept({"fork", "exit"}) == pytest.approx((0.85, 0.85))
    assert pairs.share_kept({"ns"}) is None
    assert pairs.uncounted({"fork", "exit"}) == 3 * 10
    assert bench.report.per_million(pairs) == pytest.approx(10)


def test_verdicts(bench):
    verdict = bench.report.verdict
    assert verdict(None, 1) == ("not measured", "not shown")
    assert verdict(1.0, 1.0) == ("1.00", "met")
    assert verdict(1.1, 1.0) == ("1.10", "**not met**")
    assert verdict(1.1, 1.0, low=0.9) == ("1.10", "within the spread")
    rate = {"kind": "sets", "missing": 0, "lost": 0}
    rungs = [{**rate, "events_per_s": n} for n in (10, 20)] + [{**rate, "events_per_s": 30, "lost": 1, "missing": 1},
                                                              {**rate, "events_per_s": 40}]
    assert bench.report.sustained({"rates": rungs}) == 20


def counted(times, made=12, lost=0):
    """What bench/virtual.py makes of a guest's lines; times: kind -> state -> {operations: nanoseconds of each run}."""
    lines = [f'{state} {kind} {n} {{"ns":{ns}}}' for kind, of in times.items() for state, runs in of.items()
             for n, all_ns in runs.items() for ns in all_ns]
    lines += [f'{backend} told {made} {{"event":"stop","lost":{lost}}}' for backend in ("fentry", "kprobe", "tracepoint")]
    return "\n".join([*lines, "end release 0 6.12.0"])


def test_instructions_are_judged_to_one(bench, monkeypatch):
    """An interrupt in some runs is not seen, one instruction in all of them is."""
    virtual = bench.virtual

    def judged(more=0, nops=1000, **said):
        times = {"nothing": {}, "nops": {}, "getppid": {}}
        for state in virtual.STATES:
            each = 309 + {"fentry": more, "tracepoint": 400}.get(state, 0)
            for kind, cost in (("nothing", 9), ("nops", 9 + nops), ("getppid", 9 + each)):
                times[kind][state] = {n: [163 + n * cost + extra for extra in (7000, 0, 1)] for n in (10, 20)}
        monkeypatch.setattr(virtual, "run", lambda *_: counted(times, **said))
        monkeypatch.setattr(virtual, "changes", lambda _: 12)
        found = virtual.count("6.12", ("getppid",))
        text = "\n".join(bench.report.icount([found]))
        assert f"| 6.12 (6.12.0) | getppid | 309 | +0 | {309 + more} ({more:+d}) | 309 (+0) | 709 (+400) |" in text
        return [what for what, good, _ in virtual.verdicts(found) if not good]

    assert judged() == []
    assert judged(more=1) == ["getppid, fentry: as many instructions as untraced"]
    assert judged(more=-1) == ["getppid, fentry: as many instructions as untraced"]
    assert "the clock counts instructions" in judged(nops=1001)[0]
    assert len(judged(made=11)) == len(judged(lost=1)) == len(virtual.BACKENDS)


def test_results_are_written(bench, working, tmp_path):
    results = tmp_path / "RESULTS.md"
    done = subprocess.run([BENCH / "run", "--quick", "--scale", "0.02", "--pairs", "1", "--workloads", "fork,setns,getppid",
                           "--parts", "pairs,flood,kernel,rate,latency,idle,start,writers", "--idle", "1", "--results", results],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
                          env=dict(os.environ, NSMON=lib.NSMON))
    assert done.returncode == 0, done.stderr
    text = results.read_text(encoding="utf-8")
    assert text == done.stdout
    assert os.uname().release in text and os.uname().nodename not in re.findall(r"\w+", text.split("## ")[0])
    for form in ("text", "json"):
        row = next(line for line in text.splitlines() if line.startswith(f"| nsmon {form} ({working[0]})"))
        ratios = [cell.strip() for cell in row.split("|")[2:9]]
        assert [bool(cell) for cell in ratios] == [True, False, False, False, False, True, True], row
    many = text.split("## Many writers")[1].split("##")[0]
    assert re.findall(r"^\| (setns of one type|fork and exit) \| ([12]) \|", many, re.M) == [
        ("setns of one type", "1"), ("setns of one type", "2"), ("fork and exit", "1"), ("fork and exit", "2")]
    aims = text.split("## Where nsmon has to be")[1]
    for figure in ("slow-down of fork,", "slow-down of a setns storm", "other system calls", "CPU s per 10⁶ forks", "sustained",
                   "not counted as lost", "resident, idle", "memory for each task", "start to `ready`", "latency to a terminal",
                   "latency to a pipe", "wake-ups"):
        rows = [line for line in aims.splitlines() if figure in line]
        assert rows, figure
        assert all("not measured" not in row for row in rows), rows


def test_a_peer_that_cannot_run_is_listed(bench):
    """With its own reason."""
    results = {"pairs": {}, "told": {}, "cannot": {}}
    tracers = bench.tracers
    broken = tracers.Tracer("broken", lambda *_: ["sh", "-c", "echo no such probe >&2; exit 3"], tracers.count_words, settle=0.2)
    with pytest.raises(bench.measure.CannotRun, match="3: no such probe") as error:
        bench.measure.traced("getppid", 10, broken)
    results["cannot"]["broken"] = [("getppid", str(error.value))]
    assert "Not run: broken, getppid: it ended with 3: no such probe." in "\n".join(bench.report.compared(results))
    missing = tracers.Tracer("missing", None, None, program="no-such-program")
    assert "is not installed" in tracers.why_not(missing)


def test_instructions_can_fail(bench, program, tmp_path):
    program("valgrind")
    subprocess.run(["make", "--no-print-directory", "record-tool"], cwd=TOP, check=True, stdout=subprocess.DEVNULL)
    book = tmp_path / "instructions.txt"

    def run(verb, text):
        book.write_text(text, encoding="ascii")
        done = subprocess.run([BENCH / "instructions", verb], stdout=subprocess.PIPE, text=True, check=False,
                              env=dict(os.environ, INSTRUCTIONS=str(book)))
        return done.returncode, done.stdout

    status, _ = run("record", "# kept\n\nelsewhere gcc-1.0.0 libc text 1.0\n")
    now = book.read_text(encoding="ascii")
    assert status == 0 and now.startswith("# kept\n\n") and "elsewhere gcc-1.0.0 libc text 1.0\n" in now
    status, text = run("check", now)
    assert status == 0 and "4 passed, 0 failed" in text
    less = re.sub(r"(json) ([\d.]+)$", lambda m: f"{m[1]} {float(m[2]) / 1.12:.1f}", now, flags=re.M)
    status, text = run("check", less)
    assert status == 1 and "FAILED: json" in text and "3 passed, 1 failed" in text
    status, text = run("check", "elsewhere gcc-1.0.0 libc text 1.0\n")
    assert status == 0 and text.startswith("skipped: no counts are recorded for ") and "1 skipped" in text
