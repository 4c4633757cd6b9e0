# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The whole picture, and no gap: while a crowd of processes and threads forks, execs, moves between namespaces and ends,
a reader that applies the stream to an empty table (replay.py) holds at every quiet moment what /proc shows of every task
on the machine: with records lost and without, and no matter when nsmon was started."""

import collections
import contextlib
import fcntl
import json
import os
import pathlib
import platform
import re
import select
import signal
import subprocess
import time

import pytest

import machine
import nsmonlib as lib
import replay
from test_exec_exit import decodings

# The table does not depend on how unshare() and setns() are seen.
pytestmark = pytest.mark.once

STORM = os.environ.get("NSMON_STORM", str(lib.REPO / "build" / "storm"))
F_SETPIPE_SZ = 1031
KINDS = ("fork", "exec", "exit", "ns")
NATIVE = lib.SLOW <= 1



def spawn_ms():
    """What starting a program and its end take here, in milliseconds."""
    times = []
    for _ in range(25):
        begin = time.monotonic()
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        times.append(time.monotonic() - begin)
    return sorted(times)[len(times) // 2] * 1000


# How many tasks there are, and how long each rests on average between two things that it does. Where all is slow the
# readers here, in Python, would not keep up with more, and where programs start slowly the crowd takes no more than they
# leave: virtual machines of one kind were seen to differ by five times.
TASKS = 200 if NATIVE else 60
PACE_MS = max(100, round(TASKS * spawn_ms() / 1.2)) if NATIVE else 800
RELEASE = tuple(int(n) for n in platform.release().split("-")[0].split(".")[:2])


# ---- the crowd and its readers ----


class Storm:
    """The crowd: does what it is told, and answers."""

    def __init__(self, *options, tasks=TASKS, seed=1, hold=True, pace=PACE_MS, process=None):
        self.argv = [STORM, "--tasks", str(tasks), "--seed", str(seed), "--pace", str(pace), *map(str, options)]
        if hold:
            self.argv += ["--hold", "yes"]
        if not os.access(STORM, os.X_OK):
            pytest.fail(f"the crowd (NSMON_STORM) is not there: {STORM}; build it first")
        self.process = process(self.argv) if process else self._start()
        self.pid = self.process.pid
        self.answers = b""
        self.reading = ()
        self.book = None

    def _start(self):
        return subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(lib.seconds(20))
        except subprocess.TimeoutExpired:
            self.process.kill()  # its children see it, and end
            self.process.wait()
        self.process.stdout.close()

    def send(self, order):
        os.write(self.process.stdin.fileno(), order.encode() + b"\n")

    def answer(self, timeout=60, readers=()):
        """The next answer; meanwhile the readers read."""
        fd = self.process.stdout.fileno()
        deadline = time.monotonic() + lib.seconds(timeout)
        while b"\n" not in self.answers:
            assert time.monotonic() < deadline, "the crowd does not answer"
            if select.select([fd], [], [], 0.02)[0]:
                data = os.read(fd, 65536)
                assert data, "the crowd has ended"
                self.answers += data
            for reader in readers:
                reader.read_available()
        line, _, self.answers = self.answers.partition(b"\n")
        return json.loads(line)

    def order(self, order, timeout=60, readers=()):
        self.send(order)
        return self.answer(timeout, readers)

    def end(self, readers=()):
        self.book = self.order("end", readers=readers)
        return self.book


class Reader:
    """Reads a stream as it comes, from a file or a pipe, holds every record against the schema, and applies it to a
    table. `copy`: where to keep what came through a pipe."""

    def __init__(self, fd, threads, copy=None):
        self.fd = fd
        self.is_pipe = not os.path.isfile(f"/proc/self/fd/{fd}")
        self.copy = open(copy, "wb") if copy else None
        self.path = copy
        self.table = replay.Table(threads)
        self.rest = b""
        self.end = False
        self.seq = 0
        self.counts = collections.Counter()  # of kinds, as they happened
        self.recovered = collections.Counter()
        self.lost = collections.Counter()
        self.losses = 0
        self.marks = set()
        self.readies = []
        self.stop = None

    def close(self):
        os.close(self.fd)
        if self.copy:
            self.copy.close()

    def read_available(self):
        """Applies what there is now; returns whether there was something."""
        if self.is_pipe and not select.select([self.fd], [], [], 0)[0]:
            return False
        data = os.read(self.fd, 1 << 20)
        if not data:
            self.end = self.is_pipe
            return False
        if self.copy:
            self.copy.write(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self._apply(json.loads(line))
        return True

    def _apply(self, r):
        lib.schema().validate(r)
        self.seq += 1
        assert r["seq"] == self.seq, f"seq is not {self.seq}: {r}"
        assert self.stop is None, f"after the stop record: {r}"
        self.table.apply(r)
        kind = r["event"]
        (self.recovered if r.get("recovered") else self.counts)[kind] += 1
        if kind == "exit" and r["comm"].startswith("mark-"):
            self.marks.add(r["comm"])
        elif kind == "lost":
            self.losses += 1
            assert r["count"] == sum(r[k] for k in KINDS) > 0, f"count is not the sum: {r}"
            self.lost.update({k: r[k] for k in KINDS})
        elif kind == "ready":
            self.readies.append(r)
        elif kind == "stop":
            self.stop = r

    def until(self, condition, what, timeout=60, others=()):
        deadline = time.monotonic() + lib.seconds(timeout)
        while not condition():
            assert not self.end, f"the stream ended before {what}"
            assert time.monotonic() < deadline, f"waited {lib.seconds(timeout):.0f} s in vain for {what}"
            if not any([r.read_available() for r in (self, *others)]):
                time.sleep(0.01)

    def until_ready(self):
        self.until(lambda: self.readies, "the ready record")

    def until_end(self, timeout=60):
        """Of a pipe; of a file, until the stop record."""
        self.until(lambda: self.end or self.stop, "the end of the stream", timeout)

    def history(self, tid):
        """What the stream said of a task lately; for messages."""
        found = collections.deque(maxlen=12)
        if self.copy:
            self.copy.flush()
        with open(self.path or f"/proc/self/fd/{self.fd}", "rb") as f:
            for line in f:
                r = json.loads(line) if line.endswith(b"\n") else {}
                if r.get("event") == "lost" or tid in (r.get("tid"), r.get("old_tid")):
                    for name in ("time", "vpid", "uid", "gid", "cgroup_id", "cgroup", "filename", "args"):
                        r.pop(name, None)
                    found.append(json.dumps(r))
        return "\n    ".join(found)

    def check(self):
        """What must hold of every stream."""
        errors = [f"{what}: {r}" for what, r in self.table.errors]
        assert not errors, f"{len(errors)} records cannot be: " + "\n".join(errors[:5]) + f"\n{self._of(errors)}"
        stop = self.stop
        if stop:
            for kind in KINDS:
                assert stop[kind] == self.counts[kind], f"{self.counts[kind]} {kind} records and {stop}"
            pictured = self.counts["proc"] + sum(self.recovered.values())
            assert stop["proc"] == pictured, f"{pictured} records from pictures and {stop}"
            assert stop["lost"] == sum(self.lost.values()), f"lost: {self.lost} and {stop}"

    def _of(self, errors):
        tid = int(re.search(r"'tid': (\d+)", errors[0]).group(1)) if "'tid'" in errors[0] else 0
        return f"of task {tid}:\n    {self.history(tid)}"


class Tracer:
    """nsmon in the background with a reader at its output: a file, or a pipe."""

    def __init__(self, directory, *options, threads=False, pipe=False, ready=True):
        self.directory = pathlib.Path(directory)
        options = ["-s", *options, *(["-T"] if threads else [])]
        copy = None
        if pipe:
            fd, writer = os.pipe()
            fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
            copy = self.directory / f"stream-{time.monotonic_ns()}"
            self.live = lib.Live(directory, *options, stdout=writer)
            os.close(writer)
        else:
            self.live = lib.Live(directory, *options)
            fd = os.open(self.live.path, os.O_RDONLY)
        self.reader = Reader(fd, threads, copy)
        self.pid = self.live.pid
        if ready:
            self.reader.until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        process = self.live.process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(AssertionError):
                self.reader.until_end(20)
            if self.reader.stop is None:
                process.kill()
            process.wait()
        self.reader.close()

    def finish(self, timeout=60):
        """Ends nsmon and reads the rest."""
        self.live.process.send_signal(signal.SIGINT)
        self.reader.until_end(timeout)
        assert self.live.wait() == 0, self.live.err
        while self.reader.read_available():
            pass
        assert self.reader.stop, "no stop record"
        self.reader.check()
        return self.reader

    def memory(self, which):
        """VmHWM or VmRSS, in bytes."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        return int(re.search(rf"{which}:\s*(\d+) kB", text).group(1)) * 1024


