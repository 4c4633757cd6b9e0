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

import machine
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


def mine(*daemons):
    """In a machine of the tests' own nsmon looks at everything; on one that others use as well, at what descends from the
    tests, and from daemons that they have started before."""
    return [] if "NSMON_VM" in os.environ else [f"--pid={pid}" for pid in (os.getpid(), *daemons)]


@pytest.fixture
def live(world, tmp_path):
    """live(OPTION...): nsmon, which listens when it returns, unless that cannot be known or is not wanted."""
    with contextlib.ExitStack() as stack:

        def start(*options, form="json", wait=True):
            if not any(str(o).startswith(("--container=", "--cgroup=")) for o in options):
                options = (*options, *mine())
            running = stack.enter_context(lib.Live(tmp_path, *options, form=form, start=world.enter))
            if form == "json" and wait:
                running.wait_started()
            return running

        yield start


@pytest.fixture(scope="session")
def cgroup(world):
    """A cgroup of the tests' own; its path. What is below it has names that no other test uses."""
    path = f"/nsmon-containers-{os.getpid()}"
    os.mkdir(world.hierarchy.directory(path))
    yield path
    # Runtimes make it under every controller of cgroup v1.
    made = [root / path[1:] for root in world.hierarchy.roots]
    lib.wait_until(lambda: not any([runtimes.remove_cgroups(m) for m in made]), f"{path} to be empty")


@contextlib.contextmanager
def boxes(crun, cgroup):
    """box(name): a container of crun that runs, in a cgroup that is named as crun's systemd driver does."""
    with contextlib.ExitStack() as stack:

        def start(name, **options):
            top = f"{cgroup}/crun-{name}.scope"
            container = crun.start(name, cgroup=top, **options)
            stack.callback(crun.stop, container)
            crun.world.witness.wait(name, "init")
            container.top = top
            return container

        start.crun = crun
        yield start


@pytest.fixture
def box(crun, cgroup):
    with boxes(crun, f"{cgroup}/boxes") as start:
        yield start


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


def check_details(told, container):
    """What a record or list says of a container whose runtime's files were read."""
    assert "unverified" not in told, told
    for field in ("name", "image", "k8s"):
        value = getattr(container, field)
        assert value is None or told.get(field) == value, told


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
        with lib.Live(directory, *mine(*runtime.daemons()), start=world.enter) as live:
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
        with lib.Live(directory, "-s", "--events=ns", start=self.world.enter) as late:
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
    *(pytest.param(name, marks=[pytest.mark.long, pytest.mark.runtime])
      for name in ("podman-rootless", "docker", "containerd", "pod", "systemd-nspawn")),
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
    assert seen >= 2 * len(story.said)
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
        check_details(r["container"], story.container)
    for r in story.trace.records:
        for field in ("name", "image") if id_of(r) == story.container.id else ():
            value = getattr(story.container, field)
            assert value is None or r["container"].get(field) in (None, value), r


def test_picture(story):
    """nsmon that is started later finds the container: by its files, its processes in it."""
    rows = [r for r in story.picture if r["event"] == "proc" and id_of(r) == story.container.id]
    assert {r["pid"] for r in rows if is_in(r["cgroup"], story.path)} == story.processes
    [row] = [r for r in rows if r["pid"] == story.container.pid]
    told = row["container"]
    assert told.get("runtime") == story.runtime.name, row
    check_details(told, story.container)
    assert (row["cgroup"], row["cgroup_id"]) == (story.path, story.cgroup_id)


def test_list(story):
    entries = [json.loads(line) for line in story.listed.splitlines()]
    [entry] = [e for e in entries if e["id"] == story.container.id]
    assert entry["runtime"] == story.runtime.name, entry
    check_details(entry, story.container)
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
    # Before and after its program, namespaces are nobody's: what prepares them, or puts them away, goes there as well.
    began = next(r["seq"] for r in story.trace.of(story.container.pid, "exec") if r["filename"] == "/inside")
    [ended] = [r["seq"] for r in story.trace.of(story.container.pid, "exit")]
    seen = 0
    for r in story.trace.records[began:ended]:
        if r["event"] != "ns" or r.get("reason") != "setns" or r["inum"] != own.get(r["type"]):
            continue
        seen += 1
        assert target_of(r) == (None if id_of(r) == story.container.id else story.container.id), r
    assert seen or not story.runtime.can_execute


