# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every record knows its container. Real runtimes start them (runtimes.py); the witnesses are what each runtime says of
its containers, /proc/PID/cgroup, and the kernel, which tells whose pid it is that a program in a container sends."""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

import nsmonlib as lib
import runtimes
from runtimes import Missing, inside
from test_exec_exit import decodings, utf8

pytestmark = pytest.mark.once

# Containers that are started at once.
CROWD = 100 if lib.SLOW <= 1 else 10


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    made = None
    try:
        made = runtimes.World(tmp_path_factory.mktemp("containers"))
    except Missing as missing:
        pytest.skip(str(missing))
    yield made
    made.close()


class Started:
    """The runtimes, each of which starts once."""

    def __init__(self, world):
        self.world = world
        self.found = {}

    def get(self, name):
        if name not in self.found:
            try:
                self.found[name] = runtimes.RUNTIMES[name](self.world)
            except Missing as missing:
                self.found[name] = missing
        if isinstance(self.found[name], Missing):
            pytest.skip(str(self.found[name]))
        return self.found[name]


@pytest.fixture(scope="session")
def started(world):
    started = Started(world)
    yield started
    for runtime in started.found.values():
        if not isinstance(runtime, Missing):
            runtime.tear_down()


@pytest.fixture(scope="session")
def crun(started):
    return started.get("crun")


@pytest.fixture
def live(world, tmp_path):
    """live(OPTION...): nsmon, which listens when it returns."""
    with contextlib.ExitStack() as stack:

        def start(*options, form="json"):
            running = stack.enter_context(lib.Live(tmp_path, *options, form=form, start=world.enter))
            if form == "json":
                running.wait_started()
            return running

        yield start


@pytest.fixture
def cgroup(world):
    """A cgroup of the test's own; its path."""
    path = f"/nsmon-containers-{os.getpid()}"
    os.mkdir(world.hierarchy.directory(path))
    yield path
    # Runtimes make it under every controller of cgroup v1.
    made = [root / path[1:] for root in world.hierarchy.roots]
    lib.wait_until(lambda: not any(map(runtimes.remove_cgroups, made)), f"{path} to be empty")


# ---- what is to be said ----


def is_in(path, top):
    return path == top or path.startswith(top.rstrip("/") + "/")


def host_namespaces():
    """Of process 1; of a thread of the kernel where a machine lets nobody read those."""
    return lib.proc_ns(1) or lib.proc_ns(2)


def id_of(record):
    return record.get("container", {}).get("id")


def target_of(record):
    """Whose namespace was entered: "host", the id of a container, or None."""
    target = record.get("target")
    assert (target not in (None, "host")) == ("target_container" in record), record
    if "target_container" in record:
        assert record["target_container"]["id"] == target, record
    return target


def check_life(records, container, runtime, top, born_inside):
    """From its first record in the container's cgroup on, every record of a process says so; before it, none does."""
    assert records, "it has no records"
    places = [is_in(r["cgroup"], top) for r in records]
    assert any(places), f"never in {top}: {records}"
    first = places.index(True)
    assert first == 0 or not born_inside, f"before its cgroup: {records[:first]}"
    for r in records[:first]:
        assert id_of(r) != container.id, r
    for r in records[first:]:
        assert is_in(r["cgroup"], top), r
        assert id_of(r) == container.id, r
        assert r["container"].get("runtime") == runtime, r
    if first:
        moved, before = records[first], records[first - 1]
        assert moved["event"] == "cgroup", moved
        assert (moved["old_cgroup_id"], moved["old_cgroup"]) == (before["cgroup_id"], before["cgroup"]), moved
        assert "old_container" not in moved or moved["old_container"]["id"] != container.id, moved
    for r in records:
        assert r["event"] != "cgroup" or not born_inside, r
    # The program itself began inside.
    for i, r in enumerate(records):
        assert r["event"] != "exec" or not r["filename"].endswith("/inside") or i >= first, r
    assert records[-1]["event"] == "exit", records[-1]


