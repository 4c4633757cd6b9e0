# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""-o ecs on a real kernel: each record is held against the schema, against ECS's own field reference, and, turned back
into the JSON record that it stands for, against what the workload wrote into its book and what /proc shows."""

import json
import os
import pathlib
import subprocess
import sys
import time

import jsonschema
import pytest

import conftest
import nsmonlib as lib
import runs

sys.path.insert(0, str(lib.REPO / "tests" / "golden"))
import ecs  # noqa: E402

pytestmark = [pytest.mark.once, pytest.mark.anywhere]


@pytest.fixture(scope="module")
def validator():
    text = subprocess.run([lib.NSMON, "--schema", "-o", "ecs"], stdout=subprocess.PIPE, check=True).stdout
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module", autouse=True)
def parser(validator):
    """Lines of ECS -> the JSON records that say the same; the form "ecs" of nsmonlib."""
    clock = time.clock_gettime_ns
    boot = clock(time.CLOCK_REALTIME) - clock(time.CLOCK_BOOTTIME)
    shapes = set()

    def parse(data, complete=True):
        lines = data.split(b"\n")
        assert lines.pop() == b"", "the last line is not whole"
        records = []
        for line in lines:
            record = json.loads(line.decode("utf-8"), object_pairs_hook=lib._no_duplicates)
            shape = (record["event"]["action"], record["event"].get("outcome"), *(path for path, _ in ecs.leaves(record)))
            if lib.SLOW <= 1 or shape not in shapes:
                errors = list(validator.iter_errors(record))
                assert not errors, f"not as the schema says: {line!r}"
            shapes.add(shape)
            ecs.check(record)
            said = ecs.to_json(record, boot, within=lib.seconds(0.2) * 10**9)
            lib.schema().validate(said)
            records.append(said)
        lib.check_stream(records, complete)
        return records

    lib.PARSERS["ecs"] = parse
    return parse


@pytest.fixture(scope="module")
def work_ecs(parser, tmp_path_factory, cgroups):
    run = runs.Run("driver", ("cases",), ("--failed",), form="ecs")
    return conftest.Work(run, tmp_path_factory.mktemp("ecs"), cgroups)


def test_the_schema_is_the_one_in_the_repository():
    printed = subprocess.run([lib.NSMON, "-o", "ecs", "--schema"], stdout=subprocess.PIPE, check=True).stdout
    assert printed == (lib.REPO / "dist" / "nsmon.ecs.schema.json").read_bytes()


def test_cases(work_ecs, case):
    """What the workload did, as its book has it."""
    work_ecs.check(case)


@pytest.mark.long
def test_threads(validator, tmp_path, cgroups):
    """With -T: the names of threads are not those of processes, and neither are their beginning and their end. Each
    process begins and ends once, also where its main thread ended before or another one execed in its place."""
    work = conftest.Work(runs.Run("driver", ("cases",), ("-T",), form="ecs"), tmp_path, cgroups)
    for case in work.expected.cases:
        if case not in work.expected.cannot:
            work.check(case)
    records = [json.loads(line) for line in work.run.out.splitlines()]
    threads = [r for r in records if r.get("process", {}).get("pid", 0) != r.get("process", {}).get("thread", {}).get("id", 0)]
    assert threads and all("name" in r["process"]["thread"] and "name" not in r["process"] for r in threads)
    for pid, birth in work.expected.births.items():
        of_process = [r for r in records if r.get("process", {}).get("pid") == pid]
        assert [r["event"]["type"] for r in of_process if r["event"]["action"] == "fork"].count(["start"]) == 1
        (end,) = [r for r in of_process if r["event"]["type"] == ["end"]]
        status = birth["status"]
        assert end["process"]["exit_code"] == (128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
        assert end["process"]["end"] == end["@timestamp"]
    alone = [r for r in records if r["event"]["action"] in ("fork", "exit") and r["event"]["type"] == ["change"]]
    assert {r["event"]["action"] for r in alone} == {"fork", "exit"}
    assert any(r in alone and "name" in r["process"] for r in records), "no main thread ended before its process"
    for record in alone:
        for wrong in as_of_process(record):
            assert validator.is_valid(record) and not validator.is_valid(wrong), wrong
            with pytest.raises(AssertionError):
                ecs.check(wrong)


def as_of_process(record):
    """What a thread did, said as if its process had done it."""
    if record["event"]["action"] == "fork":
        parent = {"pid": record["process"]["pid"], "thread": {"id": record["nsmon"]["ptid"]}}
        return [dict(record, event=dict(record["event"], type=["start"])), dict(record, process=dict(record["process"], parent=parent))]
    end = {"exit_code": 0, "end": record["@timestamp"]}
    return [dict(record, process=dict(record["process"], **end))]


def start_ticks(pid):
    """Start of a process in clock ticks since boot, as proc(5) gives it."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@pytest.mark.quick
