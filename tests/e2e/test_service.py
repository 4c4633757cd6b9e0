# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""nsmon as a service: what it tells a service manager, what it may still do once it has attached, and the files that it
writes. Witnesses are a socket of the test's own in the manager's place, /proc/PID/status, and the driver's book."""

import collections
import contextlib
import fcntl
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import time

import pytest

import nsmonlib as lib
from test_cli import FILTER_CASES, setpriv

# With one backend of each kernel; with each_backend: with all of them.
pytestmark = [pytest.mark.once, pytest.mark.anywhere]

NOBODY = pwd.getpwnam("nobody")
# include/uapi/linux/capability.h
CAPABILITIES = {"dac_override": 1, "dac_read_search": 2, "kill": 5, "sys_ptrace": 19, "perfmon": 38, "bpf": 39}


def release():
    return tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups()))


# ---- capabilities ----


def status_of(pid):
    """/proc/PID/status as a dictionary."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def capabilities(pid):
    """Names of what the process holds; all its sets must be what one that gave up the rest has."""
    status = status_of(pid)
    sets = {name: int(status[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    assert status["NoNewPrivs"] == "1"
    assert (sets["Inh"], sets["Amb"]) == (0, 0) and sets["Eff"] == sets["Prm"], sets
    names = {name for name, bit in CAPABILITIES.items() if sets["Prm"] & 1 << bit}
    assert sum(1 << CAPABILITIES[name] for name in names) == sets["Prm"], sets
    return names, sets["Bnd"]


def old_bpf():
    """Before 5.19 each bpf(2) call may need it."""
    return {"bpf"} if release() < (5, 19) else set()


@pytest.mark.quick
@pytest.mark.each_kernel
@pytest.mark.each_backend
def test_capabilities_are_given_up(tmp_path):
    """Those that read the files of runtimes and /proc/PID/exe stay; the trace goes on with them, and so do repairs."""
    with lib.Server(tmp_path) as server, lib.Live(tmp_path, "-s", "-v", "-e", "fork,exec,exit,ns") as nsmon:
        nsmon.wait_for(lambda r: r["event"] == "ready", "the picture")
        assert capabilities(nsmon.pid) == ({"dac_read_search", "sys_ptrace"} | old_bpf(), 0)
        # The look a second later: the iterator is read again.
        lib.wait_until(lambda: "a picture of " in nsmon.err, "another picture")
        child = server.order("fork")[0]["child"]
        nsmon.wait_for(lambda r: r["event"] == "exit" and r["pid"] == child, "the child")
        nsmon.finish()


@pytest.mark.each_kernel
def test_command_keeps_what_nsmon_had(tmp_path):
    """It runs with nsmon's own capabilities of before; nsmon keeps what passes a signal on to it."""
    script = 'grep -E "^(Cap|NoNewPrivs|Seccomp)" /proc/self/status'
    alone = lib.run(["sh", "-c", script]).stdout
    assert b"NoNewPrivs:\t0" in alone
    assert lib.run(lib.nsmon_argv("-q", "-w", tmp_path / "out", command=["sh", "-c", script])).stdout == alone
    with lib.Live(tmp_path, "-q", "--user=nobody", command=["sleep", "60"]) as nsmon:
        command = nsmon.wait_for(lambda r: r["event"] == "exec", "the command")
        assert command["uid"] == NOBODY.pw_uid
        lib.wait_until(lambda: status_of(nsmon.pid)["NoNewPrivs"] == "1", "nsmon to give up what it can")
        assert capabilities(nsmon.pid) == ({"dac_read_search", "sys_ptrace", "kill"} | old_bpf(), 0)
        begin = time.monotonic()
        assert nsmon.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        assert time.monotonic() - begin < lib.seconds(20) and f"process {command['pid']}" not in nsmon.err