class Story:
    """One container's life under nsmon: started, entered, entered again when its state has long been written, ended."""

    def __init__(self, world, runtime, directory):
        self.runtime = runtime
        self.world = world
        hierarchy, witness = world.hierarchy, world.witness
        self.tag = tag = f"story-{directory.name}".replace("_", "-")
        with lib.Live(directory, start=world.enter) as live:
            live.wait_started()
            self.container = container = runtime.start(tag)
            try:
                witness.wait(tag, "init")
                self.path = os.fsdecode(hierarchy.path(container.pid))
                self.cgroup_id = hierarchy.id(self.path)
                self.namespaces = lib.proc_ns(container.pid)
                self._enter(tag)
                self.outside = f"{tag}-outside"
                assert lib.run([runtimes.INSIDE, witness.path, self.outside, "once"]).returncode == 0
                self._wait_for_state(live)
                late = len(witness.of(tag))
                self._enter(tag)
                # What a runtime has started there may end a little after it says so.
                supervised = runtime.name == "systemd-nspawn" and not hierarchy.is_v2
                lib.wait_until(lambda: len(hierarchy.processes(self.path)) == 1 + supervised, "the others to end")
                self.processes = hierarchy.processes(self.path)
                self._look(directory)
            finally:
                runtime.stop(container)
            lib.wait_until(lambda: not os.path.exists(f"/proc/{container.pid}"), "the container's end")
            self.trace = live.finish()
        self.said = witness.of(tag)
        self.late = self.said[late:]

    def _look(self, directory):
        """What an nsmon says that is started now."""
        with lib.Live(directory, "-s", start=self.world.enter) as late:
            late.wait_for(lambda r: r["event"] == "ready", "the picture")
            self.picture = late.finish().records
        self.listed = self.world.run([lib.NSMON, "list", "--containers", "-o", "json"]).stdout

    def _enter(self, tag):
        """A program that is started in the container, and a child of one that runs there: neither lives long."""
        witness, before = self.world.witness, len(self.world.witness.of(tag, "child"))
        if self.runtime.can_execute:
            self.runtime.execute(self.container, inside(tag, "once"))
            before += 1
        os.kill(self.container.pid, signal.SIGUSR1)
        witness.wait(tag, "child", before + 1)

    def _wait_for_state(self, live):
        """nsmon reads runtimes' files in its own time. Makes records until one is not `unverified`; the tests then tell."""
        tag = f"{self.tag}-waiting"
        deadline = time.monotonic() + lib.seconds(8)
        while time.monotonic() < deadline:
            put(self.world, self.path, tag)
            time.sleep(0.2)
            if self._is_verified(live, {s.pid for s in self.world.witness.of(tag)}):
                return

    def _is_verified(self, live, pids):
        for line in live.out.split(b"\n")[:-1]:
            record = json.loads(line)
            if record.get("pid") in pids and id_of(record) and "unverified" not in record["container"]:
                return True
        return False

    @property
    def top(self):
        """The container's topmost cgroup: of some runtimes its programs are in one below it."""
        path = self.path
        while os.path.basename(path) in ("container", "payload", ".lxc"):
            path = os.path.dirname(path)
        return path


