# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Container runtimes, each as its package has it, started apart from the machine's own: what they keep in files is in a
mount namespace that ends with the tests. Also the witness of what runs in their containers. Knows nothing of nsmon."""

import collections
import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import threading
import time

import nsmonlib as lib

INSIDE = os.environ.get("NSMON_INSIDE", str(lib.REPO / "build" / "inside"))
IMAGE = "example.org/nsmon-test:1"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

# Where the witness's socket is in every container.
SOCKET = "/witness/socket"


class Missing(Exception):
    """A runtime that cannot run on this machine, and why."""


def need(*programs):
    for name in programs:
        if not shutil.which(name, path=PATH):
            raise Missing(f"{name} is not installed")


# ---- cgroups ----


class Hierarchy:
    """The tree of cgroups that container managers use: cgroup v2, or the first of v1's controllers that is mounted."""

    CONTROLLERS = ["memory", "pids", "cpu", "devices", "freezer", "blkio"]

    def __init__(self):
        mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
        v1 = {option: where for _, where, kind, options, *_ in mounts if kind == "cgroup"
              for option in options.split(",")}
        v2 = [where for _, where, kind, *_ in mounts if kind == "cgroup2"]
        self.name = next((c for c in self.CONTROLLERS if c in v1), "v2")
        self.is_v2 = self.name == "v2"
        self.root = pathlib.Path(v2[0] if self.is_v2 else v1[self.name])
        # systemd's own, which it has besides under v1.
        self.systemd = pathlib.Path(v1["name=systemd"]) if "name=systemd" in v1 else None
        self.roots = sorted({pathlib.Path(where) for _, where, kind, *_ in mounts if kind in ("cgroup", "cgroup2")})

    def path(self, pid="self"):
        """The cgroup of a process, in bytes."""
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_bytes().split(b"\n"):
            number, controllers, path = line.split(b":", 2)
            if number == b"0" if self.is_v2 else self.name.encode() in controllers.split(b","):
                return path
        raise AssertionError(f"process {pid} is in no cgroup of {self.name}")

    def directory(self, path):
        """Of a path in bytes or text."""
        return os.path.join(os.fsencode(self.root), os.fsencode(path).lstrip(b"/"))

    def id(self, path):
        return os.stat(self.directory(path)).st_ino

    def processes(self, path):
        with open(os.path.join(self.directory(path), b"cgroup.procs"), "rb") as file:
            return {int(line) for line in file}


