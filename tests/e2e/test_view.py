# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""nsmon inside a pid namespace numbers tasks as ps does there, and traces no others."""

import datetime
import json
import platform
import subprocess
import time

import pytest

import nsmonlib as lib


def run_inside(tmp_path, script, *options):
    out = tmp_path / "out"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *map(str, lib.nsmon_argv("-o", "json", "-w", out, *options)),
         *script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True,
        timeout=lib.seconds(60))
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    for record in records:
        lib.schema().validate(record)
    return done, records


@pytest.mark.once
def test_numbers_are_those_of_the_own_pid_namespace(tmp_path):
    script = ["--", "sh", "-c", 'echo $$; sh -c "echo \\$\\$ \\$PPID"; unshare --pid --fork sh -c "echo \\$\\$"']
    done, records = run_inside(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert "pid namespace" in done.stderr
    first, second, inner = done.stdout.splitlines()
    shells = [r for r in records if r["event"] == "exec" and r["comm"] == "sh"]
    assert [r["pid"] for r in shells[:2]] == [int(first), int(second.split()[0])]
    assert shells[1]["ppid"] == int(second.split()[1]) == shells[0]["pid"]
    # The innermost is 1 to itself, and something else to nsmon.
    assert shells[2]["vpid"] == int(inner) == 1
    assert shells[2]["pid"] > shells[1]["pid"]
    assert [r["vpid"] for r in shells[:2]] == [r["pid"] for r in shells[:2]]


@pytest.mark.once
def test_outside_is_not_traced(tmp_path):
    """Everything is asked for, and what happens outside at the same time is not seen; its own children are."""
    script = 'nsmon=$1; shift; "$nsmon" "$@" & until grep -q start "$OUT" 2>/dev/null; do :; done; ' \
        "/bin/true; kill -INT $!; wait $!"
    out = tmp_path / "out"
    argv = list(map(str, lib.nsmon_argv("-q", "-o", "json", "-w", out)))
    outside = subprocess.Popen(["sh", "-c", "while :; do /bin/true; done"])
    try:
        subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "env", f"OUT={out}", "sh", "-c", script, "sh", *argv],
                       check=True, timeout=lib.seconds(60))
    finally:
        outside.kill()
        outside.wait()
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [r for r in records if r["event"] == "exec" and r["comm"] == "true"]
    assert max(r["pid"] for r in records if "pid" in r) < 1000
    assert all(outside.pid not in (r["pid"], r["ppid"]) for r in records if "pid" in r)


@pytest.mark.once
def test_time_of_day_in_a_time_namespace(tmp_path):
    """CLOCK_BOOTTIME is another one there; the time of day is not."""
    out = tmp_path / "out"
    before = time.time()
    subprocess.run(["unshare", "--time", "--boottime", "1000000", "--fork",
                    *map(str, lib.nsmon_argv("-q", "-o", "json", "-w", out)), "--", "true"],
                   check=True, timeout=lib.seconds(60))
    after = time.time()
    for line in out.read_text(encoding="utf-8").splitlines():
        told = datetime.datetime.strptime(json.loads(line)["time"][:26] + "+0000", "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
        assert before - 1 <= told <= after + 1, line


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number is in a 32-bit register elsewhere")
def test_system_call_number_with_an_upper_half(tmp_path):
    """The kernel looks at the lower half of rax only; what stands above it hides nothing."""
    code = ("import ctypes, os; before = os.readlink('/proc/self/ns/uts');"
            "assert ctypes.CDLL(None).syscall(ctypes.c_long(1 << 32 | 272), ctypes.c_long(0x04000000)) == 0;"
            "print(before, os.readlink('/proc/self/ns/uts'))")
    out = tmp_path / "out"
    if subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, check=False).returncode:
        pytest.skip("this kernel looks at the whole of rax")
    done = subprocess.run([*map(str, lib.nsmon_argv("-q", "-o", "json", "-w", out)), "--", "/usr/bin/python3", "-c", code],
                          stdout=subprocess.PIPE, check=True, text=True, timeout=lib.seconds(60))
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    told = [(f"uts:[{r['old_inum']}]", f"uts:[{r['inum']}]", r["reason"]) for r in records if r["event"] == "ns"]
    assert told == [(*done.stdout.split(), "unshare")]
