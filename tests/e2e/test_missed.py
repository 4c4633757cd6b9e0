# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What nsmon does about a birth, or the end of a call, whose programs the kernel skipped. Nobody can make a kernel skip them
when it is wanted: these tests make nsmon's maps, by bpf(2), what they would be then. Witnesses are the inode numbers in
/proc of the process that nsmon may or may not follow, and the test itself, which knows what it made unknown."""

import ctypes
import os
import pathlib
import shutil
import signal
import struct
import subprocess

import pytest

import machine
import nsmonlib as lib

pytestmark = [pytest.mark.once, pytest.mark.anywhere]

class Map:
    """A map of a nsmon that runs, by its name, of which 15 bytes count."""

    def __init__(self, nsmon, name):
        for entry in pathlib.Path(f"/proc/{nsmon.pid}/fdinfo").iterdir():
            ids = [line.split()[1] for line in entry.read_text(encoding="ascii").splitlines() if line.startswith("map_id:")]
            if not ids:
                continue
            self.fd = lib.bpf(lib.BPF_FD_BY_ID, struct.pack("=III", int(ids[0]), 0, 0))[0]
            info = ctypes.create_string_buffer(256)
            lib.bpf(lib.BPF_INFO, struct.pack("=IIQ", self.fd, len(info), ctypes.addressof(info)))
            # struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags, name
            self.key_size, self.value_size = struct.unpack_from("=II", info, 8)
            if info.raw[24:40].split(b"\0")[0].decode() == name[:15]:
                return
            os.close(self.fd)
        raise AssertionError(f"this nsmon has no map {name}")

    def _key(self, key):
        return ctypes.create_string_buffer(key.to_bytes(self.key_size, "little"), self.key_size)

    def _element(self, command, key, value, flags=0):
        key = self._key(key)
        at = ctypes.addressof(value) if value else 0
        lib.bpf(command, struct.pack("=IIQQQ", self.fd, 0, ctypes.addressof(key), at, flags))

    def get(self, key):
        value = ctypes.create_string_buffer(self.value_size)
        self._element(lib.BPF_LOOKUP, key, value)
        return bytearray(value.raw)

    def put(self, key, value):
        self._element(lib.BPF_UPDATE, key, ctypes.create_string_buffer(bytes(value), self.value_size))

    def delete(self, key):
        self._element(lib.BPF_DELETE, key, None)

    def __contains__(self, key):
        try:
            self.get(key)
        except OSError:
            return False
        return True


def variables():
    """{name: (offset, bytes)} of those in .bss."""
    output = pathlib.Path(lib.NSMON).resolve().parent
    objects = [p for p in (output / "build" / "nsmon.bpf.o", output / "nsmon.bpf.o") if p.exists()]
    if "NSMON" in os.environ and not (objects and shutil.which("readelf")):
        pytest.skip("this nsmon was built elsewhere: its object file, which says where its variables are, or readelf is not here")
    found = {}
    for line in lib.run(["readelf", "-sW", objects[0]]).stdout.decode().splitlines():
        words = line.split()
        if len(words) == 8 and words[3] == "OBJECT":
            found[words[7]] = int(words[1], 16), int(words[2])
    return found


# A process that makes another one when it is told to, which changes its namespace when it is told to, and ends.
PARENT = 'read go; sh -c "read go <$0.1; unshare -u readlink /proc/self/ns/uts >$0.out" $0 & echo $!; wait; read go'


@pytest.mark.each_kernel
@pytest.mark.parametrize("missed", [False, True], ids=["known", "missed"])
def test_child_whose_birth_was_missed(tmp_path, missed):
    """Taken out of what is followed, it is not told of; where a missed birth is known, the next picture finds it, by its
    parent, and the trace ends when both have ended."""
    where = variables()
    base = tmp_path / "child"
    os.mkfifo(f"{base}.1")
    parent = subprocess.Popen(["sh", "-c", PARENT, base], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = None
    try:
        with lib.Live(tmp_path, "-v", "-p", parent.pid) as nsmon:
            nsmon.wait_started()
            followed, bss = Map(nsmon, "followed"), Map(nsmon, "nsmon_bp.bss")
            parent.stdin.write(b"go\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline())
            nsmon.wait_for(lambda r: r["event"] == "exec" and r["pid"] == child, "the child's program")
            assert child in followed
            followed.delete(child)
            values = bss.get(0)
            at, size = where["followed_count"]
            values[at : at + size] = (int.from_bytes(values[at : at + size], "little") - 1).to_bytes(size, "little")
            if missed:
                values[where["adopting"][0]] = 1
            bss.put(0, values)
            seen = nsmon.err.count("a picture of ")
            # Those that are taken 1 s and 11 s after the start.
            if missed:
                lib.wait_until(lambda: child in followed, "the child to be found")
            else:
                lib.wait_until(lambda: nsmon.err.count("a picture of ") > seen, "a picture")
                assert child not in followed
            with open(f"{base}.1", "w", encoding="ascii") as go:
                go.write("go\n")
            out = pathlib.Path(f"{base}.out")
            lib.wait_until(lambda: out.exists() and out.read_text(encoding="ascii").endswith("\n"), "the child")
            parent.communicate(b"go\n", timeout=lib.seconds(20))
            child = None
            assert nsmon.wait() == 0
            records = lib.parse_json(nsmon.out)
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
        parent.kill()
        parent.wait()
    inum = int(out.read_text(encoding="ascii").split("[")[1].rstrip("]\n"))
    told = [r["inum"] for r in records if r["event"] == "ns" and r["type"] == "uts"]
    assert told == ([inum] if missed else [])


# A process that makes a namespace when it is told to, and then does something else.
CALLER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
sys.stdin.readline()
assert libc.unshare(0x04000000) == 0  # CLONE_NEWUTS
print("done", flush=True)
sys.stdin.readline()
if sys.argv[1] == "fork":  # by a call that no program of nsmon's sees, where there is one
    child = libc.syscall(57) if os.uname().machine == "x86_64" else os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
elif sys.argv[1] == "exec":
    os.execv("/bin/true", ["true"])
elif sys.argv[1] == "ns":
    assert libc.unshare(0x08000000) == 0  # CLONE_NEWIPC
"""


