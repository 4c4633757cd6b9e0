# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Starts nsmon, reads what it wrote, and says what the driver's book lets one expect. Knows no single test."""

import contextlib
import ctypes
import errno
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import time

import jsonschema
import pytest

import machine
from machine import TYPES, hierarchy_root, proc_ns

REPO = pathlib.Path(__file__).resolve().parents[2]
NSMON = os.environ.get("NSMON", str(REPO / "nsmon"))
BACKEND = os.environ.get("NSMON_BACKEND", "auto")
DRIVER = os.environ.get("NSMON_DRIVER", str(REPO / "build" / "driver"))
DRIVER32 = os.environ.get("NSMON_DRIVER32", str(REPO / "build" / "driver32"))
SLOW = float(os.environ.get("NSMON_TEST_SLOW", "1"))

REASONS = ["clone", "unshare", "setns", "exec", "fork", "kernel"]
CLONE_FLAGS = {
    "mnt": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "time": 0x00000080,
}
CSIGNAL = 0xFF


def seconds(native):
    """A deadline that is generous on the developer's machine, stretched for slow ones."""
    return native * SLOW


def wait_until(condition, what, timeout=30):
    """Polls condition until it is true; its value is returned. Fails, naming `what`, after the deadline."""
    deadline = time.monotonic() + seconds(timeout)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds(timeout):.0f} s in vain for {what}")
        time.sleep(min(0.005 * SLOW, 0.05))


def all_types(flag_types):
    """What a CLONE_NEW flag gives a new process: its own namespace and the one for its children."""
    types = set(flag_types)
    types |= {f"{t}_for_children" for t in types & {"pid", "time"}}
    return types


# ---- the schema ----