def test_cgroup_that_existed(world, crun, live, cgroup):
    """A container that is started in a cgroup which was there before nsmon, and whose name tells nothing."""
    tag = f"reused-{time.monotonic_ns():x}"
    make(world, f"{cgroup}/reused")
    running = live()
    container = crun.start(tag, cgroup=f"{cgroup}/reused")
    try:
        world.witness.wait(tag, "init")
        deadline = time.monotonic() + lib.seconds(8)
        pids = set()
        while time.monotonic() < deadline:
            crun.execute(container, inside(tag, "once"))
            pids = {s.pid for s in world.witness.of(tag)}
            records = [json.loads(line) for line in running.out.split(b"\n")[:-1]]
            if any(id_of(r) == container.id for r in records if r.get("pid") in pids):
                break
            time.sleep(0.3)
    finally:
        crun.stop(container)
    trace = running.finish()
    assert id_of(trace.of(container.pid)[-1]) == container.id, trace.of(container.pid)


# ---- many at once ----


class Crowd:
    """Containers that are started at once and gone within milliseconds. layout scope: cgroups as crun's systemd driver
    names them; plain: as crun itself does. Every other one runs nothing but `true`, and crun tells its pid; the others
    have a child besides."""

    def __init__(self, crun, cgroup, layout, count):
        self.crun = crun
        token = f"{time.monotonic_ns():x}"
        self.ids = [f"crowd-{layout}-{token}-{n}" for n in range(count)]
        self.tops = {name: f"{cgroup}/crun-{name}.scope" if layout == "scope" else f"/{name}" for name in self.ids}
        self.bundles = []
        for n, name in enumerate(self.ids):
            argv = ["/bin/true"] if n % 2 else inside(name, "once")
            self.bundles.append(crun.prepare(name, argv, cgroup=self.tops[name] if layout == "scope" else None))

    def start(self):
        self.processes = [
            subprocess.Popen(self.crun.world.enter(["crun", "run", "--pid-file", bundle / "pid", "--bundle", bundle, name]),
                             stdin=subprocess.DEVNULL, env=self.crun.world.environment())
            for name, bundle in zip(self.ids, self.bundles)]

    def wait(self):
        assert [p.wait(lib.seconds(60)) for p in self.processes] == [0] * len(self.ids)
        witness = self.crun.world.witness
        self.owners, self.children = {}, set()
        for n, (name, bundle) in enumerate(zip(self.ids, self.bundles)):
            pid = int((bundle / "pid").read_text())
            said = witness.of(name)
            assert {s.pid for s in said if s.word == "once"} == (set() if n % 2 else {pid})
            self.owners[pid] = name
            self.owners.update({s.pid: name for s in said})
            self.children |= {s.pid for s in said if s.word == "child"}
        assert len(self.owners) == len(self.ids) + len(self.children)
        return self

    def check_nobody_elses(self, trace):
        """A record has the container whose cgroup it has, and a process that is known none but its own."""
        by_top = {top: name for name, top in self.tops.items()}
        for r in trace.records:
            if "cgroup_id" in r:
                assert id_of(r) == by_top.get(r.get("cgroup")), r
                assert id_of(r) in (None, self.owners.get(r["pid"], id_of(r))), r


@pytest.fixture(scope="module", params=["scope", "plain"])
def crowd(request, crun, cgroup, world, tmp_path_factory):
    made = Crowd(crun, f"{cgroup}/crowd", request.param, CROWD)
    with lib.Live(tmp_path_factory.mktemp("crowd"), *mine(), start=world.enter) as live:
        live.wait_started()
        made.start()
        made.wait()
        made.trace = live.finish()
    return made


@pytest.mark.quick
def test_crowd(crowd):
    """Not a record of theirs without its container, none with another's."""
    assert len(crowd.children) == (CROWD + 1) // 2
    assert crowd.trace.records[-1]["lost"] == 0 or machine.overcounts()
    for pid, name in crowd.owners.items():
        container = runtimes.Container(name, name, pid)
        check_life(crowd.trace.of(pid), container, "crun", crowd.tops[name], pid in crowd.children)
    crowd.check_nobody_elses(crowd.trace)