STORIES = [
    pytest.param("crun", marks=pytest.mark.quick),
    "runc",
    "lxc",
    "podman",
    pytest.param("podman-rootless", marks=pytest.mark.long),
    pytest.param("docker", marks=pytest.mark.long),
    pytest.param("containerd", marks=pytest.mark.long),
    pytest.param("systemd-nspawn", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=STORIES)
def story(request, world, started, tmp_path_factory):
    return Story(world, started.get(request.param), tmp_path_factory.mktemp(request.param))


def test_every_record(story):
    """Of each process that ran in the container, however it got there and however short it lived."""
    words = {s.word for s in story.said}
    assert words == ({"init", "once", "child"} if story.runtime.can_execute else {"init", "child"})
    assert story.container.pid in {s.pid for s in story.said if s.word == "init"}
    for said in story.said:
        check_life(story.trace.of(said.pid), story.container, story.runtime.name, story.top, said.word == "child")
        for r in story.trace.of(said.pid, "exit"):
            assert (r["vpid"], r["uid"]) == (said.vpid, said.uid), (r, said)


def test_cgroup(story):
    """Path and id of the cgroup are what /proc and the file system of the cgroups say."""
    records = [r for s in story.said if s.word == "init" for r in story.trace.of(s.pid, "exec", "exit")]
    assert records
    for r in records:
        assert (r["cgroup"], r["cgroup_id"]) == (story.path, story.cgroup_id), r
    assert story.trace.records[0]["cgroup_hierarchy"] == story.world.hierarchy.name


def test_nobody_else(story):
    """A record has the container's id exactly where its cgroup is the container's."""
    not_in = story.runtime.not_in(story.top)
    seen = 0
    for r in story.trace.records:
        if "pid" not in r:
            continue
        is_inside = is_in(r["cgroup"], story.top) and not (not_in and is_in(r["cgroup"], not_in))
        assert (id_of(r) == story.container.id) == is_inside, r
        seen += is_inside
    assert seen >= 3 * len(story.said)
    for said in story.world.witness.of(story.outside):
        records = story.trace.of(said.pid)
        assert [r["event"] for r in records if r["event"] in ("fork", "exit")] == ["fork", "exit"]
        assert not any("container" in r for r in records), records


def test_name_and_image(story):
    """They are the runtime's own words, once its files were read. Before that, a record may have to do without."""
    records = [r for said in story.late for r in story.trace.of(said.pid) if id_of(r) == story.container.id]
    late = [r for r in records if r["event"] in ("exec", "fork", "exit")]
    assert len({r["pid"] for r in late}) >= 2 or not story.runtime.can_execute
    for r in late:
        if r["pid"] == story.container.pid and r["event"] != "exit":
            continue
        assert "unverified" not in r["container"], r
        if story.container.name:
            assert r["container"].get("name") == story.container.name, r
        if story.container.image:
            assert r["container"].get("image") == story.container.image, r
    for r in story.trace.records:
        if id_of(r) == story.container.id and story.container.name:
            assert r["container"].get("name") in (None, story.container.name), r
            assert r["container"].get("image") in (None, story.container.image), r


def test_picture(story):
    """nsmon that is started later finds the container: by its files, its processes in it."""
    rows = [r for r in story.picture if r["event"] == "proc" and id_of(r) == story.container.id]
    assert {r["pid"] for r in rows if is_in(r["cgroup"], story.path)} == story.processes
    [row] = [r for r in rows if r["pid"] == story.container.pid]
    told = row["container"]
    assert told.get("runtime") == story.runtime.name and "unverified" not in told, row
    assert told.get("name") == story.container.name or not story.container.name, row
    assert told.get("image") == story.container.image or not story.container.image, row
    assert (row["cgroup"], row["cgroup_id"]) == (story.path, story.cgroup_id)


def test_list(story):
    entries = [json.loads(line) for line in story.listed.splitlines()]
    [entry] = [e for e in entries if e["id"] == story.container.id]
    assert entry["runtime"] == story.runtime.name and "unverified" not in entry, entry
    assert entry.get("name") == story.container.name or not story.container.name, entry
    assert entry.get("image") == story.container.image or not story.container.image, entry
    assert entry["cgroup"] == story.top
    inside_it = len(story.processes)
    if not story.world.hierarchy.is_v2 and story.runtime.name == "systemd-nspawn":
        assert entry["processes"] == inside_it  # its supervisor is one of them
    else:
        assert entry["processes"] == inside_it and entry["pid"] == story.container.pid, entry
        assert {t: n["inum"] for t, n in entry["ns"].items()} == story.namespaces
        host = host_namespaces()
        assert set(entry["own"]) == {t for t, i in story.namespaces.items()
                                     if i != host[t] and not t.endswith("_for_children")}
    since = datetime.datetime.strptime(entry["since"][:26], "%Y-%m-%dT%H:%M:%S.%f")
    age = datetime.datetime.utcnow() - since
    assert datetime.timedelta(0) < age < datetime.timedelta(seconds=lib.seconds(300)), entry


def test_runtime_enters_it(story):
    """What a runtime starts in a container goes there by setns(2), and each such record says whose namespace it is."""
    host = host_namespaces()
    own = {t: i for t, i in story.namespaces.items() if i != host[t]}
    own.update({f"{t}_for_children": own[t] for t in ("pid", "time") if t in own})
    # Before that, namespaces are nobody's yet: what prepares them goes there as well.
    began = next(r["seq"] for r in story.trace.of(story.container.pid, "exec") if r["filename"] == "/inside")
    seen = 0
    for r in story.trace.records[began:]:
        if r["event"] != "ns" or r.get("reason") != "setns" or r["inum"] != own.get(r["type"]):
            continue
        seen += 1
        assert target_of(r) == (None if id_of(r) == story.container.id else story.container.id), r
    assert seen or not story.runtime.can_execute


# ---- many at once ----


@pytest.mark.quick
@pytest.mark.parametrize("layout", ["scope", "plain"])
def test_crowd(world, crun, live, cgroup, layout):
    """Containers that are started and gone within milliseconds, all at once: not a record of theirs without its
    container, none with another's. scope: cgroups as crun's systemd driver names them; plain: as crun itself does."""
    token = f"{time.monotonic_ns():x}"
    ids = [f"crowd-{layout}-{token}-{n}" for n in range(CROWD)]
    programs = {}
    for n, name in enumerate(ids):
        argv = ["/bin/true"] if n % 2 else inside(name, "once")
        programs[name] = crun.prepare(name, argv, cgroup=f"{cgroup}/crun-{name}.scope" if layout == "scope" else None)
    running = live()
    processes = [subprocess.Popen(world.enter(["crun", "run", "--pid-file", bundle / "pid", "--bundle", bundle, name]),
                                  stdin=subprocess.DEVNULL, env=world.environment())
                 for name, bundle in programs.items()]
    assert [p.wait(lib.seconds(60)) for p in processes] == [0] * CROWD
    trace = running.finish()
    assert trace.records[-1]["lost"] == 0
    owners = {}
    for n, name in enumerate(ids):
        pid = int((programs[name] / "pid").read_text())
        owners[pid] = name
        if n % 2 == 0:
            said = world.witness.of(name)
            assert {s.pid for s in said if s.word == "once"} == {pid} and len(said) == 2
            owners.update({s.pid: name for s in said})
    assert len(owners) == CROWD + (CROWD + 1) // 2
    tops = {name: f"{cgroup}/crun-{name}.scope" if layout == "scope" else f"/{name}" for name in ids}
    children = {s.pid for name in ids for s in world.witness.of(name, "child")}
    for pid, name in owners.items():
        container = runtimes.Container(name, name, pid)
        check_life(trace.of(pid), container, "crun", tops[name], pid in children)
    by_top = {top: name for name, top in tops.items()}
    for r in trace.records:
        if "pid" in r:
            assert id_of(r) == by_top.get(r["cgroup"]), r


# ---- crossing ----


@pytest.fixture
def pair(crun):
    """Two containers that run: one with namespaces of its own, and one whose root may do all that the host's may."""
    own = {n["type"] for n in crun.config["linux"]["namespaces"]}
    every = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
    token = f"{time.monotonic_ns():x}"
    victim = crun.start(f"victim-{token}")
    mighty = crun.start(f"mighty-{token}",
                        namespaces=[{"type": t} for t in own - {"pid"}],
                        capabilities={k: every for k in ("bounding", "effective", "permitted")},
                        noNewPrivileges=False)
    yield victim, mighty
    crun.stop(victim)
    crun.stop(mighty)


ENTERED = {"mnt": "-m", "uts": "-u", "ipc": "-i", "net": "-n"}


def entered(trace, pid, namespaces, target):
    """The types whose namespaces, which are told to be the target's, a process entered."""
    found = set()
    for r in trace.of(pid, "ns"):
        if r["reason"] != "setns":
            continue
        assert r["inum"] == namespaces[r["type"].replace("_for_children", "")], r
        assert target_of(r) == target, r
        found.add(r["type"])
    return found


@pytest.mark.quick
def test_from_the_host_into_a_container(world, live, pair):
    victim, _ = pair
    tag = f"nsenter-{victim.id}"
    running = live()
    namespaces = lib.proc_ns(victim.pid)
    lib.run([runtimes.INSIDE, world.witness.path, tag, "then", "nsenter", "-t", victim.pid, *ENTERED.values(), "-p",
             *inside(tag, "once")])
    trace = running.finish()
    [nsenter] = world.witness.of(tag, "then")
    assert entered(trace, nsenter.pid, namespaces, victim.id) == {*ENTERED, "pid_for_children"}
    # A namespace is not a container: it is in the cgroup that it was in.
    for said in world.witness.of(tag):
        assert not any("container" in r for r in trace.of(said.pid)), said
    [once] = world.witness.of(tag, "once")
    assert once.vpid != once.pid


@pytest.mark.quick
def test_from_a_container_to_the_host(world, crun, live, pair):
    _, mighty = pair
    tag = f"escape-{mighty.id}"
    running = live()
    host = host_namespaces()
    # One that is in the same namespaces, where nobody may enter those of process 1.
    target = 1 if lib.proc_ns(1) else os.getpid()
    assert {t: i for t, i in lib.proc_ns(target).items() if t in ENTERED} == {t: host[t] for t in ENTERED}
    crun.execute(mighty, inside(tag, "then", "nsenter", "-t", str(target), *ENTERED.values(), shutil.which("true")))
    trace = running.finish()
    [escaped] = world.witness.of(tag, "then")
    assert entered(trace, escaped.pid, host, "host") == set(ENTERED)
    records = trace.of(escaped.pid)
    check_life(records, mighty, "crun", f"/{mighty.id}", False)


@pytest.mark.quick
def test_from_a_container_into_another(world, crun, live, pair):
    victim, mighty = pair
    tag = f"neighbour-{mighty.id}"
    running = live()
    namespaces = lib.proc_ns(victim.pid)
    crun.execute(mighty, inside(tag, "then", "nsenter", "-t", str(victim.pid), "-n", "-u", "/bin/true"))
    trace = running.finish()
    [said] = world.witness.of(tag, "then")
    assert entered(trace, said.pid, namespaces, victim.id) == {"net", "uts"}
    assert all(id_of(r) == mighty.id for r in trace.of(said.pid, "ns"))


# ---- cgroups that are made by hand ----


def in_cgroup(directory, argv):
    """argv, in a cgroup that a shell moves itself to."""
    script = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    return [os.fsencode(a) for a in ("sh", "-ec", script, "-", directory, *map(str, argv))]


def put(world, path, tag, *what):
    """Runs `inside` in a cgroup, which is given in bytes or text; to its end."""
    argv = in_cgroup(world.hierarchy.directory(path), [runtimes.INSIDE, world.witness.path, tag, *(what or ["once"])])
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=lib.seconds(30), check=False)
    assert done.returncode == 0, done.stderr


