# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""dist/kubernetes: the image of the Containerfile, run by containerd with the privileges that the DaemonSet asks for and no
other. There is no Kubernetes here: what a kubelet would make of each field is written down below. The witnesses are
programs on the host, /proc, and another container of the same containerd.
"""

import json
import os
import pathlib
import re
import subprocess

import pytest

import nsmonlib as lib
import runtimes
from runtimes import Missing

try:
    import yaml
except ImportError:
    yaml = None

pytestmark = [pytest.mark.once, pytest.mark.anywhere, pytest.mark.skipif(not yaml, reason="there is no module yaml")]

TOP = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = TOP / "dist" / "kubernetes"
if yaml:
    NAMESPACE, SET = yaml.safe_load_all((KUBERNETES / "daemonset.yaml").read_text(encoding="utf-8"))
    POD = SET["spec"]["template"]["spec"]
    CONTAINER, = POD["containers"]
    CONTEXT = CONTAINER["securityContext"]
    CAPABILITIES = CONTEXT["capabilities"]["add"]

# What containerd gives a container that asks for nothing (containerd: oci/spec.go).
DEFAULT = ("CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
           "AUDIT_WRITE").split()


def test_the_manifest_fits_together():
    assert (NAMESPACE["kind"], SET["apiVersion"], SET["kind"]) == ("Namespace", "apps/v1", "DaemonSet")
    assert SET["metadata"]["namespace"] == NAMESPACE["metadata"]["name"]
    assert SET["spec"]["selector"]["matchLabels"] == SET["spec"]["template"]["metadata"]["labels"]
    volumes = {v["name"]: v["hostPath"]["path"] for v in POD["volumes"]}
    assert {m["name"]: m["mountPath"] for m in CONTAINER["volumeMounts"]} == volumes
    for mount in CONTAINER["volumeMounts"]:
        assert mount["readOnly"] is True
        # A directory with a socket in it would be a way to the node.
        path = pathlib.Path(mount["mountPath"])
        assert path.parts[:2] != ("/", "run") or len(path.parts) > 3
    for privilege in ("hostNetwork", "hostIPC"):
        assert privilege not in POD


@pytest.fixture(scope="module")
def containerd(tmp_path_factory):
    """With the image that the Containerfile makes of what `make static` makes."""
    subprocess.run(["make", "--no-print-directory", "-s", f"-j{os.cpu_count()}", "static"], cwd=TOP, check=True)
    world = None
    try:
        world = runtimes.World(tmp_path_factory.mktemp("kubernetes"))
        runtimes.need("podman")
        found = runtimes.RUNTIMES["containerd"](world)
    except Missing as missing:
        if world:
            world.close()
        pytest.skip(str(missing))
    storage = ["--root=/var/lib/build", "--runroot=/run/build", "--storage-driver=vfs", "--events-backend=none",
               "--cgroup-manager=cgroupfs"]
    world.run(["podman", *storage, "build", "--isolation=chroot", "-q", "-t", CONTAINER["image"], "-f",
               str(KUBERNETES / "Containerfile"), str(TOP / "build/static")])
    world.run(["podman", *storage, "save", "-q", "--format=docker-archive", "-o", "/run/nsmon.tar", CONTAINER["image"]])
    found.command("images", "import", "--snapshotter=native", "/run/nsmon.tar")
    yield found
    found.tear_down()
    world.close()


def reference(containerd):
    """The image as containerd calls it, which knows no short names."""
    return next(name for name in containerd.command("images", "list", "-q").stdout.decode().split()
                if name.startswith(CONTAINER["image"]))


def as_kubelet(containerd, name, capabilities):
    """The arguments of ctr that do what the manifest says."""
    assert POD["hostPID"] and CONTEXT["readOnlyRootFilesystem"] and not CONTEXT["privileged"]
    assert CONTEXT["capabilities"]["drop"] == ["ALL"] and CONTEXT["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTEXT["allowPrivilegeEscalation"] is False  # ctr's own default
    argv = ["run", "--rm", "--snapshotter=native", "--read-only", "--seccomp", f"--with-ns=pid:/proc/{os.getpid()}/ns/pid"]
    argv += [f"--cap-drop=CAP_{c}" for c in DEFAULT] + [f"--cap-add=CAP_{c}" for c in capabilities]
    for mount in CONTAINER["volumeMounts"]:
        propagation = {"HostToContainer": "rslave"}[mount["mountPropagation"]] if "mountPropagation" in mount else "rprivate"
        argv.append(f"--mount=type=bind,src={mount['mountPath']},dst={mount['mountPath']},options=rbind:ro:{propagation}")
    # Tests on a machine that others use as well look at what descends from them and from the daemon.
    own = [] if "NSMON_VM" in os.environ else [f"--pid={pid}" for pid in (os.getpid(), *containerd.daemons())]
    return [*argv, reference(containerd), name, "/usr/sbin/nsmon", *CONTAINER["args"], *own]


def ctr(containerd, *arguments):
    return ["nsenter", f"--mount=/proc/{containerd.world.holder.pid}/ns/mnt", "ctr",
            f"--address={containerd.STATE}/containerd.sock", f"--namespace={containerd.NAMESPACE}", *arguments]


@pytest.fixture
def live(containerd, tmp_path):
    """nsmon in its container."""
    containerd.command("containers", "rm", "nsmon", check=False)
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(ctr(containerd, *as_kubelet(containerd, "nsmon", CAPABILITIES)), stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=err)

    def records(until=lambda r: False):
        found = []
        for line in (tmp_path / "out").read_bytes().split(b"\n")[:-1]:
            record = json.loads(line)
            lib.schema().validate(record)
            found.append(record)
        assert process.poll() is None, (tmp_path / "err").read_text()
        return [r for r in found if until(r)]

    lib.wait_until(lambda: records(lambda r: r["event"] == "ready"), "nsmon to be ready", timeout=60)
    yield records
    containerd.command("tasks", "kill", "--signal=SIGINT", "nsmon")
    assert process.wait(lib.seconds(20)) == 0, (tmp_path / "err").read_text()


def test_events_of_the_host_arrive(live):
    """Of a process that is in no container; its number is the host's, its namespace what it says itself."""
    process = subprocess.Popen(["unshare", "-n", "readlink", "/proc/self/ns/net"], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate()
    inum = int(re.search(r"\d+", said).group())
    lib.wait_until(lambda: live(lambda r: r["event"] == "exit" and r["pid"] == process.pid), "the exit of unshare")
    changed, = live(lambda r: r["event"] == "ns" and r["pid"] == process.pid)
    assert (changed["type"], changed["reason"], changed["inum"]) == ("net", "unshare", inum)


def test_containers_are_known(live, containerd):
    """By id and runtime, and with a file of the runtime's to say so."""
    container = containerd.start("other")
    try:
        found = lib.wait_until(lambda: live(lambda r: r["event"] == "exec" and r["pid"] == container.pid), "its exec")
        assert {(r["container"]["id"], r["container"]["runtime"]) for r in found} == {("other", "containerd")}
        assert "unverified" not in found[-1]["container"]
    finally:
        containerd.stop(container)


def test_it_has_no_more_than_the_manifest_says(live, containerd):
    told = containerd.command("tasks", "list").stdout.decode()
    pid = int(re.search(r"^nsmon\s+(\d+)\s", told, re.M).group(1))
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    numbers = {"BPF": 39, "PERFMON": 38}
    allowed = sum(1 << numbers[c] for c in CAPABILITIES)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) & ~allowed == 0, kind
    assert (status["NoNewPrivs"], status["Seccomp"], status["Uid"].split()[0]) == ("1", "2", str(CONTEXT["runAsUser"]))
    mounts = [line.split() for line in pathlib.Path(f"/proc/{pid}/mounts").read_text().splitlines()]
    options = {where: flags.split(",") for _, where, _, flags, *_ in mounts}
    assert "ro" in options["/"]
    for mount in CONTAINER["volumeMounts"]:
        assert "ro" in options[mount["mountPath"]]
    own = pathlib.Path("/proc/self/ns")
    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(own / "pid")
    for kind in ("mnt", "net", "ipc", "uts"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(own / kind), kind


@pytest.mark.parametrize("missing", CAPABILITIES if yaml else [])
def test_each_capability_is_needed(containerd, missing):
    name = f"without-{missing.lower()}"
    argv = as_kubelet(containerd, name, [c for c in CAPABILITIES if c != missing])
    done = subprocess.run(ctr(containerd, *argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=lib.seconds(60), check=False, text=True)
    assert done.returncode == 1 and f"CAP_{missing}" in done.stderr, done