def remove_cgroups(top):
    """A cgroup with all that are in it, as far as they are empty; says whether it is still there."""
    for directory, _, _ in os.walk(os.fsencode(top), topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return os.path.exists(top)


# ---- the witness ----

Said = collections.namedtuple("Said", "tag word pid vpid uid")


class Witness:
    """Hears what tests/e2e/inside.c says. The pids are the kernel's word, as of the initial pid namespace."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.directory.chmod(0o777)
        self.path = self.directory / "socket"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(str(self.path))
        self.path.chmod(0o777)
        self.said = []
        self.synced = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        size = struct.calcsize("3i")
        while True:
            data, notes, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(size))
            if data in (b"end", b"sync"):
                self.synced.release()
                if data == b"end":
                    return
                continue
            tag, word, vpid = data.decode().split()
            [credentials] = [d for _, kind, d in notes if kind == socket.SCM_CREDENTIALS]
            pid, uid, _ = struct.unpack("3i", credentials[:size])
            self.said.append(Said(tag, word, pid, int(vpid), uid))

    def _send(self, word):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(word, str(self.path))
        assert self.synced.acquire(timeout=lib.seconds(30)), "the witness does not listen"

    def close(self):
        self._send(b"end")
        self.thread.join()
        self.socket.close()

    def of(self, tag, *words):
        """What was said until now by all that have this tag."""
        self._send(b"sync")
        return [s for s in self.said if s.tag == tag and (not words or s.word in words)]

    def wait(self, tag, word, count=1):
        return lib.wait_until(lambda: len(self.of(tag, word)) >= count and self.of(tag, word),
                              f"{count} '{word}' from {tag}")


def inside(tag, *what):
    """What a container runs."""
    return ["/inside", SOCKET, tag, *what]


# ---- the machine that runtimes see ----


class World:
    """A mount namespace with /run and /var/lib of its own, and what all containers are made of."""

    # What runtimes leave behind at the top of each hierarchy.
    LEFT_BEHIND = ("docker", "libpod_parent", "default", "k8s.io", "machine.slice", "user.slice", "lxc.pivot",
                   "kubepods")

    # Where the directory with what containers are made of is for everybody; pytest's own is root's alone.
    SHARE = "/run/nsmon-test"
    WITNESS = SHARE + "/witness"

    SETUP = """
        mount -t tmpfs -o mode=0755 run /run
        mount -t tmpfs -o mode=0755 lib /var/lib
        mkdir -p /run/lock "$2"
        mount --bind "$1" "$2"
        # crun refuses cgroup v2 beside v1.
        if [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ] && mountpoint -q /sys/fs/cgroup/unified; then
            umount /sys/fs/cgroup/unified
        fi
        echo ready
        exec cat
    """

    def __init__(self, directory):
        need("unshare", "nsenter", "mountpoint", "busybox")
        if not os.access(INSIDE, os.X_OK):
            raise AssertionError(f"what containers run (NSMON_INSIDE) is not there: {INSIDE}; build it first")
        self.directory = pathlib.Path(directory)
        self.hierarchy = Hierarchy()
        self.existed = {path for path in self._left_behind() if path.exists()}
        self.witness = Witness(self.directory / "witness")
        self.directory.chmod(0o755)
        self.rootfs = self.directory / "rootfs"
        self._make_rootfs()
        self._make_archive(self.directory / "image.tar")
        self.archive = f"{self.SHARE}/image.tar"
        self.holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-ec", self.SETUP, "-",
                                        self.directory, self.SHARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            raise Missing("a mount namespace with a /run of its own cannot be had")

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(lib.seconds(20))
        self.witness.close()
        for path in self._left_behind():
            if path not in self.existed:
                remove_cgroups(path)

    def _left_behind(self):
        return [root / name for root in self.hierarchy.roots for name in self.LEFT_BEHIND]

    def _make_rootfs(self):
        for name in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var", "witness"):
            (self.rootfs / name).mkdir(parents=True)
        busybox = shutil.which("busybox", path=PATH)
        shutil.copy(busybox, self.rootfs / "bin" / "busybox")
        for name in ("sh", "sleep", "true", "nsenter"):
            (self.rootfs / "bin" / name).symlink_to("busybox")
        shutil.copy(INSIDE, self.rootfs / "inside")
        (self.rootfs / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.rootfs / "etc/group").write_text("root:x:0:\n")
        (self.rootfs / "etc/os-release").write_text("ID=nsmon-test\n")

    def _make_archive(self, path):
        """As `docker save` writes it, which every runtime takes."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            for entry in sorted(self.rootfs.iterdir()):
                tar.add(entry, entry.name)
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        config = json.dumps({
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]},
            "history": [{"created_by": "nsmon's tests"}],
        }).encode()
        name = hashlib.sha256(config).hexdigest() + ".json"
        manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
        with tarfile.open(path, "w") as tar:
            for member, data in ((name, config), ("layer.tar", layer.getvalue()), ("manifest.json", manifest)):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))

    def enter(self, argv):
        """The command that runs argv here."""
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--", *map(str, argv)]

    def run(self, argv, timeout=60, check=True, **options):
        run = lib.run(self.enter(argv), timeout=timeout, env=self.environment(), **options)
        if check and run.returncode:
            raise AssertionError(f"{shlex.join(map(str, argv))} ended with {run.returncode}: "
                                 f"{(run.stderr or b'').decode(errors='replace')}")
        return run

    def output(self, argv):
        return self.run(argv).stdout.decode()

    def spawn(self, name, argv):
        """Starts a daemon; its output goes to a file."""
        with open(self.directory / f"{name}.log", "wb") as log:
            return subprocess.Popen(self.enter(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env=self.environment())

    def log(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")[-2000:]

    def write(self, path, text):
        """A file at a path that only this mount namespace has."""
        self.run(["sh", "-ec", 'mkdir -p "$(dirname "$1")"; cat >"$1"', "-", path], input=text.encode())

    def environment(self):
        """Nothing of the developer's own configuration."""
        return {"PATH": PATH, "HOME": "/run", "LANG": "C.UTF-8"}


def stop(process, sig=signal.SIGTERM, timeout=30):
    if process.poll() is None:
        process.send_signal(sig)
    try:
        process.wait(lib.seconds(timeout))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def children(pid):
    """Of all threads of a process."""
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()]


# ---- runtimes ----


class Container:
    """What its runtime says of it, once it runs."""

    def __init__(self, tag, identity, pid, name=None, image=None):
        self.tag = tag
        self.id = identity
        self.pid = pid
        self.name = name
        self.image = image
        self.k8s = None


class Runtime:
    """One runtime; its containers are known by the tags that the test gives them."""

    name = None  # as nsmon calls it
    programs = ()
    can_execute = True

    def __init__(self, world):
        need(*self.programs)
        self.world = world
        self.set_up()

    def set_up(self):
        pass

    def start(self, tag, what=("init",)):
        """Starts a container that runs `inside`; says what it is as soon as the runtime knows."""
        raise NotImplementedError

    def execute(self, container, argv):
        """Runs a program in it, to its end."""
        raise NotImplementedError

    def stop(self, container):
        raise NotImplementedError

    def tear_down(self):
        pass

    def daemons(self):
        """Pids of those that start its programs and ran before."""
        return []

    def not_in(self, cgroup):
        """Of cgroups below a container's: what the runtime keeps for itself."""
        return None


class Oci(Runtime):
    """crun and runc, without anybody above them. Where nobody asks for a cgroup, it has the name of the container."""

    def set_up(self):
        self.programs = (self.name,)
        need(self.name)
        version = self.world.run([self.name, "--version"]).stdout.decode()
        self.version = version.splitlines()[0]
        self.bundle = self.world.directory / self.name
        self.bundle.mkdir()
        self.world.run([self.name, "spec", "--bundle", self.bundle], cwd=self.bundle)
        self.config = json.loads((self.bundle / "config.json").read_text())
        # Some machines' root may not raise limits.
        self.config["process"].update(terminal=False, rlimits=[])
        self.config["root"] = {"path": str(self.world.rootfs), "readonly": False}
        self.config["mounts"].append({"destination": "/witness", "source": self.world.WITNESS,
                                      "type": "bind", "options": ["rbind", "rw"]})
        self.config["linux"].pop("seccomp", None)

    def prepare(self, tag, argv, cgroup=None, **changes):
        """Makes a bundle."""
        config = json.loads(json.dumps(self.config))
        config["process"]["args"] = argv
        if cgroup:
            config["linux"]["cgroupsPath"] = cgroup
        for key, value in changes.items():
            config["linux" if key in config["linux"] else "process"][key] = value
        directory = self.bundle / tag
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    def start(self, tag, what=("init",), **options):
        bundle = self.prepare(tag, inside(tag, *what), **options)
        with open(bundle / "output", "wb") as output:
            run = self.world.run([self.name, "run", "--detach", "--bundle", bundle, tag], check=False, stdout=output,
                                 stderr=output)
        assert run.returncode == 0, (bundle / "output").read_text()
        listed = json.loads(self.world.output([self.name, "list", "--format", "json"]))
        [told] = [c for c in listed if c["id"] == tag]
        return Container(tag, told["id"], told["pid"])

    def execute(self, container, argv):
        return self.world.run([self.name, "exec", container.id, *argv])

    def stop(self, container):
        self.world.run([self.name, "delete", "--force", container.id])


class Crun(Oci):
    name = "crun"


class Runc(Oci):
    name = "runc"


class Podman(Runtime):
    name = "podman"
    programs = ("podman", "conmon", "crun")

    GLOBAL = ("--cgroup-manager=cgroupfs", "--storage-driver=overlay", "--runtime=crun", "--events-backend=none")

    def set_up(self):
        self.version = self.command("--version").stdout.decode().strip()
        self.command("load", "--quiet", "--input", self.world.archive)

    def argv(self, *arguments):
        return ["podman", *self.GLOBAL, *arguments]

    def command(self, *arguments, **options):
        return self.world.run(self.argv(*arguments), **options)

    def options(self, tag):
        # Some machines' root may not raise limits, which Podman does where nobody asks for others.
        return ["--name", tag, "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
                "--security-opt=apparmor=unconfined", "--security-opt=seccomp=unconfined", "--cgroupns=host",
                f"--volume={self.world.WITNESS}:/witness"]

    def create(self, tag, what=("init",), options=()):
        """Not started yet; its id."""
        return self.command("create", *self.options(tag), *options, IMAGE, *inside(tag, *what)).stdout.decode().strip()

    def start(self, tag, what=("init",), options=()):
        self.command("run", "--detach", *self.options(tag), *options, IMAGE, *inside(tag, *what))
        return self.inspect(tag)

    def inspect(self, tag):
        [told] = json.loads(self.command("inspect", "--type=container", tag).stdout)
        return Container(tag, told["Id"], told["State"]["Pid"], told["Name"], told["ImageName"])

    def execute(self, container, argv):
        return self.command("exec", container.id, *argv)

    def stop(self, container):
        self.command("rm", "--force", "--time=0", container.id)


class RootlessPodman(Podman):
    """A user's, with his own systemd and its driver of cgroups. What logind would do, the making of the user's cgroup and
    the start of that systemd, is done here."""

    GLOBAL = ("--cgroup-manager=systemd", "--storage-driver=vfs", "--runtime=crun", "--events-backend=none")
    USER, UID = "nsmon-test", 4711
    HOME = f"/var/lib/{USER}"
    RUN = f"/run/user/{UID}"
    MANAGERS = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
    SLICES = ("user.slice", f"user.slice/user-{UID}.slice")
    CGROUP = SLICES[-1] + f"/user@{UID}.service"

    # A user manager starts only where /run/systemd/system says that systemd is the system's as well.
    SETUP = """
        user=$1 uid=$2 home=$3 run=$4
        mkdir -p "$home/.config/systemd/user/sockets.target.wants" "$run" /run/systemd/system
        for file in passwd group subuid subgid; do
            cp "/etc/$file" "/run/$file"
        done
        echo "$user:x:$uid:$uid::$home:/bin/sh" >>/run/passwd
        echo "$user:x:$uid:" >>/run/group
        echo "$user:200000:65536" | tee -a /run/subuid >>/run/subgid
        for file in passwd group subuid subgid; do
            mount --bind "/run/$file" "/etc/$file"
        done
        cd "$home/.config/systemd/user"
        printf '[Socket]\\nListenStream=%%t/bus\\n' >dbus.socket
        printf '[Service]\\nType=notify\\nNotifyAccess=main\\nExecStart=%s\\n' \\
            "dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation" >dbus.service
        ln -s ../dbus.socket sockets.target.wants/
        chown -R "$uid:$uid" "$home" "$run"
        chmod 0700 "$home" "$run"
    """

    # As the user, in a cgroup of his session.
    AS_USER = """
        cgroup=$1 uid=$2
        shift 2
        echo $$ >"$cgroup/cgroup.procs"
        cd "$HOME"
        exec setpriv "--reuid=$uid" "--regid=$uid" --clear-groups "$@"
    """

    def set_up(self):
        if not self.world.hierarchy.is_v2:
            raise Missing("on cgroup v1, Podman makes no cgroups for a user's containers")
        need("newuidmap", "newgidmap", "setpriv", "dbus-daemon")
        manager = next((path for path in self.MANAGERS if os.path.exists(path)), None)
        if not manager:
            raise Missing("systemd is not installed")
        for path in ("/etc/subuid", "/etc/subgid"):
            if not os.path.exists(path):
                raise Missing(f"there is no {path} to bind over")
        self.world.run(["sh", "-ec", self.SETUP, "-", self.USER, self.UID, self.HOME, self.RUN])
        self._delegate()
        self.manager = self.world.spawn("systemd-user", self.as_user([manager, "--user", "--log-target=console"]))
        lib.wait_until(self._is_up, "the user's systemd to start", timeout=60)
        super().set_up()

    def _delegate(self):
        root = self.world.hierarchy.root
        self.cgroup = root / self.CGROUP
        self.session = self.cgroup / "init.scope"
        self.session.mkdir(parents=True)
        for above in (root, *(root / s for s in self.SLICES)):
            (above / "cgroup.subtree_control").write_text("+memory +pids")
        for path in (self.cgroup, self.session):
            for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
                os.chown(path / name, self.UID, self.UID)

    def _is_up(self):
        if self.manager.poll() is not None:
            raise Missing(f"no systemd of a user runs here: {self.world.log('systemd-user')}")
        return self.world.run(["test", "-S", f"{self.RUN}/bus"], check=False).returncode == 0

    def as_user(self, argv):
        environment = {"HOME": self.HOME, "USER": self.USER, "LOGNAME": self.USER, "XDG_RUNTIME_DIR": self.RUN,
                       "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.RUN}/bus"}
        return ["env", *(f"{k}={v}" for k, v in environment.items()),
                "sh", "-ec", self.AS_USER, "-", self.session, self.UID, *argv]

    def argv(self, *arguments):
        return self.as_user(super().argv(*arguments))

    def tear_down(self):
        stop(self.manager)
        for directory, _, _ in os.walk(self.cgroup):
            for pid in pathlib.Path(directory, "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        lib.wait_until(self._is_empty, "the user's processes to end")

    def _is_empty(self):
        remove_cgroups(self.world.hierarchy.root / self.SLICES[-1])
        return not self.cgroup.exists()


class Docker(Runtime):
    name = "docker"
    programs = ("dockerd", "docker", "containerd", "runc")

    ADDRESS = "unix:///run/docker.sock"

    def set_up(self):
        self.daemon = self.world.spawn("dockerd", [
            "dockerd", "--data-root=/var/lib/docker", "--exec-root=/run/docker", "--pidfile=/run/docker.pid",
            f"--host={self.ADDRESS}", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
            "--ip-masq=false", "--userland-proxy=false", "--storage-driver=vfs", "--oom-score-adjust=0",
            "--exec-opt=native.cgroupdriver=cgroupfs", "--config-file=/run/docker.json"])
        self.world.write("/run/docker.json", "{}")
        lib.wait_until(self._is_up, "dockerd to answer", timeout=60)
        told = self.command("version", "--format", "{{.Server.Version}}").stdout.decode().strip()
        self.version = f"Docker {told}"
        self.command("load", "--quiet", "--input", self.world.archive)

    def _is_up(self):
        if self.daemon.poll() is not None:
            raise Missing(f"dockerd does not run here: {self.world.log('dockerd')}")
        return self.command("version", check=False).returncode == 0

    def command(self, *arguments, **options):
        return self.world.run(["docker", "--config=/run/docker-config", f"--host={self.ADDRESS}", *arguments], **options)

    def start(self, tag, what=("init",)):
        self.command("run", "--detach", "--name", tag, "--network=none", "--security-opt=apparmor=unconfined",
                     f"--volume={self.world.WITNESS}:/witness", IMAGE, *inside(tag, *what))
        [told] = json.loads(self.command("inspect", "--type=container", tag).stdout)
        return Container(tag, told["Id"], told["State"]["Pid"], told["Name"].lstrip("/"), told["Config"]["Image"])

    def execute(self, container, argv):
        return self.command("exec", container.id, *argv)

    def stop(self, container):
        self.command("rm", "--force", container.id)

    def daemons(self):
        """It has a containerd of its own."""
        return [self.daemon.pid, *children(self.daemon.pid)]

    def tear_down(self):
        stop(self.daemon)


class Containerd(Runtime):
    name = "containerd"
    programs = ("containerd", "ctr", "runc")

    KEPT, STATE, NAMESPACE = "/var/lib/containerd", "/run/containerd", "default"

    CONFIG = """
        version = 2
        root = "{kept}"
        state = "{state}"
        oom_score = 0
        disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
        [grpc]
        address = "{state}/containerd.sock"
    """

    def set_up(self):
        config = self.STATE + ".toml"
        self.world.write(config, self.CONFIG.format(kept=self.KEPT, state=self.STATE))
        self.log = "containerd" + self.STATE.replace("/", "-")
        self.daemon = self.world.spawn(self.log, ["containerd", "--config", config])
        lib.wait_until(self._is_up, "containerd to answer", timeout=60)
        self.version = self.world.output(["containerd", "--version"]).strip()
        self.command("images", "import", "--snapshotter=native", self.world.archive)

    def _is_up(self):
        if self.daemon.poll() is not None:
            raise Missing(f"containerd does not run here: {self.world.log(self.log)}")
        return self.command("version", check=False).returncode == 0

    def command(self, *arguments, **options):
        return self.world.run(["ctr", f"--address={self.STATE}/containerd.sock", f"--namespace={self.NAMESPACE}",
                               *arguments], **options)

    def start(self, tag, what=("init",)):
        return self._start(tag, tag, what)

    def _start(self, tag, identity, what, options=()):
        mount = f"type=bind,src={self.world.WITNESS},dst=/witness,options=rbind:rw"
        self.command("run", "--detach", "--null-io", "--snapshotter=native", f"--mount={mount}", *options, IMAGE, identity,
                     *inside(tag, *what))
        told = json.loads(self.command("containers", "info", identity).stdout)
        pid = re.search(rf"^{re.escape(identity)}\s+(\d+)\s", self.command("tasks", "list").stdout.decode(), re.M)
        # What the name and the image of a container are, ctr keeps in containerd's data base alone.
        return Container(tag, told["ID"], int(pid.group(1)))

    def execute(self, container, argv):
        return self.command("tasks", "exec", "--exec-id", f"exec-{time.monotonic_ns()}", container.id, *argv)

    def stop(self, container):
        self.command("tasks", "kill", "--signal=SIGKILL", container.id)
        lib.wait_until(lambda: self.command("containers", "delete", container.id, check=False).returncode == 0,
                       f"containerd to stop {container.id}")

    def daemons(self):
        return [self.daemon.pid]

    def tear_down(self):
        stop(self.daemon)


class Pod(Containerd):
    """A container of Kubernetes, as the kubelet of k3s has it made: containerd has its state elsewhere, and the kubelet's
    part, to choose the cgroup and what is noted down of the pod (containerd: pkg/cri/annotations), is done here."""

    KEPT, STATE, NAMESPACE = "/var/lib/rancher/k3s/agent/containerd", "/run/k3s/containerd", "k8s.io"
    UID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

    def start(self, tag, what=("init",)):
        identity = hashlib.sha256(tag.encode()).hexdigest()
        notes = {"container-type": "container", "container-name": "web", "image-name": IMAGE, "sandbox-id": "f" * 64,
                 "sandbox-name": f"{tag}-0", "sandbox-namespace": "shop", "sandbox-uid": self.UID}
        options = [f"--annotation=io.kubernetes.cri.{name}={value}" for name, value in notes.items()]
        container = self._start(tag, identity, what, [f"--cgroup=/kubepods/burstable/pod{self.UID}/{identity}", *options])
        container.image = IMAGE
        container.k8s = {"pod_uid": self.UID, "pod": f"{tag}-0", "namespace": "shop", "container_name": "web"}
        return container


class Lxc(Runtime):
    name = "lxc"
    programs = ("lxc-start", "lxc-attach", "lxc-info", "lxc-stop")

    def set_up(self):
        self.version = "LXC " + self.world.output(["lxc-start", "--version"]).strip()

    def start(self, tag, what=("init",)):
        self.world.write(f"/var/lib/lxc/{tag}/config", f"""
            lxc.rootfs.path = dir:{self.world.rootfs}
            lxc.uts.name = {tag}
            lxc.net.0.type = empty
            lxc.apparmor.profile = unconfined
            lxc.mount.auto = proc:rw sys:ro
            lxc.mount.entry = {self.world.WITNESS} witness none bind 0 0
            lxc.init.cmd = {shlex.join(inside(tag, *what))}
        """)
        log = f"/run/{tag}.log"
        run = self.world.run(["lxc-start", f"--name={tag}", f"--logfile={log}", "--logpriority=INFO"], check=False)
        assert run.returncode == 0, self.world.output(["tail", "-n", "20", log])
        [name] = self.world.output(["lxc-ls", "--running", "-1", f"--filter=^{tag}$"]).split()
        pid = int(self.world.output(["lxc-info", f"--name={tag}", "--pid", "--no-humanize"]))
        return Container(tag, name, pid, name)

    def execute(self, container, argv):
        return self.world.run(["lxc-attach", f"--name={container.id}", "--", *argv])

    def stop(self, container):
        self.world.run(["lxc-stop", "--kill", f"--name={container.id}"])


class Nspawn(Runtime):
    """systemd-nspawn and machined, without the system manager: what that does, the making of the scope, is done here."""

    name = "systemd-nspawn"
    programs = ("systemd-nspawn", "dbus-daemon", "busctl")
    can_execute = False  # `machinectl shell` wants a systemd in the container

    MACHINED = ("/usr/lib/systemd/systemd-machined", "/lib/systemd/systemd-machined")
    MANAGER = ["org.freedesktop.machine1", "/org/freedesktop/machine1", "org.freedesktop.machine1.Manager"]

    def set_up(self):
        machined = next((path for path in self.MACHINED if os.path.exists(path)), None)
        if not machined:
            raise Missing("systemd-machined is not installed")
        self.version = self.world.output(["systemd-nspawn", "--version"]).splitlines()[0]
        self.world.run(["mkdir", "-p", "/run/dbus", "/run/systemd"])
        self.bus = self.world.spawn("dbus", ["dbus-daemon", "--system", "--nofork", "--nopidfile", "--nosyslog"])
        self.call_until_answered("dbus", self.bus, "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ListNames")
        self.machined = self.world.spawn("machined", [machined])
        self.call_until_answered("machined", self.machined, *self.MANAGER, "ListMachines")
        self.running = {}
        self.scopes = []

    def call(self, *arguments, check=True):
        run = self.world.run(["busctl", "--address=unix:path=/run/dbus/system_bus_socket", "--json=short",
                              *arguments], check=check)
        return json.loads(run.stdout)["data"] if run.returncode == 0 else None

    def call_until_answered(self, name, process, *arguments):
        def answers():
            if process.poll() is not None:
                raise Missing(f"{name} does not run here: {self.world.log(name)}")
            return self.call("call", *arguments, check=False) is not None

        lib.wait_until(answers, f"{name} to answer")

    def start(self, tag, what=("init",)):
        hierarchy = self.world.hierarchy
        scopes = [root / "machine.slice" / f"machine-{tag.replace('-', chr(92) + 'x2d')}.scope"
                  for root in filter(None, (hierarchy.root, hierarchy.systemd))]
        for scope in scopes:
            remove_cgroups(scope)  # of a run that was interrupted
            scope.mkdir(parents=True)
        script = 'for scope; do [ "$scope" != -- ] || break; echo $$ >"$scope/cgroup.procs"; shift; done; shift; exec "$@"'
        process = self.world.spawn(tag, [
            "sh", "-ec", script, "-", *scopes, "--", "systemd-nspawn", "--quiet", "--keep-unit", "--private-network",
            f"--machine={tag}", f"--directory={self.world.rootfs}",
            f"--bind={self.world.WITNESS}:/witness", *inside(tag, *what)])
        self.running[tag] = process
        self.scopes += scopes

        def machine():
            if process.poll() is not None:
                raise AssertionError(f"systemd-nspawn ended: {self.world.log(tag)}")
            return self.call("call", *self.MANAGER, "GetMachine", "s", tag, check=False)

        [path] = lib.wait_until(machine, f"machined to know {tag}")
        told = {name: self.call("get-property", self.MANAGER[0], path, "org.freedesktop.machine1.Machine", name)
                for name in ("Name", "Leader", "Service")}
        assert told["Service"] == "systemd-nspawn"
        return Container(tag, told["Name"], told["Leader"], told["Name"])

    def stop(self, container):
        stop(self.running.pop(container.tag))

    def not_in(self, cgroup):
        return cgroup + "/supervisor" if self.world.hierarchy.is_v2 else None

    def tear_down(self):
        for process in self.running.values():
            stop(process)
        stop(self.machined)
        stop(self.bus)
        for scope in self.scopes:
            remove_cgroups(scope)


RUNTIMES = {
    "crun": Crun,
    "runc": Runc,
    "lxc": Lxc,
    "podman": Podman,
    "podman-rootless": RootlessPodman,
    "docker": Docker,
    "containerd": Containerd,
    "pod": Pod,
    "systemd-nspawn": Nspawn,
}
