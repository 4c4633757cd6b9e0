# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fixtures: the runs of the driver's cases under nsmon that many tests look at, each made once for the session.

As root: /usr/bin/python3 -m pytest tests/e2e [-m quick]. From the environment: NSMON, the binary; NSMON_BACKEND, what
--backend gets; NSMON_DRIVER and NSMON_DRIVER32, the workload; NSMON_TEST_SLOW, by how much slower than a common
machine this one is (deadlines grow, storms shrink); NSMON_TEST_BTF, a file with the BTF of the running kernel;
NSMON_RECORDED, a directory of runs that were recorded elsewhere (-m recordable).
"""

import contextlib
import os
import pathlib
import shutil
import subprocess

import pytest

pytest.register_assert_rewrite("nsmonlib")

import machine  # noqa: E402
import nsmonlib as lib  # noqa: E402
import runs  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: the most telling tests; all together well under a minute")
    config.addinivalue_line("markers", "vital: the few to be run on every kernel also where there is hardly time")
    config.addinivalue_line("markers", "long: takes minutes on an emulated machine, and a quick one stands for it there")
    config.addinivalue_line("markers", "runtime: a container runtime that takes long to start, but has cgroup v2 there alone")
    config.addinivalue_line("markers", "once: what it looks at is the same with every backend")
    config.addinivalue_line("markers", "anywhere: and the same on every kernel")
    config.addinivalue_line("markers", "each_kernel: all the same it is to be run on every kernel")
    config.addinivalue_line("markers", "each_backend: and with every backend")
    config.addinivalue_line("markers", "cases(prefix..., but=name): the driver's cases that a test runs for")
    config.addinivalue_line("markers", "recordable: looks at nothing but runs that may have been recorded elsewhere (runs.py)")


def pytest_sessionstart(session):
    if machine.RECORDED:
        return
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests load BPF programs: run them as root", 1)
    for path, what in ((lib.NSMON, "nsmon (NSMON)"), (lib.DRIVER, "the workload (NSMON_DRIVER)")):
        if not os.access(path, os.X_OK):
            pytest.exit(f"{what} is not there: {path}; build it first", 1)


def pytest_generate_tests(metafunc):
    """`case` is each case of the driver, of the families that the test's marker `cases` names by prefix."""
    if "case" not in metafunc.fixturenames:
        return
    if machine.RECORDED:
        names = (pathlib.Path(machine.RECORDED) / "driver-cases").read_text(encoding="ascii").split()
    else:
        names = subprocess.run([lib.DRIVER, "list"], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    for marker in metafunc.definition.iter_markers("cases"):
        names = [n for n in names if n.startswith(marker.args) and n != marker.kwargs.get("but")]
    metafunc.parametrize("case", names)


RECORDABLE = {"recording", "variant"}  # the fixture below, and the parameter that names one which is made of it


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if RECORDABLE & set(item.fixturenames):
            item.add_marker("recordable")


class Recording:
    """A runs.Run, with the book of its workload: made in a directory, or with a name of runs.RUNS recorded elsewhere."""

    def __init__(self, run, directory, cgroups, name=None):
        self.workload, self.form, self.threads, self.failed = run.workload, run.form, run.threads, run.failed
        self.cgroup, self.into = cgroups.new, cgroups.into
        if name and machine.RECORDED:
            status, out, err, book = runs.recorded(name)
            assert status == 0, f"exit status {status} of {name}: {err.decode(errors='replace')[-2000:]}"
            self.run = lib.Trace(status, out, err, run.form)
        else:
            book = directory / "book"
            command = runs.workload_argv(run, runs.program(run.workload), directory, cgroups)
            self.run = lib.trace(command, *run.options, form=run.form, cwd=directory)
        self.book = lib.read_book(book)
        assert self.book, f"there is no book of {name or run}"
        self.run.records = lib.without_repairs(self.run.records)
        if name and machine.RECORDED:
            self.run.records = runs.of_workload(self.run.records, lib.first_pid(self.book))


class Work(Recording):
    """A run of the driver's cases."""

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        self.expected = lib.Expected(self.book, threads=self.threads, failed=self.failed)

    def of(self, case, *kinds):
        """Records of the processes of one case."""
        if case in self.expected.cannot:
            pytest.skip(self.expected.cannot[case])
        pids = self.expected.cases.get(case)
        assert pids, f"the book knows no case {case}"
        return self.run.of(pids, *kinds)

    def entries(self, case, op=None):
        return [b for b in self.book if b["case"] == case and (op is None or b["op"] == op)]

    def check(self, case):
        if case in self.expected.cannot:
            pytest.skip(self.expected.cannot[case])
        lib.check_case(self.expected, self.run.records, case, text=self.form == "text")


class Cgroups:
    """What runs.Cgroups describes, made for this session."""

    def __init__(self):
        self.made = []
        root = lib.hierarchy_root()
        self.new = self._mkdir(root / f"nsmon-test-{os.getpid()}") if root else None
        self.into = self._make_into()
        self.pids = self._make_pids()

    def _mounts(self, kind):
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            _, where, fs, options, *_ = line.split()
            if fs == kind:
                yield pathlib.Path(where), options.split(",")

    def _mkdir(self, path):
        try:
            path.mkdir()
        except OSError:
            return None
        self.made.append(path)
        return path

    def _make_into(self):
        for root, _ in self._mounts("cgroup2"):
            made = self._mkdir(root / f"nsmon-test-into-{os.getpid()}")
            if made:
                return made
        return None

    def _make_pids(self):
        name = f"nsmon-test-pids-{os.getpid()}"
        parents = [root for root, options in self._mounts("cgroup") if "pids" in options]
        for root, _ in self._mounts("cgroup2"):
            with contextlib.suppress(OSError):
                if "pids" in (root / "cgroup.controllers").read_text().split():
                    (root / "cgroup.subtree_control").write_text("+pids")
                    parents.append(root)
        for parent in parents:
            made = self._mkdir(parent / name)
            with contextlib.suppress(OSError):
                if made:
                    (made / "pids.max").write_text("1")
                    return made
        return None

    def remove(self):
        for path in self.made:
            lib.wait_until(lambda: self._removed(path), f"{path} to be empty")

    @staticmethod
    def _removed(path):
        with contextlib.suppress(OSError):
            path.rmdir()
        return not path.exists()


@pytest.fixture(scope="session")
def cgroups():
    if machine.RECORDED:
        yield runs.THERE
        return
    made = Cgroups()
    yield runs.Cgroups(made.new, made.into, made.pids)
    made.remove()


@pytest.fixture(scope="session")
def recording(tmp_path_factory, cgroups):
    """recording(NAME, CLASS): one of runs.RUNS, made when it is wanted first."""
    made = {}

    def get(name, cls=Recording):
        workload = runs.RUNS[name].workload
        if workload.endswith("32"):
            lib.need_32_bit(runs.program(workload))
        if name not in made:
            made[name] = cls(runs.RUNS[name], tmp_path_factory.mktemp(name), cgroups, name)
        return made[name]

    return get


@pytest.fixture(scope="session")
def work(recording):
    """The driver's cases, nsmon as it is without options."""
    return recording("cases", Work)


@pytest.fixture(scope="session")
def work_threads(recording):
    """With -T and --failed."""
    return recording("cases-threads", Work)


@pytest.fixture(scope="session")
def work_text(recording):
    """As lines of text."""
    return recording("cases-text", Work)


@pytest.fixture(scope="session")
def work_32(recording):
    """The same cases by a 32-bit program."""
    return recording("cases-32", Work)


@pytest.fixture(scope="session")
def program():
    """program("ip"): its path; skips where this machine does not have it."""

    def find(name):
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not path:
            pytest.skip(f"{name} is not installed")
        return path

    return find