HEX = "0123456789abcdef" * 4

NAMES = [
    b"quote\" and backslash\\ and 'apostrophe'",
    b"tab\tand bell\a",
    b"\x1b[31mred\x1b[0m",
    b"\x7f\xc2\x9b31m",
    b'","container":{"id":"forged"},"x":"',
    b"\xff\xfe\x80 not UTF-8 \xc3",
    "\u2028 \U0001f4e6".encode(),
    b" ",
    b"x" * 255,
    b"\xf0\x9f\x92" * 85,
    b"exit: pid=1 comm=init code=0",
]


@pytest.mark.quick
@pytest.mark.parametrize("when", ["existing", "new"])
def test_hostile_names(world, live, cgroup, when):
    """Names that a user chooses: the path is written as it stands, and nothing comes of it. existing: read from the file
    system; new: told by the kernel."""
    hierarchy, running = world.hierarchy, None
    with pytest.raises(OSError):  # the kernel spares its own files that
        os.mkdir(hierarchy.directory(cgroup.encode() + b"/new\nline"))
    if when == "new":
        running = live()
    paths = [cgroup.encode() + b"/" + name for name in NAMES]
    for path in paths:
        os.mkdir(hierarchy.directory(path))
    ids = [hierarchy.id(path) for path in paths]
    running = running or live()
    for n, path in enumerate(paths):
        put(world, path, f"hostile-{when}-{n}")
    trace = running.finish()
    for n, (path, number) in enumerate(zip(paths, ids)):
        said = world.witness.of(f"hostile-{when}-{n}")
        assert len(said) == 2
        for pid in {s.pid for s in said}:
            records = [r for r in trace.of(pid) if r["cgroup_id"] == number]
            assert len(records) >= 2 and records[-1]["event"] == "exit"
            for r in records:
                assert r["cgroup"] in decodings(path), r
                assert r.get("raw", False) == (not utf8(path)), r
                assert "container" not in r and "unit" not in r, r