def read_for(seconds, *readers):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any([r.read_available() for r in readers]):
            time.sleep(0.02)


def drain(storm, *readers):
    """Reads until a mark has come through that is set now, and no repair is under way."""
    pending = list(readers)
    deadline = time.monotonic() + lib.seconds(90)
    while pending:
        name = storm.order("mark", readers=readers)["mark"]
        again = time.monotonic() + lib.seconds(2)  # it may have been lost
        while pending and time.monotonic() < again:
            if not any([r.read_available() for r in readers]):
                time.sleep(0.02)
            pending = [r for r in pending if name not in r.marks or r.table.repairing]
        assert time.monotonic() < deadline, "the stream does not come to an end, or a repair does not"


def assert_equal(storm, *readers, root=None):
    """The table of each reader is what /proc shows: of every task of the machine, or of `root` and those below it.
    Others come and go meanwhile: a difference counts when it is there in several looks, each at a drained stream."""
    drain(storm, *readers)
    started = time.monotonic()
    same = None
    looks = 0
    while looks < 4 or time.monotonic() < started + lib.seconds(2):
        read_for(0.15 if NATIVE else 0.5, *readers)
        found = set()
        for reader in readers:
            table = reader.table
            if root is None:
                differences = replay.compare(table, replay.proc_table(table.threads))
            else:
                # Of those outside the stream may tell as well, and what it tells must be true of a task that is there.
                pids = replay.descendants(root)
                others = replay.process_ids()
                others = {tid for pid in others for tid in replay.task_ids(pid) if pid not in pids}
                differences = replay.compare(table, replay.proc_table(table.threads, pids), others)
            found |= {(reader, *d) for d in differences}
        same = found if same is None else same & found
        looks += 1
        if not same:
            return
    lines = [f"{'tasks' if r.table.threads else 'processes'}: {d}" for r, *d in sorted(same, key=str)]
    reader, _, tid, *_ = min(same, key=str)
    raise AssertionError(
        f"{len(same)} differences with /proc, as (what, tid, in the table, in /proc):\n"
        + "\n".join(lines[:20])
        + f"\nof task {tid}:\n    {reader.history(tid)}"
    )