def test_crowd_while_nsmon_starts(crun, cgroup, live):
    """Nobody waits for nsmon: what it tells of has its container nonetheless."""
    made = Crowd(crun, f"{cgroup}/early", "scope", CROWD // 2)
    running = live(wait=False)
    made.start()
    made.wait()
    running.wait_started()
    trace = running.finish()
    assert trace.records[-1]["lost"] == 0 or machine.overcounts()
    made.check_nobody_elses(trace)
    assert all("cgroup" in r for r in trace.records if "pid" in r)


def test_crowd_with_losses(crun, cgroup, live, tmp_path):
    """A buffer that is much too small: a record may have to do without its container, but has no other's."""
    made = Crowd(crun, f"{cgroup}/lossy", "scope", CROWD // 2)
    running = live("--buffer=64K")
    os.kill(running.pid, signal.SIGSTOP)
    made.start()
    assert lib.run([lib.DRIVER, "--book", tmp_path / "book", "forks", "1000", "2"]).returncode == 0
    made.wait()
    os.kill(running.pid, signal.SIGCONT)
    running.wait_for(lambda r: r["event"] == "ready", "the repair")
    trace = running.finish()
    assert trace.records[-1]["lost"] > 0
    made.check_nobody_elses(trace)


@pytest.mark.long
def test_podman_crowd(world, started, live):
    """The same by Podman, which takes longer; it writes the ids that it gives to files."""
    podman, count = started.get("podman"), 12 if lib.SLOW <= 1 else 3
    token = f"{time.monotonic_ns():x}"
    directory = world.directory / f"crowd-{token}"
    directory.mkdir()
    running = live()
    processes = []
    for n in range(count):
        tag = f"crowd-{token}-{n}"
        argv = podman.argv("run", "--rm", f"--cidfile={directory}/{n}", *podman.options(tag), runtimes.IMAGE,
                           *inside(tag, "once"))
        processes.append(subprocess.Popen(world.enter(argv), stdin=subprocess.DEVNULL, env=world.environment()))
    assert [p.wait(lib.seconds(60)) for p in processes] == [0] * count
    trace = running.finish()
    for n in range(count):
        identity = (directory / str(n)).read_text()
        said = world.witness.of(f"crowd-{token}-{n}")
        assert len(said) == 2
        for s in said:
            container = runtimes.Container(s.tag, identity, s.pid)
            check_life(trace.of(s.pid), container, "podman", f"/libpod_parent/libpod-{identity}", s.word == "child")


# ---- scenes: what is done by hand, all of it under one nsmon ----

SCENES = []


def scene(function):
    """Does something, and returns what its test has to know: function(world, path of a cgroup of its own, box)."""
    SCENES.append(function)
    return function


class Scenes:
    def __init__(self, world, crun, cgroup, directory):
        self.results = {}
        prepare_names(world, f"{cgroup}/hostile_names-existing")
        with lib.Live(directory, *mine(), start=world.enter) as live, boxes(crun, f"{cgroup}/boxes") as box:
            live.wait_started()
            for function in SCENES:
                name = function.__name__
                os.mkdir(world.hierarchy.directory(f"{cgroup}/{name}"))
                try:
                    self.results[name] = function(world, f"{cgroup}/{name}", box)
                except (AssertionError, OSError, subprocess.SubprocessError) as error:
                    self.results[name] = error
            self.trace = live.finish()

    def of(self, function):
        result = self.results[function.__name__]
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture(scope="module")
def scenes(world, crun, cgroup, tmp_path_factory):
    return Scenes(world, crun, cgroup, tmp_path_factory.mktemp("scenes"))


def in_cgroup(directory, argv):
    """argv, in a cgroup that a shell moves itself to."""
    script = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    return [os.fsencode(a) for a in ("sh", "-ec", script, "-", directory, *map(str, argv))]


def put(world, path, tag, *what):
    """Runs `inside` in a cgroup, which is given in bytes or text; to its end."""
    argv = in_cgroup(world.hierarchy.directory(path), [runtimes.INSIDE, world.witness.path, tag, *(what or ["once"])])
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=lib.seconds(30), check=False)
    assert done.returncode == 0, done.stderr


def move(world, pid, path, file="cgroup.procs"):
    with open(os.path.join(world.hierarchy.directory(path), os.fsencode(file)), "w", encoding="ascii") as procs:
        procs.write(str(pid))


def make(world, *paths):
    """Cgroups, and those above them; returns their ids."""
    for path in paths:
        os.makedirs(world.hierarchy.directory(path), exist_ok=True)
    return [world.hierarchy.id(path) for path in paths]


class Waiting:
    """A process that waits in a cgroup, and has children there when it is told to."""

    def __init__(self, world, path, tag):
        self.witness, self.tag = world.witness, tag
        argv = [runtimes.INSIDE, str(self.witness.path), tag, "init"]
        self.process = subprocess.Popen(in_cgroup(world.hierarchy.directory(path), argv) if path else argv)
        self.pid = self.process.pid
        self.children = []
        self.witness.wait(tag, "init")

    def have_child(self):
        """Its pid."""
        self.children.append(None)
        os.kill(self.pid, signal.SIGUSR1)
        self.children[-1] = self.witness.wait(self.tag, "child", len(self.children) + 1)[-1].pid
        return self.children[-1]

    def end(self):
        self.process.terminate()
        assert self.process.wait(lib.seconds(20)) == 0


# ---- crossing ----

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


@scene
def crossing(world, cgroup, box):
    """Of two containers that run: one with namespaces of its own, and one whose root may do what the host's may."""
    crun = box.crun
    own = {n["type"] for n in crun.config["linux"]["namespaces"]}
    every = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
    token = f"{time.monotonic_ns():x}"
    victim = box(f"victim-{token}")
    mighty = box(f"mighty-{token}", namespaces=[{"type": t} for t in own - {"pid"}],
                 capabilities={k: every for k in ("bounding", "effective", "permitted")}, noNewPrivileges=False)
    namespaces = lib.proc_ns(victim.pid)
    done = lib.run([runtimes.INSIDE, world.witness.path, "from-host", "then", "nsenter", "-t", victim.pid,
                    *ENTERED.values(), "-p", *inside("from-host", "once")])
    assert done.returncode == 0, done.stderr
    # One that is in the same namespaces, where nobody may enter those of process 1.
    target = 1 if lib.proc_ns(1) else os.getpid()
    assert {t: lib.proc_ns(target)[t] for t in ENTERED} == {t: host_namespaces()[t] for t in ENTERED}
    crun.execute(mighty, inside("to-host", "then", "nsenter", "-t", str(target), *ENTERED.values(), shutil.which("true")))
    crun.execute(mighty, inside("to-other", "then", "nsenter", "-t", str(victim.pid), "-n", "-u", "/bin/true"))
    return victim, mighty, namespaces


@pytest.mark.quick
def test_from_the_host_into_a_container(scenes, world):
    victim, _, namespaces = scenes.of(crossing)
    [nsenter] = world.witness.of("from-host", "then")
    assert entered(scenes.trace, nsenter.pid, namespaces, victim.id) == {*ENTERED, "pid_for_children"}
    # A namespace is not a container: it is in the cgroup that it was in.
    for said in world.witness.of("from-host"):
        assert not any("container" in r for r in scenes.trace.of(said.pid)), said
    [once] = world.witness.of("from-host", "once")
    assert once.vpid != once.pid


def test_from_a_container_to_the_host(scenes, world):
    _, mighty, _ = scenes.of(crossing)
    [escaped] = world.witness.of("to-host", "then")
    assert entered(scenes.trace, escaped.pid, host_namespaces(), "host") == set(ENTERED)
    check_life(scenes.trace.of(escaped.pid), mighty, "crun", mighty.top, False)


def test_from_a_container_into_another(scenes, world):
    victim, mighty, namespaces = scenes.of(crossing)
    [said] = world.witness.of("to-other", "then")
    assert entered(scenes.trace, said.pid, namespaces, victim.id) == {"net", "uts"}
    check_life(scenes.trace.of(said.pid), mighty, "crun", mighty.top, False)


# ---- cgroups that are made by hand ----

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


def prepare_names(world, path):
    os.mkdir(world.hierarchy.directory(path))
    for name in NAMES:
        os.mkdir(os.path.join(world.hierarchy.directory(path), name))


@scene
def hostile_names(world, cgroup, _):
    """Some that nsmon finds when it starts, and some that it hears of."""
    with pytest.raises(OSError):  # the kernel spares its own files that
        os.mkdir(world.hierarchy.directory(cgroup.encode() + b"/new\nline"))
    prepare_names(world, cgroup + "/new")
    played = []
    for parent in (cgroup + "-existing", cgroup + "/new"):
        for n, name in enumerate(NAMES):
            path, tag = parent.encode() + b"/" + name, f"{os.path.basename(parent)}-{n}"
            put(world, path, tag)
            played.append((path, world.hierarchy.id(path), tag))
    return played


def test_hostile_names(scenes, world):
    """Names that a user chooses: the path is written as it stands, and nothing comes of it."""
    for path, number, tag in scenes.of(hostile_names):
        said = world.witness.of(tag)
        assert len(said) == 2
        for pid in {s.pid for s in said}:
            records = [r for r in scenes.trace.of(pid) if r["cgroup_id"] == number]
            assert len(records) >= 2 and records[-1]["event"] == "exit"
            for r in records:
                assert r["cgroup"] in decodings(path), r
                assert r.get("raw", False) == (not utf8(path)), r
                assert "container" not in r and "unit" not in r, r


@scene
def long_path(world, cgroup, _):
    """As deep as the kernel lets it be."""
    path = cgroup
    with contextlib.suppress(OSError):
        while len(path) < 3500:
            os.mkdir(world.hierarchy.directory(f"{path}/{'y' * 255}"))
            path += "/" + "y" * 255
    put(world, path, "long-path")
    return path, world.hierarchy.id(path)


def test_long_path(scenes, world):
    path, number = scenes.of(long_path)
    assert len(path) > 2000
    for said in world.witness.of("long-path"):
        records = [r for r in scenes.trace.of(said.pid) if r["cgroup_id"] == number]
        assert len(records) >= 2
        assert all(r["cgroup"] == path for r in records), records[-1]


@scene
def nobody(world, cgroup, _):
    """A scope that is named as Docker names one."""
    path = f"{cgroup}/docker-{HEX}.scope"
    make(world, path)
    put(world, path, "nobody")
    # It stays so: no runtime's files will ever tell of it.
    time.sleep(lib.seconds(0.5))
    put(world, path, "nobody")
    return path


def test_container_that_nobody_runs(scenes, world):
    """It is told as it stands, and that nothing backs it."""
    path = scenes.of(nobody)
    said = world.witness.of("nobody")
    assert len(said) == 4
    for s in said:
        container = runtimes.Container("nobody", HEX, s.pid)
        check_life(scenes.trace.of(s.pid), container, "docker", path, s.word == "child")
        for r in scenes.trace.of(s.pid):
            assert id_of(r) != HEX or r["container"] == {"id": HEX, "runtime": "docker", "unverified": True}, r


# What stands where crun has the state of a container, and is none.
STATES = {
    "fifo": 'mkfifo "$1"',
    "directory": 'mkdir "$1"',
    "huge": 'truncate -s 100M "$1"',
    "garbage": 'head -c 100000 /dev/urandom >"$1"',
    "deep": 'head -c 1000000 /dev/zero | tr "\\0" "[" >"$1"',
    "link": 'ln -s /etc/passwd "$1"',
    "endless": 'ln -s /dev/zero "$1"',
    "absent": ":",
}


@scene
def hostile_state(world, cgroup, _):
    for name, command in STATES.items():
        world.run(["sh", "-ec", f'mkdir -p "$(dirname "$1")"; {command}', "-", f"/run/crun/{name}/status"])
        path = f"{cgroup}/crun-{name}.scope"
        make(world, path)
        put(world, path, f"state-{name}")
    world.run(["rm", "-r", *(f"/run/crun/{name}" for name in STATES)])
    return True


def test_hostile_state(scenes, world):
    """Files that are no state tell nothing of a container, and hold up nothing."""
    assert scenes.of(hostile_state)
    for name in STATES:
        said = world.witness.of(f"state-{name}")
        assert len(said) == 2
        for s in said:
            records = [r for r in scenes.trace.of(s.pid) if r["cgroup"].endswith(f"/crun-{name}.scope")]
            assert len(records) >= 2
            for r in records:
                told = dict(r["container"])
                # A file of root's that cannot be read is there all the same.
                assert told.pop("unverified", None) or name in ("huge", "garbage", "deep"), r
                assert told == {"id": name, "runtime": "crun"}, r


UID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

# Below a cgroup of the test's own: what there is to be said of it, runtime and pod.
PODS = [
    (f"/kubepods/burstable/pod{UID}/{HEX}", None),
    (f"/kubepods/pod{UID}/crio-{HEX}", "cri-o"),
    (f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID.replace('-', '_')}.slice"
     f"/cri-containerd-{HEX}.scope", "containerd"),
]