@pytest.mark.quick
def test_long_path(world, live, cgroup):
    """As deep as the kernel lets it be."""
    hierarchy, running = world.hierarchy, live()
    path = cgroup
    with contextlib.suppress(OSError):
        while len(path) < 3500:
            os.mkdir(hierarchy.directory(f"{path}/{'y' * 255}"))
            path += "/" + "y" * 255
    number = hierarchy.id(path)
    assert len(path) > 2000
    put(world, path, "long-path")
    trace = running.finish()
    for said in world.witness.of("long-path"):
        records = [r for r in trace.of(said.pid) if r["cgroup_id"] == number]
        assert len(records) >= 2
        assert all(r["cgroup"] == path for r in records), records[-1]


@pytest.mark.quick
def test_container_that_nobody_runs(world, live, cgroup):
    """A scope that is named as Docker names one: told as it stands, and that nothing backs it."""
    hierarchy, running = world.hierarchy, live()
    path = f"{cgroup}/docker-{HEX}.scope"
    os.mkdir(hierarchy.directory(path))
    put(world, path, "nobody")
    # It stays so: no runtime's files will ever tell of it.
    time.sleep(lib.seconds(1))
    put(world, path, "nobody")
    trace = running.finish()
    said = world.witness.of("nobody")
    assert len(said) == 4
    for s in said:
        container = runtimes.Container("nobody", HEX, s.pid)
        check_life(trace.of(s.pid), container, "docker", path, s.word == "child")
    for r in trace.records:
        if id_of(r) == HEX:
            assert r["container"] == {"id": HEX, "runtime": "docker", "unverified": True}, r