def quiet_and_equal(storm, *readers, root=None):
    alive = storm.order("quiet", readers=readers)["quiet"]
    assert_equal(storm, *readers, root=root)
    return alive


def storm_beside(directory, seconds, seed):
    """Two nsmon at once, for processes and for tasks; three quiet moments, and the end."""
    with Storm(seed=seed) as storm, Tracer(directory) as processes, Tracer(directory, threads=True) as tasks:
        readers = (processes.reader, tasks.reader)
        for _ in range(3):
            storm.order("go", readers=readers)
            read_for(seconds / 3, *readers)
            alive = quiet_and_equal(storm, *readers)
            assert alive > TASKS / 4, "hardly a task is alive; the test shows nothing"
        storm.end(readers)
        with Storm(tasks=0) as other:  # the first cannot set a mark any more
            assert_equal(other, *readers)
        for tracer in (processes, tasks):
            tracer.finish()
    return storm.book, readers


# ---- without loss ----


@pytest.mark.quick
@pytest.mark.vital
def test_short_storm(tmp_path):
    storm_beside(tmp_path, 6, seed=1)


@pytest.mark.long
def test_storm(tmp_path):
    book, readers = storm_beside(tmp_path, 30 if NATIVE else 20, seed=2)
    # What 100 ms between two steps make up for; where they are longer there is less.
    ns, others = (250000 // PACE_MS, 50000 // PACE_MS) if NATIVE else (50, 10)
    for reader in readers:
        print(f"{reader.counts} {reader.lost}")
        assert reader.counts["ns"] > ns
    for name in ("forks", "threads", "execs"):
        assert book[name]["begun"] > others, book


@pytest.mark.parametrize("threads", [False, True], ids=["processes", "tasks"])
def test_command(tmp_path, threads):
    """The storm as nsmon's own command, from its birth to its end."""
    stream = tmp_path / "stream"
    stream.touch()
    options = ["-T"] if threads else []

    def start(argv):
        argv = lib.nsmon_argv("-q", "-s", "-o", "json", "-w", stream, *options, command=argv)
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    with Storm(seed=3, process=start) as storm:
        reader = Reader(os.open(stream, os.O_RDONLY), threads)
        name = storm.order("mark")["mark"]
        reader.until(lambda: name in reader.marks, "the first mark")
        parents = {pid: replay.read_stat(f"/proc/{pid}") for pid in replay.process_ids()}
        root = next(pid for pid, stat in parents.items() if stat and stat[2] == storm.pid)
        for _ in range(2):
            storm.order("go")
            read_for(2 if NATIVE else 5, reader)
            quiet_and_equal(storm, reader, root=root)
        book = storm.end()
        assert storm.process.wait(lib.seconds(30)) == 0
        reader.until(lambda: reader.stop, "the stop record")
        reader.check()
        assert not [tid for tid in reader.table.rows if tid == root]
        check_book(reader, book, masters=1)
        reader.close()


@pytest.mark.parametrize("times", [12 if NATIVE else 3])
def test_started_in_the_storm(tmp_path, times):
    with Storm(seed=4, hold=False) as storm:
        read_for(lib.seconds(2))
        for i in range(times):
            with Tracer(tmp_path, threads=i % 2 == 1) as tracer:
                read_for(0.3, tracer.reader)
                quiet_and_equal(storm, tracer.reader)
                tracer.finish()
            storm.order("go")
            read_for(0.3)


# ---- with loss ----


def check_book(reader, book, masters, exact=False):
    """Delivered and lost is what there was. A task of the crowd may be killed at any moment, so of some things its book
    knows only between what numbers they are."""
    threads = reader.table.threads
    born = ("forks", "threads") if threads else ("forks",)
    least = {"fork": sum(book[n]["begun"] for n in born), "exec": book["execs"]["begun"]}
    most = {
        "fork": sum(book[n]["tried"] - book[n]["failed"] for n in born),
        "exec": book["execs"]["tried"] - book["execs"]["failed"],
    }
    counted = {k: reader.counts[k] + reader.lost[k] for k in KINDS}
    for kind in ("fork", "exec"):
        extra = book["burst"][kind] + masters
        assert least[kind] + extra <= counted[kind], f"{kind}: {counted} and {book}"
        assert counted[kind] <= most[kind] + extra or machine.overcounts(), f"{kind}: {counted} and {book}"
    if exact:
        assert counted["ns"] >= book["burst"]["ns"], f"{counted} and {book}"
        assert counted["ns"] == book["burst"]["ns"] or machine.overcounts(), f"{counted} and {book}"
    return counted


@pytest.mark.parametrize("tasks", [0, TASKS], ids=["forks", "crowd"])
@pytest.mark.parametrize("threads", [False, True], ids=["processes", "tasks"])
def test_loss(tmp_path, threads, tasks):
    """A buffer that is much too small and a reader that does not read: tens of thousands of records are lost. The table
    is repaired, and what was delivered and lost is what the book says that there was."""
    forks = 20000 if NATIVE else 2000
    with Storm(seed=5, tasks=tasks) as storm:
        options = ["-p", storm.pid, "--buffer=64K"]
        with Tracer(tmp_path, *options, threads=threads, pipe=True) as tracer:
            reader = tracer.reader
            storm.order("go", readers=[reader])
            read_for(1, reader)
            for _ in range(2):
                storm.order(f"forks {forks} 2", timeout=300)  # and nobody reads
                read_for(1, reader)  # the crowd goes on
                quiet_and_equal(storm, reader, root=storm.pid)
                storm.order("go", readers=[reader])
            assert sum(reader.lost.values()) > forks, "hardly a record was lost; the test shows nothing"
            read_for(0.5, reader)
            book = storm.end(readers=[reader])
            assert storm.process.wait(lib.seconds(20)) == 0
            read_for(0.5, reader)
            tracer.finish()
            print(f"{reader.losses} losses: {dict(reader.lost)}, recovered {dict(reader.recovered)}")
            counted = check_book(reader, book, masters=0, exact=tasks == 0)
            # That of the first process as well.
            assert counted["exit"] == counted["fork"] + 1 or machine.overcounts(), counted
            assert storm.pid not in reader.table.rows
            assert not reader.table.rows.keys() - {os.getpid(), tracer.pid}, reader.table.rows


@pytest.mark.long
@pytest.mark.parametrize("threads", [False, True], ids=["processes", "tasks"])
def test_loss_of_the_whole_machine(tmp_path, threads):
    """The same for all tasks of the machine; the reader stalls again and again, also while its table is repaired."""
    with Storm(seed=6) as storm, Tracer(tmp_path, "--buffer=64K", threads=threads, pipe=True) as tracer:
        reader = tracer.reader
        for _ in range(2):
            storm.order("go", readers=[reader])
            for _ in range(3):
                time.sleep(1.5)
                read_for(0.2, reader)
            quiet_and_equal(storm, reader)
        assert reader.losses, "nothing was lost; the test shows nothing"
        storm.end(readers=[reader])
        tracer.finish()
        print(f"{reader.losses} losses: {dict(reader.lost)}, recovered {dict(reader.recovered)}")


@pytest.mark.long
def test_back_pressure(tmp_path):
    """A reader that stops for ten seconds in a storm of forks: nsmon's memory stays bounded, the work ends, and the
    table is right afterwards. NSMON_TEST_MILLION=1 makes it a million."""
    forks = 200000 if NATIVE else 10000
    if os.environ.get("NSMON_TEST_MILLION"):
        forks = 1000000
    with Storm(seed=7, tasks=50) as storm, Tracer(tmp_path, pipe=True) as tracer:
        reader = tracer.reader
        storm.order("go", readers=[reader])
        before = tracer.memory("VmHWM")
        storm.send(f"forks {forks} 2")
        time.sleep(10)
        answer = storm.answer(timeout=600, readers=[reader])
        assert answer["forks"] >= forks
        quiet_and_equal(storm, reader)
        after = tracer.memory("VmHWM")
        tasks = len(replay.proc_table(True))
        print(f"VmHWM {before >> 10} KiB before, {after >> 10} KiB after; lost {dict(reader.lost)}")
        assert after < (64 << 20) + 256 * tasks
        storm.end(readers=[reader])
        tracer.finish()


# ---- many ----


def test_ten_thousand_sleepers(tmp_path):
    """More tasks that have called unshare(), and go on, than nsmon keeps in mind in the kernel."""
    want = 10000 if NATIVE else 1000
    with Storm(tasks=0) as storm:
        with Tracer(tmp_path) as tracer:
            few = tracer.reader.readies[0]["tasks"]
            read_for(0.5, tracer.reader)
            small = tracer.memory("VmRSS")
            count = storm.order(f"sleepers {want}", timeout=120, readers=[tracer.reader])["sleepers"]
            assert count > want // 10, "the machine does not allow that many processes"
            assert_equal(storm, tracer.reader)
            tracer.finish()
            assert (not tracer.reader.losses or machine.overcounts()) and tracer.reader.counts["ns"] >= count // 5
        started = time.monotonic()
        with Tracer(tmp_path) as tracer:
            reader = tracer.reader
            took = time.monotonic() - started
            read_for(0.5, reader)
            large = tracer.memory("VmRSS")
            told = reader.readies[0]["tasks"]
            assert told == reader.counts["proc"] >= count
            assert_equal(storm, reader)
            print(f"{told} tasks: ready after {took:.2f} s; RSS {small >> 10} -> {large >> 10} KiB")
            assert large - small <= 256 * (told - few) + (4 << 20)
            storm.end(readers=[reader])
            with Storm(tasks=0) as other:
                assert_equal(other, reader)
            tracer.finish()


# ---- the witness ----


NSIO_GET_MNTNS_ID = 0x8008B705  # Linux 6.11
NSIO_GET_ID = 0x8008B70D  # Linux 6.18


def ns_id(path, t):
    """The id that the kernel's ioctl tells; None where it tells none."""
    if RELEASE < (6, 18) and (t != "mnt" or RELEASE < (6, 11)):
        return None
    with open(path, "rb") as f:
        data = fcntl.ioctl(f, NSIO_GET_ID if RELEASE >= (6, 18) else NSIO_GET_MNTNS_ID, bytes(8))
    return int.from_bytes(data, "little")


def status_of(path):
    text = pathlib.Path(f"{path}/status").read_bytes()
    return {k.decode(): v.split() for k, _, v in (line.partition(b":") for line in text.split(b"\n"))}


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """One process of each odd kind, asleep; nsmon's snapshots of them."""
    directory = tmp_path_factory.mktemp("witness")
    with Storm(tasks=0) as storm:
        pids = storm.order(f"witness {directory}")["witness"]
        snapshots = {}
        for threads in (False, True):
            with Tracer(directory, threads=threads) as tracer:
                tracer.finish()
                records = lib.parse_json(tracer.live.out)
            snapshots[threads] = {r["tid"]: r for r in records if r["event"] == "proc"}
        with text_snapshot(directory) as lines:
            yield pids, snapshots, lines
        storm.end()


@contextlib.contextmanager
def text_snapshot(directory):
    """The lines of a snapshot as text."""
    with lib.Live(directory, "-s", form="text") as nsmon:
        marker = f"pid={os.getpid()} ".encode()
        lib.wait_until(lambda: nsmon.alive() and marker in nsmon.out, "the snapshot as text")
        yield nsmon.finish().records


ODD = [
    "plain", "every", "user", "uid", "pid-unborn", "pid-for-children", "time-for-children", "thread-elsewhere", "comm",
    "args", "long-args", "many-args", "no-args", "deleted", "exe-name",
]  # fmt: skip


def tasks_of(pid):
    """(pid, tid) of a process of the witness and of those below it."""
    return [(p, tid) for p in replay.descendants(pid) for tid in replay.task_ids(p)]


def check_task(r, pid, tid):
    """A proc record against /proc/PID/task/TID."""
    path = f"/proc/{pid}/task/{tid}"
    status = status_of(path)
    assert r["pid"] == pid and r["tid"] == tid
    assert r["ppid"] == int(status["PPid"][0])
    assert r["vpid"] == int(status["NStgid"][-1])
    assert (r["uid"], r["gid"]) == (int(status["Uid"][0]), int(status["Gid"][0]))
    assert r["start_ns"] // replay.TICK_NS == replay.read_stat(f"/proc/{pid}")[3]
    comm = pathlib.Path(f"{path}/comm").read_bytes()[:-1]
    assert r["comm"] in decodings(comm), (r, comm)
    for t, inum in replay.read_ns(path).items():
        assert r["ns"][t]["inum"] == inum, (t, r)
        if t.endswith("_for_children") and t not in r["ns"]:
            continue
        wanted = ns_id(f"{path}/ns/{t}", t)
        if wanted and RELEASE >= (6, 18):
            assert r["ns"][t]["ns_id"] == wanted, (t, r)
        else:
            assert r["ns"][t].get("ns_id", wanted) == wanted, (t, r)


@pytest.mark.quick
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("threads", [False, True], ids=["processes", "tasks"])
def test_witness(frozen, kind, threads):
    pids, snapshots, _ = frozen
    snapshot = snapshots[threads]
    tasks = tasks_of(pids[kind])
    if kind == "pid-for-children":
        assert len(tasks) == 3
    for pid, tid in tasks:
        assert tid in snapshot, f"{pid}/{tid} is not in the snapshot"
        check_task(snapshot[tid], pid, tid)


def test_witness_is_what_it_should_be(frozen):
    """A guard of the others: the odd processes are odd."""
    pids, _, _ = frozen
    mine = replay.read_ns("/proc/self")
    own = replay.read_ns(f"/proc/{pids['every']}")
    assert all(own[t] != inum for t, inum in mine.items())
    if "time" in mine:
        own = replay.read_ns(f"/proc/{pids['time-for-children']}")
        assert own["time"] != own["time_for_children"]
    assert len(replay.task_ids(pids["thread-elsewhere"])) == 2
    assert replay.read_stat(f"/proc/{pids['dead-leader']}")[0] == "Z"
    if RELEASE < (7, 0):  # 7.3 shows it
        assert "pid_for_children" not in replay.read_ns(f"/proc/{pids['pid-unborn']}")
    assert os.readlink(f"/proc/{pids['deleted']}/exe").endswith(" (deleted)")


@pytest.mark.parametrize("threads", [False, True], ids=["processes", "tasks"])
def test_witness_zombie(frozen, threads):
    """What has ended is not in the snapshot."""
    pids, snapshots, _ = frozen
    tasks = tasks_of(pids["zombie"])
    assert len(tasks) == 2
    assert [tid in snapshots[threads] for _, tid in sorted(tasks)] == [True, False]


@pytest.mark.parametrize("threads", [False, True], ids=["processes", "tasks"])
def test_witness_dead_leader(frozen, threads):
    """A process whose main thread has ended lives, with what /proc still shows of that one."""
    pids, snapshots, _ = frozen
    snapshot, pid = snapshots[threads], pids["dead-leader"]
    tids = replay.task_ids(pid)
    assert len(tids) == 2
    if threads:
        thread = next(tid for tid in tids if tid != pid)
        check_task(snapshot[thread], pid, thread)
    if not threads or pid in snapshot:
        check_task(snapshot[pid], pid, pid)


@pytest.mark.parametrize("threads", [False, True], ids=["processes", "tasks"])
@pytest.mark.parametrize("kind", ["plain", "args", "long-args", "many-args", "no-args", "deleted", "exe-name"])
def test_witness_program(frozen, kind, threads):
    pids, snapshots, _ = frozen
    r = snapshots[threads][pids[kind]]
    args = pathlib.Path(f"/proc/{r['pid']}/cmdline").read_bytes().split(b"\0")[:-1]
    if r.get("args_truncated"):
        assert sum(map(len, args)) > 4000
        *whole, last = r["args"]
        assert all(a in decodings(b) for a, b in zip(whole, args))
        assert len(whole) < len(args) and args[len(whole)].startswith(last.encode())
        assert sum(len(a) + 1 for a in r["args"]) > 1000
    else:
        assert len(r["args"]) == len(args)
        assert all(a in decodings(b) for a, b in zip(r["args"], args)), (r, args)
    exe = os.readlink(f"/proc/{r['pid']}/exe".encode())
    possible = {*decodings(exe)}
    if kind == "deleted":
        possible |= {*decodings(exe.removesuffix(b" (deleted)"))}
    assert r["exe"] in possible, (r, exe)


def test_kernel_threads(frozen):
    """They are tasks as well."""
    _, snapshots, _ = frozen
    if 2 not in snapshots[False]:
        assert replay.read_stat("/proc/2") is None, "kthreadd is not in the snapshot"
        pytest.skip("no kernel threads are seen from this pid namespace")
    check_task(snapshots[False][2], 2, 2)
    assert not snapshots[False][2].get("args") and "exe" not in snapshots[False][2]


@pytest.mark.anywhere
@pytest.mark.parametrize("kind", [*ODD, "dead-leader"])
def test_witness_in_text(frozen, kind):
    """One line each, parsed strictly, also of hostile names."""
    pids, snapshots, lines = frozen
    pid = pids[kind]
    found = [r for r in lines if r["event"] == "proc" and r["pid"] == pid and r.get("tid", pid) == pid]
    assert len(found) == 1, found
    record = snapshots[False][pid]
    assert found[0]["ppid"] == record["ppid"]
    assert found[0]["comm"] == pathlib.Path(f"/proc/{pid}/comm").read_bytes()[:-1]
    line = {**found[0], "pid": found[0].get("pid_ns")}
    assert {t: line.get(t) for t in record["ns"]} == {t: n["inum"] for t, n in record["ns"].items()}


@pytest.mark.anywhere
def test_text_begins_with_the_snapshot(frozen):
    _, _, lines = frozen
    first = next(i for i, r in enumerate(lines) if r["event"] != "proc") if lines[-1]["event"] != "proc" else len(lines)
    assert first == sum(r["event"] == "proc" for r in lines) > 5


@pytest.mark.anywhere
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_snapshot(form):
    records = lib.trace(["true"], "--no-snapshot", form=form).records
    assert not [r for r in records if r["event"] in ("proc", "ready")]


@pytest.mark.anywhere
@pytest.mark.parametrize("form, told", [("json", True), ("text", False)])
def test_snapshot_by_default(form, told):
    run = lib.run([lib.NSMON, f"--backend={lib.BACKEND}", "-q", "-o", form, "--", "true"])
    assert run.returncode == 0, run.stderr
    records = lib.parse_json(run.stdout) if form == "json" else lib.parse_text(run.stdout)
    assert told == any(r["event"] == "proc" for r in records)


# ---- guards of the reader ----


def stream(*events):
    """Records of a made-up stream, in which 1 is there from the start."""
    task = {"start_ns": 5, "comm": "x"}
    ns = {t: {"inum": i + 1} for i, t in enumerate(replay.TYPES)}
    first = [{"event": "proc", "pid": 1, "tid": 1, **task, "ns": ns}, {"event": "ready", "tasks": 1}]
    return first + [{**task, "tid": e.get("pid"), **e} for e in events]


def replayed(threads, *events):
    table = replay.Table(threads)
    for r in stream(*events):
        table.apply(r)
    return table


FORK = {"event": "fork", "pid": 7, "ppid": 1, "ptid": 1}
UTS = {"event": "ns", "pid": 7, "type": "uts", "reason": "unshare", "old_inum": 2, "inum": 99}
EXIT = {"event": "exit", "pid": 7}
LOST = {"event": "lost", "count": 1}
AGAIN = {"event": "ready", "tasks": 2}


@pytest.mark.anywhere
@pytest.mark.quick
def test_the_reader():
    table = replayed(False, FORK, UTS)
    assert not table.errors and table.rows[7]["ns"]["uts"] == 99 and table.rows[1]["ns"]["uts"] == 2
    assert not replayed(False, FORK, UTS, EXIT).errors
    assert replayed(False, FORK, UTS, EXIT).rows.keys() == {1}
    for wrong in ([UTS], [EXIT], [FORK, FORK], [FORK, UTS, UTS], [{**FORK, "ppid": 3}], [FORK, EXIT, EXIT]):
        assert replayed(False, *wrong).errors, wrong
        table = replayed(False, LOST, *wrong, AGAIN)
        assert table.tolerated and not table.errors
        assert replayed(False, LOST, AGAIN, *wrong).errors
    thread = {**FORK, "tid": 8, "ppid": 7, "ptid": 7}
    alone = {**UTS, "tid": 8}
    assert replayed(False, FORK, thread, alone).rows[7]["ns"]["uts"] == 2
    table = replayed(True, FORK, thread, alone, EXIT, {"event": "exec", "pid": 7, "old_tid": 8})
    assert not table.errors and table.rows.keys() == {1, 7} and table.rows[7]["ns"]["uts"] == 99


@pytest.mark.anywhere
@pytest.mark.quick
def test_the_comparison_can_fail():
    """Against the real /proc: a row too many, one too few, another namespace, another start, another process."""
    me = os.getpid()
    proc = replay.proc_table(True, [me])
    good = {tid: {"pid": r.pid, "start_ns": r.start * replay.TICK_NS, "ns": dict(r.ns)} for tid, r in proc.items()}

    def differences(change):
        table = replay.Table(True)
        table.rows = {tid: {**row, "ns": dict(row["ns"])} for tid, row in good.items()}
        change(table.rows)
        return replay.compare(table, proc)

    assert me in good and differences(lambda rows: None) == set()
    assert differences(lambda rows: rows.pop(me))
    assert differences(lambda rows: rows.update({me + 1000000: rows[me]}))
    assert differences(lambda rows: rows[me]["ns"].update(uts=1)) == {("uts", me, 1, proc[me].ns["uts"])}
    assert differences(lambda rows: rows[me]["ns"].pop("mnt"))
    assert differences(lambda rows: rows[me].update(start_ns=0))
    assert differences(lambda rows: rows[me].update(pid=1))
