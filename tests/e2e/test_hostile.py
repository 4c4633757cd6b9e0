# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Names and arguments that a traced process chooses: they forge no line, break no JSON, reach no terminal. The witness
is the name that prctl(2) gave back to the process itself."""

import json

import pytest

import nsmonlib as lib
from test_exec_exit import decodings, utf8


@pytest.mark.cases("comm-")
def test_comm_in_json(work, case):
    name = bytes.fromhex(work.entries(case, "comm")[0]["comm"])
    worker = work.entries(case, "comm")[0]["pid"]
    child = next(p for p in work.expected.cases[case] if p != worker)
    forked, changed, ended = work.run.of(worker)
    for r in [changed, ended, *work.run.of(child)]:
        assert r["comm"] in decodings(name), r
        assert r.get("raw", False) == (not utf8(name)), r
    assert forked["comm"] == work.workload[:15]


@pytest.mark.once
@pytest.mark.quick
@pytest.mark.cases("comm-")
def test_comm_in_text(work_text, case):
    """Every line of this run was parsed, strictly, and so were the numbers; here the name comes back as it was."""
    name = bytes.fromhex(work_text.entries(case, "comm")[0]["comm"])
    worker = work_text.entries(case, "comm")[0]["pid"]
    child = next(p for p in work_text.expected.cases[case] if p != worker)
    kinds = [r["event"] for r in work_text.run.of(worker)]
    assert kinds == ["fork", "ns", "exit"]
    for r in work_text.run.of(worker)[1:] + work_text.run.of(child):
        assert r["comm"] == name, r


@pytest.mark.once
def test_every_line_is_the_work_of_nsmon(work_text):
    """As many lines as the book lets one expect: none was forged. (That each has its form is what parsing checks.)"""
    expected = sum(map(len, work_text.expected.streams.values()))
    spawned = [b["child"] for b in work_text.book if b.get("call") == "spawn" and b["ret"] > 0]
    extra = len([r for r in work_text.run.of(spawned) if r["event"] == "ns"])
    worker = next(b["pid"] for b in work_text.book if b["case"] == "fork")
    first = work_text.expected.births[worker]["pid"]
    assert len(work_text.run.records) == expected + extra + len(work_text.run.of(first))


@pytest.mark.once
def test_text_has_no_control_characters(work_text):
    text = work_text.run.out.decode("utf-8")
    bad = {c for c in text if (ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0}
    assert not bad
    names = [bytes.fromhex(b["comm"]) for b in work_text.book if b["op"] == "comm"]
    assert any(b"\n" in n for n in names) and any(b"\x1b" in n for n in names) and any(b"\xc2\x9b" in n for n in names)


@pytest.mark.once
def test_json_lines_are_utf8_and_one_object_each(work):
    lines = work.run.out.split(b"\n")[:-1]
    assert len(lines) >= len(work.run.records)
    for line in lines:
        assert isinstance(json.loads(line.decode("utf-8")), dict)
        assert b"\x1b" not in line and b"\x7f" not in line


@pytest.mark.once
def test_raw_is_only_where_bytes_were_replaced(work):
    raw = [r for r in work.run.records if r.get("raw")]
    assert raw and len(raw) < len(work.run.records) / 4
    for r in raw:
        assert "\ufffd" in json.dumps(r, ensure_ascii=False)


@pytest.mark.once
def test_names_of_the_command_itself(tmp_path):
    """A command whose own name and arguments are hostile; its records come first, in start as well."""
    program = tmp_path / "x\nexit: pid=1 comm=x code=0"
    program.symlink_to(lib.DRIVER)
    book = tmp_path / "book"
    command = [program, "--book", book, "--only", "exit-1,\x1b[31m", "cases"]
    json_run = lib.trace(command)
    executed = [r for r in json_run.records if r["event"] == "exec"]
    assert executed[0]["args"] == [str(a) for a in command] and executed[0]["filename"] == str(program)
    assert json_run.records[0]["filters"]["command"] == [str(a) for a in command]
    text = lib.trace(command, form="text").records
    assert [r["event"] for r in text] == ["fork", "exec", "fork", "exit", "exit"]
    assert text[1]["args"] == " ".join(map(str, command)).encode()
