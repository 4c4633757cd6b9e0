# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""nsmon -> a file or a pipe -> a log shipper, with the configuration that dist/shippers has -> TCP: every record arrives.

The witnesses are the driver's book, against which the records are held that came out at the far end, and the file.
rsyslog and syslog-ng run here; of the others, which few distributions package, only the files are read.
"""

import contextlib
import json
import os
import pathlib
import re
import selectors
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import nsmonlib as lib

pytestmark = [pytest.mark.once, pytest.mark.anywhere]

TOP = pathlib.Path(__file__).resolve().parents[2]
SHIPPERS = TOP / "dist" / "shippers"
BESIDE = TOP / "build" / "beside" / "usr"  # where dist/deps unpacks what it does not install
HOST = socket.gethostname()


class Collector:
    """What the shippers send to: keeps the lines in the order in which they came, of an older connection first."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lines = []
        self.torn = []
        self.connections = 0
        self.ended, self.end = os.pipe()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        selector.register(self.ended, selectors.EVENT_READ)
        open_ones = {}  # in the order in which they came
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if self.ended in ready:
                break
            for connection in list(open_ones):
                if connection in ready and not self._read(connection, open_ones):
                    selector.unregister(connection)
                    self.torn += [open_ones.pop(connection)] if open_ones[connection] else []
                    open_ones.pop(connection, None)
                    connection.close()
            if self.listener in ready:
                connection, _ = self.listener.accept()
                connection.setblocking(False)
                open_ones[connection] = b""
                selector.register(connection, selectors.EVENT_READ)
                self.connections += 1
        for connection in open_ones:
            connection.close()

    def _read(self, connection, open_ones):
        while True:
            try:
                data = connection.recv(1 << 20)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                return False
            if not data:
                return False
            *whole, rest = (open_ones[connection] + data).split(b"\n")
            open_ones[connection] = rest
            self.lines += whole

    def close(self):
        os.write(self.end, b"x")
        self.thread.join()
        self.listener.close()
        os.close(self.ended)
        os.close(self.end)

    def records(self):
        """What came, each from this machine; without what the shipper has added."""
        assert not self.torn
        found = [json.loads(line) for line in list(self.lines)]
        assert not [r for r in found if r.pop("hostname", None) != HOST]
        return found

    def wait_for(self, event, count=1, timeout=60):
        lib.wait_until(lambda: sum(f'"event":"{event}"'.encode() in line.replace(b": ", b":") for line in list(self.lines))
                       >= count, f"{count} {event} at the collector", timeout)


def find(name):
    """A daemon's program, and the environment that it needs."""
    installed = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if installed:
        return installed, None, dict(os.environ)
    program = BESIDE / "sbin" / name
    if not program.exists():
        pytest.skip(f"{name} is neither installed nor in build/beside (make deps-test)")
    libraries = [*BESIDE.glob("lib/*-linux-gnu"), BESIDE / "lib" / "syslog-ng"]
    return str(program), BESIDE, dict(os.environ, LD_LIBRARY_PATH=":".join(map(str, libraries)))


class Shipper:
    """A daemon with the configuration that is shipped, in which only paths, host and port are others. dist/ says where
    it belongs: a file that the daemon's main configuration includes."""

    def __init__(self, directory, collector):
        self.directory = directory
        self.log = directory / "shipper.log"
        self.file = directory / "nsmon.json"
        self.pipe = directory / "pipe"
        self.process = None
        text = (SHIPPERS / f"{self.name}.conf").read_text(encoding="utf-8")
        for old, new in (("/var/log/nsmon/nsmon.json", self.file), (self.pipe_name, self.pipe), ("5170", collector.port),
                         ("collector.example", "127.0.0.1")):
            assert old in text
            text = text.replace(old, str(new))
        (directory / "nsmon.conf").write_text(text)
        self.program, self.beside, self.environment = find(self.daemon)

    def start(self):
        (self.directory / "state").mkdir(exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.program, *self.arguments()], env=self.environment, cwd=self.directory,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        lib.wait_until(self.is_up, f"{self.name} to start: {self.log}")

    def is_up(self):
        assert self.process.poll() is None, self.log.read_text()
        return self.pipe.exists()

    def stop(self, with_signal=signal.SIGTERM):
        self.process.send_signal(with_signal)
        self.process.wait(lib.seconds(30))
        self.process = None

    def close(self):
        if self.process:
            self.stop(signal.SIGKILL)


