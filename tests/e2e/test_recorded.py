# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What tests/vm/record leaves is judged as a run of our own would be: a recording that lacks something, or that says
something else, fails."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

import nsmonlib as lib
import runs

pytestmark = [pytest.mark.once, pytest.mark.anywhere]


def judge(recording):
    """Exit status of pytest, and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", "-k", "test_a_thousand_steps",
         str(lib.REPO / "tests/e2e/test_walk.py")],
        env=dict(os.environ, NSMON_RECORDED=str(recording)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        timeout=lib.seconds(60), check=False)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def one_walk(tmp_path_factory):
    """One walk, and another program under the same nsmon before and after it."""
    top = tmp_path_factory.mktemp("recording")
    base, work, plan = top / "out", top / "work", top / "plan"
    name, nsmon = "walk-1", [lib.NSMON, "-o", "json", "--no-snapshot"]
    walk = runs.workload_argv(runs.RUNS[name], runs.program("walk"), work / name, runs.Cgroups(None, None, None))
    leader = runs.together(name)[0]
    lines = [["begin", base, work], ["workload", leader, "true"], ["workload", name, shlex.join(walk)],
             ["workload", leader, "unshare --uts true"], ["nsmon", lib.BACKEND, leader, shlex.join(nsmon)], ["trace"],
             ["end"]]
    record(plan, lines, lib.BACKEND)
    return top / f"out.{lib.BACKEND}"


def record(plan, lines, backends):
    plan.write_text("".join(shlex.join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    subprocess.run(["sh", lib.REPO / "tests/vm/record", plan], env=dict(os.environ, BACKENDS=backends, AUTO=""),
                   stdin=subprocess.DEVNULL, timeout=lib.seconds(60), check=True)


def test_whole(one_walk):
    status, said = judge(one_walk)
    assert status == 0 and "1 passed" in said, said


@pytest.mark.parametrize("command, expected", [("true", "0"), ("sh -c 'exit 3'", "3")])
def test_several_backends(tmp_path, command, expected):
    """They see the same walk, each for itself, and how its script ended."""
    found = json.loads(lib.run([lib.NSMON, "check", "-o", "json"]).stdout)["backends"]
    backends = [name for name, claim in found.items() if claim["works"]]
    walk = [runs.program("walk"), "--book", tmp_path / "work/walk-1/book", "--seed", "1", "--steps", "1000"]
    leader, nsmon = runs.together("walk-1")[0], [lib.NSMON, "-o", "json", "--no-snapshot"]
    record(tmp_path / "plan", [
        ["begin", tmp_path / "out", tmp_path / "work"], ["workload", "walk-1", shlex.join(map(str, walk))],
        ["workload", leader, command], ["nsmon", " ".join(backends), leader, shlex.join(nsmon)], ["trace"], ["end"],
    ], " ".join(backends))
    for backend in backends:
        out = tmp_path / f"out.{backend}"
        assert (out / leader / "status").read_text(encoding="ascii").strip() == expected
        assert json.loads((out / leader / "out").read_bytes().splitlines()[0])["backend"] == backend
        status, said = judge(out)
        assert status == (0 if expected == "0" else 1), said


def lose_the_status(out):
    (out / "cases/status").unlink()


def fail(out):
    (out / "cases/status").write_text("1\n", encoding="ascii")


def cut(out):
    path = out / "cases/out"
    path.write_bytes(path.read_bytes()[:-10])


def lose_a_record(out):
    """And number the others anew, so that nothing but the book knows of it."""
    path = out / "cases/out"
    lines = path.read_bytes().splitlines(True)
    at = next(i for i, line in enumerate(lines) if i > len(lines) / 2 and b'"event":"ns"' in line)
    del lines[at]
    for i in range(at, len(lines)):
        lines[i] = lines[i].replace(b'"seq":%d,' % (i + 2), b'"seq":%d,' % (i + 1))
    ns = sum(b'"event":"ns"' in line for line in lines)
    lines[-1] = lines[-1].replace(b'"ns":%d,' % (ns + 1), b'"ns":%d,' % ns)
    path.write_bytes(b"".join(lines))


def lose_the_book(out):
    (out / "walk-1/book").unlink()


def end_early(out):
    path = out / "facts"
    path.write_bytes(path.read_bytes().removesuffix(b"end\n"))


@pytest.mark.parametrize("damage,reason", [
    (lose_the_status, "there is no recording of walk-1"),
    (fail, "exit status 1"),
    (cut, "the last line is not whole"),
    (lose_a_record, "and should be"),
    (lose_the_book, "no book"),
    (end_early, "not whole"),
])
def test_damaged(one_walk, tmp_path, damage, reason):
    out = tmp_path / "out"
    shutil.copytree(one_walk, out)
    damage(out)
    status, said = judge(out)
    assert status == 1 and reason in said, said
