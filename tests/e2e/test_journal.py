# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""--journal with a systemd-journald of the test's own, in a mount namespace with a /run of its own. journalctl is the
reader; what its entries say is held against what the workload did."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

import nsmonlib as lib
import runs
import test_loss

pytestmark = [pytest.mark.once, pytest.mark.anywhere]

JOURNALD = next((p for p in ("/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-journald") if os.path.exists(p)), None)
MACHINE = "0123456789abcdef0123456789abcdef"
SETUP = f"""set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal/{MACHINE}
printf '[Journal]\\nStorage=volatile\\nRateLimitIntervalSec=0\\nReadKMsg=no\\nAudit=no\\n' >/run/systemd/journald.conf.d/test.conf
echo {MACHINE} >/run/machine-id
mount --bind /run/machine-id /etc/machine-id
exec sleep 100000
"""


class Journal:
    """A journald, and what it needs to be started again."""

    def __init__(self, directory):
        self.log = directory / "journald.log"
        self.holder = subprocess.Popen(["unshare", "-m", "sh", "-c", SETUP], stderr=subprocess.PIPE)
        self.daemon = None
        lib.wait_until(lambda: self.holder.poll() is not None or
                       pathlib.Path(f"/proc/{self.holder.pid}/comm").read_text() == "sleep\n", "the mounts")
        if self.holder.poll() is not None:
            pytest.skip(f"no mount namespace of one's own: {self.holder.stderr.read().decode().strip()}")
        self.start()

    def inside(self, argv):
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--wd=.", *map(str, argv)]

    def start(self):
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(self.inside([JOURNALD]), stdout=log, stderr=log)
        lib.wait_until(self.listens, f"journald: {self.log.read_text()}", 60)

    def listens(self):
        assert self.daemon.poll() is None, self.log.read_text()
        probe = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect('/run/systemd/journal/socket')"
        return subprocess.run(self.inside(["/usr/bin/python3", "-c", probe]), stderr=subprocess.DEVNULL, check=False).returncode == 0

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait(lib.seconds(20))

    def close(self):
        self.daemon.send_signal(signal.SIGCONT)
        self.stop()
        self.holder.kill()
        self.holder.wait()

    def entries(self, *matches):
        """Those that journald has by now, as journalctl shows them."""
        argv = self.inside(["journalctl", "-D", f"/run/log/journal/{MACHINE}", "-a", "-o", "json", "--no-pager", *matches])
        run = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        return [json.loads(line) for line in run.stdout.splitlines()]

    def finished(self, *matches):
        """All entries of a run that has ended."""
        lib.wait_until(lambda: self.entries("NSMON_EVENT=stop", *matches), "the stop record in the journal", 60)
        return self.entries("SYSLOG_IDENTIFIER=nsmon", *matches)


@pytest.fixture
def journal(tmp_path, program):
    for name in ("unshare", "nsenter", "journalctl", "mount"):
        program(name)
    if not JOURNALD:
        pytest.skip("systemd-journald is not installed")
    built = lib.run([lib.NSMON, "--journal", "--", "true"]).stderr.decode()
    if "without libsystemd" in built:
        pytest.skip("this nsmon was built without libsystemd")
    made = Journal(tmp_path)
    yield made
    made.close()


# ---- entries -> the JSON records that they stand for ----


def members(schema, node=None, prefix="NSMON", path=()):
    """The fields that the JSON Schema lets a record have: field -> its place in the record, and whether it is a string."""
    node = node or schema
    found = {}
    while "$ref" in node and "properties" not in node:
        node = _target(schema, node["$ref"])
    if "$ref" in node:
        found.update(members(schema, _target(schema, node["$ref"]), prefix, path))
    for name, inner in node.get("properties", {}).items():
        at = (*path, name)
        seen = inner
        while "$ref" in seen and "type" not in seen:
            seen = _target(schema, seen["$ref"])
        if seen.get("type") == "object":
            found.update(members(schema, seen, f"{prefix}_{name.upper()}", at))
        else:
            values = seen.get("enum", [seen["const"]] if "const" in seen else [])
            text = seen.get("type") == "string" or any(isinstance(v, str) for v in values)
            found[f"{prefix}_{name.upper()}"] = (at, text)
    return found


def _target(schema, ref):
    for part in ref[2:].split("/"):
        schema = schema[part]
    return schema


def value_of(value):
    return bytes(value).decode() if isinstance(value, list) else value


def to_record(entry, fields):
    record = {}
    for name, value in entry.items():
        if not name.startswith("NSMON_"):
            continue
        (*way, last), text = fields[name]
        at = record
        for step in way:
            at = at.setdefault(step, {})
        at[last] = value_of(value) if text else json.loads(value_of(value))
    if record["event"] == "proc":
        record.setdefault("ns", {})
    lib.schema().validate(record)
    return record


