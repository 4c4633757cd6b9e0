# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What was measured -> tables of Markdown. Measures nothing; a number that is not there is shown as that."""

import re
import statistics

# Of the workloads: the row's name.
WORKLOADS = {"fork": "fork", "exec": "fork+exec", "threads": "threads", "clone": "clone, 5 namespaces", "unshare": "unshare",
             "setns": "setns storm", "getppid": "getppid"}

# Peers, and how many times less than them nsmon is to take of a CPU.
RIVALS = {"forkstat": 100, "bpftrace": 50}

# Of what is counted in virtual machines.
ICOUNT = {"getppid": "getppid", "unshare": "unshare of one type", "setns": "setns of one type",
          "spawn": "fork, sharing memory, and exit", "fork": "fork and exit"}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def ratio(pairs):
    """Median and quartiles; a mark where nothing undisturbed is in it."""
    if not pairs or not pairs.ratios:
        return ""
    low, middle, high = pairs.quartiles()
    spread = f" ({low:.2f}–{high:.2f})" if len(pairs.ratios) > 1 else ""
    return f"{middle:.2f}{spread}" + ("*" if pairs.kept_all else "")


def kept(pairs, kinds):
    share = pairs.share_kept(kinds) if pairs and kinds else None
    if share is None:
        return ""
    return f"{100 * share[0]:.4g} %" + (f", worst {100 * share[1]:.4g} %" if share[1] < share[0] else "")