@scene
def pods(world, cgroup, _):
    for n, (path, _) in enumerate(PODS):
        make(world, cgroup + path)
        put(world, cgroup + path, f"pod-{n}")
    return True


def test_pods(scenes, world):
    """Kubernetes' cgroups, with and without systemd's driver."""
    assert scenes.of(pods)
    for n, (path, runtime) in enumerate(PODS):
        told = {"id": HEX, "runtime": runtime, "k8s": {"pod_uid": UID}, "unverified": True}
        for said in world.witness.of(f"pod-{n}"):
            records = [r for r in scenes.trace.of(said.pid) if r["cgroup"].endswith(path)]
            assert len(records) >= 2
            assert all(r["container"] == {k: v for k, v in told.items() if v} for r in records), records


UNITS = [("/a.service", "a.service"), ("/a.service/below", "a.service"), ("/a.service/b.scope", "b.scope"),
         (f"/docker-{HEX}.scope", None), ("/plain", None)]


@scene
def units(world, cgroup, _):
    for n, (path, _) in enumerate(UNITS):
        make(world, cgroup + path)
        put(world, cgroup + path, f"unit-{n}")
    return True


def test_units(scenes, world):
    """systemd's unit, outside of containers."""
    assert scenes.of(units)
    for n, (path, unit) in enumerate(UNITS):
        for said in world.witness.of(f"unit-{n}"):
            [ended] = scenes.trace.of(said.pid, "exit")
            assert ended["cgroup"].endswith(path) and ended.get("unit") == unit, ended