class Rsyslog(Shipper):
    name = "rsyslog"
    daemon = "rsyslogd"
    pipe_name = "/run/nsmon-rsyslog.sock"

    def arguments(self):
        main = self.directory / "rsyslog.conf"
        main.write_text(f'global(workDirectory="{self.directory}/state")\n$IncludeConfig {self.directory}/nsmon.conf\n')
        modules = ["-M", next(self.beside.glob("lib/*/rsyslog"))] if self.beside else []
        return ["-n", "-f", main, "-i", self.directory / "pid", *modules]

    @contextlib.contextmanager
    def nsmon_into_pipe(self, *options):
        reader = subprocess.Popen(["nc", "-NU", self.pipe], stdin=subprocess.PIPE)
        with nsmon_into(reader.stdin, options) as nsmon:
            yield nsmon
        assert reader.wait(lib.seconds(20)) == 0


class SyslogNg(Shipper):
    name = "syslog-ng"
    daemon = "syslog-ng"
    pipe_name = "/run/nsmon.fifo"

    def arguments(self):
        main = self.directory / "syslog-ng.conf"
        main.write_text(f'@version: 3.38\n@include "{self.directory}/nsmon.conf"\n')
        modules = [f"--module-path={next(self.beside.glob('lib/syslog-ng/*/'))}"] if self.beside else []
        return ["-F", "--no-caps", "-f", main, "-R", self.directory / "state/persist", "-c", self.directory / "control",
                "-p", self.directory / "pid", *modules]

    def nsmon_into_pipe(self, *options):
        return nsmon_into(open(self.pipe, "r+b", buffering=0), options)  # 1<>


@contextlib.contextmanager
def nsmon_into(file, options):
    """What it writes goes into this file, which nobody else keeps open."""
    with file:
        nsmon = subprocess.Popen(lib.nsmon_argv("-o", "json", *options), stdout=file, stderr=subprocess.PIPE)
    yield nsmon
    end(nsmon)


def end(nsmon):
    if nsmon.poll() is None:
        nsmon.send_signal(signal.SIGINT)
    _, said = nsmon.communicate(timeout=lib.seconds(20))
    assert nsmon.returncode == 0, said


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


@pytest.fixture(params=[Rsyslog, SyslogNg], ids=lambda c: c.name)
def shipper(request, tmp_path, collector):
    made = request.param(tmp_path, collector)
    yield made
    made.close()


