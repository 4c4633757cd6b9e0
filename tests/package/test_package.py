# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What nsmon is handed on as: the static program, the source archive, the Debian package, the RPM.

Each is made from a clone of this checkout and used as those who get it do. The Debian package is made of the archive.
From the environment: PACKAGE_KERNEL, the kernel of tests/vm/kernels for the virtual machines (default 6.12).
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile

import jsonschema
import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
VERSION = re.search(r'NSMON_VERSION "(.*)"', (TOP / "src/version.h").read_text()).group(1)
KERNEL = os.environ.get("PACKAGE_KERNEL", "6.12")
UNIT = (TOP / "dist/nsmon.service").exists()
# The checkout may be another user's than root.
os.environ.update(GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
JOBS = f"-j{os.cpu_count() or 1}"


def run(*argv, status=0, **options):
    """Runs a command to its end; its output, if it ends with `status`."""
    options.setdefault("timeout", 300)
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, text=True, errors="replace", **options)
    assert status is None or done.returncode == status, f"{argv} ended with {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


def need(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            pytest.skip(f"{program} is not installed")


# ---- one static program


@pytest.fixture(scope="session")
def static():
    run("make", "--no-print-directory", JOBS, "static", cwd=TOP)
    return TOP / "build/static/nsmon"


def test_static_needs_no_library(static):
    assert "NEEDED" not in run("readelf", "-d", static)
    assert "INTERP" not in run("readelf", "-l", static)


BARE = """
ls -d /lib /usr /etc && exit 1
nsmon -q -o json -w /records -- busybox unshare -n busybox readlink /proc/self/ns/net || exit 2
echo ==== && cat /records
"""


def test_static_runs_with_busybox_alone(static, tmp_path):
    """In a virtual machine that has no other file; readlink(1) says in which namespace it was."""
    script = tmp_path / "script"
    script.write_text(BARE)
    said = run(TOP / "tests/vm/run", KERNEL, "--bare", "--initrd-add", f"{static}:/sbin/nsmon", "--initrd-add",
               f"{script}:/script", "--", "/bin/busybox", "sh", "/script", cwd=TOP)
    before, after = said.split("====\n")
    inum = int(re.search(r"^net:\[(\d+)\]$", before, re.M).group(1))
    records = [json.loads(line) for line in after.splitlines()]
    validator = jsonschema.validators.validator_for(schema := json.loads((TOP / "dist/nsmon.schema.json").read_text()))(schema)
    for record in records:
        validator.validate(record)
    assert [r["event"] for r in records] == ["start", "proc", "ready", "fork", "exec", "ns", "exec", "exit", "stop"]
    changed = records[5]
    assert (changed["type"], changed["reason"], changed["inum"]) == ("net", "unshare", inum) != (..., ..., changed["old_inum"])
    assert records[7]["code"] == 0 and records[-1]["lost"] == 0


# ---- the source archive


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A clean checkout of what is here, committed or not."""
    if not (TOP / ".git").exists():
        pytest.skip("this is a source archive already")
    made = tmp_path_factory.mktemp("clone") / "nsmon"
    run("git", "clone", "-q", "--no-hardlinks", TOP, made)
    files = run("git", "-C", TOP, "ls-files", "-co", "--exclude-standard").splitlines()
    for name in files:
        if (TOP / name).exists():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, made / name, follow_symlinks=False)
        else:
            (made / name).unlink()
    run("git", "-C", made, "add", "-A")
    run("git", "-C", made, "-c", "user.name=x", "-c", "user.email=x@example", "commit", "-q", "--allow-empty", "-m", "x")
    return made


@pytest.fixture(scope="session")
def archive(clone):
    run("make", "dist", cwd=clone)
    return clone / f"build/nsmon-{VERSION}.tar.xz"


@pytest.fixture(scope="session")
def sources(archive, tmp_path_factory):
    """The archive, unpacked where there is no git."""
    where = tmp_path_factory.mktemp("sources")
    run("tar", "-xf", archive, "-C", where)
    return where / f"nsmon-{VERSION}"


def test_archive_is_what_is_committed(clone, archive):
    committed = run("git", "-C", clone, "ls-files").splitlines()
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert {m.name for m in members if not m.isdir()} == {f"nsmon-{VERSION}/{name}" for name in committed}
    assert {(m.uname, m.gname, m.mode & 0o022) for m in members} == {("root", "root", 0)}


def test_archive_is_reproducible(clone, archive, tmp_path):
    """The same bytes from another clone, at another time, under another umask and git configuration."""
    other = tmp_path / "other"
    run("git", "clone", "-q", clone, other)
    run("git", "-C", other, "config", "tar.umask", "0077")
    for path in other.glob("src/*"):
        os.utime(path, (1, 1))
    run("sh", "-c", "umask 0077; exec make dist", cwd=other, env=dict(os.environ, TZ="Asia/Tokyo", LC_ALL="C"))
    assert (other / "build" / archive.name).read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("change", ["edit", "add", "delete"])
def test_a_dirty_tree_is_refused(clone, archive, change, tmp_path):
    other = tmp_path / "other"
    run("git", "clone", "-q", clone, other)
    name = {"edit": "CHANGES", "add": "new file", "delete": "README.md"}[change]
    if change == "delete":
        (other / name).unlink()
    else:
        with open(other / name, "a", encoding="utf-8") as file:
            file.write("more\n")
    said = run("make", "dist", cwd=other, status=2)
    assert "commit, stash or remove" in said and name in said
    assert not list(other.glob("build/*.tar.xz*"))


def test_no_archive_of_an_archive(sources):
    assert "no git checkout" in run("make", "dist", cwd=sources, status=2)


# ---- the Debian package


@pytest.fixture(scope="session")
def deb(sources):
    need("dpkg-buildpackage", "dh")
    run("make", "deb", cwd=sources)
    architecture = run("dpkg", "--print-architecture").strip()
    return sources / f"build/nsmon_{VERSION}_{architecture}.deb"


def test_deb_is_clean(deb):
    need("lintian")
    said = run("lintian", "--allow-root", "--fail-on", "error,warning", "--display-info",
               deb.with_suffix(".changes"), status=None)
    assert not re.findall(r"^[EW]: .*", said, re.M), said
    overrides = [p for p in (TOP / "debian").glob("*lintian-overrides") for line in p.read_text().splitlines()
                 if line and not line.startswith("#")]
    assert not overrides or all("#" in p.read_text() for p in overrides)


def test_deb_has_everything(deb, sources, tmp_path):
    """What `make install` installs, and the version of src/version.h."""
    run("make", "install", f"DESTDIR={tmp_path}/made", "PREFIX=/usr", cwd=sources)
    run("dpkg-deb", "-x", deb, tmp_path / "deb")
    renamed = {"nsmon.8": "nsmon.8.gz"}

    def names(where):
        return {renamed.get(p.name, p.name) for p in (tmp_path / where).rglob("*") if p.is_file()}

    assert names("made") - names("deb") == set()
    assert names("deb") - names("made") == {"changelog.gz", "copyright", "README.md.gz"}
    assert run("dpkg-deb", "-f", deb, "Version").strip() == VERSION
    assert run(tmp_path / "deb/usr/sbin/nsmon", "--version") == f"nsmon {VERSION}\n"
    changelog = run("sh", "-c", f"zcat {tmp_path}/deb/usr/share/doc/nsmon/changelog.gz")
    assert changelog.startswith(f"nsmon ({VERSION}) ")


def test_build_depends_are_those_of_deps():
    """The packages that dist/deps installs to build with, and what makes packages."""
    control = (TOP / "debian/control").read_text(encoding="utf-8")
    field = re.search(r"^Build-Depends:(.*?)^\S", control, re.M | re.S).group(1)
    declared = {d.split()[0] for d in field.split(",") if d.strip()}
    needs = re.search(r"^build='\n(.*?)^'", (TOP / "dist/deps").read_text(), re.M | re.S).group(1)
    installed = {p for line in needs.splitlines() for p in line.split("|")[1].split()}
    essential = {"make", "gcc", "libc6-dev", "linux-libc-dev"}  # of the package build-essential
    assert declared - installed <= {"debhelper-compat", "pkg-config", "libsystemd-dev"}
    assert installed - declared == essential


def test_rpm_requires_are_those_of_deps():
    spec = (TOP / "dist/nsmon.spec.in").read_text(encoding="utf-8")
    declared = set(re.findall(r"^BuildRequires: +(\S+)", spec, re.M))
    needs = re.search(r"^build='\n(.*?)^'", (TOP / "dist/deps").read_text(), re.M | re.S).group(1)
    installed = {p for line in needs.splitlines() for p in line.split("|")[2].split()}
    assert declared - installed <= {"pkgconf-pkg-config", "systemd-devel", "systemd-rpm-macros"}
    assert installed - declared == {"glibc-devel", "kernel-headers"}  # gcc requires them


# A copy of this machine's root file system in which packages can be installed: what is written is gone with it.
CHROOT = """
set -e
mount -t tmpfs tmpfs "$1" && cd "$1"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/tmp
mount -t tmpfs tmpfs root/run
mount --bind /dev root/dev
mkdir root/debs && cp "$2"/*.deb "$2/script" root/debs/
exec chroot root sh -e /debs/script
"""


def in_chroot(directory, script):
    (directory / "script").write_text(script)
    (directory / "root").mkdir(exist_ok=True)
    return run("unshare", "-m", "--propagation", "private", "sh", "-c", CHROOT, "sh", directory / "root", directory,
               env=dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C"))


def newer(deb, directory):
    """The same package with a higher version."""
    run("dpkg-deb", "-R", deb, directory / "newer")
    control = directory / "newer/DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {VERSION}\n", f"Version: {VERSION}+1\n"))
    run("dpkg-deb", "-b", "--root-owner-group", directory / "newer", directory / "new.deb")


FILES = "find /etc /usr /lib /var -path '*nsmon*' | sort"

LIFE = f"""
mkdir -p /var/log/private
{FILES} >/tmp/before
dpkg -i /debs/old.deb
nsmon --version
test -s /usr/share/man/man8/nsmon.8.gz
dpkg --verify nsmon
echo ENABLED $(ls /etc/systemd/system/multi-user.target.wants/nsmon.service 2>&1)
if [ -e /etc/default/nsmon ]; then echo '# the administrator was here' >>/etc/default/nsmon; fi
dpkg -i /debs/new.deb
echo UPGRADED $(dpkg-query -f '${{Version}} ${{Status}}' -W nsmon)
if [ -e /etc/default/nsmon ]; then grep 'administrator was here' /etc/default/nsmon; fi
mkdir /var/log/private/nsmon && echo x >/var/log/private/nsmon/nsmon.json && ln -s private/nsmon /var/log/nsmon
dpkg -r nsmon
test -s /var/log/nsmon/nsmon.json
dpkg -P nsmon
test ! -e /var/log/private/nsmon
{FILES} >/tmp/after
diff /tmp/before /tmp/after && echo NOTHING LEFT
"""


def test_deb_installs_upgrades_and_purges(deb, tmp_path):
    shutil.copy(deb, tmp_path / "old.deb")
    newer(deb, tmp_path)
    said = in_chroot(tmp_path, LIFE)
    assert f"nsmon {VERSION}\n" in said
    assert f"UPGRADED {VERSION}+1 install ok installed" in said
    assert "NOTHING LEFT" in said
    if UNIT:
        assert "ENABLED /etc/systemd/system/multi-user.target.wants/nsmon.service" in said
        assert "# the administrator was here" in said


# Without triggers: the index of manual pages takes a minute there.
SERVICE = """
set -ex
rm -f /usr/sbin/policy-rc.d # with it this machine may keep its own packages from starting anything
dpkg --no-triggers -i "$1/old.deb"
systemctl is-active nsmon
systemctl is-enabled nsmon
old=$(systemctl show -p MainPID --value nsmon)
unshare -n true
for _ in $(seq 100); do grep -q '"reason":"unshare"' /var/log/nsmon/nsmon.json && break; sleep 0.2; done
grep -q '"reason":"unshare"' /var/log/nsmon/nsmon.json
dpkg --no-triggers -i "$1/new.deb"
systemctl is-active nsmon
new=$(systemctl show -p MainPID --value nsmon)
[ "$old" != "$new" ] && [ ! -d "/proc/$old" ] && [ "$(readlink "/proc/$new/exe")" = /usr/sbin/nsmon ]
dpkg --no-triggers -r nsmon
! systemctl is-active nsmon
[ ! -d "/proc/$new" ]
dpkg --no-triggers -P nsmon
[ ! -e /var/log/nsmon ]
echo ALL IS WELL
"""


def test_deb_runs_as_a_service(deb, tmp_path):
    """Under a systemd of its own: started when it is installed, again when it is upgraded, stopped when it is removed."""
    if not UNIT or "--systemd" not in run(TOP / "tests/vm/run", "--help", status=None):
        pytest.skip("there is no unit, or tests/vm/run boots no systemd")
    work = TOP / "build/package-service"  # the guest does not see /tmp
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    shutil.copy(deb, work / "old.deb")
    newer(deb, work)
    (work / "script").write_text(SERVICE)
    said = run(TOP / "tests/vm/run", KERNEL, "--systemd", "--", "sh", work / "script", work, cwd=TOP)
    assert said.endswith("ALL IS WELL\n"), said
    shutil.rmtree(work)


# ---- the RPM

# What Fedora's packages redhat-rpm-config and systemd-rpm-macros define.
MACROS = {"_unitdir": "/usr/lib/systemd/system", "systemd_post": "true", "systemd_preun": "true",
          "systemd_postun_with_restart": "true", "_build_id_links": "none", "debug_package": "%{nil}"}


@pytest.fixture(scope="session")
def spec(clone):
    need("rpmspec", "rpmbuild")
    run("make", "spec", cwd=clone)
    return clone / "build/nsmon.spec"


def defines(**more):
    return [a for name, value in {**MACROS, **more}.items() for a in ("--define", f"{name} {value}")]


def test_spec_is_clean(spec):
    parsed = run("rpmspec", "-P", *defines(), spec)
    assert f"Version:        {VERSION}\n" in parsed and "%{" not in parsed.split("%changelog")[0]
    need("rpmlint")
    said = run("rpmlint", spec, status=None)
    # A tag that rpmbuild ignores since 4.6; and the source is no URL, since `make dist` makes it.
    known = {"nsmon.spec: W: no-buildroot-tag", f"nsmon.spec: W: invalid-url Source0: nsmon-{VERSION}.tar.xz",
             "nsmon.spec: W: no-url-tag"}
    assert set(re.findall(r"^nsmon.spec.*", said, re.M)) <= known and " 0 errors" in said, said


def test_rpm_is_built_of_the_archive(spec, archive, tmp_path):
    """By this machine's rpmbuild, whose database knows none of the packages that it requires."""
    if not UNIT:
        pytest.skip("the RPM has the service's unit, which is not there")
    run("rpmbuild", "-bb", "--nodeps", *defines(_topdir=tmp_path, _sourcedir=archive.parent), spec)
    package, = tmp_path.rglob("*.rpm")
    listed = set(run("rpm", "-qpl", package, env=dict(os.environ, HOME=str(tmp_path))).splitlines())
    assert {"/usr/sbin/nsmon", "/usr/lib/systemd/system/nsmon.service", "/usr/share/nsmon/shippers/rsyslog.conf",
            "/etc/default/nsmon"} <= listed
    assert any(name.startswith("/usr/share/man/man8/nsmon.8") for name in listed)
    assert run("rpm", "-qp", "--qf", "%{VERSION}", package) == VERSION
