# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The command line: exit statuses, filters, -p, -w, signals, wrong values, privilege, terminals and pipes. Witnesses
are the driver's book and what the same command does without nsmon."""

import collections
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import termios
import threading
import time

import pytest

import machine
import nsmonlib as lib
from test_ns import nanoseconds

# With one backend of each kernel; with each_backend: with all of them.
pytestmark = [pytest.mark.once, pytest.mark.anywhere]

NOBODY = 65534


# ---- the promise of the RFC ----


@pytest.mark.quick
@pytest.mark.each_backend
@pytest.mark.vital
def test_the_example(tmp_path, program):
    """The issue's example as it is written; what ls prints is the witness for the new inode number."""
    program("unshare")
    out = tmp_path / "out"
    command = ["unshare", "-n", "-f", "ls", "-l", "/proc/self/ns/net"]
    run = lib.run(lib.nsmon_argv("-w", out, command=command))
    assert run.returncode == 0, run.stderr
    new = int(re.search(rb"net:\[(\d+)\]", run.stdout).group(1))
    old = lib.proc_ns()["net"]
    assert new != old
    lines = out.read_text().splitlines()
    match = re.fullmatch(r"fork: ppid=(\d+) pid=(\d+) comm=nsmon", lines[0])
    assert match, lines
    p = match.group(2)
    q = re.fullmatch(rf"fork: ppid={p} pid=(\d+) comm=unshare", lines[3]).group(1)
    assert lines == [
        lines[0],
        f'exec: pid={p} comm=unshare args="unshare -n -f ls -l /proc/self/ns/net"',
        f"ns: pid={p} type=net reason=unshare old_inum={old} inum={new} comm=unshare",
        f"fork: ppid={p} pid={q} comm=unshare",
        f'exec: pid={q} comm=ls args="ls -l /proc/self/ns/net"',
        f"exit: pid={q} comm=ls code=0",
        f"exit: pid={p} comm=unshare code=0",
    ]


# ---- -- COMMAND ----

ENDS = ["true", "exit 7", "kill -9 $$", "kill -TERM $$", "exit 255"]


@pytest.mark.quick
@pytest.mark.parametrize("script", ENDS)
def test_exit_status_of_the_command(script):
    alone = subprocess.run(["sh", "-c", script], check=False).returncode
    expected = alone if alone >= 0 else 128 - alone
    run = lib.trace(["sh", "-c", script], status=expected)
    ends = [r for r in run.records if r["event"] == "exit"]
    assert lib.status_of(ends[-1]) == (alone << 8 if alone >= 0 else -alone)


@pytest.mark.parametrize("mode, status", [(None, 127), (0o644, 126), (0o755, 126)])
def test_command_that_cannot_run(tmp_path, mode, status):
    """Not there; not executable; a directory. As sh, env and timeout say it."""
    path = tmp_path / "program"
    if mode == 0o644:
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    elif mode:
        path.mkdir()
    assert lib.run(["env", path]).returncode == status
    run = lib.trace([path], "-q", status=status)
    lines = run.err.decode().splitlines()
    assert len(lines) == 1 and str(path) in lines[0]
    assert [r["event"] for r in run.records] == ["start", "fork", "exit", "stop"]


def test_standard_streams_are_the_commands_own(tmp_path):
    """With -w the command's input and output are as without nsmon."""
    command = ["sh", "-c", "cat; echo err >&2"]
    run = lib.run(lib.nsmon_argv("-q", "-o", "json", "-w", tmp_path / "out", command=command), input=b"in\n")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"in\n", b"err\n")
    assert lib.parse_json((tmp_path / "out").read_bytes())


def test_closed_descriptors_are_closed_for_the_command(tmp_path):
    """As a shell would start it: nsmon does not put anything in their place."""
    listing = tmp_path / "listing"
    script = f"{shlex.join(map(str, lib.nsmon_argv('-q', '-w', tmp_path / 'out', command=['ls', '/proc/self/fd'])))}"
    for closed, left in (("0<&-", {"1", "2"}), ("2>&-", {"0", "1"})):
        lib.run(["sh", "-c", f"ls /proc/self/fd {closed} > {listing}.alone; {script} {closed} > {listing}"])
        alone, shown = ((tmp_path / name).read_text().split() for name in ("listing.alone", "listing"))
        assert shown == alone and left <= set(shown) | {"3"}


def test_user(tmp_path):
    tmp_path.chmod(0o755)
    command = ["sh", "-c", "id -u; id -g; echo $HOME"]
    run = lib.run(lib.nsmon_argv("-o", "json", "-w", tmp_path / "out", "--user=nobody", command=command))
    nobody = pwd.getpwnam("nobody")
    assert run.stdout.decode().split() == [str(nobody.pw_uid), str(nobody.pw_gid), nobody.pw_dir]
    records = lib.parse_json((tmp_path / "out").read_bytes())
    ids = {(r["uid"], r["gid"]) for r in records if r["event"] in ("exec", "exit")}
    assert ids == {(nobody.pw_uid, nobody.pw_gid)}


