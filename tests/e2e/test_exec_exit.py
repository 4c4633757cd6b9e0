# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What exec and exit records say: file name, arguments, comm; status, signal, core, life time. The witnesses are what
the new program read in /proc/self, the wait status that the parent got, and the parent's clock."""

import os

import pytest

ROOM = 4096  # bytes for file name and arguments together


def split(cmdline):
    return cmdline[:-1].split(b"\0") if cmdline else []


def decodings(data):
    """What may stand for these bytes: every maximal invalid part, or every invalid byte, becomes one U+FFFD."""
    yield data.decode("utf-8", "replace")
    yield data.decode("utf-8", "surrogateescape").translate({c: 0xFFFD for c in range(0xDC80, 0xDD00)})


def utf8(data):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def only_exec(work, case):
    records = [r for r in work.of(case, "exec")]
    assert len(records) == 1
    report = work.entries(case, "report")
    called = work.entries(case, "exec")
    assert len(report) == len(called) == 1 and report[0]["pid"] == records[0]["pid"]
    return records[0], report[0], called[0]


@pytest.mark.quick
@pytest.mark.cases("exec-", "vfork-exec", "spawn", "thread-exec", "thread-moved-exec", but="exec-fails")
@pytest.mark.parametrize("variant", ["work", "work_32"])
def test_exec(variant, request, case):
    work = request.getfixturevalue(variant)
    record, report, called = only_exec(work, case)
    filename = bytes.fromhex(called["filename"])
    args = split(bytes.fromhex(report["cmdline"]))
    comm = bytes.fromhex(report["comm"])[:-1]
    assert record["filename"] in decodings(filename)
    assert record["comm"] in decodings(comm)
    used = len(filename) + 1 + sum(len(a) + 1 for a in args)
    if used <= ROOM:
        assert "args_truncated" not in record
        assert len(record["args"]) == len(args)
        for got, want in zip(record["args"], args):
            assert got in decodings(want)
        assert record.get("raw", False) == (not all(map(utf8, args + [filename, comm])))
    else:
        check_truncated(record, filename, args)


def check_truncated(record, filename, args):
    assert record["args_truncated"] is True
    *whole, last = record["args"]
    for got, want in zip(whole, args):
        assert got in decodings(want)
    cut = args[len(whole)]
    # A character that was cut in two is not valid any more: its rest is U+FFFD, and the record says so.
    text = last.rstrip("\ufffd")
    assert cut.decode().startswith(text)
    assert ("\ufffd" in last) == record.get("raw", False)
    kept = len(filename) + sum(len(a) + 1 for a in args[: len(whole)]) + len(text.encode())
    assert ROOM - 8 <= kept <= ROOM, f"{kept} bytes of {ROOM} are used"


def test_cut_in_a_character(work):
    """Of the two cases at least one is cut inside a character of three bytes, or neither tests anything."""
    records = [only_exec(work, f"exec-5000-utf8{suffix}")[0] for suffix in ("", "-shifted")]
    assert any(r.get("raw") for r in records)


@pytest.mark.once
@pytest.mark.cases("exec-", "vfork-exec", "spawn", "thread-exec", but="exec-fails")
def test_exec_as_text(work_text, case):
    record, report, called = only_exec(work_text, case)
    args = b" ".join(split(bytes.fromhex(report["cmdline"])))
    assert record["comm"] == bytes.fromhex(report["comm"])[:-1]
    if record.get("args_truncated"):
        filename = bytes.fromhex(called["filename"])
        assert args.startswith(record["args"]) and len(filename) + 1 + len(args) >= ROOM
    else:
        assert record["args"] == args


def test_exec_that_fails(work):
    failed = work.entries("exec-fails", "exec-failed")
    assert {b["errno"] for b in failed} == {2, 13}
    assert [r["event"] for r in work.of("exec-fails")] == ["fork", "exit"]