@pytest.mark.quick
def test_unit(world, live, cgroup):
    """systemd's unit, outside of containers."""
    hierarchy, running = world.hierarchy, live()
    for path, unit in (("/a.service", "a.service"), ("/a.service/below", "a.service"), ("/a.service/b.scope", "b.scope"),
                       (f"/docker-{HEX}.scope", None), ("/plain", None)):
        os.mkdir(hierarchy.directory(cgroup + path))
        put(world, cgroup + path, f"unit-{path}")
        [said] = world.witness.of(f"unit-{path}", "once")
        ended = running.wait_for(lambda r, pid=said.pid: r["event"] == "exit" and r["pid"] == pid, "its exit")
        assert ended.get("unit") == unit, ended
    running.finish()


@pytest.mark.quick
def test_migration(world, live, cgroup):
    """A process that is moved from one cgroup to another, again and again, while it has children: as many records as
    moves, each child in the cgroup that its parent was in."""
    hierarchy, witness, moves = world.hierarchy, world.witness, 200 if lib.SLOW <= 1 else 40
    paths = [f"{cgroup}/docker-{HEX}.scope", f"{cgroup}/b"]
    for path in paths:
        os.mkdir(hierarchy.directory(path))
    ids = [hierarchy.id(path) for path in paths]
    running = live()
    tag = "migrating"
    process = subprocess.Popen([runtimes.INSIDE, str(witness.path), tag, "init"])
    witness.wait(tag, "init")
    procs = [os.path.join(hierarchy.directory(path), b"cgroup.procs") for path in paths]
    children = []
    for n in range(moves):
        pathlib.Path(os.fsdecode(procs[n % 2])).write_text(str(process.pid))
        if n % 10 < 2:
            os.kill(process.pid, signal.SIGUSR1)
            children.append((witness.wait(tag, "child", len(children) + 2)[-1].pid, n % 2))
    process.terminate()
    assert process.wait(lib.seconds(20)) == 0
    trace = running.finish()
    moved = trace.of(process.pid, "cgroup")
    assert [r["cgroup_id"] for r in moved] == [ids[n % 2] for n in range(moves)]
    assert [r["cgroup"] for r in moved] == [paths[n % 2] for n in range(moves)]
    assert [r["old_cgroup"] for r in moved] == [os.fsdecode(hierarchy.path()), *(paths[n % 2] for n in range(moves - 1))]
    for n, r in enumerate(moved):
        assert id_of(r) == (None if n % 2 else HEX), r
        assert r.get("old_container", {}).get("id") == (HEX if n % 2 else None), r
    for pid, n in children:
        records = trace.of(pid)
        assert [r["event"] for r in records] == ["fork", "exit"]
        assert all((r["cgroup_id"], id_of(r)) == (ids[n], None if n else HEX) for r in records), records


def test_moves_while_it_forks(world, live, cgroup):
    """The same without a word between the two: each child stays all its life in the one cgroup that it was born in."""
    hierarchy = world.hierarchy
    paths = [f"{cgroup}/a", f"{cgroup}/b"]
    for path in paths:
        os.mkdir(hierarchy.directory(path))
    ids = [hierarchy.id(path) for path in paths]
    running = live()
    process = subprocess.Popen(["sh", "-c", "while :; do /bin/true; (:); done"])
    moves = 300 if lib.SLOW <= 1 else 50
    for n in range(moves):
        path = os.path.join(hierarchy.directory(paths[n % 2]), b"cgroup.procs")
        pathlib.Path(os.fsdecode(path)).write_text(str(process.pid))
    assert process.poll() is None
    process.terminate()
    process.wait()
    trace = running.finish()
    assert [r["cgroup_id"] for r in trace.of(process.pid, "cgroup")] == [ids[n % 2] for n in range(moves)]
    children = [r["pid"] for r in trace.records if r["event"] == "fork" and r["ppid"] == process.pid]
    assert children
    for pid in children:
        records = trace.of(pid)
        assert len({r["cgroup_id"] for r in records}) == 1 and not any(r["event"] == "cgroup" for r in records), records