def work(directory, times=[0]):
    """Runs the driver's cases; returns what its book lets one expect."""
    times[0] += 1
    book = directory / f"book-{times[0]}"
    subprocess.run([lib.DRIVER, "--book", book, "--dir", directory, "cases"], check=True, timeout=lib.seconds(60),
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return lib.Expected(lib.read_book(book))


def hold_against_books(expected, records):
    checked = 0
    for e in expected:
        for case in e.cases:
            if case not in e.cannot:
                lib.check_case(e, records, case)
                checked += 1
    assert checked > 50 * len(expected)


def lines_of(*paths):
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def rotate(live, shipper, number):
    """As logrotate does with nocreate; nsmon goes on with the old file until it is told."""
    old = shipper.file.with_suffix(f".json.{number}")
    shipper.file.rename(old)
    expected = work(shipper.directory)
    live.process.send_signal(signal.SIGHUP)
    lib.wait_until(shipper.file.exists, "the new file")
    return old, expected


MINE = f"--pid={os.getpid()}"


def long_arguments():
    """An exec of 4 KiB that JSON makes 24 KiB of."""
    subprocess.run(["/bin/true", "\1" * 4000], check=True)


def test_file(shipper, collector, tmp_path):
    """Through a rotation and a restart each record arrives once, in order, as it was written."""
    with lib.Live(tmp_path, "-w", shipper.file, MINE, "--no-snapshot") as live:
        live.wait_started(shipper.file)
        shipper.start()
        done = [work(tmp_path)]
        long_arguments()
        old, expected = rotate(live, shipper, 1)
        done += [expected, work(tmp_path)]
        collector.wait_for("start")
        # syslog-ng looks once a second whether there is a new file
        lib.wait_until(lambda: len(collector.lines) > len(lines_of(old)), "records of the new file")
        shipper.stop()
        done.append(work(tmp_path))
        shipper.start()
        done.append(work(tmp_path))
        assert live.stop() == 0, live.err
        collector.wait_for("stop")
        shipper.stop()
    written = lines_of(old, shipper.file)
    arrived = collector.records()
    assert [r["seq"] for r in arrived] == [r["seq"] for r in written] == list(range(1, len(written) + 1))
    assert arrived == written
    lib.check_stream(arrived)
    assert any(len(line) > 20000 for line in collector.lines)
    hold_against_books(done, arrived)


def test_file_through_a_crash(shipper, collector, tmp_path):
    """A shipper that is killed sends some records again, and leaves out none."""
    with lib.Live(tmp_path, "-w", shipper.file, MINE, "--no-snapshot") as live:
        live.wait_started(shipper.file)
        shipper.start()
        done = [work(tmp_path)]
        lib.wait_until(lambda: len(collector.lines) > 50, "some records")
        shipper.stop(signal.SIGKILL)
        shipper.pipe.unlink()
        done.append(work(tmp_path))
        shipper.start()
        assert live.stop() == 0, live.err
        collector.wait_for("stop")
        shipper.stop()
    written = lines_of(shipper.file)
    collector.torn.clear()  # the line that it was just sending
    arrived = list({r["seq"]: r for r in collector.records()}.values())
    assert arrived == written
    lib.check_stream(arrived)
    hold_against_books(done, arrived)


def test_pipe(shipper, collector, tmp_path):
    """And so it is with a pipe. What is written to syslog-ng's while it restarts waits there."""
    shipper.start()
    with shipper.nsmon_into_pipe(MINE, "--no-snapshot"):
        collector.wait_for("start")
        done = [work(tmp_path)]
        long_arguments()
        if shipper.name == "syslog-ng":
            lib.wait_until(lambda: last_exit(collector) == "true", "the last exit so far")
            shipper.stop()
            done.append(work(tmp_path))
            shipper.start()
        done.append(work(tmp_path))
    collector.wait_for("stop")
    shipper.stop()
    arrived = collector.records()
    lib.check_stream(arrived)
    for record in arrived:
        lib.schema().validate(record)
    assert any(len(line) > 20000 for line in collector.lines)
    hold_against_books(done, arrived)


def last_exit(collector):
    record = json.loads(collector.lines[-1])
    return record["event"] == "exit" and record["comm"]


def test_nsmon_ends_with_the_reader_of_its_pipe(collector, tmp_path):
    """rsyslog takes the socket with it; nsmon says nothing and ends with 0, so that its supervisor begins anew."""
    shipper = Rsyslog(tmp_path, collector)
    shipper.start()
    with contextlib.closing(shipper), shipper.nsmon_into_pipe(MINE, "--no-snapshot") as nsmon:
        collector.wait_for("start")
        shipper.stop()
        assert nsmon.wait(lib.seconds(20)) == 0
        assert not [line for line in nsmon.stderr.read().splitlines() if b"using backend" not in line]


def test_a_line_that_is_no_record(shipper, collector):
    """It is told as what it is and holds up nothing."""
    shipper.file.write_text('not json\n{"seq":1,"event":"x"}\n"text"\n{"seq":2,"event":"stop"}\n')
    shipper.start()
    collector.wait_for("stop")
    assert [r for r in collector.records() if r != {"unparsed": '"text"'}] == [
        {"unparsed": "not json"}, {"seq": 1, "event": "x"}, {"seq": 2, "event": "stop"}]


# ---- those that do not run here


def all_strings(value):
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    return [s for v in value for s in all_strings(v)] if isinstance(value, list) else [str(value)]


def configuration(name):
    text = (SHIPPERS / name).read_text(encoding="utf-8")
    if name.endswith("toml"):
        return pytest.importorskip("tomllib").loads(text)
    return pytest.importorskip("yaml").safe_load(text)


@pytest.mark.parametrize("name", ["fluent-bit.yaml", "vector.toml", "otel-collector.yaml"])
def test_the_others_can_be_read(name):
    """They are what their names say, read the service's file from its beginning, and take the longest line."""
    config = configuration(name)
    strings = all_strings(config)
    assert "/var/log/nsmon/nsmon.json" in strings
    assert any(s.startswith("collector.example") for s in strings)
    limits = {"fluent-bit.yaml": lambda c: c["pipeline"]["inputs"][0]["buffer_max_size"],
              "vector.toml": lambda c: c["sources"]["nsmon"]["max_line_bytes"],
              "otel-collector.yaml": lambda c: c["receivers"]["filelog"]["max_log_size"]}
    number, unit = re.fullmatch(r"(\d+)(k|KiB|)", str(limits[name](config))).groups()
    longest = int(re.search(r"LINE_MAX_BYTES \(\(size_t\)(\d+)\)", (TOP / "src/line.h").read_text()).group(1))
    assert int(number) * (1024 if unit else 1) >= longest


@pytest.mark.parametrize("name, references", [
    ("vector.toml", lambda c: [(i, {**c["sources"], **c["transforms"]}) for part in ("transforms", "sinks")
                               for p in c[part].values() for i in p["inputs"]]),
    ("otel-collector.yaml", lambda c: [(i, c[part]) for p in c["service"]["pipelines"].values() for part, used in p.items()
                                       for i in used] + [(e, c["extensions"]) for e in c["service"]["extensions"]]),
    ("fluent-bit.yaml", lambda c: [(i["parser"], [p["name"] for p in c["parsers"]]) for i in c["pipeline"]["inputs"]]
     + [(p["match"], [i["tag"] for i in c["pipeline"]["inputs"]]) for part in ("filters", "outputs")
        for p in c["pipeline"][part]]),
])
def test_the_parts_of_the_others_fit(name, references):
    """Each part that another one names is there."""
    found = references(configuration(name))
    assert len(found) >= 2
    for reference, parts in found:
        assert reference in parts