class Straggler:
    """A command that ends at once with 3 and leaves a server behind, which takes orders through a named pipe."""

    def __init__(self, directory):
        self.book = directory / "straggler.book"
        self.fifo = directory / "orders"
        os.mkfifo(self.fifo)
        script = 'trap "" INT; "$0" --book "$1" serve < "$2" & exit 3'
        self.command = ["sh", "-c", script, lib.DRIVER, self.book, self.fifo]

    def begin(self):
        self.orders = open(self.fifo, "w", encoding="ascii")
        self.pid = lib.wait_until(lambda: lib.read_book(self.book), "the straggler")[0]["pid"]

    def end(self):
        self.orders.write("fork\nexit 4\n")
        self.orders.close()
        lib.wait_until(lambda: not os.path.exists(f"/proc/{self.pid}"), "the straggler's end")
        return next(b["child"] for b in lib.read_book(self.book) if b["op"] == "clone")


@pytest.mark.each_kernel
def test_descendants_that_the_command_left(tmp_path):
    """The trace goes on until the last of them has ended; the status is the command's."""
    left = Straggler(tmp_path)
    with lib.Live(tmp_path, command=left.command) as nsmon:
        left.begin()
        command = nsmon.wait_for(lambda r: r["event"] == "exit", "the command's end")
        assert command["code"] == 3 and nsmon.alive()
        child = left.end()
        assert nsmon.wait() == 3
        records = lib.parse_json(nsmon.out)
    assert [(r["event"], r["pid"]) for r in records if r.get("ppid") == left.pid or r.get("pid") == left.pid][-3:] == [
        ("fork", child), ("exit", child), ("exit", left.pid)
    ]
    assert [r["code"] for r in records if r["event"] == "exit" and r["pid"] == left.pid] == [4]


def test_signal_ends_a_trace_with_descendants(tmp_path):
    """At once: one that ignores SIGINT does not hold up the end."""
    left = Straggler(tmp_path)
    with lib.Live(tmp_path, command=left.command) as nsmon:
        left.begin()
        nsmon.wait_for(lambda r: r["event"] == "exit", "the command's end")
        assert nsmon.stop() == 3
        lib.parse_json(nsmon.out)
        assert os.path.exists(f"/proc/{left.pid}"), "the straggler ended with it; the test shows nothing"
        left.end()


def test_signal_before_the_command_has_ended(tmp_path):
    """It has no exit status yet, and 0 would claim that it ended well."""
    ready = tmp_path / "ready"
    with lib.Live(tmp_path, command=["sh", "-c", 'trap "" INT; : > "$0"; sleep 60', ready]) as nsmon:
        lib.wait_until(ready.exists, "the command")
        command = nsmon.wait_for(lambda r: r["event"] == "exec", "the command's exec")["pid"]
        try:
            assert nsmon.stop() == 128 + signal.SIGINT
            assert f"{command}) still runs" in nsmon.err
            assert lib.parse_json(nsmon.out)[-1]["event"] == "stop"
        finally:
            sleeper = pathlib.Path(f"/proc/{command}/task/{command}/children").read_text().split()
            for pid in (command, *map(int, sleeper)):
                os.kill(pid, signal.SIGKILL)


# ---- filters: the same work, seen through each ----

FILTER_CASES = "clone-all,unshare-uts,unshare-pid,setns-net,pidfd-three,fork,exec-plain,thread-net"


def filtered(records, events=None, types=None, reasons=None):
    for r in records:
        kind = r.get("change", [None])[0]
        if events and r["event"] not in events:
            continue
        if r["event"] == "ns" and types and kind not in types:
            continue
        if r["event"] == "ns" and reasons and r["reason"] not in reasons:
            continue
        yield r