def records_of(entries, complete=True):
    schema, fields = lib.schema().schema, {}
    for branch in schema["oneOf"]:
        kind = _target(schema, branch["$ref"])["properties"]["event"]["const"]
        fields.setdefault(kind, {}).update(members(schema, branch))
    records = [to_record(e, fields[e["NSMON_EVENT"]]) for e in entries]
    records.sort(key=lambda r: r["seq"])
    lib.check_stream(records, complete)
    return records


def nsmon(journal, *options, command=None):
    return journal.inside(lib.nsmon_argv("--journal", *options, command=command))


# ---- tests ----


@pytest.mark.quick
def test_types(journal, tmp_path):
    """`journalctl NSMON_TYPE=net` is what unshare(1) and nobody else did."""
    script = f"readlink /proc/self/ns/net >{tmp_path}/before; unshare -n -u readlink /proc/self/ns/net >{tmp_path}/after"
    run = lib.run(nsmon(journal, "-q", command=["sh", "-c", script]))
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    journal.finished()
    (entry,) = journal.entries("NSMON_TYPE=net")
    before, after = ((tmp_path / name).read_text().strip() for name in ("before", "after"))
    assert (f"net:[{entry['NSMON_OLD_INUM']}]", f"net:[{entry['NSMON_INUM']}]") == (before, after)
    assert entry["MESSAGE"].startswith(f"ns: pid={entry['NSMON_PID']} type=net reason=unshare old_inum={entry['NSMON_OLD_INUM']} ")
    assert entry["PRIORITY"] == "6" and entry["SYSLOG_IDENTIFIER"] == "nsmon" and entry["_TRANSPORT"] == "journal"
    assert "CODE_FILE" not in entry
    (other,) = journal.entries("NSMON_REASON=unshare", "NSMON_TYPE=uts")
    assert other["NSMON_PID"] == entry["NSMON_PID"]


def test_all_records(journal, tmp_path, cgroups):
    """Entries with the members of the JSON records, of all that the driver does; and a picture where one is asked for."""
    workload = runs.Run("driver", ("cases",), ("-T", "--failed"))
    argv = runs.workload_argv(workload, lib.DRIVER, tmp_path, cgroups)
    run = lib.run(nsmon(journal, "-s", *workload.options, command=argv), timeout=120, cwd=tmp_path)
    assert run.returncode == 0, run
    records = records_of(journal.finished())
    expected = lib.Expected(lib.read_book(tmp_path / "book"), threads=True, failed=True)
    assert expected.cases
    for case in expected.cases:
        if case not in expected.cannot:
            lib.check_case(expected, records, case)


@pytest.mark.quick
def test_picture(journal):
    """A picture, where it is asked for: the process that we are."""
    argv = nsmon(journal, "-q", "-s")
    with subprocess.Popen(argv) as process:
        lib.wait_until(lambda: journal.entries("NSMON_EVENT=ready"), "the picture", 60)
        process.terminate()
        assert process.wait(lib.seconds(20)) == 0
    (entry,) = journal.entries("NSMON_EVENT=proc", f"NSMON_PID={os.getpid()}", f"NSMON_TID={os.getpid()}")
    for name, inum in lib.proc_ns().items():
        assert entry[f"NSMON_NS_{name.upper()}_INUM"] == str(inum)
    assert value_of(entry["NSMON_EXE"]) == os.readlink("/proc/self/exe")
    assert journal.entries("NSMON_EVENT=stop")


@pytest.mark.quick
def test_hostile(journal, tmp_path):
    """Newlines and bytes that are no text make no field and no entry of their own."""
    program = tmp_path / "x\nNSMON_TYPE=forged\nMESSAGE=forged"
    os.symlink("/bin/true", program)
    arguments = ["\nNSMON_TYPE=forged\n", "\udcff\x1b[2J", "", "a" * 3000]
    run = lib.run(nsmon(journal, "-q", command=[program, *arguments]))
    assert run.returncode == 0
    entries = journal.finished()
    assert journal.entries("NSMON_TYPE=forged") == journal.entries("MESSAGE=forged") == []
    (entry,) = [e for e in entries if e["NSMON_EVENT"] == "exec"]
    assert json.loads(value_of(entry["NSMON_ARGS"])) == [str(program), arguments[0], "\ufffd\x1b[2J", "", arguments[3]]
    assert value_of(entry["NSMON_FILENAME"]) == str(program)
    assert value_of(entry["NSMON_COMM"]) == program.name[:15]
    assert entry["NSMON_RAW"] == "true"
    assert all(c >= " " for c in value_of(entry["MESSAGE"]))


def test_stalled(journal, tmp_path):
    """A journald that does not read: the work goes on and ends; what had no room is counted, and then all adds up."""
    book = tmp_path / "book"
    count = 1600 if lib.SLOW <= 1 else 500
    command = [lib.DRIVER, "--book", book, "forks", count, 2]
    os.kill(journal.daemon.pid, signal.SIGSTOP)
    with subprocess.Popen(nsmon(journal, "-q", "--buffer=4K", command=command), cwd=tmp_path) as process:
        lib.wait_until(
            lambda: sum(len(b["children"]) for b in lib.read_book(book) if b["op"] == "forks") == count,
            "the work to end although nobody reads", 120)
        os.kill(journal.daemon.pid, signal.SIGCONT)
        assert process.wait(lib.seconds(60)) == 0
    records = records_of(journal.finished())
    counted, lost = test_loss.delivered_and_lost(records)
    assert sum(lost.values()) > 0, "nothing was lost; the test shows nothing"
    test_loss.check_totals(counted, test_loss.totals_of(lib.read_book(book)))