def test_exec_by_a_thread(work, work_threads):
    """The thread becomes the process: old_tid is the number that it had."""
    for w in (work, work_threads):
        for case in ("thread-exec", "thread-moved-exec", "main-moved-thread-exec"):
            record, report, called = only_exec(w, case)
            assert called["tid"] != called["pid"]
            assert (record["pid"], record["tid"], record["old_tid"]) == (called["pid"], called["pid"], called["tid"])
            assert (report["pid"], report["tid"]) == (called["pid"], called["pid"])
    others = [r for r in work.run.records if r["event"] == "exec" and "old_tid" in r]
    assert len(others) == 3


# ---- ends ----


@pytest.mark.quick
@pytest.mark.cases("exit-", "lifetime")
@pytest.mark.parametrize("variant", ["work", pytest.param("work_text", marks=pytest.mark.once), "work_32"])
def test_exit_status(variant, request, case):
    """What the parent's wait(2) said: code or signal, core or not; once for each process."""
    work = request.getfixturevalue(variant)
    for pid in work.expected.cases[case]:
        records = work.run.of(pid, "exit")
        assert len(records) == 1
        r = records[0]
        status = work.expected.births[pid]["status"]
        if os.WIFSIGNALED(status):
            assert (r["signal"], r.get("core", False)) == (os.WTERMSIG(status), os.WCOREDUMP(status))
            assert "code" not in r
        else:
            assert r["code"] == os.WEXITSTATUS(status)
            assert "signal" not in r and "core" not in r
        assert r.get("tid", pid) == pid


def test_the_cases_have_the_statuses_that_they_should(work):
    """Guards the witness: the parent saw signals, a core where one was allowed, and codes."""
    statuses = {}
    cases = ["exit-0", "exit-255", "exit-kill", "exit-segv-no-core", "exit-group-by-thread", "exit-leader-first-group"]
    for case in cases:
        pid = next(p for p in work.expected.cases[case])
        statuses[case] = work.expected.births[pid]["status"]
    assert list(statuses.values()) == [0, 255 << 8, 9, 11, 9 << 8, 5 << 8]
    pid = next(p for p in work.expected.cases["exit-abort-core"])
    assert work.expected.births[pid]["status"] & 0x7F == 6


def test_core(work):
    pid = next(p for p in work.expected.cases["exit-abort-core"])
    if not os.WCOREDUMP(work.expected.births[pid]["status"]):
        pytest.skip("the kernel dumps no core here (core_pattern)")
    assert work.run.of(pid, "exit")[0]["core"] is True


@pytest.mark.parametrize("variant", ["work", "work_threads"])
def test_life_time(variant, request):
    work = request.getfixturevalue(variant)
    longest = 0
    for pid, b in work.expected.births.items():
        for r in work.run.of(pid, "exit"):
            if r["tid"] == pid and (variant == "work" or len(work.run.of(pid, "exit")) == 1):
                assert b["life_min"] <= r["duration_ns"] <= b["life_max"], r
                longest = max(longest, b["life_min"])
    assert longest >= 50_000_000


def test_thread_exits(work_threads):
    """With -T every task has one fork and one exit; a thread's exit has the thread's own code."""
    w = work_threads
    ended = [b for b in w.book if b["op"] == "joined"]
    assert len(ended) >= 6
    for b in ended:
        r = [r for r in w.run.of(b["pid"], "fork", "exit") if r["tid"] == b["tid"]]
        assert [x["event"] for x in r] == ["fork", "exit"] and r[1]["code"] == 0
    own = w.entries("exit-thread-code", "thread-exit")[0]
    r = [r for r in w.run.of(own["pid"], "exit") if r["tid"] == own["tid"]]
    assert len(r) == 1 and r[0]["code"] == 7


def test_no_threads_without_the_option(work):
    tids = {b["tid"] for b in work.book if b["op"] == "thread"}
    assert len(tids) >= 15
    assert not [r for r in work.run.records if r.get("tid") in tids and r["event"] in ("fork", "exit")]
    assert [r for r in work.run.records if r.get("tid") in tids and r["event"] == "ns"]
