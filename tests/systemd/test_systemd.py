# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""dist/nsmon.service under a real systemd, in a virtual machine of its own: see `run`. Witnesses are systemctl, journalctl,
/proc/PID/status, and the pids that the workloads themselves print. The tests run in the order in which they stand here."""

import gzip
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
pytest.register_assert_rewrite("nsmonlib")

import nsmonlib as lib  # noqa: E402

UNIT = "nsmon.service"
LOGS = pathlib.Path("/var/log/nsmon")
LOG = LOGS / "nsmon.json"
DEFAULT = pathlib.Path("/etc/default/nsmon")
DROP_IN = pathlib.Path("/run/systemd/system/nsmon.service.d/test.conf")
SHIPPED = DEFAULT.read_text() if DEFAULT.exists() else None

# include/uapi/linux/capability.h: CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE
KEPT = 1 << 2 | 1 << 19


def systemctl(*arguments, check=True):
    run = lib.run(["systemctl", *arguments])
    assert not check or run.returncode == 0, run.stderr.decode() + journal()
    return run


def show(*names):
    """The values of one property, or of several."""
    lines = systemctl("show", UNIT, *(f"-p{name}" for name in names)).stdout.decode().splitlines()
    values = dict(line.split("=", 1) for line in lines)
    return values[names[0]] if len(names) == 1 else tuple(values[name] for name in names)


def wait_for_unit(what, **wanted):
    """Until these properties have these values. Each look starts a program, and nsmon hears of it."""

    def look():
        time.sleep(0.2)
        return show(*wanted) == (tuple(wanted.values()) if len(wanted) > 1 else next(iter(wanted.values())))

    lib.wait_until(look, what)


def journal(*arguments):
    """What systemd and the service have said of it since the last forget()."""
    run = lib.run(["journalctl", "--no-pager", "-o", "cat", "-u", UNIT, "--since", f"@{since:.6f}", *arguments])
    return run.stdout.decode(errors="replace")


since = 0.0


def forget():
    global since
    lib.run(["journalctl", "--sync"])
    since = time.time()


def of_service(*arguments):
    """Lines that nsmon itself has written to standard error."""
    lib.run(["journalctl", "--sync"])
    return [line for line in journal("_COMM=nsmon", *arguments).splitlines() if line]


def configure(options=None, **settings):
    """NSMON_OPTIONS and a drop-in; without them what is shipped."""
    DEFAULT.write_text(SHIPPED if options is None else f'NSMON_OPTIONS="{options}"\n')
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text("[Service]\n" + "".join(f"{k}={v}\n" for k, v in settings.items()))
    systemctl("daemon-reload")


def read(path):
    try:
        return gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError:
        return b""


def records(data):
    """Whole lines, each as the schema says."""
    found = [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
    for record in found:
        lib.schema().validate(record)
    return found


def wait_for(condition, what, path=LOG, timeout=20):
    """A record of the file; each line is looked at once."""
    seen = 0

    def look():
        nonlocal seen
        data = read(path)
        end = data.rfind(b"\n") + 1
        lines, seen = data[seen:end].splitlines(), end
        return next((r for r in map(json.loads, lines) if condition(r)), None)

    return lib.wait_until(look, what, timeout)


def fork_something():
    """Pid of a process that has come and gone."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def wait_for_events(path=LOG):
    pid = fork_something()
    wait_for(lambda r: r["event"] == "exit" and r["pid"] == pid, f"the end of process {pid}", path)


@pytest.fixture(autouse=True)
def from_here():
    forget()


@pytest.fixture
def configured():
    """Other options than those that are shipped; stopped before and at the end."""
    systemctl("stop", UNIT)
    yield configure
    systemctl("stop", UNIT)
    systemctl("reset-failed", UNIT, check=False)