@pytest.mark.quick
def test_rename(world, live, cgroup):
    """Under cgroup v1 a cgroup may get another name, while it is in use."""
    hierarchy, witness = world.hierarchy, world.witness
    if hierarchy.is_v2:
        pytest.skip("the kernel renames no cgroup of version 2")
    paths = [f"{cgroup}/docker-{HEX}.scope", f"{cgroup}/docker-{HEX[::-1]}.scope", f"{cgroup}/plain"]
    os.makedirs(hierarchy.directory(paths[0] + "/below"))
    number = hierarchy.id(paths[0])
    running = live()
    process = subprocess.Popen(in_cgroup(hierarchy.directory(paths[0] + "/below"),
                                         [runtimes.INSIDE, witness.path, "renamed", "init"]))
    witness.wait("renamed", "init")
    children = [witness.of("renamed", "child")[-1].pid]
    for n, (old, new) in enumerate(zip(paths, paths[1:])):
        os.rename(hierarchy.directory(old), hierarchy.directory(new))
        assert hierarchy.id(new) == number
        os.kill(process.pid, signal.SIGUSR1)
        children.append(witness.wait("renamed", "child", n + 2)[-1].pid)
    process.terminate()
    assert process.wait(lib.seconds(20)) == 0
    trace = running.finish()
    for pid, path, identity in zip(children, paths, (HEX, HEX[::-1], None)):
        for r in trace.of(pid):
            assert (r["cgroup"], id_of(r)) == (path + "/below", identity), r
    assert trace.of(process.pid)[-1]["cgroup"] == paths[-1] + "/below"


# ---- filters ----


def start_crun(crun, name, cgroup):
    container = crun.start(name, cgroup=f"{cgroup}/crun-{name}.scope")
    crun.world.witness.wait(name, "init")
    crun.execute(container, inside(name, "once"))
    return container


def check_only(trace, world, tags):
    """All of the processes that said one of these tags, and nobody else."""
    wanted = {s.pid: s for tag in tags for s in world.witness.of(tag)}
    assert len(wanted) >= 2 * len(tags)
    assert {r["pid"] for r in trace.records if "pid" in r} == set(wanted)
    for pid, said in wanted.items():
        events = [r["event"] for r in trace.of(pid)]
        assert events[-1] == "exit", events
        # One that comes in is introduced.
        assert events[0] in (["fork"] if said.word == "child" else ["cgroup", "proc"]), events
        assert "exec" in events or said.word == "child", events


@pytest.mark.quick
def test_filter_by_container(world, crun, live, cgroup):
    """A prefix of the id of a container that starts later; another one runs already, and others do beside it."""
    token = f"{time.monotonic_ns():x}"
    names = {key: f"{key}-{token}" for key in ("before", "chosen", "beside")}
    containers = [start_crun(crun, names["before"], cgroup)]
    running = live(f"--container=chosen-{token[:-2]}")
    assert running.wait_started()["filters"]["container"] == f"chosen-{token[:-2]}"
    containers += [start_crun(crun, names[key], cgroup) for key in ("chosen", "beside")]
    crun.execute(containers[0], inside(names["before"], "once"))
    put(world, cgroup, f"outside-{token}")
    for container in containers:
        crun.stop(container)
    trace = running.finish()
    check_only(trace, world, [names["chosen"]])
    assert all(id_of(r) == names["chosen"] for r in trace.records if "pid" in r)


@pytest.mark.quick
def test_filter_by_a_container_that_runs(world, crun, live, cgroup):
    """Its whole id; what it did before is not told, what it does from now on is."""
    name = f"running-{time.monotonic_ns():x}"
    container = start_crun(crun, name, cgroup)
    running = live(f"--container={name}")
    crun.execute(container, inside(name + "-again", "once"))
    put(world, cgroup, f"outside-{name}")
    crun.stop(container)
    trace = running.finish()
    again = {s.pid for s in world.witness.of(name + "-again")}
    assert len(again) == 2
    assert {r["pid"] for r in trace.records if "pid" in r} == again | {container.pid}
    assert [r["event"] for r in trace.of(container.pid)] == ["exit"]


def test_filter_by_podman_container(world, started, live):
    """An id that Podman gave, of a container that it has not started yet."""
    podman = started.get("podman")
    token = f"{time.monotonic_ns():x}"
    identity = podman.create(f"created-{token}")
    other = podman.create(f"other-{token}")
    running = live(f"--container={identity[:16]}")
    podman.command("start", other, identity)
    for name in ("created", "other"):
        world.witness.wait(f"{name}-{token}", "init")
    container = podman.inspect(f"created-{token}")
    assert container.id == identity
    podman.execute(container, inside(f"created-{token}", "once"))
    podman.command("rm", "--force", "--time=0", identity, other)
    trace = running.finish()
    said = {s.pid for s in world.witness.of(f"created-{token}")}
    theirs = {s.pid for s in world.witness.of(f"other-{token}")}
    seen = {r["pid"] for r in trace.records if "pid" in r}
    assert said <= seen and not theirs & seen
    assert len(said) == 4
    for r in trace.records:
        assert "pid" not in r or id_of(r) == identity, r