class Schema:
    """The JSON Schema that nsmon prints. Records are checked by compiled closures, which are fast enough for every
    line of a storm; each new shape of a record, and each that they refuse, goes to jsonschema as well. Of a schema with
    a keyword that is not known here no record can be checked: by jsonschema alone all takes thirty times as long."""

    def __init__(self, text):
        self.schema = json.loads(text)
        cls = jsonschema.validators.validator_for(self.schema)
        cls.check_schema(self.schema)
        self.validator = cls(self.schema)
        self.refs = {}
        self.quick = self._compile(self.schema)
        self.shapes = set()

    def validate(self, record):
        shape = (record.get("event"), record.get("reason"), tuple(record))
        if shape in self.shapes and self.quick(record):
            return
        self.shapes.add(shape)
        errors = list(self.validator.iter_errors(record))
        assert not errors, f"not as the schema says: {errors[0].message} at {list(errors[0].path)} in {record}"
        assert self.quick(record), f"the two validators differ about {record}"

    def valid(self, record):
        return self.validator.is_valid(record)

    _KINDS = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
    }
    _NOTES = {"$schema", "$id", "title", "description", "$comment", "$defs", "definitions", "examples", "default"}

    def _compile(self, s):
        if isinstance(s, bool):
            return lambda v: s
        checks = []
        for key, value in s.items():
            if key in self._NOTES or key in ("additionalProperties", "then", "else"):
                continue
            maker = getattr(self, "_make_" + key.replace("$", ""), None)
            if not maker:
                raise NotImplementedError(key)
            checks.append(maker(value, s))
        if "additionalProperties" in s and "properties" not in s:
            raise NotImplementedError("additionalProperties alone")
        if len(checks) == 1:
            return checks[0]
        checks = tuple(checks)

        def check(v):
            for c in checks:
                if not c(v):
                    return False
            return True

        return check

    def _target(self, ref):
        if not ref.startswith("#/"):
            raise NotImplementedError(ref)
        target = self.schema
        for part in ref[2:].split("/"):
            target = target[part]
        return target

    def _make_ref(self, ref, _):
        if ref not in self.refs:
            self.refs[ref] = None
            self.refs[ref] = self._compile(self._target(ref))
        return lambda v: self.refs[ref](v)

    def _names(self, s):
        """The members that s evaluates, where that does not depend on the record."""
        names = set(s.get("properties", ()))
        if "$ref" in s:
            names |= self._names(self._target(s["$ref"]))
        for branches in (s.get(k, ()) for k in ("allOf", "anyOf", "oneOf")):
            if any(self._names(b) for b in branches):
                raise NotImplementedError("members in branches")
        if "additionalProperties" in s or "if" in s:
            raise NotImplementedError("unevaluatedProperties with others")
        return names

    def _make_unevaluatedProperties(self, allowed, s):
        if allowed is not False:
            raise NotImplementedError("unevaluatedProperties")
        names = self._names(s)
        return lambda v: type(v) is not dict or names.issuperset(v)

    def _make_type(self, kind, _):
        kinds = kind if isinstance(kind, list) else [kind]
        classes = []
        for k in kinds:
            if k == "integer":
                classes.append(int)
            elif k == "number":
                classes += [int, float]
            else:
                classes.append(self._KINDS[k])
        classes = tuple(classes)
        return lambda v: type(v) in classes

    def _make_properties(self, properties, s):
        compiled = {k: self._compile(v) for k, v in properties.items()}
        extra = s.get("additionalProperties", True)
        other = None if extra is True else self._compile(extra)

        def check(v):
            if type(v) is not dict:
                return True
            for name, item in v.items():
                c = compiled.get(name, other)
                if c and not c(item):
                    return False
            return True

        return check

    def _make_minProperties(self, n, _):
        return lambda v: type(v) is not dict or len(v) >= n

    def _make_required(self, names, _):
        names = tuple(names)
        return lambda v: type(v) is not dict or all(n in v for n in names)

    def _make_enum(self, values, _):
        return lambda v: any(v == x and type(v) is type(x) for x in values)

    def _make_const(self, value, _):
        return lambda v: v == value and type(v) is type(value)

    def _make_minimum(self, n, _):
        return lambda v: not isinstance(v, (int, float)) or v >= n

    def _make_maximum(self, n, _):
        return lambda v: not isinstance(v, (int, float)) or v <= n

    def _make_minLength(self, n, _):
        return lambda v: not isinstance(v, str) or len(v) >= n

    def _make_maxLength(self, n, _):
        return lambda v: not isinstance(v, str) or len(v) <= n

    def _make_pattern(self, pattern, _):
        search = re.compile(pattern).search
        return lambda v: not isinstance(v, str) or search(v) is not None

    def _make_items(self, s, _):
        c = self._compile(s)
        return lambda v: type(v) is not list or all(c(i) for i in v)

    def _make_minItems(self, n, _):
        return lambda v: type(v) is not list or len(v) >= n

    def _make_maxItems(self, n, _):
        return lambda v: type(v) is not list or len(v) <= n

    def _make_uniqueItems(self, unique, _):
        return lambda v: not unique or type(v) is not list or len(set(map(str, v))) == len(v)

    def _make_not(self, s, _):
        c = self._compile(s)
        return lambda v: not c(v)

    def _make_allOf(self, all_of, _):
        checks = [self._compile(s) for s in all_of]
        return lambda v: all(c(v) for c in checks)

    def _make_anyOf(self, any_of, _):
        checks = [self._compile(s) for s in any_of]
        return lambda v: any(c(v) for c in checks)

    def _make_oneOf(self, one_of, _):
        checks = [self._compile(s) for s in one_of]
        # A branch that wants another "event" need not be tried.
        wants = [self._target(s["$ref"]) if "$ref" in s else s for s in one_of]
        wants = [s.get("properties", {}).get("event", {}).get("const") for s in wants]
        branches = tuple(zip(wants, checks))

        def check(v):
            event = v.get("event") if type(v) is dict else None
            return sum(1 for want, c in branches if (want is None or event is None or want == event) and c(v)) == 1

        return check

    def _make_if(self, condition, s):
        c = self._compile(condition)
        then = self._compile(s.get("then", True))
        other = self._compile(s.get("else", True))
        return lambda v: (then if c(v) else other)(v)


_schema = None


def schema():
    global _schema
    if _schema is None:
        run = subprocess.run([NSMON, "--schema"], stdout=subprocess.PIPE, timeout=seconds(30), check=True)
        _schema = Schema(run.stdout)
    return _schema


# ---- streams ----


