# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Many processors that write at once: what each of them made is in the one ring buffer, or counted as lost. The ring buffer
is read here beside nsmon, which is stopped meanwhile, and held against what the writers themselves counted.

Two writers on each of up to 8 processors. tests/run processors makes a virtual machine with 8 of them.
"""

import collections
import contextlib
import ctypes
import json
import mmap
import os
import pathlib
import signal
import struct
import subprocess

import pytest

import machine
import nsmonlib as lib

pytestmark = [pytest.mark.once, pytest.mark.quick, pytest.mark.anywhere]

WORKLOAD = pathlib.Path(__file__).resolve().parents[2] / "build" / "bench" / "workload"
CPUS = sorted(os.sched_getaffinity(0))[:8]
KINDS = {1: "fork", 2: "exec", 3: "exit", 4: "ns", 5: "lost"}  # src/nsmon.h, enum nsmon_kind
OPERATIONS = 3000 if lib.SLOW <= 1 else 300

# <linux/bpf.h>; src/nsmon.h: struct nsmon_header, struct nsmon_task from its pid to its name, struct nsmon_counters
RINGBUF, PERCPU_ARRAY = 27, 6
LOOKUP = 1
BUSY, DISCARD = 1 << 31, 1 << 30
HEADER = struct.Struct("=IHHQQII")
TASK = struct.Struct("=24x6I16s")
COUNTERS = struct.Struct("=Q9Q9Q")

Record = collections.namedtuple("Record", "cpu seq time kind comm pid")


@pytest.fixture(scope="module", autouse=True)
def tools():
    if len(CPUS) < 2:
        pytest.skip("there is one processor here")
    if lib.SLOW <= 1:
        subprocess.run(["make", "--no-print-directory", "bench-tools"], cwd=WORKLOAD.parents[2], check=True,
                       stdout=subprocess.DEVNULL)
    assert WORKLOAD.exists(), "make bench-tools first"


class Writers:
    """A process on each processor that forks, and one that moves between two namespaces; they wait for go()."""

    def __init__(self):
        self.processes = {}
        for cpu in CPUS:
            for kind in ("spawn", "setns"):
                name = f"w{cpu}-{kind}"
                process = subprocess.Popen([WORKLOAD, kind, str(OPERATIONS), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           preexec_fn=lambda cpu=cpu: os.sched_setaffinity(0, {cpu}))
                self.processes[name] = process
        for process in self.processes.values():
            assert process.stdout.readline() == b"ready\n"

    def go(self):
        """All at once; what each says that it made: {name: {kind: records}}."""
        for process in self.processes.values():
            process.stdin.write(b"go\n")
            process.stdin.flush()
        made = {}
        for name, process in self.processes.items():
            said = json.loads(process.stdout.readline())
            assert said["operations"] == OPERATIONS
            made[name] = {"fork": said["fork"], "exit": said["exit"], "ns": said["ns_records"]}
        return made

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            process.stdin.close()
            process.wait()
            process.stdout.close()


class Ring:
    """The ring buffer and the counters of a running nsmon, by descriptors of its own."""

    def __init__(self, pid):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fds = {}
        pidfd = os.pidfd_open(pid)
        for info in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
            fields = dict(line.split(":\t", 1) for line in info.read_text().splitlines() if ":\t" in line)
            kind = int(fields.get("map_type", 0))
            if kind == RINGBUF or kind == PERCPU_ARRAY and int(fields["value_size"]) == COUNTERS.size:
                assert kind not in self.fds
                self.fds[kind] = self.libc.syscall(438, pidfd, int(info.name), 0)  # pidfd_getfd
                if kind == RINGBUF:
                    self.size = int(fields["max_entries"])
        os.close(pidfd)
        assert sorted(self.fds) == [PERCPU_ARRAY, RINGBUF] and min(self.fds.values()) >= 0
        page = mmap.PAGESIZE
        fd = self.fds[RINGBUF]
        self.consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ, offset=0)
        self.rest = mmap.mmap(fd, page + 2 * self.size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.consumer.close()
        self.rest.close()
        for fd in self.fds.values():
            os.close(fd)

    def waiting(self):
        """The records that nsmon has not taken yet, in the order of the ring buffer."""
        at, = struct.unpack_from("=Q", self.consumer)
        end, = struct.unpack_from("=Q", self.rest)
        records = []
        while at < end:
            begin = mmap.PAGESIZE + (at & (self.size - 1))
            length, = struct.unpack_from("=I", self.rest, begin)
            assert not length & BUSY, "a record is still being written although the writers have ended"
            begin += 8
            if not length & DISCARD:
                size, kind, _, time, seq, cpu, _ = HEADER.unpack_from(self.rest, begin)
                assert size == length
                pid, comm = 0, b""
                if kind in (1, 2, 3, 4):
                    pid, _, _, _, _, _, comm = TASK.unpack_from(self.rest, begin + HEADER.size)
                records.append(Record(cpu, seq, time, KINDS.get(kind, kind), comm.rstrip(b"\0").decode(errors="replace"), pid))
            at += ((length & ~(BUSY | DISCARD)) + 8 + 7) & ~7
        return records

    def counters(self):
        """{processor: (records numbered, lost)}"""
        possible = pathlib.Path("/sys/devices/system/cpu/possible").read_text().strip().split("-")
        cpus = int(possible[-1]) + 1
        key, value = ctypes.c_uint32(0), ctypes.create_string_buffer(cpus * COUNTERS.size)
        attr = struct.pack("=I4xQQQ", self.fds[PERCPU_ARRAY], ctypes.addressof(key), ctypes.addressof(value), 0)
        number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
        assert self.libc.syscall(number, LOOKUP, attr, len(attr)) == 0, os.strerror(ctypes.get_errno())
        found = {}
        for cpu in range(cpus):
            records, *rest = COUNTERS.unpack_from(value, cpu * COUNTERS.size)
            found[cpu] = records, sum(rest[9:])
        return found


@contextlib.contextmanager
def stopped(nsmon):
    """Nothing is read meanwhile."""
    lib.wait_until(lambda: b'"event":"ready"' in nsmon.out, "the picture to be complete")
    os.kill(nsmon.pid, signal.SIGSTOP)
    try:
        lib.wait_until(lambda: pathlib.Path(f"/proc/{nsmon.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T",
                       "nsmon to stop")
        yield
    finally:
        os.kill(nsmon.pid, signal.SIGCONT)


def grouped(records, key):
    found = collections.defaultdict(list)
    for r in records:
        found[key(r)].append(r)
    return found


def by_cpu(records):
    return grouped(records, lambda r: r.cpu)


def may_be_preempted():
    """Between taking its place in the ring buffer and its number, a program may have to let another task's go first, and
    between counting and reading the number, so that two have the same one."""
    return machine.skips_tracepoints()


def check_order(records):
    """On each processor records are numbered and stamped in the order in which they are in the ring buffer; at least those
    of each task are."""
    def of(r):
        return (r.cpu, r.comm, r.pid) if may_be_preempted() else r.cpu

    for ours in grouped(records, of).values():
        for one, next_one in zip(ours, ours[1:]):
            assert one.seq < next_one.seq and one.time <= next_one.time, (one, next_one)


def count(records, name, kind):
    """By the name and kind of each."""
    found = collections.Counter((name(r), kind(r)) for r in records)
    return {who: {k: found[who, k] for k in ("fork", "exit", "ns")} for who, _ in found}


def test_all_is_there(tmp_path):
    """A buffer with room for all: no number is missing on any processor, and every record that was made is there."""
    with Writers() as writers, lib.Live(tmp_path, "-q", "-s", "--buffer=64M") as nsmon:
        with stopped(nsmon), Ring(nsmon.pid) as ring:
            before = ring.counters()
            skip = len(ring.waiting())
            made = writers.go()
            least, records, after = ring.counters(), ring.waiting(), ring.counters()
        run = nsmon.finish()
    assert len(made) == 2 * len(CPUS)
    check_order(records)
    ours = [r for r in records[skip:] if r.comm in made]
    assert count(ours, lambda r: r.comm, lambda r: r.kind) == made
    assert {r.cpu for r in ours} == set(CPUS)
    for r in ours:
        assert r.comm.startswith(f"w{r.cpu}-"), "a writer left its processor"
    for cpu, of_cpu in by_cpu(records[skip:]).items():
        numbers = [r.seq for r in of_cpu]
        if not may_be_preempted():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"a gap on {cpu}"
        assert before[cpu][0] < min(numbers) and max(numbers) <= after[cpu][0] and after[cpu][1] == 0
    # What others on this machine did came between the looks at the counters and at the ring buffer, if at all.
    numbered = [sum(records for records, _ in counters.values()) for counters in (before, least, after)]
    assert numbered[1] - numbered[0] <= len(records) and len(records) - skip <= numbered[2] - numbered[0]
    told = [r for r in run.records if r.get("comm") in made and "recovered" not in r and r["event"] != "proc"]
    assert count(told, lambda r: r["comm"], lambda r: r["event"]) == made
    assert [(r["comm"], r["pid"], r["event"]) for r in told] == [(r.comm, r.pid, r.kind) for r in ours], "the order"


def test_what_does_not_fit_is_counted(tmp_path):
    """A small buffer: of each processor as many numbers are missing as records were lost there, and all are accounted for."""
    with Writers() as writers:
        follow = [f"--pid={process.pid}" for process in writers.processes.values()]
        with lib.Live(tmp_path, "-q", "-s", "--buffer=64K", *follow) as nsmon:
            with stopped(nsmon), Ring(nsmon.pid) as ring:
                assert not ring.waiting()
                before = ring.counters()
                made = writers.go()
                records, after = ring.waiting(), ring.counters()
            run = nsmon.finish()
    check_order(records)
    missing = {}
    for cpu in CPUS:
        there = len(by_cpu(records)[cpu])
        missing[cpu] = after[cpu][0] - before[cpu][0] - there
        assert missing[cpu] == after[cpu][1] > 0, f"processor {cpu}: {there} there, {missing[cpu]} missing, {after[cpu][1]} lost"
    made_in_all = sum(sum(kinds.values()) for kinds in made.values())
    there_in_all = sum(r.kind != "lost" for r in records)
    assert there_in_all + sum(missing.values()) == made_in_all
    told = [r for r in run.records if r["event"] in ("fork", "exit", "ns") and "recovered" not in r]
    lost = run.records[-1]["lost"]
    ended = len(writers.processes)  # the writers' own exits, if nsmon was still there
    assert made_in_all <= len(told) + lost <= made_in_all + ended or machine.overcounts()