MOVES = 200 if lib.SLOW <= 1 else 40


@scene
def migration(world, cgroup, _):
    """A process that is moved from one cgroup to another, again and again, and has children in both."""
    paths = [f"{cgroup}/docker-{HEX}.scope", f"{cgroup}/b"]
    ids = make(world, *paths)
    before = os.fsdecode(world.hierarchy.path())
    waiting = Waiting(world, None, "migrating")
    children = []
    for n in range(MOVES):
        move(world, waiting.pid, paths[n % 2])
        if n % 10 < 2:
            children.append((waiting.have_child(), n % 2))
    waiting.end()
    return waiting.pid, children, paths, ids, before


@pytest.mark.quick
def test_migration(scenes):
    """As many records as moves, and each child is where its parent was."""
    pid, children, paths, ids, before = scenes.of(migration)
    moved = scenes.trace.of(pid, "cgroup")
    assert [r["cgroup_id"] for r in moved] == [ids[n % 2] for n in range(MOVES)]
    assert [r["cgroup"] for r in moved] == [paths[n % 2] for n in range(MOVES)]
    assert [r["old_cgroup"] for r in moved] == [before, *(paths[n % 2] for n in range(MOVES - 1))]
    assert [r["old_cgroup_id"] for r in moved[1:]] == [ids[n % 2] for n in range(MOVES - 1)]
    for n, r in enumerate(moved):
        assert id_of(r) == (None if n % 2 else HEX), r
        assert r.get("old_container", {}).get("id") == (HEX if n % 2 else None), r
    for child, n in children:
        records = scenes.trace.of(child)
        assert [r["event"] for r in records] == ["fork", "exit"]
        assert all((r["cgroup_id"], id_of(r)) == (ids[n], None if n else HEX) for r in records), records


