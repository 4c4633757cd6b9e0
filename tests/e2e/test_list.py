# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""nsmon list, held against what /proc says of the processes that a test has started."""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import struct
import subprocess
import time

import pytest

import nsmonlib as lib

pytestmark = pytest.mark.once

# A process in namespaces of its own that waits for its end: of input.
HOLD = "import os,sys; sys.stdout.write(str(os.getpid())+'\\n'); sys.stdout.flush(); sys.stdin.read()"


class Held:
    """A process in new namespaces, found by the number that it has here."""

    def __init__(self, *flags, argv0=None):
        self.process = subprocess.Popen(["unshare", *flags, "/usr/bin/python3", "-c", HOLD],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdout.readline()
        self.pid = self.process.pid
        if "-f" in flags:
            children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            self.pid = int(children[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(lib.seconds(30))


def listed(*options):
    run = lib.run([lib.NSMON, "list", "-o", "json", *options])
    assert run.returncode == 0 and not run.stderr, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def by_key(entries):
    found = {(e["type"], e["inum"]): e for e in entries}
    assert len(found) == len(entries), "a namespace is listed twice"
    return found


def processes_by_namespace():
    """What /proc says: (type, inum) -> processes whose main thread is in it."""
    found = {}
    for path in pathlib.Path("/proc").iterdir():
        if path.name.isdigit():
            for t, inum in lib.proc_ns(path.name).items():
                if not t.endswith("_for_children"):
                    found.setdefault((t, inum), set()).add(int(path.name))
    return found


@pytest.mark.quick
@pytest.mark.vital
def test_every_type():
    """A process that has a namespace of each type alone: each is listed with it, as the first and only one."""
    flags = ["-m", "-u", "-i", "-n", "-C", "-p", "-f"]
    if os.path.exists("/proc/self/ns/time"):
        flags.append("-T")
    with Held(*flags) as held:
        row = lib.proc_ns(held.pid)
        mine = lib.proc_ns()
        entries = by_key(listed())
        for t in lib.TYPES:
            if t.endswith("_for_children") or t not in row:
                continue
            entry = entries[(t, row[t])]
            if row[t] == mine[t]:
                continue
            own = [p for p in (held.process.pid, held.pid) if lib.proc_ns(p).get(t) == row[t]]
            assert entry["processes"] == len(own), entry
            assert entry["pid"] == min(own), entry
            assert entry["args"] == pathlib.Path(f"/proc/{min(own)}/cmdline").read_bytes().decode().split("\0")[:-1]
        assert any(row[t] != mine[t] for t in row)


def test_counts_equal_proc():
    """Every namespace that /proc shows before and after, with as many processes where none came or went."""
    for _ in range(20):
        before = processes_by_namespace()
        entries = by_key(listed())
        after = processes_by_namespace()
        own = os.getpid()
        still = {k for k in before if before[k] == after.get(k)}
        wrong = []
        for key in still:
            # nsmon itself is one more in its own namespaces.
            extra = 1 if own in before[key] else 0
            entry = entries.get(key)
            # Processes whose links not even root may read are in the picture all the same.
            if entry is None or entry["processes"] < len(before[key]) + extra:
                wrong.append((key, len(before[key]), entry))
        if not wrong and still:
            return
        time.sleep(0.2)
    raise AssertionError(wrong)


def test_types():
    assert {e["type"] for e in listed("--types=net,uts")} == {"net", "uts"}
    run = lib.run([lib.NSMON, "list", "-n", "mnt"])
    lines = run.stdout.decode().splitlines()
    assert lines[0].split()[:2] == ["NS", "TYPE"] and {line.split()[1] for line in lines[1:]} == {"mnt"}


def test_mounted_without_a_process(tmp_path):
    """As `ip netns add` makes it: nobody is in it, a mount keeps it."""
    kept = tmp_path / "kept by a mount"
    kept.touch()
    done = lib.run(["unshare", f"--net={kept}", "true"])
    assert done.returncode == 0, done.stderr
    try:
        inum = kept.stat().st_ino
        entry = by_key(listed())[("net", inum)]
        assert entry["processes"] == 0 and entry["mounted_on"] == str(kept)
        assert "pid" not in entry
        with open(kept, "rb") as file:
            with contextlib.suppress(OSError):  # this kernel has none
                told = struct.unpack("Q", fcntl.ioctl(file, 0x8008B70D, bytes(8)))[0]
                assert entry["ns_id"] == told
        text = lib.run([lib.NSMON, "list", "-n", "net"]).stdout.decode()
        line = next(line for line in text.splitlines() if line.split()[0] == str(inum))
        assert line.endswith(f"mounted on {kept}") and " 0 " in line
    finally:
        lib.run(["umount", kept])


def test_what_is_mounted_over_it_is_not_opened(tmp_path):
    """A named pipe that nobody writes, and another namespace: to open the one would wait for ever, the other has another id."""
    kept, other, pipe = (tmp_path / name for name in ("kept", "other", "pipe"))
    kept.touch()
    other.touch()
    os.mkfifo(pipe)
    done = lib.run(["unshare", f"--net={kept}", "unshare", f"--net={other}", "true"])
    assert done.returncode == 0, done.stderr
    inum, ids = kept.stat().st_ino, {}
    try:
        ids = {e["inum"]: e.get("ns_id") for e in listed("--types=net")}
        for over in (pipe, other):
            assert lib.run(["mount", "--bind", over, kept]).returncode == 0
            entry = by_key(listed("--types=net"))[("net", inum)]
            assert entry["processes"] == 0 and entry["mounted_on"] == str(kept)
            assert entry.get("ns_id") in (None, ids[inum]), "of something else"
            assert lib.run(["umount", kept]).returncode == 0
    finally:
        while lib.run(["umount", kept]).returncode == 0:
            pass
        lib.run(["umount", other])


def test_mounted_in_another_mount_namespace(tmp_path):
    """Container runtimes keep theirs where others do not see the mounts."""
    script = 'mount -t tmpfs none "$0" && touch "$0/n" && unshare --net="$0/n" true && stat -c %i "$0/n" && read x'
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script, tmp_path], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    inum = int(process.stdout.readline())
    try:
        entry = by_key(listed())[("net", inum)]
        assert entry["processes"] == 0 and entry["mounted_on"] == str(tmp_path / "n")
    finally:
        process.communicate(b"\n", timeout=lib.seconds(30))


@pytest.mark.quick  # so that the newest kernel, which has listns(2), runs it in `make test`
@pytest.mark.vital
def test_kept_by_a_descriptor(tmp_path):
    """listns(2), where the kernel has it: a namespace whose last process has ended, while a descriptor is open."""
    if ctypes.CDLL(None, use_errno=True).syscall(470, None, None, 0, 0) < 0 and ctypes.get_errno() == 38:
        pytest.skip("this kernel has no listns(2): 6.19 and later")
    with Held("-u") as held:
        fd = os.open(f"/proc/{held.pid}/ns/uts", os.O_RDONLY)
    try:
        inum = os.fstat(fd).st_ino
        entry = by_key(listed())[("uts", inum)]
        assert entry["processes"] == 0 and "mounted_on" not in entry and "pid" not in entry
    finally:
        os.close(fd)


def test_for_children():
    """A pid namespace in which nobody is yet (/proc has no link for it then): its maker's next child will be."""
    process = subprocess.Popen(["unshare", "-p", "sh", "-c", "echo; read x; (read y; read z); :"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        [entry] = [e for e in listed("-n", "pid") if e.get("for_children_of") == process.pid]
        assert entry["processes"] == 0 and "pid" not in entry
        process.stdin.write(b"x\n")
        process.stdin.flush()
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        child = int(lib.wait_until(children.read_text, "the child"))
        assert lib.proc_ns(child)["pid"] == entry["inum"]
        assert by_key(listed())[("pid", entry["inum"])]["pid"] == child
        process.stdin.close()


@pytest.mark.anywhere
def test_tree():
    """Every row is what /proc says of that process; equal sets have equal numbers, others not; parents come first."""
    with Held("-n", "-u") as held:
        rows = listed("--tree")
        by_pid = {r["pid"]: r for r in rows if r["pid"] == r["tid"]}
        row = by_pid[held.pid]
        assert {t: n["inum"] for t, n in row["ns"].items()} == lib.proc_ns(held.pid)
        assert row["ppid"] == os.getpid() == by_pid[os.getpid()]["pid"]
        order = [r["pid"] for r in rows]
        assert order.index(os.getpid()) < order.index(held.pid)
        sets = {}
        for r in rows:
            key = json.dumps({t: n["inum"] for t, n in r["ns"].items()}, sort_keys=True)
            assert sets.setdefault(key, r["set"]) == r["set"], "one set, two numbers"
        assert len(set(sets.values())) == len(sets), "two sets, one number"
        text = lib.run([lib.NSMON, "list", "--tree", "-n", "net,uts"]).stdout.decode()
        line = next(line for line in text.splitlines() if line.split()[0] == str(held.pid))
        net, uts = (lib.proc_ns(held.pid)[t] for t in ("net", "uts"))
        assert line.endswith(f" uts={uts} net={net}")


@pytest.mark.anywhere
@pytest.mark.parametrize("how, types", [("--mount", ["mnt"]), ("--pid", ["pid"]), ("--uts", [])], ids=["mnt", "pid", "uts"])
def test_sandbox(how, types):
    """In a mount or pid namespace of its own, without a container. The witness is /proc, where it is read by the outside."""
    script = "echo; read x"
    process = subprocess.Popen(["unshare", how, "--fork", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"\n"
        [child] = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        own, outside = lib.proc_ns(child), lib.proc_ns()
        assert [t for t in ("mnt", "pid") if own[t] != outside[t]] == types
        rows = {r["pid"]: r for r in map(json.loads, lib.run([lib.NSMON, "list", "--tree", "-o", "json"]).stdout.splitlines())}
        assert rows[int(child)].get("sandbox", []) == types
        assert "container" not in rows[int(child)] and "sandbox" not in rows[os.getpid()]
        lines = lib.run([lib.NSMON, "list", "--tree"]).stdout.decode().splitlines()
        marked = [line.split()[0] for line in lines if "sandbox=" in line and script in line]
        # The first one of it: with a mount namespace that is unshare itself, which made it before its child.
        assert marked == ([str(child)] if types == ["pid"] else [str(process.pid)] if types else [])
    finally:
        process.communicate(b"\n", timeout=lib.seconds(30))


@pytest.mark.anywhere
def test_hostile_name(tmp_path):
    """What a process chooses makes no line of its own and reaches no terminal."""
    code = "import sys; sys.stdout.write('x\\n'); sys.stdout.flush(); sys.stdin.read()"
    argv = ["evil\n4026531836 pid 1\033[31m", "-c", code]
    process = subprocess.Popen(argv, executable="/usr/bin/python3", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        text = lib.run([lib.NSMON, "list", "--tree"]).stdout
        row = next(r for r in listed("--tree") if r["pid"] == process.pid)
        process.stdin.close()
    assert row["args"][0] == argv[0]
    assert b"\033" not in text and b"\\n4026531836 pid 1" in text


@pytest.mark.anywhere
def test_reader_that_has_seen_enough():
    """As `nsmon list | head -1`: it ends quietly."""
    for argv in (["list"], ["list", "--tree"], ["list", "--tree", "-o", "json"], ["check"], ["--schema"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        run = lib.run([lib.NSMON, *argv], stdout=writer)
        os.close(writer)
        assert (run.returncode, run.stderr) == (0, b""), argv


@pytest.mark.anywhere
def test_wrong_usage():
    for argv in (["--tree"], ["list", "--", "true"], ["list", "list"], ["list", "-n", "nets"], ["list", "-w", "x"],
                 ["list", "-p", "1"], ["list", "-T"], ["list", "-e", "ns"], ["check", "-w", "x"]):
        run = lib.run([lib.NSMON, *argv])
        assert run.returncode == 2 and run.stderr and not run.stdout, argv
