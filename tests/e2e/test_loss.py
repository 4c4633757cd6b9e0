# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Storms: every fork, exec and exit is there once and in order; and where there is no room for all, what was delivered
and what was counted as lost is what the driver's book says that there was."""

import collections
import fcntl
import os
import pathlib
import signal
import subprocess

import pytest

import machine
import nsmonlib as lib

KINDS = ("fork", "exec", "exit", "ns")
F_SETPIPE_SZ = 1031
STORM = 10000 if lib.SLOW <= 1 else 1000


def moved_by(book):
    """The children that took a new uts namespace: every eighth."""
    chunks = ((b["first"], b["children"]) for b in book if b["op"] == "forks")
    return {pid for first, children in chunks for i, (pid, _) in enumerate(children) if (first + i) % 8 == 0}


def storm_of(book):
    """pid -> wait status of each child of the storm, and the processes that made them."""
    children, others = {}, {}
    for b in book:
        if b["op"] == "forks":
            for pid, status in b["children"]:
                assert pid not in children, "a pid was used twice; the test cannot tell"
                children[pid] = status
        elif b["op"] == "clone":
            others[b["child"]] = b["status"]
    return children, others


def check_totals(counted, true):
    """What was delivered and lost, of each kind, is what there was."""
    if machine.overcounts():
        assert all(counted[kind] >= true[kind] for kind in true), (counted, true)
    else:
        assert counted == true


def totals_of(book):
    """How many records of each kind there must be, the driver's own included."""
    children, others = storm_of(book)
    return {
        "fork": 1 + len(children) + len(others),
        "exec": 1 + len(children),
        "exit": 1 + len(children) + len(others),
        "ns": len(moved_by(book)),
    }


def delivered_and_lost(records):
    lost = {k: sum(r[k] for r in records if r["event"] == "lost") for k in KINDS}
    return {k: sum(r["event"] == k and "recovered" not in r for r in records) + lost[k] for k in KINDS}, lost


@pytest.fixture(scope="module")
def storm(tmp_path_factory):
    for _ in range(3):
        path = tmp_path_factory.mktemp("storm") / "book"
        run = lib.trace([lib.DRIVER, "--book", path, "forks", STORM, 2], timeout=300)
        book = lib.read_book(path)
        pids = [pid for b in book if b["op"] == "forks" for pid, _ in b["children"]]
        if len(pids) == len(set(pids)):
            break  # else others on this machine forked so much meanwhile that pids came again
    return run, book


@pytest.mark.once
def test_storm_is_complete(storm):
    run, book = storm
    counted, lost = delivered_and_lost(run.records)
    check_totals(counted, totals_of(book))
    assert lost == dict.fromkeys(KINDS, 0), "the default buffer is too small for two processes that fork"


@pytest.mark.once
def test_storm_is_in_order(storm):
    """Each child: fork, perhaps its new uts namespace, exec, exit with the status that its parent saw. Once."""
    run, book = storm
    children, _ = storm_of(book)
    assert len(children) == STORM // 2 * 2
    got = collections.defaultdict(list)
    for r in run.records:
        if r.get("pid") in children:
            got[r["pid"]].append(r)
    moved = moved_by(book)
    for pid, status in children.items():
        kinds = [r["event"] for r in got[pid]]
        assert kinds == (["fork", "ns", "exec", "exit"] if pid in moved else ["fork", "exec", "exit"]), pid
        assert lib.status_of(got[pid][-1]) == status
        assert got[pid][-2]["args"][0] == "storm-child"


@pytest.mark.anywhere
@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.once
def test_stalled_reader(tmp_path, form):
    """The smallest buffer and a reader that does not read: the work goes on and ends; then the sum is right."""
    book = tmp_path / "book"
    count = 1600 if lib.SLOW <= 1 else 500
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    command = [lib.DRIVER, "--book", book, "forks", count, 2]
    with lib.Live(tmp_path, "-q", "--buffer=4K", command=command, stdout=writer, form=form) as nsmon:
        os.close(writer)
        lib.wait_until(
            lambda: sum(len(b["children"]) for b in lib.read_book(book) if b["op"] == "forks") == count,
            "the work to end although nobody reads",
            timeout=120,
        )
        with os.fdopen(reader, "rb") as out:
            data = out.read()
        assert nsmon.wait() == 0, nsmon.err
    records = lib.parse_json(data) if form == "json" else lib.parse_text(data)
    counted, lost = delivered_and_lost(records)
    assert sum(lost.values()) > 0, "nothing was lost; the test shows nothing"
    check_totals(counted, totals_of(lib.read_book(book)))


def waits_in_write(pid):
    """Is its main thread inside write(2) to standard output, by the kernel's account?"""
    write = {"x86_64": "1", "aarch64": "64"}[os.uname().machine]
    return pathlib.Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()[:2] == [write, "0x1"]