def parse_json(data, complete=True):
    """Lines of JSON -> records, each held against the schema, the stream against what holds for every stream."""
    records = []
    lines = data.split(b"\n")
    assert lines.pop() == b"" or not complete, "the last line is not whole"
    for line in lines:
        record = json.loads(line.decode("utf-8"), object_pairs_hook=_no_duplicates)
        schema().validate(record)
        records.append(record)
    check_stream(records, complete)
    return records


def without_repairs(records):
    """Without what a repair adds to say how things stand. A kernel that may preempt itself counts the runs that it
    skipped of each program, not whether all ways to one event were skipped: nsmon says that records may be missing, and
    looks. What a test expects tells whether any is."""
    if not (machine.overcounts() or machine.returns_are_few()):
        return records
    return [r for r in records if r["event"] not in ("lost", "ready") and not (r["event"] == "proc" and "recovered" in r)]


def _no_duplicates(pairs):
    members = dict(pairs)
    assert len(members) == len(pairs), f"a member twice in {pairs}"
    return members


def check_stream(records, complete=True):
    told = 0
    ready = not records or "snapshot" not in records[0]["filters"]
    for i, record in enumerate(records):
        assert record["seq"] == i + 1, f"seq is not {i + 1}: {record}"
        assert (record["event"] == "start") == (i == 0), f"record {i + 1}: {record}"
        assert record["event"] != "stop" or i == len(records) - 1, "something follows the stop record"
        assert all(v is not None for v in record.values()), f"null in {record}"
        if record["event"] == "lost":
            kinds = sum(record[k] for k in ("fork", "exec", "exit", "ns", "cgroup"))
            assert record["count"] == kinds > 0, f"count is not the sum: {record}"
        if record["event"] == "proc":
            told += 1
            assert not ready or record.get("recovered"), f"a proc record in the live stream: {record}"
        if record["event"] == "ready" and not ready:
            ready = True
            assert record["tasks"] == told, f"{told} proc records, but {record}"
        assert ready or i == 0 or record["event"] in ("proc", "lost"), f"before ready: {record}"
    if not complete:
        return
    stop = records[-1]
    assert stop["event"] == "stop", f"the last record is {stop}"
    for kind in ("fork", "exec", "exit", "ns", "cgroup"):
        counted = sum(1 for r in records if r["event"] == kind and "recovered" not in r)
        assert stop[kind] == counted, f"stop says {stop[kind]} {kind} records, there are {counted}"
    pictured = sum(1 for r in records if r["event"] == "proc" or "recovered" in r)
    assert stop["proc"] == pictured, f"stop says {stop['proc']} records are from pictures, there are {pictured}"
    told = sum(r["count"] for r in records if r["event"] == "lost")
    assert stop["lost"] == told, f"stop says {stop['lost']} were lost, the lost records say {told}"


FIELD = re.compile(r'([a-z_]+)(?:=(?:"((?:[^"\\]|\\.)*)"|((?:[^ "\\]|\\.)*)))?(?= |\Z)')
FLAGS = {"core", "args_truncated", "recovered"}
# The names of a line's fields in their order.
ORDER = {
    "proc": r"pid( tid)? ppid comm"
    + "".join(f"( {t})?" for t in TYPES).replace(" pid)", " pid_ns)")
    + r"( args( args_truncated)?)?( exe)?( container)?( recovered)?",
    "fork": r"ppid pid( tid)? comm( ptid)?( container)?( recovered)?",
    "exec": r"pid( tid)? comm args( args_truncated)?( old_tid)?( container)?( recovered)?",
    "exit": r"pid( tid)? comm( code| signal( core)?)?( container)?( recovered)?",
    "ns": r"pid( tid)? (type( reason)? old_inum inum|reason errno( error)? flags) comm( target)?( container)?( recovered)?",
    "cgroup": r"pid( tid)? comm( old_cgroup)?( cgroup)?( container)?( recovered)?",
    "lost": r"count fork exec exit ns cgroup",
}
STRINGS = {"comm", "args", "exe", "type", "reason", "error", "old_cgroup", "cgroup", "container", "target"}