def test_start():
    """`systemctl start` comes back when `ready` is in the file, and not before."""
    assert not LOG.exists() and show("ActiveState") == "inactive"
    systemctl("start", UNIT)
    data = read(LOG)
    assert b'"event":"ready"' in data
    state, sub, restarts, text, pid = show("ActiveState", "SubState", "NRestarts", "StatusText", "MainPID")
    assert (state, sub, restarts) == ("active", "running", "0") and text.startswith("Tracing")
    assert of_service() == [], "a complaint: the sandbox takes something away"
    status = dict(line.split(":\t", 1) for line in
                  pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    uid = int(status["Uid"].split()[0])
    assert 61184 <= uid <= 65519, "not one of DynamicUser's"
    sets = {name: int(status[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    assert (sets["Inh"], sets["Prm"], sets["Eff"], sets["Amb"]) == (0, KEPT, KEPT, 0)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    held = {os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt")}
    assert held == {True}
    mounts = [line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    options = {fields[4]: fields[5].split(",") for fields in mounts}
    assert "ro" in options["/"] and "ro" in options["/proc"] and "ro" in options["/sys/fs/cgroup"]
    assert "rw" in options[str(LOGS.resolve())]
    stat = LOG.stat()
    assert (stat.st_uid, stat.st_mode & 0o7777) == (uid, 0o640)
    # What a reader is told of what runs already: others' arguments and programs, too.
    init = next(r for r in records(data) if r.get("pid") == 1 and r["event"] == "proc")
    assert init["exe"] == os.readlink("/proc/1/exe") and init["cgroup"] == "/init.scope"
    own = next(r for r in records(data) if r.get("pid") == os.getpid() and r["event"] == "proc")
    assert own["args"] == pathlib.Path("/proc/self/cmdline").read_text().split("\0")[:-1]
    assert own["unit"] == "vm.service"


def test_events_arrive(tmp_path):
    book = tmp_path / "book"
    cases = "clone-all,unshare-uts,unshare-pid,setns-net,pidfd-three,fork,exec-plain,thread-net"
    assert lib.run([lib.DRIVER, "--book", book, "--only", cases, "cases"]).returncode == 0
    wait_for_events()
    expected = lib.Expected(lib.read_book(book))
    found = records(read(LOG))
    for case in expected.cases:
        lib.check_case(expected, found, case)


def test_containers_have_their_names(tmp_path):
    """The runtimes' files can be read: root's in /run, and a user's in his home, which nobody else may enter."""
    rootfs = tmp_path / "bundle" / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    busybox = rootfs / "bin" / "busybox"
    busybox.write_bytes(pathlib.Path("/bin/busybox").read_bytes())
    busybox.chmod(0o755)
    (rootfs / "bin" / "sleep").symlink_to("busybox")
    assert lib.run(["crun", "spec"], cwd=rootfs.parent).returncode == 0
    config = json.loads((rootfs.parent / "config.json").read_text())
    config["process"].update(terminal=False, args=["/bin/busybox", "sh", "-c", "sleep 2; exec sleep 0.25"])
    config["root"]["readonly"] = True
    config["linux"]["cgroupsPath"] = "/crun-nsmon-test"
    (rootfs.parent / "config.json").write_text(json.dumps(config))
    run = lib.run(["crun", "run", "-b", rootfs.parent, "nsmon-test"])
    assert run.returncode == 0, run
    record = wait_for(lambda r: r["event"] == "exec" and r["args"] == ["sleep", "0.25"], "the container")
    assert record["container"]["id"] == "nsmon-test" and record["container"]["runtime"] == "crun"
    assert "unverified" not in record["container"]

    identity, home = "5" * 64, pathlib.Path("/home/nsmon-test")
    with open("/etc/passwd", "a", encoding="ascii") as passwd:
        passwd.write(f"nsmon-test:x:4711:4711::{home}:/bin/sh\n")
    where = home / ".local/share/docker/containers" / identity
    where.mkdir(parents=True)
    (where / "config.v2.json").write_text(json.dumps({"ID": identity, "Name": "/web", "Config": {"Image": "shop:1"}}))
    assert lib.run(["chown", "-R", "4711:4711", home]).returncode == 0
    home.chmod(0o700)
    cgroup = pathlib.Path(f"/sys/fs/cgroup/user.slice/user-4711.slice/docker-{identity}.scope")
    cgroup.mkdir(parents=True)
    script = f"echo $$ >{cgroup}/cgroup.procs; sleep 1; exec sleep 0.125"
    assert lib.run(["sh", "-c", script]).returncode == 0
    record = wait_for(lambda r: r["event"] == "exec" and r["args"] == ["sleep", "0.125"], "the user's container")
    assert record["container"] == {"id": identity, "runtime": "docker", "name": "web", "image": "shop:1"}


def test_status():
    """What `systemctl status` shows has been counted: at least what we did, at most what the file has."""
    counts = re.compile(r"Tracing: (\d+) fork, (\d+) exec, (\d+) exit, (\d+) ns, (\d+) cgroup; 0 lost")

    def told():
        return tuple(map(int, counts.fullmatch(show("StatusText")).groups()))

    before = told()
    for _ in range(20):
        fork_something()

    def look():
        time.sleep(1)
        now = told()
        return now[0] >= before[0] + 20 and now[2] >= before[2] + 20 and now

    status = lib.wait_until(look, "the status to tell it")
    wait_for_events()
    written = records(read(LOG))
    for kind, count in zip(("fork", "exec", "exit", "ns", "cgroup"), status):
        assert count <= sum(r["event"] == kind for r in written)


def test_reload():
    pid = show("MainPID")
    old = LOG.with_name("old")
    LOG.rename(old)
    systemctl("reload", UNIT)
    lib.wait_until(LOG.exists, "the new file")
    wait_for_events()
    assert show("ActiveState", "MainPID", "NRestarts") == ("active", pid, "0")
    assert "Reloading" in journal() and of_service() == []
    first, second = records(read(old))[-1], records(read(LOG))[0]
    assert second["seq"] == first["seq"] + 1
    old.unlink()


def test_logrotate_loses_no_line(tmp_path):
    """Rotations in a storm of forks, by what is shipped: each process that the storm names is there, once, in order."""
    number = 400
    code = (f"import os\nfor i in range({number}):\n    p = os.fork()\n    if not p: os._exit(i & 255)\n"
            "    os.waitpid(p, 0)\n    print(p, i & 255, flush=True)\n")
    begin = records(read(LOG))[0]["seq"]
    with open(tmp_path / "told", "wb") as told:
        process = subprocess.Popen([sys.executable, "-I", "-c", code], stdout=told)
    rotations = 0
    while process.poll() is None:
        run = lib.run(["logrotate", "-f", "-s", tmp_path / "state", "/etc/logrotate.d/nsmon"])
        assert (run.returncode, run.stderr) == (0, b""), run
        rotations += 1
    assert process.returncode == 0
    lib.wait_until(LOG.exists, "the last new file")
    wait_for_events()
    files = sorted(LOGS.iterdir(), key=lambda f: -int((re.search(r"\.(\d+)", f.name) or ["", "0"])[1]))
    assert rotations >= 2 and len(files) >= 3
    found = records(b"".join(read(f) for f in files))
    assert [r["seq"] for r in found] == list(range(begin, begin + len(found)))
    ends = [(r["pid"], r["code"]) for r in found if r["event"] == "exit" and r["ppid"] == process.pid]
    assert ends == [tuple(map(int, line.split())) for line in (tmp_path / "told").read_text().splitlines()]
    assert len(ends) == number and not [r for r in found if r["event"] == "lost"]
    assert of_service() == []


def test_killed_and_restarted():
    """The file goes on with a new stream."""
    pid = int(show("MainPID"))
    os.kill(pid, signal.SIGKILL)
    wait_for_unit("the restart", NRestarts="1", ActiveState="active")
    assert int(show("MainPID")) not in (0, pid)
    assert "status=9/KILL" in journal()
    wait_for_events()
    found = records(read(LOG))
    assert [r["event"] for r in found].count("start") == 1
    again = next(i for i, r in enumerate(found) if r["event"] == "start")
    assert found[again]["seq"] == 1 and found[again - 1]["event"] != "stop"


def test_stop():
    """Cleanly: the last record is there, and nothing is left in the kernel."""
    pid = int(show("MainPID"))
    text = "".join(p.read_text() for p in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir())
    own = set(map(int, re.findall(r"^prog_id:\s*(\d+)$", text, re.M)))
    assert len(own) >= 3
    systemctl("stop", UNIT)
    assert show("ActiveState", "Result", "ExecMainStatus") == ("inactive", "success", "0")
    assert records(read(LOG))[-1]["event"] == "stop"
    assert of_service() == []

    def programs():
        listed = lib.run(["/usr/sbin/bpftool", "-j", "prog", "list"])
        return {p["id"] for p in json.loads(listed.stdout)}

    lib.wait_until(lambda: not own & programs(), "its programs to go")


def test_watchdog(configured):
    """One that lives is left alone; one that does not turn its loop any more is ended and started again."""
    configured(WatchdogSec="5s")
    systemctl("start", UNIT)
    before = show("NRestarts", "MainPID")
    time.sleep(7)
    assert show("NRestarts", "MainPID") == before
    os.kill(int(before[1]), signal.SIGSTOP)
    wait_for_unit("the watchdog", NRestarts=str(int(before[0]) + 1), ActiveState="active")
    assert "Watchdog timeout" in journal()
    wait_for_events()


@pytest.mark.parametrize("backend", ["fentry", "kprobe", "tracepoint"])
def test_sandbox_allows_each_backend(tmp_path, configured, backend):
    if backend == "kprobe":  # above, the kernel lets only CAP_SYS_ADMIN open a kprobe
        pathlib.Path("/proc/sys/kernel/perf_event_paranoid").write_text("2")
    out = LOGS / f"{backend}.json"
    configured(f"-o json --backend={backend} -w {out}")
    systemctl("start", UNIT)
    book = tmp_path / "book"
    assert lib.run([lib.DRIVER, "--book", book, "--only", "unshare-uts,setns-net", "cases"]).returncode == 0
    wait_for_events(out)
    assert records(read(out))[0]["backend"] == backend
    expected = lib.Expected(lib.read_book(book))
    for case in expected.cases:
        lib.check_case(expected, records(read(out)), case)
    assert of_service() == []


def test_what_was_lost_is_found_again(configured):
    """A repair reads the iterator again, without the capabilities that it was made with."""
    out = LOGS / "lost.json"
    configured(f"-o json --buffer=64K -w {out}")
    systemctl("start", UNIT)
    pid = int(show("MainPID"))
    os.kill(pid, signal.SIGSTOP)
    lib.run(["sh", "-c", "i=0; while [ $i -lt 400 ]; do (:); i=$((i+1)); done"])
    left = subprocess.Popen(["sleep", "1000"])
    # Popen comes back in the midst of the exec, before that is recorded.
    lib.wait_until(lambda: pathlib.Path(f"/proc/{left.pid}/stat").read_text().split()[1:3] == ["(sleep)", "S"], "its sleep")
    os.kill(pid, signal.SIGCONT)
    try:
        lost = wait_for(lambda r: r["event"] == "lost", "the loss", out)
        wait_for(lambda r: r["event"] == "ready" and r["seq"] > lost["seq"], "the repair", out)
        found = [r for r in records(read(out)) if r.get("pid") == left.pid]
        assert found and all(r.get("recovered") for r in found)
        assert found[-1]["args"] == ["sleep", "1000"]
    finally:
        left.kill()
        left.wait()


def as_somebody(group, *command):
    """What a program gets that is not root."""
    return lib.run(["setpriv", "--reuid=4712", f"--regid={group}", "--clear-groups", *command])


def test_metrics_that_everybody_may_read(configured):
    """By the option that the shipped file of options names."""
    option = re.search(r"^#\s+(--metrics=\S+)", SHIPPED, re.M)[1]
    configured(f"-o json -w {LOG} {option}")
    systemctl("start", UNIT)
    path = option.split("=")[1]
    lib.wait_until(lambda: pathlib.Path(path).exists(), "the metrics")
    run = as_somebody("nogroup", "cat", path)
    assert run.returncode == 0 and b"\nnsmon_tasks " in run.stdout, run
    assert of_service() == []


def test_shipper_that_is_not_root(configured):
    """As the README has it: only then can group adm read the file, and nobody else can."""
    configured()
    systemctl("start", UNIT)
    wait_for_events()
    assert as_somebody("adm", "cat", LOG).returncode == 1
    readme = (lib.REPO / "README.md").read_text(encoding="utf-8")
    commands = re.search(r"```sh\n(  systemctl stop [^`]*useradd .*?)```", readme, re.S)[1]
    drop_in = pathlib.Path("/etc/systemd/system/nsmon.service.d/user.conf")
    try:
        assert lib.run(["sh", "-eux", "-c", commands]).returncode == 0
        wait_for_events()
        assert drop_in.exists() and show("User", "DynamicUser") == ("nsmon", "no")
        assert of_service() == []
        assert as_somebody("adm", "cat", LOG).stdout.count(b"\n") > 10
        assert as_somebody("nogroup", "cat", LOG).returncode == 1
    finally:
        drop_in.unlink(missing_ok=True)
        systemctl("daemon-reload")


def test_no_journal_is_tried_again(configured):
    """It may come: unlike a wrong option, that is no reason to give up."""
    configured("--journal", InaccessiblePaths="/run/systemd/journal/socket")
    systemctl("start", "--no-block", UNIT)
    lib.wait_until(lambda: int(show("NRestarts")) >= 1, "another attempt")
    assert any("--journal" in line for line in of_service())


def test_wrong_options_are_not_tried_again(configured):
    configured("-o xml")
    run = systemctl("start", UNIT, check=False)
    assert run.returncode == 1
    lines = of_service()
    assert any("--output" in line and "xml" in line and "json" in line for line in lines), lines
    time.sleep(2)
    assert show("ActiveState", "NRestarts", "ExecMainStatus") == ("failed", "0", "2")

def test_errors_can_be_selected(configured):
    """The journal has an error as one, and what is no error as none."""
    configured("-o json -w /var/log/nsmon/none/nsmon.json")
    assert systemctl("start", UNIT, check=False).returncode == 1
    assert any("/var/log/nsmon/none/nsmon.json" in line for line in of_service("--priority=err")), journal()
    systemctl("stop", UNIT)
    forget()
    configured("-o json -w /var/log/nsmon/nsmon.json -v")
    systemctl("start", UNIT)
    assert of_service() and not of_service("--priority=err"), journal()


def test_sandbox_allows_fields_of_the_journal_and_metrics(configured):
    """--journal and, in a directory that the service may write, --metrics."""
    metrics = LOGS / "nsmon.prom"
    configured(f"--journal --metrics={metrics}")
    systemctl("start", UNIT)
    process = subprocess.Popen(["true", "x" * 3000])
    process.wait()

    def told():
        time.sleep(0.5)
        run = lib.run(["journalctl", "-o", "json", "--all", f"NSMON_PID={process.pid}", "NSMON_EVENT=exec"])
        return [json.loads(line) for line in run.stdout.splitlines()]

    [entry] = lib.wait_until(told, "the record in the journal")
    assert json.loads(entry["NSMON_ARGS"]) == ["true", "x" * 3000] and entry["_SYSTEMD_UNIT"] == UNIT
    systemctl("stop", UNIT)
    assert re.search(r'^nsmon_records_total\{event="exec"\} [1-9]', metrics.read_text(), re.M)


def test_without_a_file_it_goes_to_the_journal(configured):
    """And SIGHUP, a reload, is not its end."""
    configured("-o json -e exec")
    systemctl("start", UNIT)
    systemctl("reload", UNIT)
    process = subprocess.Popen(["true", "nsmon-test-marker"])
    process.wait()

    def told():
        time.sleep(0.5)
        return any(f'"pid":{process.pid},' in line and '"nsmon-test-marker"' in line
                   for line in journal("_COMM=nsmon").splitlines())

    lib.wait_until(told, "the record in the journal")
    assert show("ActiveState") == "active"