@pytest.mark.parametrize("then", ["fork", "exec", "exit", "ns"])
def test_call_whose_end_was_missed(tmp_path, then):
    """With --failed: it changed nothing, and nobody knows whether it failed. It is counted as lost, before what comes next."""
    where = variables()
    with subprocess.Popen(["/usr/bin/python3", "-c", CALLER, then], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller:
        try:
            with lib.Live(tmp_path, "--failed", "-p", caller.pid) as nsmon:
                nsmon.wait_started()
                caller.stdin.write(b"go\n")
                caller.stdin.flush()
                assert caller.stdout.readline() == b"done\n"
                nsmon.wait_for(lambda r: r["event"] == "ns", "the change")
                pending, bss = Map(nsmon, "pending"), Map(nsmon, "nsmon_bp.bss")
                call = pending.get(caller.pid)
                # struct pending: two sets; at its end reason, which of them, whether it was seen to be done
                size, which = 12 * len(lib.TYPES), call[-12] & 1
                call[(1 - which) * size : (2 - which) * size] = call[which * size : (1 + which) * size]
                call[-16] = 1 + lib.REASONS.index("unshare")
                call[-8] = 0
                pending.put(caller.pid, call)
                values = bss.get(0)
                at, length = where["calls"]
                values[at : at + length] = (int.from_bytes(values[at : at + length], "little") + 1).to_bytes(length, "little")
                bss.put(0, values)
                caller.stdin.write(b"go\n")
                caller.stdin.flush()
                assert caller.wait(lib.seconds(20)) == 0
                assert nsmon.wait() == 0
                records = lib.parse_json(nsmon.out)
        finally:
            caller.kill()
    kinds = [r["event"] for r in records if r["event"] in ("lost", then)]
    if then == "ns":
        kinds.remove("ns")  # the one before
    assert kinds.index("lost") < kinds.index(then)
    assert sum(r["ns"] for r in records if r["event"] == "lost") == 1 or machine.overcounts()