def parse_line(line):
    """One line of text, without colours -> its fields; strings are bytes, escapes undone. Fails where a line is not
    exactly of the form that the contract gives."""
    text = line.decode("utf-8")
    bad = [c for c in text if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0]
    assert not bad, f"control characters {bad} in {line!r}"
    kind, colon, rest = text.partition(":")
    assert colon and kind in ORDER, f"no such line: {line!r}"
    fields = {"event": kind}
    names = []
    at = 0
    while at < len(rest):
        match = FIELD.match(rest, at + 1)
        assert rest[at] == " " and match, f"{line!r} at {rest[at:]!r}"
        name, quoted, plain = match.groups()
        if kind == "proc" and name == "pid" and "comm" in fields:
            name = "pid_ns"  # the type of that name
        assert name not in fields, f"{name} stands twice in {line!r}"
        names.append(name)
        if quoted is None and plain is None:
            assert name in FLAGS, f"{name} in {line!r}"
            fields[name] = True
        elif name in STRINGS and (kind, name) != ("proc", "cgroup"):
            fields[name] = unescape(quoted if quoted is not None else plain)
        else:
            fields[name] = int(plain)
        at = match.end()
    assert re.fullmatch(ORDER[kind], " ".join(names)), f"not the fields of a line of {kind}: {line!r}"
    return fields


SIMPLE_ESCAPES = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, "e": 27, "\\": 92, '"': 34, "'": 39}


def unescape(text):
    """Undoes C's escapes."""
    out = bytearray()
    at = 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode()
            at += 1
            continue
        octal = re.compile(r"[0-7]{1,3}").match(text, at + 1)
        hexa = re.compile(r"x([0-9a-fA-F]{2})").match(text, at + 1)
        if octal:
            out.append(int(octal.group(), 8))
            at = octal.end()
        elif hexa:
            out.append(int(hexa.group(1), 16))
            at = hexa.end()
        else:
            out.append(SIMPLE_ESCAPES[text[at + 1]])
            at += 2
    return bytes(out)


def parse_text(data):
    assert data == b"" or data.endswith(b"\n"), "the last line is not whole"
    return [parse_line(line) for line in data.split(b"\n")[:-1]]


# Format -> what makes records of it; tests of one format add theirs.
PARSERS = {"json": parse_json, "text": parse_text}


# ---- running nsmon ----


def nsmon_argv(*options, command=None):
    """Without the picture of all tasks, unless it is asked for: most tests look at a stream from its first event on."""
    argv = [NSMON, f"--backend={BACKEND}", *map(str, options)]
    if not {"-s", "--snapshot"} & set(argv):
        argv.append("--no-snapshot")
    if command is not None:
        argv += ["--", *map(str, command)]
    return argv


