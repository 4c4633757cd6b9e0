# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""ecs.py FILE.ecs FILE.json: each line has ECS's own names, types and categories, and says what the JSON line says.

What is ECS and what is not is written down here from its field reference (8.11), not from what nsmon writes.
"""

import datetime
import json
import re
import sys

# Of the fields of ECS 8.11 those that a tracer of processes may have use for, with their types.
FIELDS = """
@timestamp date
ecs.version keyword
message match_only_text
tags keyword[]
agent.build.original keyword
agent.ephemeral_id keyword
agent.id keyword
agent.name keyword
agent.type keyword
agent.version keyword
container.id keyword
container.image.hash.all keyword[]
container.image.name keyword
container.image.tag keyword[]
container.name keyword
container.runtime keyword
error.code keyword
error.id keyword
error.message match_only_text
error.type keyword
event.action keyword
event.category keyword[]
event.code keyword
event.created date
event.dataset keyword
event.duration long
event.end date
event.id keyword
event.ingested date
event.kind keyword
event.module keyword
event.original keyword
event.outcome keyword
event.provider keyword
event.reason keyword
event.sequence long
event.severity long
event.start date
event.timezone keyword
event.type keyword[]
group.id keyword
group.name keyword
host.architecture keyword
host.boot.id keyword
host.hostname keyword
host.id keyword
host.name keyword
host.os.kernel keyword
host.os.name keyword
host.os.type keyword
host.os.version keyword
host.pid_ns_ino keyword
host.uptime long
orchestrator.cluster.name keyword
orchestrator.namespace keyword
orchestrator.resource.id keyword
orchestrator.resource.name keyword
orchestrator.resource.type keyword
orchestrator.type keyword
process.args keyword[]
process.args_count long
process.command_line wildcard
process.end date
process.entity_id keyword
process.executable keyword
process.exit_code long
process.name keyword
process.parent.entity_id keyword
process.parent.name keyword
process.parent.pid long
process.parent.start date
process.parent.thread.id long
process.parent.thread.name keyword
process.pid long
process.real_group.id keyword
process.real_user.id keyword
process.start date
process.thread.id long
process.thread.name keyword
process.title keyword
process.uptime long
process.user.id keyword
process.vpid long
process.working_directory keyword
service.name keyword
service.type keyword
user.id keyword
user.name keyword
"""
TYPES = dict(line.split() for line in FIELDS.split("\n") if line)

KINDS = {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"}
OUTCOMES = {"failure", "success", "unknown"}
EVENT_TYPES = {"access", "admin", "allowed", "change", "connection", "creation", "deletion", "denied", "device", "end",
               "error", "group", "indicator", "info", "installation", "protocol", "start", "user"}
# event.category -> the event.type that ECS expects with it.
EXPECTED = {
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "host": {"access", "change", "end", "info", "start"},
    "process": {"access", "change", "end", "info", "start"},
    "session": {"start", "end", "info"},
}

DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{9})Z")


def nanoseconds(date):
    """Since 1970."""
    parts = [int(p) for p in DATE.fullmatch(date).groups()]
    second = datetime.datetime(*parts[:6], tzinfo=datetime.timezone.utc)
    return int(second.timestamp()) * 10**9 + parts[6]


def is_of(value, kind):
    if kind.endswith("[]"):
        return isinstance(value, list) and all(is_of(v, kind[:-2]) for v in value)
    if kind == "long":
        return type(value) is int
    if kind == "date":
        return isinstance(value, str) and DATE.fullmatch(value) is not None
    return isinstance(value, str)


def leaves(value, path=""):
    """(path, value) of all that is no object."""
    if isinstance(value, dict):
        assert value, f"{path} is empty"
        for name, item in value.items():
            assert "." not in name, f"a dot in the name {name}"
            yield from leaves(item, f"{path}.{name}" if path else name)
    else:
        yield path, value


# path -> the type of what was under nsmon there: one index of a store has one type for it.
_seen = {}


def check(record):
    """The rules of ECS."""
    for path, value in leaves(record):
        assert value is not None, f"null at {path}"
        if path.startswith("nsmon."):
            kind = type(value[0] if isinstance(value, list) and value else value)
            assert isinstance(value, list) or _seen.setdefault(path, kind) is kind, f"{path} has two types"
            assert not any(p != path and p.startswith(path + ".") for p in _seen), f"{path} is an object elsewhere"
            continue
        assert path in TYPES, f"ECS has no field {path}"
        assert is_of(value, TYPES[path]), f"{path} is of type {TYPES[path]}, not {value!r}"
    event = record["event"]
    assert record["ecs"]["version"].startswith("8.")
    assert event["kind"] in KINDS, event
    assert event.get("outcome", "unknown") in OUTCOMES, event
    assert set(event["type"]) <= EVENT_TYPES, event
    for category in event.get("category", ()):
        assert set(event["type"]) <= EXPECTED[category], event
    process = record.get("process")
    if process and "args" in process:
        assert process["args_count"] == len(process["args"])
    if process:
        # Its own members tell of the process: that it began, or ended, is not said where a thread of it did.
        begins, ends = "start" in event["type"], "end" in event["type"]
        assert not begins or process["thread"]["id"] == process["pid"], "a thread is no process that starts"
        assert process.get("parent", {}).get("pid") != process["pid"], "a process is its own parent"
        assert ("exit_code" in process) == ("end" in process) <= ends, "it did not end"
    if process and "entity_id" in process:
        key = f"{record['host']['boot']['id']}:{process['pid']}:{record['nsmon']['start_ns']}"
        assert process["entity_id"] == key


class Taker:
    """Takes leaves out of a record: what is left at the end was said to nobody."""

    def __init__(self, record):
        self.record = json.loads(json.dumps(record))

    def take(self, path):
        *way, last = path.split(".")
        at, parents = self.record, []
        for name in way:
            if name not in at:
                return None
            parents.append((at, name))
            at = at[name]
        value = at.pop(last, None)
        for parent, name in reversed(parents):
            if not parent[name]:
                del parent[name]
        return value


def to_json(record, boot, within=0):
    """The JSON record that says the same. Fails where something of the record is in none of its members. boot: when the
    machine booted, in nanoseconds since 1970."""
    t = Taker(record)
    event = t.take("event.action")
    out = {"time": t.take("@timestamp"), "seq": t.take("event.sequence"), "event": event}

    def move(name, path, make=lambda value: value):
        value = t.take(path)
        if value is not None:
            out[name] = make(value)

    for constant in ("ecs.version", "agent.type", "event.module", "event.dataset", "event.kind", "event.category",
                     "event.type"):
        t.take(constant)
    version, host, boot_id = t.take("agent.version"), t.take("host.hostname"), t.take("host.boot.id")
    if event == "start":
        assert t.take("host.os.type") == "linux"
        out.update(version=version, host=host)
        if boot_id:
            out["boot_id"] = boot_id
        move("kernel", "host.os.kernel")
        move("arch", "host.architecture")
    elif event == "lost":
        out.update(t.take("nsmon.lost"))
    elif event == "stop":
        out.update(t.take("nsmon.totals"))
    elif event != "ready":
        _task(t, out, move, boot, within)
    for name in list(t.record.get("nsmon", ())):
        assert name not in out, f"{name} is said twice"
        out[name] = t.take("nsmon." + name)
    assert not t.record, f"the JSON record does not have {t.record}"
    return out


def _task(t, out, move, boot, within):
    event = out["event"]
    move("pid", "process.pid")
    move("tid", "process.thread.id")
    move("ppid", "process.parent.pid")
    move("ptid", "process.parent.thread.id")
    move("vpid", "process.vpid")
    move("comm", "process.name")
    thread = t.take("process.thread.name")
    assert (thread is None) == (out["tid"] == out["pid"]) == ("comm" in out), "one of the two names is there"
    out.setdefault("comm", thread)
    move("uid", "user.id", int)
    move("gid", "group.id", int)
    start = nanoseconds(t.take("process.start"))
    assert abs(start - boot - t.record["nsmon"]["start_ns"]) <= within, "start and start_ns differ"
    parent = t.take("process.parent.entity_id")
    key = t.take("process.entity_id")
    assert not parent or parent.rpartition(":")[0] == f"{key.split(':')[0]}:{out['ppid']}"
    move("filename" if event == "exec" else "exe", "process.executable")
    if event == "proc":
        move("exe", "nsmon.filename")
    move("args", "process.args")
    t.take("process.args_count")
    code, signal = t.take("process.exit_code"), t.record.get("nsmon", {}).get("signal")
    if signal is not None:
        assert code == 128 + signal
    elif code is not None:
        out["code"] = code
    end = t.take("process.end")
    assert (end is None) == (code is None) and end in (None, out["time"])
    assert code is None or "code" not in t.record["nsmon"], "the status of two"
    move("duration_ns", "event.duration")
    move("reason", "event.reason")
    move("error", "error.code")
    outcome = t.take("event.outcome")
    assert outcome == (None if event != "ns" else "failure" if "errno" in t.record["nsmon"] else "success")
    _container(t, out)


def _container(t, out):
    container, pod = {}, {}
    for name, path in (("id", "container.id"), ("runtime", "container.runtime"), ("name", "container.name"),
                       ("image", "container.image.name"), ("unverified", "nsmon.unverified")):
        value = t.take(path)
        if value is not None:
            container[name] = value
    kind = t.take("orchestrator.type")
    assert kind in (None, "kubernetes")
    assert t.take("orchestrator.resource.type") in (None, "pod")
    for name, path in (("pod_uid", "orchestrator.resource.id"), ("pod", "orchestrator.resource.name"),
                       ("namespace", "orchestrator.namespace"), ("container_name", "nsmon.container_name")):
        value = t.take(path)
        if value is not None:
            pod[name] = value
    if pod:
        container["k8s"] = pod
    if container:
        assert "id" in container
        out["container"] = container


def main():
    wrong = 0
    with open(sys.argv[1], encoding="utf-8", newline="\n") as one, open(sys.argv[2], encoding="utf-8", newline="\n") as two:
        lines, others = one.read().splitlines(), two.read().splitlines()
    assert len(lines) == len(others) > 0, f"{len(lines)} lines of ECS, {len(others)} of JSON"
    for number, (line, other) in enumerate(zip(lines, others), 1):
        try:
            record = json.loads(line)
            check(record)
            said = to_json(record, nanoseconds("2026-11-23T16:00:00.000000000Z"))  # as golden.c has it
            assert said == json.loads(other), f"{said} is not {other}"
        except (AssertionError, KeyError, TypeError) as error:
            print(f"{sys.argv[1]}:{number}: {error!r}")
            wrong += 1
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
