# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What nsmon takes of the machine: memory, wake-ups and work for the kernel. Witnesses are /proc/PID and strace. Nothing
here is timed: calls and pages are counted."""

import collections
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

import machine
import nsmonlib as lib

MIB = 1 << 20


@contextlib.contextmanager
def sleeping():
    with subprocess.Popen(["sleep", "infinity"]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def need_plain(pid):
    """Sanitizers and valgrind keep memory of their own."""
    if not os.path.samefile(f"/proc/{pid}/exe", lib.NSMON):
        pytest.skip("another program runs nsmon here")
    if "libasan" in pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="utf-8"):
        pytest.skip("this nsmon is built with sanitizers")


def resident(pid):
    """Bytes, by VmRSS, RssAnon, RssFile and RssShmem."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(VmRSS|Rss\w+):\s+(\d+) kB$", status, re.M)}


@pytest.mark.quick
@pytest.mark.once
@pytest.mark.parametrize("buffer", ["default", "64M"])
def test_resident_memory(tmp_path, buffer):
    """The aim is 8 MiB, whatever the size of the buffer, and 256 bytes for each task. A kernel with many processors has
    larger maps, which are mapped in part only."""
    options = [] if buffer == "default" else ["--buffer", buffer]
    with lib.Live(tmp_path, "--snapshot", *options) as live:
        tasks = live.wait_for(lambda r: r["event"] == "ready", "the picture")["tasks"]
        need_plain(live.pid)
        memory = resident(live.pid)
        assert memory["VmRSS"] <= 8 * MIB + 256 * tasks, memory
        assert memory["RssAnon"] <= 4 * MIB + 256 * tasks, memory
        live.finish()


def huge_pages():
    try:
        return "[never]" not in pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii")
    except OSError:
        return False


@pytest.mark.quick
@pytest.mark.once
@pytest.mark.anywhere
def test_page_faults_of_a_start(tmp_path):
    """The kernel's BTF takes four times its 5 MiB for a moment: 5000 page faults of 4 KiB, or some of huge pages."""
    if not huge_pages():
        pytest.skip("this kernel gives no huge pages (/sys/kernel/mm/transparent_hugepage/enabled)")
    with lib.Live(tmp_path, "--snapshot") as live:
        live.wait_for(lambda r: r["event"] == "ready", "the picture")
        need_plain(live.pid)
        stat = pathlib.Path(f"/proc/{live.pid}/stat").read_text(encoding="utf-8")
        minor = int(stat.rpartition(")")[2].split()[7])  # minflt, proc(5)
        assert minor < 3500
        live.finish()


def wakes(pid):
    """How often its threads have gone to sleep of themselves."""
    total = 0
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        status = path.read_text(encoding="utf-8")
        total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", status, re.M).group(1))
    return total


@pytest.mark.once
@pytest.mark.each_kernel
@pytest.mark.parametrize("way", ["pid", "command"])
def test_idle_without_wakes(tmp_path, way):
    """After two looks, 1 and 11 seconds from the start, nothing wakes nsmon where nothing happens, longer than any of its
    timers lasts. Another program's new cgroup wakes it: then it gets another chance."""
    with sleeping() as pid:
        options = ["-p", str(pid)] if way == "pid" else []
        command = ["sleep", "infinity"] if way == "command" else None
        with lib.Live(tmp_path, *options, command=command) as live:
            live.wait_started()

            def sleeps():
                before = wakes(live.pid)
                time.sleep(7)
                return live.alive() and wakes(live.pid) == before

            lib.wait_until(sleeps, "7 seconds without a wake-up", timeout=60)
            live.process.send_signal(signal.SIGINT)
            live.wait()


@pytest.mark.quick
@pytest.mark.once
def test_end_of_given_process(tmp_path):
    """The last end is told, and ends the trace, also when nsmon has long been asleep."""
    with sleeping() as pid, lib.Live(tmp_path, "--snapshot", "-p", str(pid)) as live:
        live.wait_for(lambda r: r["event"] == "ready", "the picture")
        before = wakes(live.pid)
        lib.wait_until(lambda: wakes(live.pid) > before + 2, "nsmon to have begun longer sleeps")
        os.kill(pid, signal.SIGKILL)
        assert live.wait() == 0
        ends = [r for r in lib.parse_json(live.out) if r["event"] == "exit"]
        assert [(r["pid"], r["signal"]) for r in ends] == [(pid, signal.SIGKILL)]


def refused_late():
    """Does the kernel verify programs for trampolines that it then cannot attach?"""
    return os.uname().machine == "aarch64" and machine.release() < (6, 4)


@pytest.mark.quick
@pytest.mark.each_kernel
def test_work_of_a_start(tmp_path, program):
    """The kernel's BTF, 5 MiB and more, is read twice, by nsmon and by libbpf; and each program is verified once, also
    where the first backends are refused."""
    trace = tmp_path / "strace"
    argv = [program("strace"), "-f", "-s", "64", "-e", "trace=bpf,open,openat", "-o", trace]
    with lib.Live(tmp_path, "--snapshot", start=lambda nsmon: [*argv, *nsmon]) as live:
        live.wait_for(lambda r: r["event"] == "ready", "the picture", timeout=120)
        live.process.send_signal(signal.SIGINT)
        # strace does not pass it on: it ends with the program that it runs.
        child = pathlib.Path(f"/proc/{live.pid}/task/{live.pid}/children").read_text(encoding="utf-8").split()
        for pid in child:
            os.kill(int(pid), signal.SIGINT)
        live.wait()
    calls = trace.read_text(encoding="utf-8")
    tries = 2 if refused_late() and lib.BACKEND == "auto" else 1
    opened = re.findall(r'"/sys/kernel/btf/vmlinux", O_RDONLY.*= \d+$', calls, re.M)
    assert 1 <= len(opened) <= 2 * tries, opened
    loaded = collections.Counter(re.findall(r'BPF_PROG_LOAD.*prog_name="([^"]+)".*= \d+$', calls, re.M))
    assert loaded["read_view"] and loaded["snapshot"], loaded
    # The kernel keeps 15 bytes of a name: copies of one program may share them.
    often = {name: n for name, n in loaded.items() if n > tries * (3 if len(name) == 15 else 1)}
    assert not often