def run(argv, timeout=60, **options):
    """subprocess.run() with everything caught."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    for stream in ("stdout", "stderr"):
        options.setdefault(stream, subprocess.PIPE)
    return subprocess.run([str(a) for a in argv], timeout=seconds(timeout), check=False, **options)


class Trace:
    """A finished run: exit status, standard output and error, records."""

    def __init__(self, status, out, err, form):
        self.status = status
        self.out = out
        self.err = err
        self.records = PARSERS[form](out)

    def of(self, pids, *kinds):
        pids = {pids} if isinstance(pids, int) else set(pids)
        return [r for r in self.records if r.get("pid") in pids and (not kinds or r["event"] in kinds)]


def trace(command, *options, form="json", status=0, timeout=120, **popen):
    """Runs `nsmon OPTIONS -- COMMAND` to its end."""
    argv = nsmon_argv("-o", form, *options, command=command)
    popen.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen)
    try:
        out, err = process.communicate(timeout=seconds(timeout))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds(10))
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{' '.join(argv)} did not end; {out[-2000:]!r} {err[-2000:]!r}") from None
    assert status is None or process.returncode == status, f"exit status {process.returncode}: {err.decode()}"
    return Trace(process.returncode, out, err, form)


class Live:
    """nsmon running in the background, its output in a file or, with fd=, wherever the test wants it. start makes of its
    command the one that is run."""

    def __init__(self, directory, *options, form="json", command=None, stdout=None, env=None, start=None, **popen):
        self.form = form
        self.path = pathlib.Path(directory) / f"nsmon-{time.monotonic_ns()}.out"
        self.err_path = self.path.with_suffix(".err")
        argv = nsmon_argv("-o", form, *options, command=command)
        if start:
            argv = start(argv)
        with open(self.path, "wb") as out, open(self.err_path, "wb") as err:
            out = out if stdout is None else stdout
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, **popen)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(seconds(20))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("nsmon did not end on SIGINT") from None

    @property
    def out(self):
        return self.path.read_bytes()

    @property
    def err(self):
        return self.err_path.read_text()

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"nsmon ended with {self.process.returncode}: {self.err}")
        return True

    def wait_for(self, condition, what, timeout=30, path=None):
        """Waits until some whole line of JSON satisfies condition; returns that record."""
        path = pathlib.Path(path) if path else self.path
        seen = 0

        def look():
            nonlocal seen
            data = path.read_bytes() if path.exists() else b""
            end = data.rfind(b"\n") + 1
            lines = data[seen:end].split(b"\n")[:-1]
            seen = end
            for line in lines:
                record = json.loads(line)
                schema().validate(record)
                if condition(record):
                    return record
            return self.alive() and None

        return wait_until(look, what, timeout)

    def wait_started(self, path=None):
        return self.wait_for(lambda r: r["event"] == "start", "the start record", path=path)

    def wait(self, timeout=60):
        try:
            return self.process.wait(seconds(timeout))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"nsmon did not end by itself: {self.err}") from None

    def stop(self, sig=signal.SIGINT):
        self.process.send_signal(sig)
        return self.wait()

    def finish(self, sig=signal.SIGINT):
        status = self.stop(sig)
        assert status == 0, f"exit status {status}: {self.err}"
        return Trace(status, self.out, self.err.encode(), self.form)


class Server:
    """A driver that does what it is told, one order at a time."""

    def __init__(self, directory, name="serve", start=None):
        self.book_path = pathlib.Path(directory) / f"{name}.book"
        argv = [DRIVER, "--book", str(self.book_path), "serve"]
        self.process = subprocess.Popen(start(argv) if start else argv, stdin=subprocess.PIPE)
        self.orders = 0
        line = wait_until(lambda: self.lines("serving"), "the driver to serve")[0]
        self.pid = line["pid"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(seconds(20))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def lines(self, op=None):
        return [b for b in read_book(self.book_path) if op is None or b["op"] == op]

    def order(self, text):
        """Sends one order and returns the lines that it added to the book."""
        before = len(self.lines())
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        self.orders += 1
        wait_until(lambda: len(self.lines("done")) >= self.orders, f"the driver to {text}")
        return [b for b in self.lines()[before:] if b["op"] != "done"]

    def exit(self, code):
        self.process.stdin.write(f"exit {code}\n".encode())
        self.process.stdin.close()
        assert self.process.wait(seconds(20)) == code


# ---- the book ----


def read_book(path):
    path = pathlib.Path(path)
    if not path.exists():
        return []
    lines = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        entry = json.loads(line)
        for name in ("own", "row", "after", "child_ns", "creator"):
            if name in entry:
                entry[name + "_id"] = {t: v[1] for t, v in entry[name].items()}
                entry[name] = {t: v[0] for t, v in entry[name].items()}
        lines.append(entry)
    return lines


def first_pid(book):
    """The workload's own: a walk begins with it, and the driver itself makes the holder of its cases' namespaces."""
    return next(b["pid"] for b in book if b["op"] == "begin" or b["case"] == "holder")


def changes(old, new, old_id=None, new_id=None):
    """The difference of two sets that the workload read, in nsmon's order: (type, old inum, inum, old id, id)."""
    found = []
    for t in TYPES:
        if old.get(t) != new.get(t):
            found.append((t, old.get(t), new.get(t), (old_id or {}).get(t, 0), (new_id or {}).get(t, 0)))
    return found


def error_name(number):
    return errno.errorcode[number]


def flag_types(entry):
    """The types that the flags of a clone in the book ask for, with what they give the child for its own children."""
    types = {t for t, f in CLONE_FLAGS.items() if entry["flags"] & f}
    return all_types(types if entry["call"] == "clone3" else types - {"time"})