def test_stalled_to_the_end(journal):
    """SIGTERM ends nsmon although journald does not read, and it says that records are missing."""
    os.kill(journal.daemon.pid, signal.SIGSTOP)
    script = "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done; exec sleep 1000"
    with subprocess.Popen(nsmon(journal, "-q", command=["sh", "-c", script]), stderr=subprocess.PIPE) as process:
        lib.wait_until(lambda: waits_in_send(process.pid), "nsmon to wait for journald", 60)
        began = time.monotonic()
        process.terminate()
        error = process.stderr.read().decode()
        assert process.wait(lib.seconds(20)) == 1
        assert time.monotonic() - began < lib.seconds(10)
    assert len(error.splitlines()) == 1 and "does not read" in error and "could not be written" in error


def waits_in_send(pid):
    """Is it inside sendmsg(2), by the kernel's account, twice?"""
    call = {"x86_64": "46", "aarch64": "211"}[os.uname().machine]

    def inside():
        return pathlib.Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()[0] == call

    if not inside():
        return False
    time.sleep(0.5)
    return inside()


@pytest.mark.quick
@pytest.mark.parametrize("removed", [False, True], ids=["closed", "removed"])
def test_away_and_back(journal, tmp_path, removed):
    """What happened while journald was away is counted as lost, said once, and repaired; also where its socket is gone,
    of which libsystemd says that all is well."""
    server = lib.Server(tmp_path)
    error = tmp_path / "error"
    with server, open(error, "wb") as err, \
            subprocess.Popen(nsmon(journal, "-p", server.pid), stderr=err) as process:
        lib.wait_until(lambda: journal.entries("NSMON_EVENT=start"), "the first record", 60)
        journal.stop()
        if removed:
            subprocess.run(journal.inside(["rm", "/run/systemd/journal/socket"]), check=True)
        server.order("storm 20")
        lib.wait_until(lambda: "cannot write to the journal" in error.read_text(), "a word about it", 30)
        server.order("storm 20")
        journal.start()
        server.order("storm 20")
        lib.wait_until(lambda: journal.entries("NSMON_EVENT=lost"), "the lost record", 60)
        server.exit(0)
        assert process.wait(lib.seconds(30)) == 0
    said = error.read_text()
    assert said.count("cannot write to the journal") == said.count("the journal works again") == 1
    (lost,) = [e for e in journal.finished() if e["NSMON_EVENT"] == "lost"]
    assert lost["PRIORITY"] == "4" and int(lost["NSMON_FORK"]) >= 1
    records = records_of(journal.entries("SYSLOG_IDENTIFIER=nsmon"))
    children, others = test_loss.storm_of(lib.read_book(server.book_path))
    assert test_loss.delivered_and_lost(records)[0]["fork"] == len(children) + len(others) >= 60


@pytest.mark.quick
def test_hangup(journal):
    """SIGHUP, which asks others to open their files again, ends nothing; and --output is said to select nothing."""
    with subprocess.Popen(nsmon(journal, "-o", "json"), stderr=subprocess.PIPE) as process:
        lib.wait_until(lambda: journal.entries("NSMON_EVENT=start"), "the first record", 60)
        process.send_signal(signal.SIGHUP)
        subprocess.run(["true"], check=True)
        lib.wait_until(lambda: journal.entries("NSMON_EVENT=exec"), "records after it", 60)
        process.terminate()
        error = process.stderr.read().decode()
        assert process.wait(lib.seconds(20)) == 0
    assert "--output selects nothing with --journal" in error


def test_no_journal(journal, tmp_path):
    """Nobody listens, or nothing is there: it says so before anything is started."""
    witness = tmp_path / "witness"
    journal.stop()
    for why in ("Connection refused", "No such file"):
        run = lib.run(nsmon(journal, command=["touch", witness]))
        (line,) = run.stderr.decode().splitlines()
        # Not wrong usage: a service manager is to try again.
        assert run.returncode == 1 and "/run/systemd/journal/socket" in line and why in line
        subprocess.run(journal.inside(["rm", "-f", "/run/systemd/journal/socket"]), check=True)
    assert not witness.exists()
    journal.start()


@pytest.mark.parametrize("argv", [["-w", "/dev/null"], ["check"], ["list"]], ids=lambda a: a[0])
def test_refused(argv):
    run = lib.run([lib.NSMON, "--journal", *argv])
    assert run.returncode == 2 and run.stdout == b"" and "--journal" in run.stderr.decode().splitlines()[0]
