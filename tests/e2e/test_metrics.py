# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""--metrics: what the file says is held against what the workload did; promtool and a parser of our own read it."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

import nsmonlib as lib
import test_loss

pytestmark = [pytest.mark.once, pytest.mark.anywhere]

SAMPLE = re.compile(r'([a-z_:][a-z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? ([0-9.e+-]+)')


def parse(path):
    """The text format of Prometheus -> {(name, labels): value}. Each name is described before its samples, once."""
    values, types, helped = {}, {}, set()
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helped and len(line.split(" ", 3)) == 4
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped and name not in types and kind in ("counter", "gauge")
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            assert name in types and name.startswith("nsmon_")
            assert (types[name] == "counter") == name.endswith("_total"), f"{name} is a {types[name]}"
            assert (name, labels) not in values
            values[name, labels] = float(value)
    return values


def by_event(values, name):
    return {e: values[name, f'event="{e}"'] for e in ("fork", "exec", "exit", "ns", "cgroup")}


@pytest.mark.quick
def test_counts(tmp_path, program):
    """Ten forks, eleven execs, a namespace: as the shell was told to."""
    path = tmp_path / "nsmon.prom"
    program("unshare")
    before = time.time()
    lib.trace(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do /bin/true; done; unshare -n true; :"], f"--metrics={path}")
    values = parse(path)
    assert by_event(values, "nsmon_records_total") == {"fork": 10, "exec": 11, "exit": 10, "ns": 1, "cgroup": 0}
    assert set(by_event(values, "nsmon_lost_total").values()) == {0}
    assert values["nsmon_unwritten_total", None] == values["nsmon_output_failing", None] == 0
    assert before - 1 <= values["nsmon_start_time_seconds", None] <= time.time()
    assert 0 < values["nsmon_uptime_seconds", None] <= time.time() - before + 1
    (labels,) = [labels for name, labels in values if name == "nsmon_build_info"]
    version = lib.run([lib.NSMON, "--version"]).stdout.decode().split()[1]
    assert f'version="{version}"' in labels
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["nsmon.prom"]


@pytest.mark.quick
def test_promtool(tmp_path, program):
    path = tmp_path / "nsmon.prom"
    promtool = program("promtool")
    lib.trace(["true"], f"--metrics={path}", form="text")
    with open(path, "rb") as file:
        checked = subprocess.run([promtool, "check", "metrics"], stdin=file, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, check=False)
    assert (checked.returncode, checked.stdout) == (0, b"")


def test_losses(tmp_path):
    """The smallest buffer, and a storm: what was written and what was lost is what the driver did; and it was repaired."""
    book, path = tmp_path / "book", tmp_path / "nsmon.prom"
    count = 4000 if lib.SLOW <= 1 else 800
    # nsmon, whose child this is, sleeps through the storm, after the first file and before the last.
    script = f"until [ -e {path} ]; do :; done; kill -STOP $PPID; {lib.DRIVER} --book {book} forks {count} 2; status=$?; kill -CONT $PPID; exit $status"
    lib.trace(["sh", "-c", script], f"--metrics={path}", "--buffer=4K", timeout=300)
    values = parse(path)
    written, lost = (by_event(values, f"nsmon_{what}_total") for what in ("records", "lost"))
    shell = {"fork": 1, "exec": 1, "exit": 1}
    totals = {kind: n + shell.get(kind, 0) for kind, n in test_loss.totals_of(lib.read_book(book)).items()}
    assert {kind: written[kind] + lost[kind] for kind in totals} == totals
    assert sum(lost.values()) > 0, "nothing was lost; the test cannot tell"
    assert values["nsmon_repairs_total", None] >= 1
    size, waiting = (values[f"nsmon_ring_buffer_{what}_bytes", None] for what in ("size", "waiting"))
    assert size == 4096 and 0 < waiting <= size


def test_full_disk(tmp_path):
    """What the output does not take is counted, and seen by whoever looks at the metrics."""
    path = tmp_path / "nsmon.prom"
    run = lib.run(lib.nsmon_argv(f"--metrics={path}", "-w", "/dev/full", command=["sh", "-c", "/bin/true; :"]))
    assert run.returncode == 1
    values = parse(path)
    totals = {"fork": 2, "exec": 2, "exit": 2}
    assert {kind: by_event(values, "nsmon_lost_total")[kind] for kind in totals} == totals
    assert set(by_event(values, "nsmon_records_total").values()) == {0}
    assert values["nsmon_unwritten_total", None] >= 6 and values["nsmon_output_failing", None] == 1


def processes():
    return sum(name.isdigit() for name in os.listdir("/proc"))


def switches(pid):
    """How often it went to sleep."""
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


@pytest.mark.long
def test_every_15_seconds(tmp_path):
    """A new file each time, also where nothing happens; and nothing else wakes an idle nsmon, nor anything without it."""
    path = tmp_path / "nsmon.prom"
    idle = ["--cgroup=/nsmon-test-of-nobody", "-e", "fork,exec,exit,ns"]
    plain = lib.Live(tmp_path, *idle, form="text")
    with plain, lib.Live(tmp_path, *idle, f"--metrics={path}", form="text") as nsmon:
        lib.wait_until(path.exists, "the first file", 60)
        first = path.stat()
        time.sleep(12)  # looks at what was under way at the start are over
        before = switches(nsmon.pid), switches(plain.pid)
        seen = {first.st_ino: first.st_mtime}
        deadline = time.monotonic() + 31
        while time.monotonic() < deadline:
            now = path.stat()
            seen.setdefault(now.st_ino, now.st_mtime)
            time.sleep(0.2)
        after = switches(nsmon.pid), switches(plain.pid)
        nsmon.alive()
    times = sorted(seen.values())
    assert 3 <= len(times) <= 4
    assert all(14 < later - sooner < 15 + lib.seconds(2) for sooner, later in zip(times, times[1:])), times
    assert (after[0] - before[0]) - (after[1] - before[1]) <= 2 * len(times), (before, after)


@pytest.mark.quick
def test_tasks(tmp_path):
    """Of the whole machine: as many as /proc shows, but for those that come and go."""
    path = tmp_path / "nsmon.prom"
    with lib.Live(tmp_path, f"--metrics={path}", "-e", "fork,exit", form="text"):
        lib.wait_until(path.exists, "the first file", 60)
        there = processes()
    assert abs(parse(path)["nsmon_tasks", None] - there) <= 5 + there // 10


@pytest.mark.quick
def test_directory_goes_away(tmp_path):
    """It is said once, and the trace goes on to its end."""
    directory = tmp_path / "textfile"
    directory.mkdir()
    command = ["sh", "-c", f"rm -r {directory}; /bin/true; :"]
    run = lib.trace(command, f"--metrics={directory}/nsmon.prom")
    assert [r["event"] for r in run.records][-1] == "stop"
    assert sum(r["event"] == "exec" for r in run.records) == 3
    lines = [line for line in run.err.decode().splitlines() if "--metrics" in line]
    assert len(lines) == 1 and f"{directory}/nsmon.prom" in lines[0] and "No such file" in lines[0]


@pytest.mark.quick
@pytest.mark.parametrize("where, why", [("none/file", "No such file"), (".", "regular file"), ("device", "regular file")])
def test_refused(tmp_path, where, why):
    """Before anything is started, as with -w."""
    os.symlink("/dev/null", tmp_path / "device")
    path, witness = tmp_path / where, tmp_path / "witness"
    run = lib.run([lib.NSMON, f"--metrics={path}", "--", "touch", witness])
    (line,) = run.stderr.decode().splitlines()
    assert (run.returncode, run.stdout) == (2, b"")
    assert f"--metrics '{path}'" in line and why in line
    assert not witness.exists()
    assert pathlib.Path("/dev/null").is_char_device()


@pytest.mark.quick
@pytest.mark.parametrize("log", ["nsmon.prom", "nsmon.prom.tmp", "none/../nsmon.prom", None])
def test_not_in_the_place_of_the_records(tmp_path, log):
    """Or of what somebody else has there: it would be lost."""
    path, witness = tmp_path / "nsmon.prom", tmp_path / "witness"
    (tmp_path / "none").mkdir()
    if log is None:
        path.write_text("a log\n")
    options = ["-w", f"{tmp_path}/{log}"] if log else []
    run = lib.run([lib.NSMON, *options, f"--metrics={path}", "--", "touch", witness])
    (line,) = run.stderr.decode().splitlines()
    assert (run.returncode, run.stdout) == (2, b"") and not witness.exists()
    assert f"--metrics '{path}'" in line and ("the records are written there" if log else "something else") in line
    assert sorted(os.listdir(tmp_path)) == ["none"] + ([] if log else ["nsmon.prom"])
    assert log or path.read_text() == "a log\n"


def test_killed(tmp_path):
    """What a nsmon that was killed may leave beside it is in nobody's way."""
    path = tmp_path / "nsmon.prom"
    (tmp_path / "nsmon.prom.tmp").write_text("# HELP nsmon_build_info Alwa")
    with subprocess.Popen(lib.nsmon_argv(f"--metrics={path}", "-q"), stdout=subprocess.DEVNULL) as nsmon:
        lib.wait_until(path.exists, "the first file", 60)
        nsmon.send_signal(signal.SIGKILL)
    assert parse(path)["nsmon_tasks", None] > 0
    assert os.listdir(tmp_path) == ["nsmon.prom"]


@pytest.mark.parametrize("command", ["list", "check"])
def test_not_of_a_picture(command, tmp_path):
    run = lib.run([lib.NSMON, command, f"--metrics={tmp_path}/nsmon.prom"])
    assert run.returncode == 2 and "--metrics" in run.stderr.decode() and "does not take it" in run.stderr.decode()


def test_directory_beside(tmp_path):
    """Where FILE.tmp is no file, that is the name in the message; at the start, and later."""
    path = tmp_path / "nsmon.prom"
    beside = tmp_path / "nsmon.prom.tmp"
    beside.mkdir()
    run = lib.run([lib.NSMON, f"--metrics={path}", "--", "true"])
    (line,) = run.stderr.decode().splitlines()
    assert run.returncode == 2 and run.stdout == b"" and f"{path}.tmp, where" in line and "no regular file" in line