def asks_for_namespace(entry):
    """Does this unshare, setns or clone in the book ask for a namespace? Of others that fail nsmon need not tell."""
    if entry["op"] == "setns":
        return True
    low_byte_is_a_signal = entry["op"] == "clone" and entry["call"] != "clone3"
    return any(entry["flags"] & f for t, f in CLONE_FLAGS.items() if t != "time" or not low_byte_is_a_signal)


class Expected:
    """What a stream must say of the tasks in a book: for each task its records in order.

    threads: with -T, where rows belong to tasks; without it they belong to processes, and show the main thread.
    """

    def __init__(self, book, threads=False, failed=False):
        self.book = book
        self.threads = threads
        self.failed = failed
        self.cases = {}
        self.streams = {}  # (pid, tid) -> list of expected records
        self.births = {}  # pid -> the line of the book about its creation
        self.cannot = {}
        # Does this kernel tell every namespace's id?
        self.ids = any(i for b in book for t, i in b.get("own_id", {}).items() if t != "mnt")
        self._read()

    def _read(self):
        book = self.book
        reports = {(b["case"], b["pid"]): b for b in book if b["op"] == "report"}
        came_back = set()  # positions of execs that failed
        for i, entry in enumerate(book):
            if entry["op"] == "exec-failed":
                came_back.add(max(j for j in range(i) if book[j]["op"] == "exec" and book[j]["pid"] == entry["pid"]))
        rows = {}
        ends = {}
        for entry in book:
            if entry["op"] == "clone" and entry["ret"] > 0:
                child = entry["child"]
                self.births[child] = entry
                self.cases.setdefault(entry["case"], []).append(child)
                rows[child] = dict(entry.get("child_ns", {}))
        for entry in book:
            if entry["op"] == "clone" and entry["ret"] > 0:
                self._birth(entry, rows)
        joined = {(b["pid"], b["tid"]): b for b in book if b["op"] in ("joined", "thread-exit")}
        execed = set()
        for i, entry in enumerate(book):
            op, pid, tid = entry["op"], entry.get("pid"), entry.get("tid")
            if op == "cannot":
                self.cannot[entry["case"]] = entry["reason"]
            elif op == "thread" and self.threads:
                self._add(pid, tid, event="fork", ppid=pid, ptid=entry["ptid"])
                for change in changes(entry["creator"], entry["own"]):
                    self._add_change(pid, tid, "fork", change)
            elif op in ("unshare", "setns") or (op == "clone" and entry["ret"] < 0):
                if entry["ret"] < 0:
                    self._attempt(entry)
                    continue
                for change in changes(entry["own"], entry["after"], entry["own_id"], entry["after_id"]):
                    self._add_change(pid, tid, op, change)
                if pid == tid:
                    rows[pid] = entry["after"]
            elif op == "cgroup":
                if pathlib.Path(os.fsdecode(bytes.fromhex(entry["dir"]))).is_relative_to(hierarchy_root()):
                    self._add(pid, tid, event="cgroup", inode=entry["inode"])
            elif op == "exec":
                if i in came_back:
                    continue
                old_tid = tid if tid != pid else None
                if old_tid and self.threads:
                    self._add(pid, pid, event="exit")
                    execed.add((pid, tid))
                self._add(pid, pid, event="exec", old_tid=old_tid, filename=bytes.fromhex(entry["filename"]))
                report = reports.get((entry["case"], pid))
                if report and "row" in entry:
                    for change in changes(entry["row"], report["own"], entry["row_id"], report["own_id"]):
                        self._add_change(pid, pid, "exec", change)
        for pid, entry in self.births.items():
            if self.threads:
                tids = {pid} | {b["tid"] for b in book if b["op"] == "thread" and b["pid"] == pid}
                for tid in tids:
                    if (pid, tid) in execed:
                        continue
                    end = joined.get((pid, tid))
                    code = None if end is None else 0 if end["op"] == "joined" else end["code"]
                    if len(tids) == 1:
                        self._add(pid, tid, event="exit", status=entry["status"])
                    elif code is None:
                        self._add(pid, tid, event="exit")
                    else:
                        # The last task to end tells how the process ended.
                        self._add(pid, tid, event="exit", statuses={code << 8, entry["status"]})
            else:
                self._add(pid, pid, event="exit", status=entry["status"])

    def _add(self, pid, tid, **record):
        self.streams.setdefault((pid, tid), []).append(record)

    def _add_change(self, pid, tid, reason, change):
        self._add(pid, tid, event="ns", reason=reason, change=change)

    def _attempt(self, entry):
        if self.failed and asks_for_namespace(entry):
            what = {"reason": entry["op"], "errno": entry["errno"], "flags": entry["flags"]}
            self._add(entry["pid"], entry["tid"], event="ns", **what)

    def _birth(self, entry, rows):
        pid = entry["child"]
        self._add(pid, pid, event="fork", ppid=entry["pid"], ptid=entry["tid"])
        if self.threads:
            base, base_id = entry["own"], entry["own_id"]
        else:
            base, base_id = entry["row"], entry["row_id"]
            if "mnt" not in base:  # the main thread had ended: its row is what was last known of it
                base, base_id = {**rows[entry["pid"]], **base}, {}
        if "child_ns" not in entry:
            return  # posix_spawn: nobody saw the child before its exec
        by_flag = flag_types(entry)
        for change in changes(base, entry["child_ns"], base_id, entry["child_ns_id"]):
            self._add_change(pid, pid, "clone" if change[0] in by_flag else "fork", change)

    def spawned(self, pid, actual):
        """posix_spawn: nobody saw the child before its exec, so of each change it is open whether clone or exec made
        it: that is taken from the records, what changed is not. Returns what is expected then."""
        entry = self.births[pid]
        report = next(b for b in self.book if b["op"] == "report" and b["pid"] == pid)
        base, base_id = (entry["own"], entry["own_id"]) if self.threads else (entry["row"], entry["row_id"])
        at_fork = {word(r["type"]) for r in actual if r["event"] == "ns" and word(r["reason"]) == "fork"}
        found = {"fork": [], "exec": []}
        for change in changes(base, report["own"], base_id, report["own_id"]):
            reason = "fork" if change[0] in at_fork else "exec"
            found[reason].append({"event": "ns", "reason": reason, "change": change})
        forked, executed, ended = self.streams[(pid, pid)]
        return [forked, *found["fork"], executed, *found["exec"], ended]