@pytest.mark.quick
def test_filter_by_cgroup(world, live, cgroup):
    """A cgroup, and one below it that is made later; not one beside it whose name only begins like its."""
    hierarchy = world.hierarchy
    for name in ("wanted", "wanted-not", "other"):
        os.mkdir(hierarchy.directory(f"{cgroup}/{name}"))
    running = live(f"--cgroup={cgroup}/wanted")
    token = f"{time.monotonic_ns():x}"
    os.makedirs(hierarchy.directory(f"{cgroup}/wanted/below/it"))
    os.makedirs(hierarchy.directory(f"{cgroup}/other/wanted"))
    places = {"own": "/wanted", "below": "/wanted/below/it", "beside": "/wanted-not", "other": "/other",
              "alike": "/other/wanted", "above": ""}
    for name, place in places.items():
        put(world, cgroup + place, f"{name}-{token}")
    assert lib.run([runtimes.INSIDE, world.witness.path, f"outside-{token}", "once"]).returncode == 0
    trace = running.finish()
    check_only(trace, world, [f"own-{token}", f"below-{token}"])
    for r in trace.records:
        assert "pid" not in r or is_in(r["cgroup"], f"{cgroup}/wanted"), r


@pytest.mark.quick
def test_filter_follows_a_move(world, live, cgroup):
    """A process comes in, and goes: it is told while it is there, and where it went."""
    hierarchy, witness = world.hierarchy, world.witness
    for name in ("wanted", "other"):
        os.mkdir(hierarchy.directory(f"{cgroup}/{name}"))
    running = live(f"--cgroup={cgroup}/wanted")
    tag = f"mover-{time.monotonic_ns():x}"
    process = subprocess.Popen(in_cgroup(hierarchy.directory(f"{cgroup}/other"),
                                         [runtimes.INSIDE, witness.path, tag, "init"]))
    witness.wait(tag, "init")
    for n, name in enumerate(("wanted", "other", "wanted")):
        path = os.path.join(hierarchy.directory(f"{cgroup}/{name}"), b"cgroup.procs")
        pathlib.Path(os.fsdecode(path)).write_text(str(process.pid))
        os.kill(process.pid, signal.SIGUSR1)
        witness.wait(tag, "child", n + 2)
    process.terminate()
    assert process.wait(lib.seconds(20)) == 0
    trace = running.finish()
    children = [s.pid for s in witness.of(tag, "child")]
    assert [[r["event"] for r in trace.of(pid)] for pid in children] == [[], ["fork", "exit"], [], ["fork", "exit"]]
    moves = [os.path.basename(r["cgroup"]) for r in trace.of(process.pid, "cgroup", "proc")]
    assert moves in (["wanted", "other", "wanted"], ["wanted", "wanted"])
    assert trace.of(process.pid)[-1]["event"] == "exit"


# ---- as text ----


@pytest.mark.quick
def test_text(world, crun, live, cgroup):
    """The first twelve characters of the id, where there is a container; moves say from where to where."""
    name = f"text-{time.monotonic_ns():x}"
    ready = live()  # one that says when nsmon listens cannot be had as text
    running = live(form="text")
    outside = f"outside-{name}"

    def listens():
        put(world, cgroup, outside)
        return {s.pid for s in world.witness.of(outside)} & {r.get("pid") for r in lib.parse_text(
            running.out[: running.out.rfind(b"\n") + 1])}

    lib.wait_until(listens, "nsmon to listen")
    ready.finish()
    container = start_crun(crun, name, cgroup)
    crun.stop(container)
    trace = running.finish()
    said = world.witness.of(name)
    assert len(said) == 4
    for s in said:
        records = trace.of(s.pid)
        assert records[-1]["event"] == "exit"
        inside_from = 0 if s.word == "child" else next(i for i, r in enumerate(records) if r["event"] == "cgroup")
        assert all("container" not in r for r in records[:inside_from]), records
        assert all(r["container"] == name[:12].encode() for r in records[inside_from:]), records
        if s.word != "child":
            assert records[inside_from]["cgroup"] == f"{cgroup}/crun-{name}.scope".encode()
    for s in world.witness.of(outside):
        assert not any("container" in r for r in trace.of(s.pid))