def per_million(pairs):
    """CPU seconds for 1e6 operations."""
    costs = sorted(used["cpu_s"] * 1e6 / said["operations"] for said, used in pairs.runs)
    return costs[len(costs) // 2] if costs else None


def cost(by_kind, told):
    """Of forks; of execs where a tracer tells no forks."""
    kind = "fork" if "fork" in told.get("fork", ()) else "exec"
    pairs = by_kind.get(kind)
    if not pairs or not pairs.runs or not told.get(kind):
        return ""
    share = pairs.of("kernel_share")
    return (f"{per_million(pairs):.2f}" + (" for execs" if kind == "exec" else "") +
            (f" ({100 * share:.0f} % kernel)" if share is not None else ""))


def flood(results):
    rows = []
    for name, costs in results["flood"].items():
        low, middle, high = statistics.quantiles(costs, n=4, method="inclusive") if len(costs) > 1 else costs * 3
        rows.append([name, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{min(costs):.2f}"])
    return table(["tracer", "CPU s per 10⁶ forks, median", "quartiles", "lowest"], rows)


def flood_rows(results):
    """Where nsmon has to be: itself, and against its rivals in the same turns."""
    rows = []
    medians = {name: statistics.median(costs) for name, costs in results["flood"].items()}
    for name in (n for n in medians if n.startswith("nsmon")):
        form, aim = ("json", 0.35) if "json" in name else ("text", 0.20)
        floors = ", ".join(f"{middle:.2f}" for other, middle in medians.items() if other.startswith("floor") and form in other)
        rows.append([f"CPU s per 10⁶ forks with their exits, {name}", f"≤ {aim:.2f}", *verdict(medians[name], aim), floors])
        if "text" in name:
            rows += [[f"the same, against {peer}, {name}", f"≥ {times} times less", f"{medians[peer] / medians[name]:.1f} times less",
                      "met" if medians[peer] / medians[name] >= times else "**not met**"]
                     for peer, times in RIVALS.items() if peer in medians]
    return rows


def mib(kib):
    return f"{kib / 1024:.1f}" if kib else ""


def compared(results):
    """One row for each tracer: how much slower the workloads are, what it costs, what it keeps."""
    head = ["tracer", *WORKLOADS.values(), "CPU s per 10⁶ forks", "RSS MiB", "kept"]
    rows = []
    for name, by_kind in results["pairs"].items():
        first = next(iter(by_kind.values()), None)
        told = results["told"][name]
        shares = {k: kept(p, told[k]) for k, p in by_kind.items()}
        shares = {k: s for k, s in shares.items() if s}
        if shares and set(shares.values()) == {"100 %"}:
            all_kept = "100 %"
        else:
            all_kept = "; ".join(f"{WORKLOADS[k]} {s}" for k, s in shares.items())
        rows.append([name, *(ratio(by_kind.get(k)) for k in WORKLOADS), cost(by_kind, told),
                     mib(first and first.of("resident_kib")), all_kept])
    lines = table(head, rows)
    for name, reasons in results["cannot"].items():
        lines += [f"Not run: {name}, {WORKLOADS.get(kind, kind)}: {why}." for kind, why in reasons]
    return lines + [""] * bool(results["cannot"])


def disturbed(results):
    dropped = sum(p.dropped for by_kind in results["pairs"].values() for p in by_kind.values())
    used = sum(len(p.ratios) for by_kind in results["pairs"].values() for p in by_kind.values() if not p.kept_all)
    marked = sum(p.kept_all for by_kind in results["pairs"].values() for p in by_kind.values())
    return (f"{used + dropped} pairs were run, and {dropped} dropped as disturbed (steal over 1 % of the time, or others' "
            f"processes over 3 %). {marked} figures are marked *: not one pair of theirs was undisturbed, and they are "
            "of disturbed ones.")


def kernel(results):
    rows = []
    for kind, programs in results["kernel_ns"].items():
        for i, (name, runs, ns) in enumerate(programs):
            rows.append([WORKLOADS[kind] if i == 0 else "", f"`{name}`", f"{runs:.2f}", f"{ns:.0f}"])
    return table(["workload", "program", "runs per operation", "ns per run"], rows)


def ways(results):
    rows = [[way["way"], *((f"{way['ns']:.0f}", f"{way['more_ns']:+.0f} ({way['low_ns']:+.0f} to {way['high_ns']:+.0f})")
                           if "ns" in way else ("", way["error"]))] for way in results["ways"]]
    return table(["programs, all of them empty", "ns a getppid()", "more than without, quartiles"], rows)


def rates(results):
    names = {"sets": "setns of four types", "setns": "setns of one type", "spawn": "fork and exit"}
    rows = [[names[r["kind"]] + (f", {r['asked']}/s asked" if r["asked"] else ", flat out"),
             f"{r['events_per_s']:.0f}", f"{r['events']}", f"{r['lost']}", f"{r['uncounted']}", f"{100 * r['cpu_share']:.0f} %",
             f"{1e6 * r['cpu_share'] / r['events_per_s']:.2f}", r["disturbed"] or ""] for r in results["rates"]]
    return table(["load", "events a second", "events", "lost, as nsmon says", "missing and not counted", "of one CPU",
                  "CPU s per 10⁶ events", "disturbed by"], rows)


def sustained(results):
    """The most events a second of which none was lost, with every rung below also without loss; None: not even the lowest."""
    best = None
    for r in sorted((r for r in results["rates"] if r["kind"] == "sets"), key=lambda r: r["events_per_s"]):
        if r["lost"] != 0 or r["missing"]:
            break
        best = r["events_per_s"]
    return best


def rest(results):
    rows = []
    for where in ("terminal", "pipe"):
        found = results["latency"].get(where)
        if found:
            rows.append([f"latency to a {where}, of {found[2]} changes", f"median {found[0]:.2f} ms, 99 % within {found[1]:.2f} ms"
                         + (f" (disturbed by {found[3]})" if found[3] else "")])
    idle = results.get("idle")
    if idle:
        rows.append([f"wake-ups a second, nothing happening for {idle['seconds']} s",
                     f"{idle['on_cpu']:.2f} ({idle['voluntary']:.2f} voluntary), {idle['cpu_ms_per_s']:.2f} ms of CPU a second"])
        rows.append(["RSS, following one process", f"{mib(idle['resident_kib'])} MiB"])
    for found in results["start"]:
        rows.append([f"start to `ready`, {found['tasks']:.0f} tasks, `--backend={found['backend']}`",
                     f"median {1000 * found['ready_s']:.0f} ms, fastest {1000 * found['fastest_s']:.0f} of {found['times']} "
                     f"({found['disturbed']} disturbed); RSS {mib(found['resident_kib'])} MiB, {mib(found['anonymous_kib'])} anonymous"])
    return table(["", ""], rows)


def writers(results):
    names = {"setns": "setns of one type", "spawn": "fork and exit"}
    rows = [[names[w["kind"]], str(w["writers"]), f"{w['untraced']:.0f}", f"{w['traced']:.0f}", f"{w['per_s']:.0f}", f"{w['ns']:.0f}",
             w["disturbed"] or ""] for w in results["writers"]]
    return table(["operation", "writers", "a second, untraced", "a second, traced", "records a second", "ns in the kernel for each",
                  "disturbed by"], rows)


def icount(found):
    """Instructions: a row for each kernel and operation."""
    backends = ("fentry", "kprobe", "tracepoint")
    rows = []
    for one in found:
        first = f"{one['kernel']} ({one['release']})"
        for kind, name in ICOUNT.items():
            counts = one["counts"].get(kind)
            if not counts:
                continue
            base = counts["untraced"]
            rows.append([first, name, f"{base:.0f}", f"{counts['again'] - base:+.0f}",
                         *(f"{counts[b]:.0f} ({counts[b] - base:+.0f})" if b in counts else "does not work" for b in backends)])
            first = ""
    return table(["kernel", "operation", "untraced", "untraced again", *backends], rows)


# ---- the aims ----


def verdict(value, aim, form="{:.2f}", low=None):
    """(measured, met or not). `low`, the lower quartile: where it is within the aim, the median's missing it shows nothing."""
    if value is None:
        return "not measured", "not shown"
    met = "met" if value <= aim else "within the spread" if low is not None and low <= aim else "**not met**"
    return form.format(value), met


def unless(disturbed, row):
    """An aim that was missed while others ran says so."""
    measured, met = row
    return measured, met + ", disturbed" if disturbed and met != "met" else met


def slow_down(results, name, kind, aim):
    pairs = results["pairs"].get(name, {}).get(kind)
    if not pairs or not pairs.ratios:
        return verdict(None, aim)
    low, middle, _ = pairs.quartiles()
    measured, met = verdict(middle, aim, low=low)
    return ratio(pairs), met + ", disturbed" if pairs.kept_all else met


def floor(results, kind):
    """Of programs that do nothing on the hooks of the backend tracepoint, with records that nobody fills in, and with such
    as are filled in and read."""
    of = [by_kind.get(kind) for name, by_kind in results["pairs"].items() if name.startswith("floor")]
    return ", ".join(f"{pairs.quartiles()[1]:.2f}" for pairs in of if pairs and pairs.ratios)


def rate_verdict(results, best, highest):
    if best and best >= 300000 * 0.99:
        return "met"
    if not results["rates"]:
        return "not shown"
    if best == highest:
        return "not shown: nothing was lost, but this machine's load reached no more"
    return "**not met**" + (", disturbed" if any(r["disturbed"] for r in results["rates"]) else "")


def aims(results):
    rows = []
    for name in (n for n in results["pairs"] if n.startswith("nsmon")):
        backend = re.search(r"\((\w+)\)", name).group(1)
        for kind in ("fork", "exec", "threads"):
            rows.append([f"slow-down of {WORKLOADS[kind]}, {name}", "≤ 1.03", *slow_down(results, name, kind, 1.03), floor(results, kind)])
        rows.append([f"slow-down of a setns storm, {name}", "≤ 1.25", *slow_down(results, name, "setns", 1.25), floor(results, "setns")])
        aim = 1.30 if backend == "tracepoint" else 1.03
        rows.append([f"slow-down of other system calls, {name}", f"≤ {aim:.2f}", *slow_down(results, name, "getppid", aim),
                     floor(results, "getppid")])
    rows += flood_rows(results)
    for one in results["icount"]:
        counts = one["counts"]["getppid"]
        for backend in (b for b in ("fentry", "kprobe") if b in counts):
            more = round(counts[backend]) - round(counts["untraced"])
            rows.append([f"instructions more for other system calls, {backend}, kernel {one['kernel']}", "0", f"{more}",
                         "met" if more <= 0 else "**not met**"])
    best = sustained(results)
    highest = max((r["events_per_s"] for r in results["rates"] if r["kind"] == "sets"), default=None)
    rows.append(["sustained without loss, JSON, default buffer", "≥ 300 000 a second",
                 f"{best:.0f} a second (highest load {highest:.0f})" if best else "none of the loads" if results["rates"] else "not measured",
                 rate_verdict(results, best, highest)])
    counted = [r["uncounted"] for r in results["rates"]]
    for name, by_kind in results["pairs"].items():
        if name.startswith("nsmon"):
            counted += [p.uncounted(results["told"][name][k]) for k, p in by_kind.items()]
    rows.append(["records missing and not counted as lost, all runs above", "0", str(sum(counted)) if counted else "not measured",
                 ("met" if not sum(counted) else "**not met**") if counted else "not shown"])
    idle = results.get("idle")
    starts = [s for s in results["start"] if s["backend"] == "auto"]
    same = [s for s in results["start"] if s["backend"] != "auto"]
    rows.append(["resident, idle", "≤ 8 MiB", *verdict(idle and idle["resident_kib"] / 1024, 8, "{:.1f} MiB")])
    each = None
    if len(same) == 2:
        few, many = same
        each = (many["anonymous_kib"] - few["anonymous_kib"]) * 1024 / (many["tasks"] - few["tasks"])
    rows.append(["memory for each task", "≤ 256 bytes", *verdict(each, 256, "{:.0f} bytes")])
    for found, aim in zip(starts, (150, 400)):
        rows.append([f"start to `ready`, {found['tasks']:.0f} tasks", f"≤ {aim} ms",
                     *unless(found["disturbed"],
                             verdict(1000 * found["ready_s"], aim, "{:.0f} ms", low=1000 * found["fastest_s"]))])
    for where, aim in (("terminal", 10), ("pipe", 100)):
        found = results["latency"].get(where)
        rows.append([f"latency to a {where}, 99 %", f"≤ {aim} ms",
                     *unless(found and found[3], verdict(found and found[1], aim, "{:.1f} ms"))])
    rows.append(["wake-ups a second, idle", "< 12", *verdict(idle and idle["on_cpu"], 11.99, "{:.2f}")])
    return table(["figure", "aim", "measured", "", "floor here"], [row + [""] * (5 - len(row)) for row in rows])


def render(results):
    m = results["machine"]
    lines = ["<!-- SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause -->", "# What nsmon costs", "",
             f"Written by `make bench{' BENCH_QUICK=1' if m['quick'] else ''}` on {m['date']}, of commit {m['commit']}. "
             f"{m['cpu']}, {m['cores']} CPUs, {m['arch']}, kernel {m['kernel']}; workload on CPU {m['work_cpu']}, tracer on CPU "
             f"{m['tracer_cpu']}. nsmon {m['version']}; backends: {m['backends']}.", ""]
    if m["quick"]:
        lines += ["This was a quick run: few pairs, short ones. It shows that everything runs, not how fast.", ""]
    if results["pairs"]:
        lines += ["## Against peers", "",
                  "Time of the workload traced / untraced: median of the pairs, and quartiles. Kept: of the records that an exact "
                  "tracer had to deliver, of the kinds that this one tells. CPU: the tracer's, until it had worked all off.", "",
                  *compared(results), disturbed(results), ""]
    if results["flood"]:
        lines += ["## A flood of forks", "",
                  "What the tracer takes of a CPU while one process forks 30 000 times (times `--scale`), each child of which exits at "
                  "once: two records each. The tracers take turns. The floor reads each record, and writes a line for it that says "
                  "nothing.", "", *flood(results)]
    if results["kernel_ns"]:
        lines += ["## In the kernel", "", "With `kernel.bpf_stats_enabled`, which adds its own two clock readings to every run.", "",
                  *kernel(results)]
    if results["ways"]:
        lines += ["## What it takes to see system calls without trampolines and kprobes", "",
                  "The floor of the backend `tracepoint`: programs that do nothing. Tracepoints of single calls do not see 32-bit "
                  "callers, and the end of a call alone does not tell what there was before it, so nsmon has to take "
                  "raw tracepoints at both ends.", "", *ways(results)]
    if results["rates"]:
        lines += ["## Rate", "", "JSON to a file, default buffer, one CPU for the load and one for nsmon. Events are records of output.", "",
                  *rates(results)]
    if results["latency"] or results["start"]:
        lines += ["## Latency, idleness, start", "", *rest(results)]
    if results["writers"]:
        lines += ["## Many writers", "", "Each on a CPU of its own; nsmon does not read meanwhile, and `kernel.bpf_stats_enabled` is set.",
                  "", *writers(results)]
    if results["icount"] or results["no_vm"]:
        lines += ["## Instructions", "",
                  "Of one operation, counted in virtual machines by `bench/icount`: user space and kernel, with the difference to "
                  "untraced. Of system calls they are exact; of forks a median of some that differ a little.", "",
                  *(icount(results["icount"]) if results["icount"] else []),
                  *(f"Not counted: kernel {kernel}: {why}." for kernel, why in results["no_vm"]), ""]
    return "\n".join(lines + ["## Where nsmon has to be", "", *aims(results)])