def status_of(record):
    """An exit record's code or signal, as wait(2) gives it."""
    if "signal" in record:
        return record["signal"] | (0x80 if record.get("core") else 0)
    return record["code"] << 8


def check_case(expected, records, case, text=False):
    """Holds the records of every task of one case against the book."""
    pids = set(expected.cases.get(case, ()))
    assert pids, f"the book has no process of {case}"
    actual = {}
    for r in records:
        if r.get("pid") in pids:
            pid, tid = r["pid"], r.get("tid", r["pid"])
            if r["event"] == "exit" and not expected.threads:
                tid = pid
            actual.setdefault((pid, tid), []).append(r)
    streams = {k: v for k, v in expected.streams.items() if k[0] in pids}
    for key in sorted(set(streams) | set(actual)):
        want, got = streams.get(key, []), actual.get(key, [])
        if expected.births[key[0]]["call"] == "spawn":
            want = expected.spawned(key[0], got)
        shown = [summary(r) for r in got]
        wanted = [wanted_summary(w) for w in want]
        for w, g, r in zip(want, range(len(shown)), got):
            if w["event"] == "exit" and r["event"] == "exit" and "status" not in w:
                if status_of(r) in w.get("statuses", {status_of(r)}):
                    wanted[g] = shown[g]
        assert shown == wanted, f"task {key[0]}/{key[1]} of {case}"
        for w, r in zip(want, got):
            check_details(w, r, text, expected.ids)
    if expected.threads:
        for pid in pids:
            last = [r for r in records if r.get("pid") == pid and r["event"] == "exit"][-1]
            assert status_of(last) == expected.births[pid]["status"], f"process {pid}: {last}"


def word(value):
    """Strings are bytes in parsed text."""
    return value if isinstance(value, str) else value.decode()


def summary(r):
    """What of a record must be equal, however it was written."""
    kind = r["event"]
    if kind == "fork":
        return f"fork ppid={r['ppid']}"
    if kind == "exec":
        return "exec" + (f" old_tid={r['old_tid']}" if "old_tid" in r else "")
    if kind == "exit":
        return f"exit status={status_of(r)}"
    if kind == "cgroup":
        return "cgroup"
    if "errno" in r:
        return f"ns reason={word(r['reason'])} errno={r['errno']}"
    return f"ns {word(r['reason'])} {word(r['type'])} {r['old_inum']} -> {r['inum']}"