def test_processes_that_exist(tmp_path):
    """A picture comes first without being asked for; and one process has one entity_id in every run, that of its
    boot, its number and its start."""
    sleeper = subprocess.Popen(["sleep", "1000"])
    ids = []
    try:
        for run in range(2):
            path = tmp_path / f"{run}"
            with subprocess.Popen([lib.NSMON, f"--backend={lib.BACKEND}", "-o", "ecs", "-w", path],
                                  stderr=subprocess.DEVNULL) as nsmon:
                try:
                    lib.wait_until(lambda: path.exists() and b'"action":"ready"' in path.read_bytes(), "ready", 60)
                finally:
                    nsmon.terminate()
                assert nsmon.wait(lib.seconds(20)) == 0
            records = [json.loads(line) for line in path.read_bytes().splitlines()]
            assert records[0]["event"]["action"] == "start" and records[0]["host"]["os"]["kernel"] == os.uname().release
            (proc,) = [r for r in records if r["event"]["action"] == "proc" and r["process"]["pid"] == sleeper.pid]
            assert (proc["event"]["kind"], proc["event"]["type"]) == ("state", ["info"])
            assert proc["process"]["args"] == ["sleep", "1000"]
            assert proc["process"]["executable"] == os.readlink(f"/proc/{sleeper.pid}/exe")
            for name, namespace in proc["nsmon"]["ns"].items():
                assert os.readlink(f"/proc/{sleeper.pid}/ns/{name}").endswith(f"[{namespace['inum']}]")
            ids.append(proc["process"]["entity_id"])
            ticks = proc["nsmon"]["start_ns"] * os.sysconf("SC_CLK_TCK") // 10**9
            assert ticks == start_ticks(sleeper.pid)
            assert proc["host"]["hostname"] == os.uname().nodename
    finally:
        sleeper.kill()
        sleeper.wait()
    boot_id = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert ids[0] == ids[1] == f"{boot_id}:{sleeper.pid}:{proc['nsmon']['start_ns']}"


@pytest.mark.quick
def test_parent(parser):
    """What a fork says of its creator is what the creator's own records say."""
    run = lib.trace(["sh", "-c", "sh -c 'true; :'; :"], form="ecs")
    records = [json.loads(line) for line in run.out.splitlines()]
    keys = {r["process"]["pid"]: r["process"]["entity_id"] for r in records if "process" in r}
    forks = [r for r in records if r["event"]["action"] == "fork" and r["process"]["parent"]["pid"] in keys]
    assert len(forks) >= 1
    for record in forks:
        assert record["process"]["parent"]["entity_id"] == keys[record["process"]["parent"]["pid"]]


@pytest.mark.quick
def test_hostile(parser, tmp_path):
    """Names and arguments of any bytes: one line each, and what is no UTF-8 is told to be so."""
    program = tmp_path / 'a"},"event"\n'
    os.symlink("/bin/true", program)
    run = lib.trace([program, "\udcff\udcfe", '"}\n{"', "\x1b[2J"], form="ecs")
    (exec_,) = [json.loads(line) for line in run.out.splitlines() if b'"action":"exec"' in line]
    assert exec_["process"]["executable"] == str(program)
    assert exec_["process"]["args"] == [str(program), "\ufffd\ufffd", '"}\n{"', "\x1b[2J"]
    assert exec_["process"]["args_count"] == 4
    assert exec_["nsmon"]["raw"] is True


def test_relative_and_killed(parser, tmp_path):
    """A file that is not named by an absolute path is no process.executable; 128 and the signal is the exit code."""
    os.symlink("/bin/sh", tmp_path / "shell")
    run = lib.trace(["./shell", "-c", "kill -KILL $$"], form="ecs", cwd=tmp_path, status=137)
    records = [json.loads(line) for line in run.out.splitlines()]
    (exec_,) = [r for r in records if r["event"]["action"] == "exec"]
    (exit_,) = [r for r in records if r["event"]["action"] == "exit"]
    assert exec_["nsmon"]["filename"] == "./shell" and "executable" not in exec_["process"]
    assert exit_["process"]["exit_code"] == 137 and exit_["nsmon"]["signal"] == 9
    assert exit_["process"]["end"] == exit_["@timestamp"]


@pytest.mark.parametrize("command", ["list", "check"])
def test_not_of_a_picture(command):
    run = lib.run([lib.NSMON, command, "-o", "ecs"])
    assert run.returncode == 2 and run.stdout == b""
    assert f"--output 'ecs': {command} takes text or json" in run.stderr.decode()