@pytest.mark.parametrize(
    "options, want",
    [
        (["-e", "fork"], {"events": ["fork"]}),
        (["--events=exec,exit"], {"events": ["exec", "exit"]}),
        (["-e", "ns"], {"events": ["ns"]}),
        (["-n", "net,pid_for_children"], {"types": ["net", "pid_for_children"]}),
        (["-r", "setns,fork"], {"reasons": ["setns", "fork"]}),
        (["--reasons=clone"], {"reasons": ["clone"]}),
        (["-e", "ns", "--types=uts", "-r", "unshare"], {"events": ["ns"], "types": ["uts"], "reasons": ["unshare"]}),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
@pytest.mark.each_kernel
def test_filter(tmp_path, options, want):
    book = tmp_path / "book"
    run = lib.trace([lib.DRIVER, "--book", book, "--only", FILTER_CASES, "cases"], *options)
    expected = lib.Expected(lib.read_book(book))
    unfiltered = [(k[0], w) for k, stream in expected.streams.items() for w in stream]
    wanted = collections.Counter(
        (pid, lib.wanted_summary(w)) for pid, w in unfiltered if list(filtered([w], **want))
    )
    got = collections.Counter((r["pid"], lib.summary(r)) for r in run.records if r.get("pid") in expected.births)
    assert got == wanted
    assert 0 < sum(wanted.values()) < len(unfiltered)
    filters = run.records[0]["filters"]
    for name, values in want.items():
        assert sorted(filters[name]) == sorted(values)


@pytest.mark.each_backend
def test_filter_of_failed_attempts(tmp_path):
    """-n also chooses among them, by the types that the call asked for."""
    book = tmp_path / "book"
    cases = "clone3-eexist,clone3-untouched,unshare-einval,unshare-eperm,setns-ebadf"
    run = lib.trace([lib.DRIVER, "--book", book, "--only", cases, "cases"], "--failed", "-n", "net", "-e", "ns")
    wanted = sorted(
        (b["pid"], b["op"], b["errno"])
        for b in lib.read_book(book)
        if b.get("ret", 0) < 0 and b["op"] in ("clone", "unshare", "setns") and b["flags"] & lib.CLONE_FLAGS["net"]
    )
    assert len(wanted) == 4
    assert sorted((r["pid"], r["reason"], r["errno"]) for r in run.records if "errno" in r) == wanted


def test_timestamps(tmp_path):
    book = tmp_path / "book"
    before = time.time() - 1
    run = lib.run(lib.nsmon_argv("-t", command=[lib.DRIVER, "--book", book, "--only", "fork", "cases"]))
    after = time.time() + 1
    lines = run.stdout.split(b"\n")[:-1]
    assert len(lines) == 1 + 1 + 2 + 3  # forks and exec of the driver, of the case and of its child; three exits
    for line in lines:
        stamp, _, rest = line.partition(b" ")
        assert before <= nanoseconds(stamp.decode()) / 1e9 <= after
        lib.parse_line(rest)


# ---- the whole machine, and -p ----


@pytest.mark.each_kernel
def test_inside_a_pid_namespace(tmp_path, program):
    """In a pid namespace of its own nsmon numbers tasks as the /proc there does, and sees no others."""
    book = tmp_path / "book"
    only = f"{FILTER_CASES},nested-pid,unshare-all,clone3-all,exit-kill,unshare-eperm"
    command = [lib.DRIVER, "--book", book, "--only", only, "cases"]
    argv = [program("unshare"), "-p", "-f", "--mount-proc", *lib.nsmon_argv("-o", "json", "--failed", command=command)]
    run = lib.run(argv)
    assert run.returncode == 0, run.stderr.decode()
    records = lib.parse_json(run.stdout)
    expected = lib.Expected(lib.read_book(book), failed=True)
    assert max(expected.births) < 200, "these are not the numbers of a new pid namespace; the test shows nothing"
    for case in only.split(","):
        lib.check_case(expected, records, case)
    assert records[1]["ppid"] == 1


@pytest.mark.quick
@pytest.mark.each_kernel
@pytest.mark.vital
def test_trace_of_everything(tmp_path):
    """Without COMMAND every task of the machine is seen: the driver is started by somebody else."""
    book = tmp_path / "book"
    with lib.Live(tmp_path) as nsmon:
        nsmon.wait_started()
        command = [lib.DRIVER, "--book", book, "--only", FILTER_CASES, "cases"]
        process = subprocess.Popen(command)
        assert process.wait(lib.seconds(60)) == 0
        run = nsmon.finish()
    expected = lib.Expected(lib.read_book(book))
    for case in expected.cases:
        lib.check_case(expected, run.records, case)
    driver = {r["event"]: r for r in run.of(process.pid)}
    stop = run.records[-1]
    # A kernel may skip programs that it has preempted, and says how many: then one may be missing.
    assert list(driver) == ["fork", "exec", "exit"] or (machine.skips_tracepoints() and stop["lost"]), (driver, stop, run.err)
    assert "fork" not in driver or driver["fork"]["ppid"] == os.getpid()
    assert "exec" not in driver or driver["exec"]["args"] == [str(c) for c in command]


@pytest.fixture
def fifo_servers(tmp_path):
    """A server with a child that is a server, too."""
    fifos = [tmp_path / "orders0"]
    os.mkfifo(fifos[0])
    child_book = tmp_path / "child.book"

    def start(argv):
        child = [lib.DRIVER, "--book", str(child_book), "serve"]
        script = '"$0" --book "$1" serve < "$2" & shift 2; exec "$@"'
        return ["sh", "-c", script, child[0], str(child_book), str(fifos[0]), *argv]

    with lib.Server(tmp_path, "parent", start=start) as parent:
        with open(fifos[0], "w", encoding="ascii") as orders:

            def order(text):
                done = sum(b["op"] == "done" for b in lib.read_book(child_book))
                orders.write(text + "\n")
                orders.flush()
                lib.wait_until(lambda: sum(b["op"] == "done" for b in lib.read_book(child_book)) > done, text)
                return [b for b in lib.read_book(child_book) if b["op"] == "clone"][-1]

            lib.wait_until(lambda: lib.read_book(child_book), "the child to serve")
            yield parent, order, lib.read_book(child_book)[0]["pid"]


@pytest.mark.quick
@pytest.mark.each_kernel
def test_pid(tmp_path, fifo_servers):
    """-p PID: its own changes and its new descendants, not those that it had; ends with the last of them."""
    parent, order_child, child = fifo_servers
    with lib.Server(tmp_path, "stranger") as stranger:
        with lib.Live(tmp_path, "-p", parent.pid) as nsmon:
            nsmon.wait_started()
            forked = parent.order("fork")[0]
            stranger.order("fork")
            before = order_child("fork")
            changed = parent.order("unshare-uts")[0]
            cloned = parent.order("clone-uts")[0]
            parent.exit(9)
            assert nsmon.wait() == 0, "nsmon ends by itself when PID and its descendants have ended"
            records = lib.parse_json(nsmon.out)
        assert before["pid"] == child and order_child("fork")["pid"] == child, "the child is still there"
    uts = lib.changes(changed["own"], changed["after"])[0]
    new = lib.changes(cloned["own"], cloned["child_ns"])[0]
    want = [
        (forked["child"], f"fork ppid={parent.pid}"),
        (forked["child"], f"exit status={forked['status']}"),
        (parent.pid, f"ns unshare uts {uts[1]} -> {uts[2]}"),
        (cloned["child"], f"fork ppid={parent.pid}"),
        (cloned["child"], f"ns clone uts {new[1]} -> {new[2]}"),
        (cloned["child"], f"exit status={cloned['status']}"),
        (parent.pid, f"exit status={9 << 8}"),
    ]
    assert [(r["pid"], lib.summary(r)) for r in records[1:-1]] == want
    assert records[0]["filters"]["pids"] == [parent.pid]


@pytest.mark.each_kernel
def test_two_pids(tmp_path):
    with lib.Server(tmp_path, "a") as a, lib.Server(tmp_path, "b") as b, lib.Server(tmp_path, "c") as c:
        with lib.Live(tmp_path, "-p", a.pid, f"--pid={b.pid}") as nsmon:
            nsmon.wait_started()
            children = [s.order("fork")[0]["child"] for s in (a, c, b)]
            a.exit(1)
            b.order("fork")
            assert nsmon.process.poll() is None, "one of the two is still there"
            b.exit(2)
            assert nsmon.wait() == 0
            records = lib.parse_json(nsmon.out)
    forked = [(r["ppid"], r["pid"]) for r in records if r["event"] == "fork"]
    assert forked[:2] == [(a.pid, children[0]), (b.pid, children[2])] and len(forked) == 3
    assert {r["pid"] for r in records if r["event"] == "exit"} == {a.pid, b.pid, *(f[1] for f in forked)}


def refused(*options, status=1):
    """Runs nsmon where it must refuse; returns its standard error."""
    run = lib.run([lib.NSMON, *options])
    assert run.returncode == status, run
    assert run.stdout == b"", "records of a run that was refused"
    return run.stderr.decode()


def test_pid_that_does_not_exist():
    process = subprocess.Popen(["true"])
    process.wait()
    error = refused("-p", process.pid, status=2)
    assert len(error.splitlines()) == 1 and str(process.pid) in error


def test_pid_where_proc_is_of_another_pid_namespace(tmp_path, program):
    """-p takes the numbers of nsmon's own pid namespace, whatever the mounted /proc shows."""
    out = tmp_path / "out"
    script = f'"$@" -p 99; echo $?; sleep {lib.seconds(2):.0f} & pid=$!; "$@" -p $pid; echo $? $pid'
    argv = lib.nsmon_argv("-q", "-o", "json", "-w", out)
    run = lib.run([program("unshare"), "-pf", "sh", "-c", script, "sh", *argv])
    assert run.stdout.split()[:2] == [b"2", b"0"], run
    assert b"--pid '99'" in run.stderr and len(run.stderr.splitlines()) == 1
    ends = [(r["pid"], r["comm"]) for r in lib.parse_json(out.read_bytes()) if r["event"] == "exit"]
    assert ends == [(int(run.stdout.split()[2]), "sleep")]


def test_pid_of_a_thread(tmp_path):
    """Its number is not a process's: the line names the process."""
    go, ready, tid = threading.Event(), threading.Event(), []

    def body():
        tid.append(threading.get_native_id())
        ready.set()
        go.wait()

    thread = threading.Thread(target=body)
    thread.start()
    ready.wait()
    try:
        error = refused("-p", tid[0], status=2)
    finally:
        go.set()
        thread.join()
    assert len(error.splitlines()) == 1 and str(tid[0]) in error and str(os.getpid()) in error


# ---- wrong usage ----

WRONG = [
    (["--output=xml"], "--output", "xml", ["text", "json", "ecs"]),
    (["-o", ""], "--output", "''", ["text", "json"]),
    (["-e", "fork,spawn"], "--events", "spawn", ["fork", "exec", "exit", "ns"]),
    (["-e", "fork,"], "--events", "fork,", ["fork", "exec", "exit", "ns"]),
    (["-n", "mount"], "--types", "mount", lib.TYPES),
    (["-r", "clone,cloned"], "--reasons", "cloned", lib.REASONS),
    (["-p", "abc"], "--pid", "abc", ["process"]),
    (["-p", "0"], "--pid", "0", ["process"]),
    (["-p", "-1"], "--pid", "-1", ["process"]),
    (["-p", "99999999999999999999"], "--pid", "99999999999999999999", ["process"]),
    (["--buffer=abc"], "--buffer", "abc", ["power of two"]),
    (["--buffer=3M"], "--buffer", "3M", ["power of two"]),
    (["--buffer=0"], "--buffer", "0", ["power of two"]),
    (["--buffer=1"], "--buffer", "1", ["power of two"]),
    (["--buffer=8Mx"], "--buffer", "8Mx", ["power of two"]),
    (["--buffer=99999999999999999999G"], "--buffer", "99999999999999999999G", ["power of two"]),
    (["--backend=uprobe"], "--backend", "uprobe", ["auto", "fentry", "kprobe", "tracepoint"]),
    (["--user=no-such-user-here", "--", "true"], "--user", "no-such-user-here", ["user"]),
    (["trace"], "trace", "trace", ["check", "COMMAND"]),
    (["--no-such-option"], "no-such-option", "no-such-option", []),
    (["--"], "--", "--", ["COMMAND"]),
    (["-o"], "o", "o", []),
    (["--btf="], "--btf", "''", ["BTF"]),
    (["-w", ""], "--write", "''", ["file"]),
    (["--schema"], "--schema", "--schema", ["COMMAND"]),
]


@pytest.mark.quick
@pytest.mark.parametrize("argv, option, value, takes", WRONG, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_wrong_usage(tmp_path, argv, option, value, takes):
    """Exit status 2; the message names the option, the value and what it takes; nothing was started."""
    book = tmp_path / "book"
    command = [] if "--" in argv else ["--", lib.DRIVER, "--book", str(book), "--only", "fork", "cases"]
    error = refused(*argv, *command, status=2)
    first = error.splitlines()[0]
    for part in (option, value, *takes):
        assert part in first, first
    assert "\x1b" not in error and not book.exists()


def test_btf_that_is_not_there(tmp_path):
    error = refused("--btf", tmp_path / "none", "--", "true", status=2)
    assert len(error.splitlines()) == 1 and "--btf" in error and str(tmp_path / "none") in error


def test_btf_that_is_none(tmp_path):
    (tmp_path / "btf").write_bytes(b"this is not BTF" * 100)
    for path in (tmp_path / "btf", "/bin/sh"):
        error = refused("--btf", path, "--", "true", status=2)
        assert "--btf" in error and str(path) in error and "no BTF" in error
        assert len(error.splitlines()) == 1


@pytest.fixture
def without_btf(tmp_path, program):
    """A command's prefix: it runs where the kernel shows no BTF."""
    program("unshare")
    script = tmp_path / "without-btf"
    script.write_text('mount -t tmpfs none /sys/kernel/btf && exec "$@"\n')
    return ["unshare", "-m", "--propagation", "private", "sh", script]


@pytest.mark.quick
def test_no_btf(without_btf):
    """Where it was looked for, the option, and what the kernel would need; nothing was started."""
    run = lib.run([*without_btf, *lib.nsmon_argv("-q", command=["true"])])
    error = run.stderr.decode()
    assert (run.returncode, run.stdout) == (1, b"")
    assert len(error.splitlines()) == 1
    for part in ("/sys/kernel/btf/vmlinux", "--btf=FILE", "CONFIG_DEBUG_INFO_BTF"):
        assert part in error


@pytest.mark.quick
@pytest.mark.each_backend
def test_btf_from_a_file(tmp_path, without_btf):
    """The same records with a file as the only BTF there is, as on a kernel built without."""
    if lib.BACKEND == "fentry":
        pytest.skip("trampolines need the kernel's own BTF")
    btf, book, out = tmp_path / "btf", tmp_path / "book", tmp_path / "out"
    if "NSMON_TEST_BTF" in os.environ:  # as it is in the kernel's package
        btf = os.environ["NSMON_TEST_BTF"]
    else:
        shutil.copy("/sys/kernel/btf/vmlinux", btf)
    workload = [lib.DRIVER, "--book", book, "--only", FILTER_CASES, "cases"]
    run = lib.run([*without_btf, *lib.nsmon_argv("-o", "json", "-w", out, "--btf", btf, command=workload)])
    assert run.returncode == 0, run
    records = lib.parse_json(out.read_bytes())
    expected = lib.Expected(lib.read_book(book))
    for case in expected.cases:
        lib.check_case(expected, [r for r in records if r.get("pid") in expected.cases[case]], case)


@pytest.mark.quick
@pytest.mark.each_backend
def test_verifier_that_refuses_typed_pointers(tmp_path):
    """nsmon loads again, without, and tells the same."""
    shim, refused = lib.REPO / "build" / "refuse.so", tmp_path / "refused"
    with open(lib.NSMON, "rb") as file:
        if b"ld-linux" not in file.read(4096):
            pytest.skip("a static nsmon cannot be given another system call")
    if "bpf_get_current_task_btf" not in pathlib.Path("/proc/kallsyms").read_text(encoding="ascii"):
        pytest.skip("before 5.11 there are no typed pointers of the current task")
    book = tmp_path / "book"
    run = lib.trace(["env", "-u", "LD_PRELOAD", lib.DRIVER, "--book", book, "--only", FILTER_CASES, "cases"], "-v",
                    env={**os.environ, "LD_PRELOAD": str(shim), "REFUSED": str(refused)})
    assert refused.read_text().strip(), "no program was refused"
    assert b"loading again, without typed pointers" in run.err
    expected = lib.Expected(lib.read_book(book))
    for case in expected.cases:
        lib.check_case(expected, [r for r in run.records if r.get("pid") in expected.cases[case]], case)


def test_write_where_nobody_can(tmp_path):
    error = refused("-w", tmp_path / "no" / "such" / "directory", "--", "true", status=2)
    assert len(error.splitlines()) == 1 and str(tmp_path) in error


def test_output_that_cannot_be_written():
    for option in ("--help", "--version", "--usage", "--schema", "check"):
        with open("/dev/full", "w") as full:
            run = subprocess.run([lib.NSMON, option], stdout=full, stderr=subprocess.PIPE, check=False, text=True)
        assert run.returncode == 1 and "No space left on device" in run.stderr, option


def test_help_and_version():
    help_text = subprocess.run([lib.NSMON, "--help"], stdout=subprocess.PIPE, check=True, text=True).stdout
    for option in ("--output", "--events", "--types", "--reasons", "--pid", "--threads", "--timestamps", "--failed",
                   "--write", "--user", "--schema", "--buffer", "--backend", "--btf", "--quiet", "--verbose",
                   "--version", "--usage"):
        assert option in help_text
    version = subprocess.run([lib.NSMON, "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout
    assert re.match(r"nsmon \d+\.\d+", version)


# ---- privilege ----


def setpriv(*options):
    probe = lib.run(["setpriv", *options, "true"])
    if probe.returncode:
        pytest.skip(f"setpriv cannot: {probe.stderr.decode().strip()}")
    return ["setpriv", *options]


@pytest.mark.quick
@pytest.mark.parametrize("who", ["nobody", "root without the capabilities"])
def test_not_enough_privilege(tmp_path_factory, who, program):
    program("setpriv")
    binary = lib.NSMON
    if who == "nobody":
        prefix = setpriv(f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        if lib.run([*prefix, "test", "-x", binary]).returncode:
            pytest.skip(f"{binary} is in a directory that only root may enter")
    else:
        prefix = setpriv("--bounding-set=-bpf,-perfmon,-sys_admin")
    run = lib.run([*prefix, binary, "--", "true"])
    error = run.stderr.decode()
    assert (run.returncode, run.stdout) == (1, b"")
    assert len(error.splitlines()) == 1
    assert "CAP_BPF" in error and "CAP_PERFMON" in error and "sudo" in error


@pytest.mark.parametrize("missing, there", [("bpf", "CAP_PERFMON"), ("perfmon", "CAP_BPF")])
def test_one_capability_is_missing(missing, there, program):
    program("setpriv")
    prefix = setpriv(f"--bounding-set=-{missing},-sys_admin")
    run = lib.run([*prefix, lib.NSMON, "--", "true"])
    error = run.stderr.decode()
    assert run.returncode == 1 and f"CAP_{missing.upper()}" in error and there not in error


def counts_locked_memory():
    """BPF memory counts against RLIMIT_MEMLOCK before 5.11."""
    return tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups())) < (5, 11)


@pytest.mark.each_backend
def test_the_two_capabilities_are_enough(tmp_path, program):
    """Not CAP_SYS_ADMIN, nor any other."""
    program("setpriv")
    paranoid = pathlib.Path("/proc/sys/kernel/perf_event_paranoid").read_text(encoding="ascii").strip()
    if lib.BACKEND == "kprobe" and int(paranoid) > 2:
        pytest.skip(f"kernel.perf_event_paranoid={paranoid}: this kernel lets only CAP_SYS_ADMIN open a kprobe")
    prefix = setpriv("--bounding-set=-all,+bpf,+perfmon")
    argv = lib.nsmon_argv("-o", "json", "-q", command=["sh", "-c", "exit 3"])
    unlimited = ["prlimit", "--memlock=unlimited"] if counts_locked_memory() else []
    run = lib.run([*unlimited, *prefix, *argv])
    assert run.returncode == 3, run.stderr.decode()
    assert [r["event"] for r in lib.parse_json(run.stdout)] == ["start", "fork", "exec", "exit", "stop"]


def test_too_little_locked_memory(program):
    """Before 5.11 that is what BPF memory counts against; later kernels do not mind."""
    program("setpriv")
    argv = ["prlimit", "--memlock=65536:65536", *setpriv("--bounding-set=-sys_resource,-sys_admin"), *lib.nsmon_argv("-q", command=["true"])]
    run = lib.run(argv)
    if counts_locked_memory():
        assert run.returncode == 1 and b"RLIMIT_MEMLOCK" in run.stderr and len(run.stderr.splitlines()) == 1, run
    else:
        assert run.returncode == 0 or lib.BACKEND == "kprobe", run


# ---- -w ----


def test_write_appends(tmp_path):
    out = tmp_path / "out"
    umask = os.umask(0o077)
    try:
        for code in (1, 2):
            lib.trace(["sh", "-c", f"exit {code}"], "-w", out, form="text", status=code)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert [r["code"] for r in lib.parse_text(out.read_bytes()) if r["event"] == "exit"] == [1, 2]


def test_rotation(tmp_path):
    """The file is moved away, SIGHUP: what comes later is in a new file, and nothing is missing or doubled."""
    out, old = tmp_path / "log", tmp_path / "log.1"
    with lib.Server(tmp_path) as server:
        with lib.Live(tmp_path, "-w", out, "-p", server.pid) as nsmon:
            nsmon.wait_started(out)
            first = server.order("fork")[0]["child"]
            nsmon.wait_for(lambda r: r.get("pid") == first and r["event"] == "exit", "the first child", path=out)
            out.rename(old)
            nsmon.process.send_signal(signal.SIGHUP)
            lib.wait_until(out.exists, "the new file")
            second = server.order("fork")[0]["child"]
            nsmon.wait_for(lambda r: r.get("pid") == second and r["event"] == "exit", "the second child", path=out)
            assert nsmon.stop() == 0
        assert nsmon.out == b""
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert old.read_bytes().endswith(b"\n") and b'"event":"start"' not in out.read_bytes()
    records = lib.parse_json(old.read_bytes() + out.read_bytes())
    assert [(r["event"], r["pid"]) for r in records[1:-1]] == [
        ("fork", first), ("exit", first), ("fork", second), ("exit", second)
    ]


@pytest.fixture
def small_disk(tmp_path):
    where = tmp_path / "disk"
    where.mkdir()
    mounted = lib.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", where])
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted: {mounted.stderr.decode().strip()}")
    yield where
    subprocess.run(["umount", where], check=True)


def fill(path):
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def wait_for_rounds(pid):
    """Until nsmon has gone to sleep some more times, so that what it does in each round would show."""

    def rounds():
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)$", status, re.M).group(1))

    begin = rounds()
    lib.wait_until(lambda: rounds() >= begin + 2, "nsmon's next rounds")


def test_full_disk(tmp_path, small_disk):
    """One line on standard error; whole lines only; what was not written is counted; it goes on when there is room."""
    out, filler = small_disk / "log", small_disk / "filler"
    with lib.Server(tmp_path) as server:
        with lib.Live(tmp_path, "-q", "-w", out, "-p", server.pid) as nsmon:
            nsmon.wait_started(out)
            fill(filler)
            os.truncate(filler, filler.stat().st_size // 4096 * 4096 - 8192)
            server.order("storm 60")
            lib.wait_until(lambda: "\n" in nsmon.err, "a complaint")
            for _ in range(2):
                wait_for_rounds(nsmon.pid)
                server.order("storm 10")
            wait_for_rounds(nsmon.pid)
            at_full = out.read_bytes()
            filler.unlink()
            child = server.order("fork")[0]["child"]
            nsmon.wait_for(lambda r: r.get("pid") == child and r["event"] == "exit", "the last child", path=out)
            assert nsmon.stop() == 0
        storms = [b for b in server.lines("forks")]
    complaints = nsmon.err.splitlines()
    assert len(complaints) == 1 and str(out) in complaints[0] and "No space left on device" in complaints[0]
    data = out.read_bytes()
    assert data.startswith(at_full[: at_full.rfind(b"\n") + 1])
    records = lib.parse_json(data)
    lost = [r for r in records if r["event"] == "lost"]
    assert lost, "the disk was never full; the test shows nothing"
    children = sum(len(b["children"]) for b in storms)
    assert children == 80
    kinds = ("fork", "exec", "exit", "ns")
    delivered = [r for r in records if "recovered" not in r]
    counted = {k: sum(r["event"] == k for r in delivered) + sum(r[k] for r in lost) for k in kinds}
    assert counted == {"fork": 81, "exec": 80, "exit": 81, "ns": 8 + 2 + 2}


# ---- signals ----


@pytest.mark.quick
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_trace_cleanly(tmp_path, sig):
    """What was seen is written, the stop record is last, the status is 0."""
    with lib.Server(tmp_path) as server:
        with lib.Live(tmp_path, "-p", server.pid) as nsmon:
            nsmon.wait_started()
            child = server.order("fork")[0]["child"]
            run = nsmon.finish(sig)
    assert [(r["event"], r["pid"]) for r in run.records[1:-1]] == [("fork", child), ("exit", child)]
    assert run.records[-1]["event"] == "stop"


def test_signals_that_were_blocked_end_it_as_well(tmp_path):
    """And the command finds them blocked as they were."""
    mask = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
    command = ["grep", "SigBlk", "/proc/self/status"]

    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, mask)

    alone = subprocess.run(command, stdout=subprocess.PIPE, preexec_fn=block, check=True).stdout
    run = subprocess.run([*map(str, lib.nsmon_argv("-q", "-w", tmp_path / "out", command=command))],
                         stdout=subprocess.PIPE, preexec_fn=block, check=True)
    assert run.stdout == alone
    with lib.Live(tmp_path, preexec_fn=block) as nsmon:
        nsmon.wait_started()
        assert nsmon.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_signal_reaches_the_command(tmp_path, sig):
    """It ends of it, once, and its status is nsmon's."""
    ready = tmp_path / "ready"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = 'trap "exit 17" INT TERM; exec 3<>"$1"; : > "$0"; while :; do read -r line <&3; done'
    with lib.Live(tmp_path, "-q", command=["sh", "-c", script, ready, fifo]) as nsmon:
        lib.wait_until(ready.exists, "the command")
        assert nsmon.stop(sig) == 17
        records = lib.parse_json(nsmon.out)
    assert records[-2]["event"] == "exit" and records[-2]["code"] == 17


@pytest.mark.each_backend
def test_killed_nsmon_leaves_nothing(tmp_path):
    """SIGKILL: the programs, maps and links that it had are gone with it. The maps are not opened to see whether they are
    there: where the last descriptor of a program array is closed twice before the kernel has emptied it, as bpftool can
    do, it stays for ever (kernel/bpf/arraymap.c:prog_array_map_clear())."""

    def everything():
        return {(what, number) for what in lib.BPF_NEXT_ID for number in lib.bpf_ids(what)}

    def held_by(pid):
        held = set()
        for name in os.listdir(f"/proc/{pid}/fdinfo"):
            try:
                text = pathlib.Path(f"/proc/{pid}/fdinfo/{name}").read_text(encoding="ascii")
            except FileNotFoundError:  # it reads /proc just now
                continue
            held |= {(what, int(number)) for what, number in re.findall(r"^(prog|map|link)_id:\s*(\d+)$", text, re.M)}
        return held

    with lib.Live(tmp_path) as nsmon:
        nsmon.wait_started()
        own = held_by(nsmon.pid)
        assert len({i for what, i in own if what == "prog"}) >= 3 and own <= everything()
        nsmon.process.kill()
        nsmon.process.wait()
    lib.wait_until(lambda: not own & everything(), "its programs, maps and links to go")


# ---- pipes and terminals ----


@pytest.mark.quick
def test_reader_goes_away(tmp_path):
    """As `| head -1`: nsmon ends quietly with 0, also when nothing more would be written."""
    with lib.Server(tmp_path) as server:
        reader, writer = os.pipe()
        with lib.Live(tmp_path, "-q", "-p", server.pid, stdout=writer) as nsmon:
            os.close(writer)
            with os.fdopen(reader, "rb") as out:
                assert json.loads(out.readline())["event"] == "start"
            assert nsmon.wait() == 0
            assert nsmon.err == ""


@pytest.mark.parametrize("controlling", [True, False])
@pytest.mark.parametrize("busy", [True, False])
def test_terminal_goes_away(tmp_path, controlling, busy):
    """The window is closed: it ends by itself with 0, whether or not it is told so by SIGHUP."""

    def take_terminal():
        os.setsid()
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)

    with lib.Server(tmp_path) as server:
        main, terminal = pty.openpty()
        options = {"preexec_fn": take_terminal} if controlling else {}
        with lib.Live(tmp_path, "-v", "-p", server.pid, form="text", stdout=terminal, **options) as nsmon:
            os.close(terminal)
            lib.wait_until(lambda: "start" in nsmon.err, "the start that -v tells of")
            os.close(main)
            if busy:
                server.order("fork")
            assert nsmon.wait(timeout=10) == 0, nsmon.err


def test_no_standard_output():
    script = 'exec "$0" "$@" >&-'
    run = lib.run(["sh", "-c", script, *lib.nsmon_argv("-q", command=["true"])])
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1 and b"standard output" in run.stderr


@pytest.mark.quick
def test_line_comes_soon_through_a_pipe(tmp_path):
    """Not later than 100 ms after the event; here with much room for a machine that is busy."""
    with lib.Server(tmp_path) as server:
        reader, writer = os.pipe()
        with lib.Live(tmp_path, "-p", server.pid, stdout=writer) as nsmon, os.fdopen(reader, "rb", 0) as out:
            os.close(writer)
            data = lib.read_some(out.fileno(), lib.seconds(30))
            assert b'"event":"start"' in data
            for _ in range(3):
                child = server.order("fork")[0]["child"]
                begin = time.monotonic()
                while b'"event":"exit","pid":%d,' % child not in data:
                    left = begin + lib.seconds(2) - time.monotonic()
                    assert left > 0, f"nothing within {lib.seconds(2)} s"
                    data += lib.read_some(out.fileno(), left)
            nsmon.process.send_signal(signal.SIGINT)
            while more := lib.read_some(out.fileno(), lib.seconds(20)):
                data += more
            assert nsmon.wait() == 0
    lib.parse_json(data)


COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("no_color", [False, True])
def test_terminal(tmp_path, no_color):
    """On a terminal each line comes at once, its kind coloured; not with NO_COLOR."""
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    env["TERM"] = "xterm"
    if no_color:
        env["NO_COLOR"] = "1"
    with lib.Server(tmp_path) as server:
        main, terminal = pty.openpty()
        fcntl.fcntl(main, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        with lib.Live(tmp_path, "-v", "-p", server.pid, form="text", stdout=terminal, env=env) as nsmon:
            os.close(terminal)
            lib.wait_until(lambda: "start" in nsmon.err, "the start that -v tells of")
            data = b""
            children = []
            for _ in range(2):
                children.append(server.order("fork")[0]["child"])
                begin = time.monotonic()
                while b" pid=%d comm=driver code=3" % children[-1] not in data:
                    left = begin + lib.seconds(2) - time.monotonic()
                    assert left > 0, f"nothing within {lib.seconds(2)} s: {data!r}"
                    data += lib.read_some(main, left)
            assert nsmon.stop() == 0
        os.close(main)
    assert (COLOUR.search(data) is None) == no_color
    lines = data.split(b"\r\n")[:-1]
    for line in lines:
        coloured = COLOUR.match(line)
        assert bool(coloured) != no_color, line
        assert line.count(b"\x1b") in (0, 2), line
    parsed = [lib.parse_line(COLOUR.sub(b"", line)) for line in lines]
    assert [(r["event"], r["pid"]) for r in parsed] == [(e, c) for c in children for e in ("fork", "exit")]


def test_verbose_and_quiet(tmp_path):
    """start and stop are no lines of text; with -v their content is on standard error. -q says nothing."""
    loud = lib.trace(["true"], "-v", form="text")
    assert [r["event"] for r in loud.records] == ["fork", "exec", "exit"]
    error = loud.err.decode()
    assert re.search(r"start\b.*backend=", error) and re.search(r"stop\b.*fork=1 exec=1 exit=1 ns=0", error)
    assert lib.trace(["true"], "-q", form="text").err == b""


def test_start_record_says_where_it_is():
    start = lib.trace(["true"]).records[0]
    uname = os.uname()
    assert (start["kernel"], start["arch"], start["host"]) == (uname.release, uname.machine, uname.nodename)
    assert start["boot_id"] == pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert start["filters"]["command"] == ["true"]
    version = subprocess.run([lib.NSMON, "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout
    assert start["version"] in version
    if lib.BACKEND != "auto":
        assert start["backend"] == lib.BACKEND


def test_stop_without_events():
    """A trace in which nothing was asked for that happened."""
    run = lib.trace(["true"], "-e", "ns")
    assert [r["event"] for r in run.records] == ["start", "stop"]