def wanted_summary(w):
    kind = w["event"]
    if kind == "fork":
        return f"fork ppid={w['ppid']}"
    if kind == "exec":
        return "exec" + (f" old_tid={w['old_tid']}" if w["old_tid"] else "")
    if kind == "cgroup":
        return "cgroup"
    if kind == "exit":
        return f"exit status={w.get('status', w.get('statuses', 'any'))}"
    if "errno" in w:
        return f"ns reason={w['reason']} errno={w['errno']}"
    return f"ns {w['reason']} {w['change'][0]} {w['change'][1]} -> {w['change'][2]}"


def check_details(w, r, text, ids):
    if text:
        return
    if w["event"] == "fork":
        assert r["ptid"] == w["ptid"], r
    if w["event"] == "cgroup":
        assert r["cgroup_id"] == w["inode"] != r["old_cgroup_id"], r
    if w["event"] == "ns" and "errno" in w:
        assert r["error"] == error_name(w["errno"]), r
        mask = ~CSIGNAL if w["reason"] == "clone" else ~0
        assert r["flags"] & mask == w["flags"] & mask, r
        assert "type" not in r and "inum" not in r and "old_inum" not in r, r
    elif w["event"] == "ns":
        kind, _, _, old_id, new_id = w["change"]
        for member, number in (("old_ns_id", old_id), ("ns_id", new_id)):
            if number:
                assert r.get(member) == number, f"{member} of {r}"
            elif kind != "mnt" and not ids:  # a kernel may have ids of mount namespaces and not tell them
                assert member not in r, f"{member} in {r}"


# ---- the machine ----


def apply(records, first_row, first_pid):
    """A reader's table of processes: folds the stream of one command, which began in first_row, into rows."""
    rows = {}
    for r in records:
        kind = r["event"]
        if kind == "fork" and r["pid"] == r["tid"]:
            rows[r["pid"]] = dict(rows.get(r["ppid"], first_row if r["ppid"] == first_pid else {}))
        elif kind == "ns" and "type" in r and r["pid"] == r["tid"] and r["pid"] in rows:
            assert rows[r["pid"]].get(r["type"]) == r["old_inum"], f"the row has {rows[r['pid']]} before {r}"
            rows[r["pid"]][r["type"]] = r["inum"]
    return rows


def need_32_bit(program):
    """Skips where there is no 32-bit `program`, or the kernel does not run it."""
    reason = machine.cannot_run(program)
    if reason:
        pytest.skip(f"{os.path.basename(program)} {reason}")


# include/uapi/linux/bpf.h
BPF_LOOKUP, BPF_UPDATE, BPF_DELETE, BPF_FD_BY_ID, BPF_INFO = 1, 2, 3, 14, 15
BPF_NEXT_ID = {"prog": 11, "map": 12, "link": 31}
BPF_ATTRIBUTES = 128  # bytes


def bpf(command, attributes):
    """bpf(2) with these attributes, packed: its result, and the attributes after it; or OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(attributes, BPF_ATTRIBUTES)
    result = libc.syscall({"x86_64": 321, "aarch64": 280}[os.uname().machine], command, room, BPF_ATTRIBUTES)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result, room.raw


def bpf_ids(what):
    """The numbers of all that there are. Nothing is opened for it."""
    found = [0]
    with contextlib.suppress(FileNotFoundError):  # there is none with a higher one
        while True:
            _, after = bpf(BPF_NEXT_ID[what], found[-1].to_bytes(4, "little"))
            found.append(int.from_bytes(after[4:8], "little"))
    return set(found[1:])


def read_some(fd, timeout):
    """What arrives on fd within timeout seconds; b'' at its end or when nothing came."""
    ready, _, _ = select.select([fd], [], [], timeout)
    if not ready:
        return b""
    try:
        return os.read(fd, 65536)
    except OSError as e:
        if e.errno == errno.EIO:  # the other side of a pseudo-terminal is gone
            return b""
        raise
