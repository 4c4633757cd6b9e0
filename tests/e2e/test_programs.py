# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Real programs that make namespaces. Two witnesses: strace of the same run, and the innermost program, which writes
down what it reads in /proc/self/ns."""

import json
import os
import re
import shlex
import shutil
import subprocess

import pytest

import nsmonlib as lib

NAMES = {"CLONE_NEWNS": "mnt"}
NAMES.update({f"CLONE_NEW{t.upper()}": t for t in lib.CLONE_FLAGS if t != "mnt"})


class Programs:
    """One run: every program in turn, from one shell, under strace, under nsmon."""

    def __init__(self, directory):
        self.directory = directory
        self.book_path = directory / "book"
        self.skipped = {}
        self.netns = f"nsmon-{os.getpid()}"
        self.commands = {}
        target = lib.Server(directory, "target", start=lambda argv: ["unshare", "-u", "-i", "-n", "-C", "-m", *argv])
        with target:
            self.target = lib.proc_ns(target.pid)
            self._collect(target.pid)
            script = directory / "script"
            script.write_text("".join(f"({c}) || echo failed: {n} >&2\n" for n, c in self.commands.items()))
            (directory / "strace").mkdir()
            self.run = lib.trace(
                [
                    shutil.which("strace"),
                    "-ff",
                    "--seccomp-bpf",  # no other call stops its task, which takes long where all is slow
                    "-o",
                    directory / "strace" / "of",
                    "-e",
                    "trace=unshare,setns,clone,clone3,fork,vfork",
                    "-e",
                    "signal=none",
                    "sh",
                    script,
                ],
                timeout=240,
            )
        self.calls = {}
        for path in (directory / "strace").iterdir():
            self.calls[int(path.suffix[1:])] = [c for c in map(parse_call, path.read_text().splitlines()) if c]
        self.rows = lib.apply(self.run.records, lib.proc_ns(), self.run.records[1]["ppid"])

    def _add(self, name, command, *needs):
        for program in needs:
            if not shutil.which(program):
                self.skipped[name] = f"{program} is not installed"
                return
        self.commands[name] = command.replace("REPORT", f"{lib.DRIVER} --book {self.book_path} report 0 {name}-token")

    def _collect(self, target):
        d = shlex.quote(str(self.directory))
        self._add("unshare-net", "unshare -n -f REPORT", "unshare")
        self._add("unshare-many", "unshare -m -u -i -n -C -p -f REPORT", "unshare")
        self._add("unshare-proc", "unshare -p -f --mount-proc REPORT", "unshare")
        self._add("unshare-user", "unshare -U -r -n REPORT", "unshare")
        self._add("unshare-time", "unshare -T -f REPORT", "unshare")
        self._add("unshare-time-exec", "unshare -T REPORT", "unshare")
        self._add("nsenter", f"nsenter -t {target} -u -i -n REPORT", "nsenter")
        self._add("nsenter-mount", f"nsenter -t {target} -m -C REPORT", "nsenter")
        n = self.netns
        self._add("ip-netns", f"ip netns add {n} && ip netns exec {n} REPORT; s=$?; ip netns del {n}; exit $s", "ip")
        self._add("bwrap", "bwrap --dev-bind / / --unshare-all REPORT", "bwrap")
        self._add("bwrap-proc", "bwrap --dev-bind / / --unshare-pid --unshare-net --proc /proc REPORT", "bwrap")
        for which in ("subuid", "subgid"):
            (self.directory / which).write_text("root:100000:65536\n")
        if os.path.exists("/etc/subuid") and os.path.exists("/etc/subgid"):
            inner = f"mount --bind {d}/subuid /etc/subuid && mount --bind {d}/subgid /etc/subgid"
            inner += " && exec unshare -U --map-auto --map-root-user REPORT"
            self._add("newuidmap", f"unshare -m sh -c {shlex.quote(inner)}", "unshare", "newuidmap", "newgidmap")
        else:
            self.skipped["newuidmap"] = "there is no /etc/subuid to bind over"
        if shutil.which("crun"):
            self._bundle()
            inner = f"umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && mount --bind / {d}/oci/rootfs"
            inner += f" && cd {d}/oci && exec crun --cgroup-manager=disabled run {n}"
            self._add("crun", f"unshare -m sh -c {shlex.quote(inner)}", "crun", "unshare")
        else:
            self.skipped["crun"] = "crun is not installed"

    def _bundle(self):
        bundle = self.directory / "oci"
        (bundle / "rootfs").mkdir(parents=True)
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
        config = json.loads((bundle / "config.json").read_text())
        config["process"]["terminal"] = False
        config["process"]["args"] = [lib.DRIVER, "--book", str(self.book_path), "report", "0", "crun-token"]
        config["root"] = {"path": str(bundle / "rootfs"), "readonly": False}
        for path in (str(self.directory), os.path.dirname(lib.DRIVER)):
            config["mounts"].append({"destination": path, "source": path, "type": "bind", "options": ["rbind", "rw"]})
        (bundle / "config.json").write_text(json.dumps(config))

    def report(self, name):
        if name in self.skipped:
            pytest.skip(self.skipped[name])
        for b in lib.read_book(self.book_path):
            if b["op"] == "report" and f"{name}-token".encode() in bytes.fromhex(b["cmdline"]).split(b"\0"):
                return b
        raise AssertionError(f"{name} did not run: {self.run.err.decode()}")

    def innermost(self, name):
        """The exec record of the program that reported."""
        found = [r for r in self.run.records if r["event"] == "exec" and r["args"][-1:] == [f"{name}-token"]
                 and r["filename"] == lib.DRIVER]
        assert len(found) == 1, found
        return found[0]


CALL = re.compile(r"(?P<call>unshare|setns|clone3|clone|v?fork)\((?P<arguments>.*)\)\s+= (?P<ret>-?\d+)")


def parse_call(line):
    match = CALL.match(line)
    if not match:
        return None
    types = {NAMES[f] for f in re.findall(r"CLONE_NEW[A-Z]+", match["arguments"])}
    return match["call"], types, int(match["ret"]), line


@pytest.fixture(scope="module")
def programs(tmp_path_factory, program):
    program("strace")
    program("unshare")
    return Programs(tmp_path_factory.mktemp("programs"))


ALL = ["unshare-net", "unshare-many", "unshare-proc", "unshare-user", "unshare-time", "unshare-time-exec", "nsenter",
       "nsenter-mount", "ip-netns", "bwrap", "bwrap-proc", "newuidmap", "crun"]


@pytest.mark.quick
@pytest.mark.parametrize("name", ALL)
def test_innermost_program(programs, name):
    """Applying the stream gives the row that the innermost program read in /proc/self/ns."""
    report = programs.report(name)
    record = programs.innermost(name)
    assert record["vpid"] == report["vpid"]
    row = programs.rows[record["pid"]]
    for kind, inum in report["own"].items():
        assert row[kind] == inum, f"{kind}: {row} but the program saw {report['own']}"
    assert {k: v for k, v in report["own"].items() if "time" not in k} != {
        k: v for k, v in lib.proc_ns().items() if "time" not in k
    } or "time" in name, f"{name} did not go anywhere; the test shows nothing"


def test_nsenter_is_where_its_target_is(programs):
    for name, types in (("nsenter", ("uts", "ipc", "net")), ("nsenter-mount", ("mnt", "cgroup"))):
        row = programs.rows[programs.innermost(name)["pid"]]
        assert {t: row[t] for t in types} == {t: programs.target[t] for t in types}


def test_every_call_that_strace_saw(programs):
    """For each task: the unshare, setns and clone calls of strace, in order, are the records of nsmon."""
    seen = {"unshare": 0, "setns": 0, "clone": 0}
    for pid, calls in programs.calls.items():
        own = [r for r in programs.run.of(pid, "ns") if r["reason"] in ("unshare", "setns")]
        at = 0
        for call, types, ret, line in calls:
            if call not in ("unshare", "setns") or ret != 0 or not types:
                continue
            want = {f"{t}_for_children" if t == "pid" or (t == "time" and call == "unshare") else t for t in types}
            if call == "setns" and "time" in types:
                want |= {"time_for_children"}
            got = own[at : at + len(want)]
            assert [(r["reason"], r["type"]) for r in got] == [(call, t) for t in lib.TYPES if t in want], line
            at += len(want)
            seen[call] += 1
        assert at == len(own), f"{pid}: no call for {own[at:]}"
        clones = [types for call, types, ret, _ in calls if call not in ("unshare", "setns") and ret > 0]
        children = [r["pid"] for r in programs.run.records if r["event"] == "fork" and r["ptid"] == pid]
        assert len(clones) == len(children), f"{pid}: {clones} {children}"
        for types, child in zip(clones, children):
            got = [r["type"] for r in programs.run.of(child, "ns") if r["reason"] == "clone"]
            assert got == [t for t in lib.TYPES if t in lib.all_types(types)]
            seen["clone"] += bool(types)
    assert seen["unshare"] >= 8 and seen["setns"] >= 4
    if "bwrap" in programs.commands:
        assert seen["clone"] >= 2


def test_every_process_that_strace_saw(programs):
    strace = {r["pid"] for r in programs.run.records if r["event"] == "exec" and r["comm"] == "strace"}
    forked = {r["pid"] for r in programs.run.of({r["pid"] for r in programs.run.records if "pid" in r}, "fork")}
    helpers = {r["pid"] for r in programs.run.records if r["event"] == "fork" and r["ppid"] in strace}
    helpers -= set(programs.calls)
    assert forked == set(programs.calls) | strace | helpers
    assert len(helpers) <= 3, "strace's own probes, of ptrace and of its filter"


# ---- perf ----

SNAPSHOT = re.compile(r"PERF_RECORD_NAMESPACES (\d+)/(\d+) - nr_namespaces: \d+\s*\[([^\]]*)\]")


def perf_snapshots(text):
    """tid -> the successive sets that perf recorded, without repetitions."""
    found = {}
    for pid, tid, body in SNAPSHOT.findall(text):
        row = {t: int(i, 16) for t, i in re.findall(r"\d+/(\w+): \d+/(0x[0-9a-f]+)", body)}
        row.pop("time", None)
        states = found.setdefault((int(pid), int(tid)), [])
        if not states or states[-1] != row:
            states.append(row)
    return found


PERF_CASES = "clone-mnt,clone-user,clone-all,clone3-all,unshare-net,unshare-pid,unshare-user,unshare-all,unshare-twice,"
PERF_CASES += "setns-uts,setns-user,setns-and-back,pidfd-*,thread-net,thread-setns,nested-pid"


@pytest.mark.once
def test_perf_record_namespaces(tmp_path, program):
    """perf's PERF_RECORD_NAMESPACES of the same run: each task went through the same sets, in the same order."""
    perf = program("perf")
    data, book = tmp_path / "perf.data", tmp_path / "book"
    command = [perf, "record", "--namespaces", "-e", "dummy:u", "-o", data]
    command += ["--", lib.DRIVER, "--book", book, "--dir", tmp_path, "--only", PERF_CASES, "cases"]
    run = lib.trace(command, "-T", status=None)
    if run.status:
        pytest.skip(f"perf does not work on this kernel: {run.err.decode().strip().splitlines()[-1]}")
    script = lib.run([perf, "script", "-i", data, "--show-namespace-events"])
    assert script.returncode == 0, script.stderr
    perf_saw = perf_snapshots(script.stdout.decode())
    tasks = {(b["child"], b["child_tid"]) for b in lib.read_book(book) if b["op"] == "clone" and b["ret"] > 0}
    tasks |= {(b["pid"], b["tid"]) for b in lib.read_book(book) if b["op"] == "thread"}
    assert len(tasks) > 25 and tasks <= set(perf_saw)
    types = {t for states in perf_saw.values() for row in states for t in row}
    assert types >= {"mnt", "uts", "ipc", "net", "pid", "user"}
    rows, saw, last = {}, {}, {}
    first = {t: i for t, i in lib.proc_ns().items() if t in types}
    for r in run.records[1:-1]:
        task = (r["pid"], r["tid"])
        if r["event"] == "fork":
            creator = next((k for k in rows if k[1] == r["ptid"]), None)
            rows[task] = dict(rows[creator] if creator else first)
            saw[task] = [dict(rows[task])]
            last[task] = r["time"]
        elif r["event"] == "ns" and r["type"] in types:
            assert rows[task][r["type"]] == r["old_inum"]
            rows[task][r["type"]] = r["inum"]
            if r["time"] == last[task]:
                saw[task][-1] = dict(rows[task])  # the same call
            else:
                saw[task].append(dict(rows[task]))
            last[task] = r["time"]
    for task in sorted(tasks):
        assert saw[task] == perf_saw[task], f"task {task}"