@scene
def busy(world, cgroup, _):
    """The same of a process that has children all the time."""
    paths = [f"{cgroup}/a", f"{cgroup}/b"]
    ids = make(world, *paths)
    process = subprocess.Popen(["sh", "-c", "while :; do /bin/true; (:); done"])
    for n in range(MOVES):
        move(world, process.pid, paths[n % 2])
    assert process.poll() is None
    process.terminate()
    process.wait()
    return process.pid, ids


def test_moves_while_it_forks(scenes):
    """Each child stays all its life in the one cgroup that it was born in."""
    pid, ids = scenes.of(busy)
    assert [r["cgroup_id"] for r in scenes.trace.of(pid, "cgroup")] == [ids[n % 2] for n in range(MOVES)]
    children = [r["pid"] for r in scenes.trace.records if r["event"] == "fork" and r["ppid"] == pid]
    assert children
    for child in children:
        records = scenes.trace.of(child)
        assert len({r["cgroup_id"] for r in records}) == 1 and not any(r["event"] == "cgroup" for r in records), records


@scene
def rename(world, cgroup, _):
    """A cgroup gets another name while a process is in one below it."""
    if world.hierarchy.is_v2:
        return None
    paths = [f"{cgroup}/docker-{HEX}.scope", f"{cgroup}/docker-{HEX[::-1]}.scope", f"{cgroup}/plain"]
    make(world, paths[0] + "/below")
    waiting = Waiting(world, paths[0] + "/below", "renamed")
    for old, new in zip([None, *paths], paths):
        if old:
            os.rename(world.hierarchy.directory(old), world.hierarchy.directory(new))
        child = waiting.have_child()
        lib.wait_until(lambda: has_ended(child), "the child to end under this name")
    waiting.end()
    return waiting, paths