def as_nobody(*names):
    """A prefix: its command runs as nobody with these capabilities alone."""
    caps = ",".join(f"+{name}" for name in names)
    return setpriv(f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups",
                   f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set=-all,{caps}")


def can_be_nobodys(tmp_path):
    if lib.run([*as_nobody("bpf", "perfmon"), "test", "-x", lib.NSMON]).returncode:
        pytest.skip(f"{lib.NSMON} is in a directory that only root may enter")
    paranoid = pathlib.Path("/proc/sys/kernel/perf_event_paranoid").read_text(encoding="ascii").strip()
    if lib.BACKEND == "kprobe" and int(paranoid) > 2:
        pytest.skip(f"kernel.perf_event_paranoid={paranoid}: this kernel lets only CAP_SYS_ADMIN open a kprobe")
    if release() < (5, 11):
        pytest.skip("BPF memory counts against RLIMIT_MEMLOCK, which the next test is about")
    tmp_path.chmod(0o755)


@pytest.mark.each_kernel
@pytest.mark.each_backend
def test_unprivileged_user_with_two_capabilities(tmp_path, program):
    """Sees everything, holds nothing once it has attached, and still finds again what the kernel dropped."""
    program("setpriv")
    can_be_nobodys(tmp_path)
    book = tmp_path / "book"
    prefix = as_nobody("bpf", "perfmon")
    with lib.Live(tmp_path, "-s", "--buffer=128K", "-e", "fork,exec,exit,ns",
                  start=lambda argv: [*prefix, *argv]) as nsmon:
        nsmon.wait_for(lambda r: r["event"] == "ready", "the picture")
        assert int(status_of(nsmon.pid)["Uid"].split()[1]) == NOBODY.pw_uid
        assert capabilities(nsmon.pid)[0] == old_bpf()
        lib.run([lib.DRIVER, "--book", book, "--only", FILTER_CASES, "cases"])
        last = lib.read_book(book)[-1]["pid"]
        nsmon.wait_for(lambda r: last in (r.get("pid"), r.get("ppid")), "the last one")
        nsmon.process.send_signal(signal.SIGSTOP)  # nobody reads: 128 KiB are full soon
        lib.run([lib.DRIVER, "--book", tmp_path / "storm", "forks", 800, 2], timeout=120)
        nsmon.process.send_signal(signal.SIGCONT)
        lost = nsmon.wait_for(lambda r: r["event"] == "lost", "the loss")
        nsmon.wait_for(lambda r: r["event"] == "ready" and r["seq"] > lost["seq"], "the repair")
        run = nsmon.finish()
    expected = lib.Expected(lib.read_book(book))
    before = [r for r in run.records if r["seq"] < lost["seq"] and r["event"] != "proc"]
    for case in expected.cases:
        lib.check_case(expected, before, case)


@pytest.mark.each_kernel
def test_what_ptrace_is_for(tmp_path, program):
    """The table of the manual: /proc/PID/exe of others takes CAP_SYS_PTRACE, their arguments do not."""
    program("setpriv")
    can_be_nobodys(tmp_path)
    sleeper = subprocess.Popen(["sleep", "1000"])
    try:
        shown = {}
        for names in (("bpf", "perfmon"), ("bpf", "perfmon", "sys_ptrace")):
            prefix = as_nobody(*names)
            with lib.Live(tmp_path, "-s", start=lambda argv: [*prefix, *argv]) as nsmon:
                shown[names[-1]] = nsmon.wait_for(lambda r: r.get("pid") == sleeper.pid, "the sleeper")
                nsmon.wait_for(lambda r: r["event"] == "ready", "the picture")
                assert capabilities(nsmon.pid)[0] == ({"sys_ptrace"} & set(names)) | old_bpf()
        assert [r["args"] for r in shown.values()] == [["sleep", "1000"]] * 2
        assert "exe" not in shown["perfmon"]
        assert shown["sys_ptrace"]["exe"] == os.readlink(f"/proc/{sleeper.pid}/exe")
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.fixture(params=["root", "nobody"])
def directory(request, tmp_path):
    """(a directory, the capability that its owner makes nsmon keep to write in it)"""
    path = tmp_path / "directory"
    path.mkdir(mode=0o755)
    if request.param == "root":
        return path, set()
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return path, {"dac_override"}


def test_a_file_that_is_to_be_opened_again(tmp_path, directory):
    """In a directory of somebody else's that takes CAP_DAC_OVERRIDE, which is kept for it; rotation works in both."""
    where, kept = directory
    out = where / "out"
    with lib.Server(tmp_path) as server, lib.Live(tmp_path, "-q", "-w", out, "-p", server.pid) as nsmon:
        nsmon.wait_started(out)
        assert capabilities(nsmon.pid)[0] & {"dac_override"} == kept
        out.rename(where / "old")
        nsmon.process.send_signal(signal.SIGHUP)
        lib.wait_until(out.exists, "the new file")
        child = server.order("fork")[0]["child"]
        nsmon.wait_for(lambda r: r.get("pid") == child, "the child", path=out)
        assert nsmon.stop() == 0 and nsmon.err == ""


def test_metrics_that_are_to_be_written_again(tmp_path, directory):
    """The same for the directory of --metrics; at the end, long after, the file is another one than at first."""
    where, kept = directory
    path = where / "nsmon.prom"
    with lib.Live(tmp_path, "-q", f"--metrics={path}") as nsmon:
        nsmon.wait_started()
        lib.wait_until(path.exists, "the metrics")
        assert capabilities(nsmon.pid)[0] & {"dac_override"} == kept
        first = path.stat().st_ino
        assert nsmon.stop() == 0 and nsmon.err == "" and path.stat().st_ino != first


# ---- files ----


def test_write_follows_no_link(tmp_path):
    """Neither to a file nor to nothing: the line says why, and what the link leads to stays as it was."""
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.write_text("kept")
    for target in (kept, tmp_path / "none"):
        link.symlink_to(target)
        run = lib.run([lib.NSMON, "-w", link, "--", "true"])
        error = run.stderr.decode()
        assert (run.returncode, run.stdout) == (2, b"") and len(error.splitlines()) == 1
        assert "--write" in error and str(link) in error and "symbolic link" in error
        link.unlink()
    assert kept.read_text() == "kept" and not (tmp_path / "none").exists()


def test_link_that_is_swapped_in_before_the_rotation(tmp_path):
    """Whoever may write in the directory cannot send the lines elsewhere: they go on into the old file, and it is said."""
    out, old, target = tmp_path / "log", tmp_path / "log.1", tmp_path / "shadow"
    target.write_text("kept")
    with lib.Server(tmp_path) as server, lib.Live(tmp_path, "-q", "-w", out, "-p", server.pid) as nsmon:
        nsmon.wait_started(out)
        out.rename(old)
        out.symlink_to(target)
        nsmon.process.send_signal(signal.SIGHUP)
        lib.wait_until(lambda: "\n" in nsmon.err, "a complaint")
        assert len(nsmon.err.splitlines()) == 1 and str(out) in nsmon.err and "symbolic link" in nsmon.err
        first = server.order("fork")[0]["child"]
        nsmon.wait_for(lambda r: r.get("pid") == first and r["event"] == "exit", "the first child", path=old)
        out.unlink()
        nsmon.process.send_signal(signal.SIGHUP)
        lib.wait_until(out.exists, "the new file")
        second = server.order("fork")[0]["child"]
        nsmon.wait_for(lambda r: r.get("pid") == second and r["event"] == "exit", "the second child", path=out)
        assert nsmon.stop() == 0
    assert target.read_text() == "kept"
    records = lib.parse_json(old.read_bytes() + out.read_bytes())
    assert [r["pid"] for r in records[1:-1]] == [first, first, second, second]


def test_pipe_that_nobody_reads(tmp_path):
    """At the start nsmon says for what it waits; at a rotation what is wrong, and goes on with what is open."""
    pipe, out = tmp_path / "pipe", tmp_path / "log"
    os.mkfifo(pipe)
    with subprocess.Popen([lib.NSMON, "-w", pipe, "--", "true"], stderr=subprocess.PIPE) as nsmon:
        line = nsmon.stderr.readline().decode()
        assert str(pipe) in line and "nobody reads" in line and "waiting" in line
        with open(pipe, "rb") as reader:
            assert b"exec" in reader.read()
        assert nsmon.wait(lib.seconds(20)) == 0
    with lib.Live(tmp_path, "-q", "-w", out) as nsmon:
        nsmon.wait_started(out)
        out.rename(tmp_path / "old")
        os.mkfifo(out)
        nsmon.process.send_signal(signal.SIGHUP)
        lib.wait_until(lambda: "\n" in nsmon.err, "a complaint")
        assert str(out) in nsmon.err and "a named pipe that nobody reads" in nsmon.err
        assert nsmon.stop() == 0


def storm(path, forks):
    """Forks that many processes, one after the other, and says which they were; on its own, as any shell's work is."""
    code = (f"import os\nwith open({str(path)!r}, 'w') as out:\n"
            f"    for i in range({forks}):\n        p = os.fork()\n        if not p: os._exit(i & 255)\n"
            "        os.waitpid(p, 0)\n        out.write(f'{p} {i & 255}\\n')\n")
    return subprocess.Popen(["/usr/bin/python3", "-c", code])


def pairs(path):
    return [tuple(map(int, line.split())) for line in path.read_text(encoding="ascii").splitlines()]


LOGROTATE = lib.REPO / "dist" / "nsmon.logrotate"


@pytest.mark.parametrize("how", ["as it is shipped", "copytruncate"])
def test_logrotate(tmp_path, program, how):
    """Many rotations in a storm of forks. As it is shipped every line is there, whole, once and in order; copytruncate
    loses what is written between its copy and its cut, as its manual says, and its copy may end within a line that was
    being written; all other lines are whole."""
    program("logrotate")
    where = tmp_path / "log"
    where.mkdir(mode=0o755)
    out, told = where / "nsmon.json", tmp_path / "told"
    with lib.Live(tmp_path, "-w", out, "-e", "fork,exit") as nsmon:
        nsmon.wait_started(out)
        text = LOGROTATE.read_text(encoding="ascii")
        shipped = re.sub(r"systemctl reload .*", f"kill -HUP {nsmon.pid}", text)
        shipped = shipped.replace("/var/log/nsmon/", f"{where}/")
        assert shipped.count(str(where)) == 1 and str(nsmon.pid) in shipped
        if how == "copytruncate":
            shipped = f"{out} {{\n\tcopytruncate\n\trotate 1000\n}}\n"
        else:
            shipped = re.sub(r"rotate \d+", "rotate 1000", shipped)
        conf = tmp_path / "conf"
        conf.write_text(shipped)
        conf.chmod(0o644)
        process = storm(told, int(4000 / lib.SLOW))
        rounds = 0
        while process.poll() is None:
            done = lib.run(["logrotate", "-f", "-s", tmp_path / "state", conf])
            assert done.returncode == 0 and done.stderr == b"", done
            rounds += 1
        assert process.returncode == 0 and rounds > 2
        last = subprocess.Popen(["true"])
        last.wait()
        nsmon.wait_for(lambda r: r.get("pid") == last.pid and r["event"] == "exit", "the last exit", path=out)
        assert nsmon.stop() == 0
    # nsmon.json.N[.gz]: the highest number is the oldest.
    files = sorted(where.iterdir(), key=lambda f: -int((re.search(r"\.(\d+)", f.name) or ["", "0"])[1]))
    assert len(files) > 3
    data = b"".join(read(f) for f in files)
    assert data.endswith(b"\n")
    if how == "copytruncate":
        records = [json.loads(line) for f in files for line in re.findall(rb".*\n", read(f))]
    else:
        records = lib.parse_json(data)
        assert records[-1]["lost"] == 0
        ends = [(r["pid"], r["code"]) for r in records if r["event"] == "exit" and r["ppid"] == process.pid]
        assert ends == pairs(told)
    numbers = [r["seq"] for r in records]
    assert numbers == sorted(set(numbers)), "a line twice, or out of order"


def read(path):
    import gzip

    with contextlib.suppress(FileNotFoundError):
        return gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    return b""


# ---- the service manager ----


class Manager:
    """What a service manager would hear."""

    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []  # (seconds, dictionary)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def environment(self, **more):
        return dict(os.environ, NOTIFY_SOCKET=self.path, **more)

    def listen(self, seconds):
        """One message, or None."""
        self.socket.settimeout(max(seconds, 0.001))
        try:
            text = self.socket.recv(4096).decode("ascii")
        except TimeoutError:
            return None
        message = dict(line.split("=", 1) for line in text.splitlines())
        self.heard.append((time.monotonic(), message))
        return message

    def wait_for(self, name, timeout=30):
        end = time.monotonic() + lib.seconds(timeout)
        while (left := end - time.monotonic()) > 0:
            message = self.listen(left)
            if message and name in message:
                return message
        raise AssertionError(f"no {name} within {lib.seconds(timeout):.0f} s, but {self.heard}")

    def drain(self):
        while self.listen(0):
            pass


@pytest.fixture
def manager(tmp_path):
    with Manager(tmp_path) as made:
        yield made


STATUS = re.compile(r"Tracing: (\d+) fork, (\d+) exec, (\d+) exit, (\d+) ns, (\d+) cgroup; (\d+) lost")


@pytest.mark.quick
def test_service_life(tmp_path, manager):
    """READY when `ready` is in the file, a status with what was seen, a reload, and the end."""
    out = tmp_path / "out.json"
    with lib.Server(tmp_path) as server:
        with lib.Live(tmp_path, "-s", "-w", out, "-p", server.pid, env=manager.environment()) as nsmon:
            first = manager.listen(lib.seconds(60))
            assert first.get("READY") == "1", first
            assert b'"event":"ready"' in out.read_bytes()
            child = server.order("fork")[0]["child"]
            nsmon.wait_for(lambda r: r.get("pid") == child and r["event"] == "exit", "the child", path=out)
            while tuple(map(int, STATUS.fullmatch(manager.wait_for("STATUS")["STATUS"]).groups())) != (1, 0, 1, 0, 0, 0):
                pass
            out.rename(tmp_path / "old")
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            nsmon.process.send_signal(signal.SIGHUP)
            reloading = manager.wait_for("RELOADING")
            assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert manager.wait_for("READY") == {"READY": "1"} and out.exists()
            assert nsmon.stop(signal.SIGTERM) == 0
            assert manager.wait_for("STOPPING") == {"STOPPING": "1"}
            assert manager.listen(0) is None
    assert not any("WATCHDOG" in message for _, message in manager.heard)


def test_service_is_not_ready_while_it_cannot_write_the_picture(tmp_path, manager):
    """A reader that does not read holds `ready` up, and READY with it."""
    reader, writer = os.pipe()
    import fcntl

    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    sleepers = [subprocess.Popen(["sleep", "1000"]) for _ in range(30)]
    try:
        with lib.Live(tmp_path, "-s", stdout=writer, env=manager.environment()) as nsmon:
            os.close(writer)
            lib.wait_until(lambda: status_of(nsmon.pid)["NoNewPrivs"] == "1", "nsmon to attach")
            assert manager.listen(lib.seconds(1.5)) is None
            data = b""
            while b'"event":"ready"' not in data:
                data += lib.read_some(reader, lib.seconds(30))
            assert manager.wait_for("READY")["READY"] == "1"
            os.close(reader)
            assert nsmon.wait() == 0
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def test_service_without_a_file_outlives_sighup(tmp_path, manager):
    """To a service SIGHUP is a reload, not the end of its terminal."""
    with lib.Live(tmp_path, "-e", "ns", env=manager.environment()) as nsmon:
        manager.wait_for("READY")
        nsmon.process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING")
        manager.wait_for("READY")
        assert nsmon.alive()
        nsmon.finish(signal.SIGTERM)


def test_service_says_that_it_cannot_write(tmp_path, manager):
    full = tmp_path / "full"
    os.mknod(full, 0o600 | 0o020000, os.makedev(1, 7))
    with lib.Server(tmp_path) as server:
        with lib.Live(tmp_path, "-q", "-w", full, "-p", server.pid, env=manager.environment()) as nsmon:
            manager.wait_for("READY")
            server.order("fork")
            while not manager.wait_for("STATUS")["STATUS"].startswith("Cannot write: "):
                pass
            assert nsmon.stop(signal.SIGTERM) == 1


def test_the_last_status_is_true(tmp_path, manager):
    """What happens just after a status is told too, when nothing happens any more: within five seconds, as the manual says."""
    with lib.Server(tmp_path) as server:
        with lib.Live(tmp_path, "-q", "-p", server.pid, env=manager.environment()) as nsmon:
            manager.wait_for("READY")
            children = []
            for _ in range(2):
                children.append(server.order("fork")[0]["child"])
                nsmon.wait_for(lambda r: r.get("pid") == children[-1] and r["event"] == "exit", "the child")
                while not STATUS.fullmatch(manager.wait_for("STATUS", timeout=7)["STATUS"]):
                    pass
            told = STATUS.fullmatch(manager.heard[-1][1]["STATUS"])
            assert tuple(map(int, told.groups())) == (2, 0, 2, 0, 0, 0)
            nsmon.stop(signal.SIGTERM)


def test_manager_that_does_not_read(tmp_path, manager):
    """Its socket is full: nsmon traces all the same, and READY gets through as soon as there is room."""
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    other.setblocking(False)
    full = 0
    with other, contextlib.suppress(BlockingIOError):
        while True:
            other.sendto(b"X=1", manager.path)
            full += 1
    with lib.Server(tmp_path) as server:
        environment = manager.environment(WATCHDOG_USEC="400000")
        with lib.Live(tmp_path, "-q", "-p", server.pid, env=environment) as nsmon:
            nsmon.wait_started()
            for _ in range(12):
                child = server.order("fork")[0]["child"]
                nsmon.wait_for(lambda r: r.get("pid") == child and r["event"] == "exit", "the child")
            nsmon.process.send_signal(signal.SIGHUP)
            for _ in range(full):
                assert manager.listen(0) == {"X": "1"}
            # Signs of life may get through before, and between.
            told = []
            while "READY" not in told:
                message = manager.listen(lib.seconds(10))
                assert message, told
                told += message.keys() & {"RELOADING", "READY"}
            assert told == ["RELOADING", "READY"]
            manager.wait_for("WATCHDOG")
            assert nsmon.stop(signal.SIGTERM) == 0


def test_watchdog_is_fed_by_the_loop(tmp_path, manager):
    """At half of its time, idle or not; a nsmon that is stopped feeds it no more, and one for another process is not its."""
    usec = 1000000 if lib.SLOW <= 1 else 3000000
    with lib.Live(tmp_path, "-e", "ns", env=manager.environment(WATCHDOG_USEC=str(usec))) as nsmon:
        manager.wait_for("READY")
        for _ in range(4):
            manager.wait_for("WATCHDOG", timeout=3)
        beats = [t for t, message in manager.heard if "WATCHDOG" in message]
        gaps = [b - a for a, b in zip(beats, beats[1:])]
        assert all(usec / 4e6 < gap < usec / 1e6 for gap in gaps), gaps
        nsmon.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        manager.drain()
        assert manager.listen(usec * 2 / 1e6) is None
        nsmon.process.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG", timeout=3)
        nsmon.finish(signal.SIGTERM)
    others = manager.environment(WATCHDOG_USEC=str(usec), WATCHDOG_PID="1")
    with lib.Live(tmp_path, "-e", "ns", env=others) as nsmon:
        manager.wait_for("READY")
        message = manager.listen(usec * 2 / 1e6)
        assert message is None or "WATCHDOG" not in message


def waits_in_write(pid):
    """As /proc/PID/syscall has it: the system call that it sleeps in."""
    number = {"x86_64": "1", "aarch64": "64"}[os.uname().machine]
    return pathlib.Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()[0] == number


@pytest.mark.long
def test_reader_that_stops(tmp_path, manager):
    """The pipe is full. That is no reason to kill nsmon: signs of life go on, and metrics, which count what is out and no
    more; and a rotation ends the waiting. Then all adds up."""
    pipe, old, metrics = (tmp_path / name for name in ("out", "old", "nsmon.prom"))
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    environment = manager.environment(WATCHDOG_USEC="2000000")
    options = ("-q", "-w", pipe, f"--metrics={metrics}")
    try:
        with lib.Server(tmp_path) as server, lib.Live(tmp_path, *options, "-p", server.pid, env=environment) as nsmon:
            manager.wait_for("READY")
            lib.wait_until(metrics.exists, "the first metrics")
            children = [server.order("fork")[0]["child"] for _ in range(40)]
            lib.wait_until(lambda: waits_in_write(nsmon.pid), "the pipe to be full")
            before = metrics.read_text(encoding="ascii")
            assert counted(before) == {}
            manager.drain()
            for _ in range(3):
                manager.wait_for("WATCHDOG")
            lib.wait_until(lambda: metrics.read_text(encoding="ascii") != before, "new metrics")
            out = counted(metrics.read_text(encoding="ascii"))
            lib.wait_until(lambda: waits_in_write(nsmon.pid), "it to wait again")
            pipe.rename(old)
            nsmon.process.send_signal(signal.SIGHUP)
            manager.wait_for("RELOADING")
            nsmon.wait_for(lambda r: r.get("pid") == children[-1] and r["event"] == "exit", "the rest", path=pipe)
            assert nsmon.stop(signal.SIGTERM) == 0
        data = b""
        while more := os.read(reader, 4096):
            data += more
    finally:
        os.close(reader)
    whole = lib.parse_json(data[: data.rindex(b"\n") + 1], complete=False)
    assert out == collections.Counter(r["event"] for r in whole[1:])
    rest = [json.loads(line) for line in pipe.read_bytes().splitlines()]
    told = [r for r in [*whole, *rest] if r["event"] in ("fork", "exit")]
    assert [(r["event"], r["pid"]) for r in told] == [(e, child) for child in children for e in ("fork", "exit")]
    assert [r["seq"] for r in [*whole, *rest]] == list(range(1, len(whole) + len(rest) + 1))
    # The line of which a part is in the pipe is the first one in the file.
    assert rest[-1]["lost"] == 0 and pipe.read_bytes().startswith(data[data.rindex(b"\n") + 1 :])


def counted(metrics):
    """{event: records} of those that there are."""
    found = re.findall(r'^nsmon_records_total\{event="(\w+)"\} ([1-9]\d*)$', metrics, re.M)
    return {event: int(n) for event, n in found}


def test_idle_service_sleeps(tmp_path, manager):
    """Nothing happens: it does not wake up to say so."""
    options = ("-e", "ns", "--cgroup=/there/is/none", "-w", tmp_path / "out")
    with lib.Live(tmp_path, *options, env=manager.environment()) as nsmon:
        manager.wait_for("READY")

        def wakings():
            return int(status_of(nsmon.pid)["voluntary_ctxt_switches"])

        before, quiet = wakings(), time.monotonic()
        deadline = quiet + lib.seconds(60)
        while time.monotonic() - quiet < 6.5:  # the longest sleep that ends by itself is 5 s
            time.sleep(0.25)
            if wakings() != before:
                before, quiet = wakings(), time.monotonic()
            assert time.monotonic() < deadline, "it wakes up again and again"
        manager.drain()
        assert len(manager.heard) <= 2, manager.heard
        nsmon.process.send_signal(signal.SIGTERM)
        assert nsmon.wait() == 0


def test_command_does_not_get_the_socket(tmp_path, manager):
    """What nsmon is told of the service manager is nsmon's alone."""
    env = manager.environment(WATCHDOG_USEC="60000000", NSMON_TEST="kept")
    run = lib.run(lib.nsmon_argv("-q", "-w", tmp_path / "out", command=["env"]), env=env)
    assert run.returncode == 0
    manager.wait_for("STOPPING")
    assert [name for m in manager.heard for name in m[1]][0] == "READY"
    names = {line.split(b"=")[0] for line in run.stdout.splitlines()}
    assert b"NSMON_TEST" in names
    assert not names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"}


def test_a_socket_that_nobody_has(tmp_path):
    """A manager that is gone, or a name that is none, changes nothing; of the latter a line tells."""
    for name, wrong in ((str(tmp_path / "none"), False), ("relative", True), ("vsock:2:1", True), ("@" + "x" * 300, True)):
        env = dict(os.environ, NOTIFY_SOCKET=name)
        run = lib.run(lib.nsmon_argv("-q", command=["sh", "-c", "exit 3"]), env=env)
        assert (run.returncode, run.stderr) == (3, b"")
        said = [line for line in lib.run(lib.nsmon_argv(command=["true"]), env=env).stderr.decode().splitlines()
                if "NOTIFY_SOCKET" in line]
        assert len(said) == wrong and all(name in line for line in said)


@pytest.mark.parametrize("wrong, names", [(["--output=xml"], "xml"), (["--bogus"], "--bogus"), (["-w"], "requires"),
                                          (["-p", "\x1b[31m"], "1 to 4194304")])
def test_wrong_usage_is_an_error_in_the_journal(wrong, names):
    """Each line has its priority where standard error is what systemd says that it is; and none elsewhere."""
    reader, writer = os.pipe()
    stat = os.fstat(writer)
    env = dict(os.environ, JOURNAL_STREAM=f"{stat.st_dev}:{stat.st_ino}")
    with subprocess.Popen([lib.NSMON, *wrong], env=env, stderr=writer) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as out:
            told = out.read()
    assert process.returncode == 2 and names.encode() in told and b"\x1b" not in told
    assert all(line.startswith(b"<3>nsmon: ") for line in told.splitlines())
    plain = lib.run([lib.NSMON, *wrong], env=env).stderr
    assert plain.startswith(b"nsmon: ") and b"<3>" not in plain


# ---- what is installed ----


def test_exposure(tmp_path, program):
    """`systemd-analyze security` finds no more than 1.5 of 10; and it is shown to find what is taken away."""
    analyze = program("systemd-analyze")
    unit = lib.REPO / "dist" / "nsmon.service"

    def exposure(path):
        run = lib.run([analyze, "security", "--offline=true", "--no-pager", "--threshold=15", path])
        return float(re.search(rb"exposure level for \S+: ([\d.]+)", run.stdout)[1]), run.returncode

    told, status = exposure(unit)
    assert told <= 1.5 and status == 0
    weaker = tmp_path / "nsmon.service"
    weaker.write_text(re.sub(r"(?m)^(PrivateNetwork|SystemCallFilter|ProtectKernelModules).*\n", "", unit.read_text()))
    assert exposure(weaker) > (told, 0)


def test_install(tmp_path, program):
    """Into an empty directory: the unit names the program where it is, and what an administrator has changed stays."""
    program("make")
    if lib.SLOW > 1:
        pytest.skip("the virtual machine's files are read-only; run on the machine itself")
    root = tmp_path / "root"
    default = root / "etc/default/nsmon"

    def make(*words):
        run = lib.run(["make", "--no-print-directory", "-C", lib.REPO, *words, f"DESTDIR={root}"], timeout=300)
        assert run.returncode == 0, run.stderr.decode()
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    files = make("install")
    assert {"usr/local/sbin/nsmon", "usr/local/lib/systemd/system/nsmon.service", "etc/default/nsmon",
            "etc/logrotate.d/nsmon", "usr/local/share/man/man8/nsmon.8"} <= files
    unit = (root / "usr/local/lib/systemd/system/nsmon.service").read_text()
    assert re.findall(r"^ExecStart=(\S+)", unit, re.M) == ["/usr/local/sbin/nsmon"]
    # What is taken where there is no such file, and what is in it, are the same.
    assert re.search(r'^Environment="(.*)"$', unit, re.M)[1].replace("=", '="', 1) + '"' in default.read_text().splitlines()
    default.write_text("mine\n")
    make("install")
    assert default.read_text() == "mine\n"
    assert make("uninstall") == {"etc/default/nsmon"}


def test_each_capability_of_the_unit_is_needed():
    """The unit has those that nsmon needs to attach and those that it is seen to keep, and no other."""
    unit = (lib.REPO / "dist" / "nsmon.service").read_text()
    sets = re.findall(r"^(?:CapabilityBoundingSet|AmbientCapabilities)=(.*)$", unit, re.M)
    assert [set(s.lower().split()) for s in sets] == [
        {"cap_bpf", "cap_perfmon", "cap_dac_read_search", "cap_sys_ptrace"}] * 2