# ---- the process connector ----


@pytest.mark.once
def test_forkstat(tmp_path, program):
    """forkstat listens to the kernel's process connector: the same forks, execs and exits, in the same order."""
    forkstat = program("forkstat")
    log = tmp_path / "forkstat"
    book = tmp_path / "book"
    with open(log, "wb") as out:
        witness = subprocess.Popen([forkstat, "-l", "-e", "fork,exec,exit"], stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for_forkstat(witness, log)
        run = lib.trace([lib.DRIVER, "--book", book, "forks", "40"])
        storm = [b for b in lib.read_book(book) if b["op"] == "forks"]
        pids = {p for b in storm for p, _ in b["children"]}
        assert len(pids) == 40
        last = storm[-1]["children"][-1][0]
        lib.wait_until(lambda: re.search(rf"exit +{last} ", log.read_text(errors="replace")), "forkstat to catch up")
    finally:
        witness.terminate()
        witness.wait()
    saw = {}
    for event, pid, rest in re.findall(r"^\S+ (fork|exec|exit) +(\d+) +(\S+)", log.read_text(errors="replace"), re.M):
        if int(pid) in pids and not (event == "fork" and rest == "parent"):
            saw.setdefault(int(pid), []).append((event, int(rest)) if event == "exit" else (event,))
    got = {}
    for r in run.of(pids, "fork", "exec", "exit"):
        entry = (r["event"], lib.status_of(r)) if r["event"] == "exit" else (r["event"],)
        got.setdefault(r["pid"], []).append(entry)
    assert got == saw


def wait_for_forkstat(witness, log):
    """It is listening when it reports a process of ours that it could not know otherwise."""

    def listening():
        if witness.poll() is not None:
            text = log.read_text(errors="replace").strip()
            pytest.skip(f"the process connector is not to be had (CONFIG_PROC_EVENTS): {text.splitlines()[-1:]}")
        process = subprocess.Popen(["true"])
        process.wait()
        return re.search(rf"exit +{process.pid} ", log.read_text(errors="replace"))

    try:
        lib.wait_until(listening, "forkstat to listen", timeout=10)
    except AssertionError:
        pytest.skip("the process connector says nothing here (CONFIG_PROC_EVENTS, or not in the initial namespaces)")