def has_ended(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_rename(scenes):
    told = scenes.of(rename)
    if not told:
        pytest.skip("the kernel renames no cgroup of version 2")
    waiting, paths = told
    for pid, path, identity in zip(waiting.children, paths, (HEX, HEX[::-1], None)):
        records = scenes.trace.of(pid)
        assert [r["event"] for r in records] == ["fork", "exit"]
        assert all((r["cgroup"], id_of(r)) == (path + "/below", identity) for r in records), records
    assert scenes.trace.of(waiting.pid)[-1]["cgroup"] == paths[-1] + "/below"


# ---- threads ----

THREADS = """
import sys, threading
threads = [threading.Thread(target=sys.stdin.readline) for _ in range(3)]
for thread in threads:
    thread.start()
print(*(thread.native_id for thread in threads), flush=True)
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("options", [[], ["-T"], ["--events=cgroup"]], ids=["processes", "threads", "alone"])
def test_threads(world, live, cgroup, options):
    """A process is moved with all its threads: with -T each of them says so."""
    [number] = make(world, f"{cgroup}/threads")
    running = live(*options)
    with subprocess.Popen(["/usr/bin/python3", "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        tids = {process.pid, *map(int, process.stdout.readline().split())}
        assert len(tids) == 4
        move(world, process.pid, f"{cgroup}/threads")
        process.stdin.write(b"\n\n\n")
        process.stdin.close()
    trace = running.finish()
    moved = [r["tid"] for r in trace.of(process.pid, "cgroup") if r["cgroup_id"] == number]
    assert sorted(moved) == (sorted(tids) if "-T" in options else [process.pid])
    if "--events=cgroup" in options:
        assert {r["event"] for r in trace.records} == {"start", "cgroup", "stop"}
    for r in trace.of(process.pid, "exit"):
        assert r["cgroup"] == f"{cgroup}/threads", r


def test_one_thread(world, live, cgroup):
    """Under cgroup v1, a thread may be moved alone."""
    if world.hierarchy.is_v2:
        pytest.skip("under cgroup v2 the threads of a process stay together")
    make(world, f"{cgroup}/one")
    running = live("-T")
    with subprocess.Popen(["/usr/bin/python3", "-c", THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        tids = list(map(int, process.stdout.readline().split()))
        move(world, tids[1], f"{cgroup}/one", "tasks")
        process.stdin.write(b"\n\n\n")
        process.stdin.close()
    trace = running.finish()
    assert [r["tid"] for r in trace.of(process.pid, "cgroup")] == [tids[1]]
    for r in trace.of(process.pid, "exit"):
        assert (r["cgroup"] == f"{cgroup}/one") == (r["tid"] == tids[1]), r


# ---- filters ----


def end(container):
    """Of what runs in it; it is removed later."""
    os.kill(container.pid, signal.SIGTERM)
    lib.wait_until(lambda: not os.path.exists(f"/proc/{container.pid}"), "the container's end")


def are_of_crun(records):
    """On its way into a container, crun has a process there that does not become a program. On old kernels it runs a copy
    of itself from a descriptor, and is named by that one's number."""
    return all(r["comm"] == "crun" or r["comm"].isdigit() for r in records)


def check_only(trace, world, tags):
    """All of the processes that said one of these tags, and nobody else."""
    wanted = {s.pid: s for tag in tags for s in world.witness.of(tag)}
    assert len(wanted) >= 2 * len(tags)
    seen = {r["pid"] for r in trace.records if "pid" in r}
    assert seen >= set(wanted) and are_of_crun(trace.of(seen - set(wanted)))
    for pid, said in wanted.items():
        events = [r["event"] for r in trace.of(pid)]
        assert events[-1] == "exit", events
        # One that comes in is introduced.
        assert events[0] in (["fork"] if said.word == "child" else ["fork", "cgroup", "proc"]), events
        assert "exec" in events or said.word == "child", events


def test_filter_by_container(world, box, live, cgroup):
    """A prefix of the id of a container that starts later; another one runs already, and others do beside it."""
    token = f"{time.monotonic_ns():x}"
    before = box(f"before-{token}")
    running = live(f"--container=chosen-{token[:-2]}")
    assert running.wait_started()["filters"]["container"] == f"chosen-{token[:-2]}"
    containers = [before, box(f"chosen-{token}"), box(f"beside-{token}")]
    for container in containers:
        box.crun.execute(container, inside(container.id, "once"))
    make(world, f"{cgroup}/outside")
    put(world, f"{cgroup}/outside", f"outside-{token}")
    for container in containers:
        end(container)
    trace = running.finish()
    check_only(trace, world, [f"chosen-{token}"])
    assert all(id_of(r) == f"chosen-{token}" for r in trace.records if "pid" in r)


def test_filter_by_a_container_that_runs(world, box, live):
    """Its whole id; what it did before is not told, what it does from now on is."""
    name = f"running-{time.monotonic_ns():x}"
    container, beside = box(name), box(f"beside-{name}")
    running = live(f"--container={name}")
    for c in (container, beside):
        box.crun.execute(c, inside(f"{c.id}-again", "once"))
        end(c)
    trace = running.finish()
    again = {s.pid for s in world.witness.of(f"{name}-again")}
    assert len(again) == 2
    seen = {r["pid"] for r in trace.records if "pid" in r}
    assert seen >= again | {container.pid}
    assert are_of_crun(trace.of(seen - again - {container.pid}))
    assert trace.of(container.pid)[-1]["event"] == "exit"


def test_filter_that_means_two(world, box):
    """A prefix that two containers have, which run, is a mistake."""
    token = f"{time.monotonic_ns():x}"
    names = [box(f"alike-{token}-{n}").id for n in "ab"]
    run = world.run(lib.nsmon_argv(f"--container=alike-{token}"), check=False)
    assert run.returncode == 2 and not run.stdout
    assert all(name in run.stderr.decode() for name in names), run.stderr


def test_filter_by_podman_container(world, started, live):
    """The beginning of an id that Podman gave, of a container that it starts later; and the name."""
    podman = started.get("podman")
    token = f"{time.monotonic_ns():x}"
    identity = podman.create(f"created-{token}")
    other = podman.create(f"other-{token}")
    runs = [live(f"--container={identity[:16]}"), live(f"--container=created-{token}")]
    podman.command("start", other, identity)
    for name in ("created", "other"):
        world.witness.wait(f"{name}-{token}", "init")
    container = podman.inspect(f"created-{token}")
    assert container.id == identity
    podman.execute(container, inside(f"created-{token}", "once"))
    podman.command("rm", "--force", "--time=0", identity, other)
    for running in runs:
        trace = running.finish()
        said = {s.pid for s in world.witness.of(f"created-{token}")}
        theirs = {s.pid for s in world.witness.of(f"other-{token}")}
        seen = {r["pid"] for r in trace.records if "pid" in r}
        assert said <= seen and not theirs & seen
        assert len(said) == 4
        for r in trace.records:
            assert "pid" not in r or id_of(r) == identity, r


def test_filter_by_cgroup(world, live, cgroup):
    """A cgroup, and one below it that is made later; not one beside it whose name only begins like its. A process that
    comes in and goes is told while it is there, and where it went."""
    token = f"{time.monotonic_ns():x}"
    top = f"{cgroup}/filter-{token}"
    make(world, f"{top}/wanted", f"{top}/wanted-not", f"{top}/other")
    running = live(f"--cgroup={top}/wanted")
    make(world, f"{top}/wanted/below/it", f"{top}/other/wanted")
    places = {"own": "/wanted", "below": "/wanted/below/it", "beside": "/wanted-not", "other": "/other",
              "alike": "/other/wanted", "above": ""}
    for name, place in places.items():
        put(world, top + place, f"{name}-{token}")
    assert lib.run([runtimes.INSIDE, world.witness.path, f"outside-{token}", "once"]).returncode == 0
    mover = Waiting(world, f"{top}/other", f"mover-{token}")
    for name in ("wanted", "other", "wanted"):
        move(world, mover.pid, f"{top}/{name}")
        mover.have_child()
    mover.end()
    trace = running.finish()
    children = [[r["event"] for r in trace.of(pid)] for pid in mover.children]
    assert children == [["fork", "exit"], [], ["fork", "exit"]]
    moves = [os.path.basename(r["cgroup"]) for r in trace.of(mover.pid, "cgroup", "proc")]
    assert moves in (["wanted", "other", "wanted"], ["wanted", "wanted"])
    assert not trace.of(mover.pid, "exec"), "it executed nothing"
    assert trace.of(mover.pid)[-1]["event"] == "exit"
    mine = {mover.pid, *mover.children}
    others = lib.Trace(0, b"", b"", "text")
    others.records = [r for r in trace.records if r.get("pid") not in mine]
    check_only(others, world, [f"own-{token}", f"below-{token}"])
    assert all(is_in(r["cgroup"], f"{top}/wanted") for r in others.records if "pid" in r)


# ---- as text ----


def test_text(world, box, live, cgroup):
    """The first twelve characters of the id, where there is a container; moves say from where to where."""
    name = f"text-{time.monotonic_ns():x}"
    make(world, f"{cgroup}/text")
    running = live(form="text")

    def listens():
        put(world, f"{cgroup}/text", f"outside-{name}")
        return running.out

    lib.wait_until(listens, "nsmon to listen")
    container = box(name)
    box.crun.execute(container, inside(name, "once"))
    end(container)
    trace = running.finish()
    said = world.witness.of(name)
    assert len(said) == 4
    for s in said:
        records = trace.of(s.pid)
        assert records[-1]["event"] == "exit"
        moves = [i for i, r in enumerate(records) if r["event"] == "cgroup"]
        assert len(moves) <= (s.word != "child"), records
        assert all(records[i]["cgroup"] == container.top.encode() for i in moves), records
        # The kernel can make a process in its cgroup.
        inside_from = moves[0] if moves else 0
        assert all("container" not in r for r in records[:inside_from]), records
        assert all(r["container"] == name[:12].encode() for r in records[inside_from:]), records
    for s in world.witness.of(f"outside-{name}"):
        assert not any("container" in r for r in trace.of(s.pid))