@pytest.mark.anywhere
@pytest.mark.once
@pytest.mark.parametrize("events", ["ns", "fork", "fork,ns", "ns,exit", "exec", "fork,exit"])
def test_only_these_events(tmp_path, events):
    """No look at all tasks tells what was not asked for, nor what was told: for longer than until the first look."""
    command = ["sh", "-c", "(sleep 1.5; unshare -u true) & sleep 1.7; true"]
    run = lib.trace(command, "-s", "-e", events)
    wanted = set(events.split(","))
    told = [r for r in run.records if r["event"] not in ("start", "stop", "ready")]
    assert [r["event"] for r in told][:1] == ["proc"] and not [r for r in told if "recovered" in r], told
    assert {r["event"] for r in told[1:]} == wanted


@pytest.mark.anywhere
@pytest.mark.once
def test_what_stays_lost_is_said(tmp_path):
    """Without forks and exits nobody can find again what was lost: one line says so."""
    with lib.Server(tmp_path) as server:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        with lib.Live(tmp_path, "-e", "fork,exec", "--buffer=4K", "-p", server.pid, stdout=writer) as nsmon:
            os.close(writer)
            data = lib.read_some(reader, lib.seconds(30))
            server.order("storm 300")
            server.order("storm 100")
            with os.fdopen(reader, "rb", buffering=0) as out:
                while b'"event":"lost"' not in data:
                    assert lib.select.select([out], [], [], lib.seconds(20))[0], data[-500:]
                    data += out.read(65536)
                lib.wait_until(lambda: "not found again" in nsmon.err, "a line on standard error")
                nsmon.process.send_signal(signal.SIGTERM)
                data += out.read()
            assert nsmon.wait() == 0
    assert nsmon.err.count("not found again") == 1
    assert not [r for r in lib.parse_json(data) if "recovered" in r]


@pytest.mark.once
def test_changes_have_room_of_their_own(tmp_path):
    """A buffer that is full of forks has room for what nsmon exists for."""
    script = ("read x; i=0; while [ $i -lt 1000 ]; do (:); i=$((i+1)); done; echo; "
              "read x; exec unshare -u readlink /proc/self/ns/uts")
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    before = lib.proc_ns(process.pid)["uts"]
    with process, lib.Live(tmp_path, "-q", "--buffer=64K", "-p", process.pid, stdout=writer) as nsmon:
        os.close(writer)
        data = lib.read_some(reader, lib.seconds(30))
        assert b'"event":"start"' in data
        process.stdin.write(b"x\n")
        process.stdin.flush()
        process.stdout.readline()
        assert waits_in_write(nsmon.pid), "nsmon was to wait for its reader"
        process.stdin.write(b"x\n")
        process.stdin.close()
        after = int(process.stdout.readline().split(b"[")[1].rstrip(b"]\n"))
        with os.fdopen(reader, "rb") as out:
            data += out.read()
        assert nsmon.wait() == 0
    records = lib.parse_json(data)
    told = [(r.get("reason"), r["old_inum"], r["inum"]) for r in records if r["event"] == "ns"]
    assert told == [("unshare", before, after)]
    forks = [r for r in records if r["event"] == "fork" and "recovered" not in r]
    lost = [r for r in records if r["event"] == "lost"]
    counted = len(forks) + sum(r["fork"] for r in lost)
    # A kernel that skips programs may have one found alive by the look that follows, before its record came.
    found = sum(r["event"] == "fork" and "recovered" in r for r in records)
    assert counted == 1000 or (found and counted < 1000 <= counted + found) or (counted > 1000 and machine.overcounts())
    assert len(forks) < 1000, "nothing was lost; the test shows nothing"


@pytest.mark.anywhere
@pytest.mark.parametrize("begun", [True, False], ids=["in a line", "before a line"])
@pytest.mark.once
def test_stalled_reader_does_not_keep_nsmon(tmp_path, begun):
    """SIGTERM ends nsmon even while a write waits for a reader that does not read; it says that records are missing.
    The write waits in the midst of its data, or has not begun because others have filled the pipe."""
    with lib.Server(tmp_path) as server:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        with lib.Live(tmp_path, "-q", "-p", server.pid, stdout=writer) as nsmon:
            data = lib.read_some(reader, lib.seconds(30))
            assert b'"event":"start"' in data
            if not begun:
                os.write(writer, b"\n" * 4096)
            os.close(writer)
            server.order("storm 100")
            lib.wait_until(lambda: waits_in_write(nsmon.pid), "nsmon to wait for its reader")
            nsmon.process.send_signal(signal.SIGTERM)
            status = nsmon.wait(timeout=15)
            assert status == 1 and len(nsmon.err.splitlines()) == 1, (status, nsmon.err)
        with os.fdopen(reader, "rb") as out:
            data += out.read().lstrip(b"\n")
    lib.parse_json(data[: data.rfind(b"\n") + 1], complete=False)


@pytest.mark.once
def test_small_buffer_without_a_storm(tmp_path):
    """The smallest buffer is enough for work that is slow."""
    book = tmp_path / "book"
    run = lib.trace([lib.DRIVER, "--book", book, "--only", "fork,clone-uts,exec-5000", "cases"], "--buffer=16K")
    assert run.records[-1]["lost"] == 0
    expected = lib.Expected(lib.read_book(book))
    for case in ("fork", "clone-uts", "exec-5000"):
        lib.check_case(expected, run.records, case)
