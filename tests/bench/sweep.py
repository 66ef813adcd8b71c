#!/usr/bin/env python3
"""The sweep benchmark: scottyd against a fleet of its simulator, the collector on one processor.

usage: sweep.py [-quick] [-table FILE] [NAME...]

Each NAME is a run of the list at the end; none: all of them (-quick: some, shortened, in less than
two minutes). -table writes what is printed as Markdown. SCOTTY_BIN names the directory of the
programs.

A value is one metric of one endpoint at one poll. CPU seconds are those of the whole process.
Ratios from one run are worth more than absolute figures: machines differ, and shared ones differ
from minute to minute.
"""
import contextlib
import datetime
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
import scottyd_proc as sp  # noqa: E402 (needs the path above)

MIB = 1 << 20
SHORTEST_MS = 100  # what the configuration allows


# Processors.

def siblings(processor):
    """The hardware threads that share a core with this one."""
    try:
        path = f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
        with open(path, encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return str(processor)


def by_core():
    """The processors allowed: first one of each core, then their siblings."""
    first, second, seen = [], [], set()
    for processor in sorted(os.sched_getaffinity(0)):
        core = siblings(processor)
        (second if core in seen else first).append(processor)
        seen.add(core)
    return first + second


PROCESSORS = by_core()
SIMULATOR = {PROCESSORS[0]}
COLLECTOR = {PROCESSORS[1 % len(PROCESSORS)]}
# The largest fleet is for two; the simulator keeps one to itself if there is a third.
TWO = set(PROCESSORS[1:3]) if len(PROCESSORS) > 2 else set(PROCESSORS)
DRIVER = {PROCESSORS[-1]} if len(PROCESSORS) > 3 else SIMULATOR


def stolen_seconds(processors):
    """Since the boot: the host gave them to others, which costs caches too."""
    names, ticks = {f"cpu{processor}" for processor in processors}, 0
    with open("/proc/stat", encoding="ascii") as f:
        for name, *fields in map(str.split, f):
            if name in names:
                ticks += int(fields[7])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def children_on(processors):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# A fleet under measurement.

class Histogram:
    """A distribution of scottyd's own, as a difference of two readings."""

    def __init__(self, metric):
        ranges = metric["value"]["ranges"]
        self.tops = [r["upper"] for r in ranges[:-1]]
        self.counts = [r["count"] for r in ranges]

    def since(self, before):
        self.counts = [now - then for now, then in zip(self.counts, before.counts)]
        return self

    def quantile_ms(self, share):
        """Interpolated within its bucket; the last one has no upper end."""
        left = share * sum(self.counts)
        lower = 0
        for top, count in zip(self.tops, self.counts):
            if count > 0 and left <= count:
                return 1000 * (lower + (top - lower) * left / count)
            left -= count
            lower = top
        return 1000 * lower


class Load:
    """What was measured in a while."""

    def __init__(self, fleet, seconds, sim, cpu, stolen, lateness, skipped):
        self.seconds, self.cpu, self.skipped = seconds, cpu, skipped
        self.processors = len(fleet.collector)
        self.stolen = stolen / seconds / self.processors
        # The simulator is told one interval only.
        self.has_period = fleet.interval_ms == fleet.first_interval_ms
        self.good = sim["all", "good"]
        self.process = sim["process", "any"]
        self.values = self.process["answers"] * fleet.metrics
        self.late_p50, self.late_p99 = lateness.quantile_ms(0.50), lateness.quantile_ms(0.99)
        self.rss = fleet.scottyd.status_kib("VmRSS") * 1024
        self.bytes_per_series = (self.rss - fleet.rss_empty) / (fleet.good * fleet.metrics)

    @property
    def values_per_second(self):
        return self.values / self.seconds

    @property
    def busy(self):
        """Of all the processors that the collector may use."""
        return self.cpu / self.seconds / self.processors

    @property
    def cpu_per_million(self):
        return self.cpu / self.values * 1e6 if self.values else float("nan")

    @property
    def cpu_us_per_poll(self):
        return self.cpu / self.good["polls"] * 1e6 if self.good["polls"] else float("nan")


class Fleet:
    """A simulator and a scottyd that polls it."""

    def __init__(self, endpoints, metrics, interval_ms, bad=None, collector=None, memory="3GiB",
                 collection="", durable=False):
        self.endpoints, self.metrics = endpoints, metrics
        self.bad, self.collection = bad or {}, collection
        self.good = endpoints - sum(self.bad.values())
        self.interval_ms = self.first_interval_ms = interval_ms
        self.memory = memory
        self.durable = durable  # with a journal
        self.collector = collector or COLLECTOR
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        flags = [flag for way, n in self.bad.items() for flag in (f"-{way}", str(n))]
        with contextlib.ExitStack() as stack:
            with children_on(self.collector):
                self.scottyd = stack.enter_context(
                    sp.Scottyd({"store": {"memory": self.memory}}
                               | ({} if self.durable else {"stateDir": ""})))
            self.config = self.scottyd.config_file + ".sim"
            with children_on(SIMULATOR):
                self.sim = stack.enter_context(sp.FleetSim(
                    "-n", str(self.endpoints), "-metrics", str(self.metrics), "-addresses",
                    "-base", str(sp.free_port()), "-interval", f"{self.interval_ms}ms", *flags,
                    "-write-config", self.config))
            self.rss_empty = self.scottyd.status_kib("VmRSS") * 1024
            self.set_interval(self.interval_ms)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *what):
        return self.stack.__exit__(*what)

    def set_interval(self, interval_ms):
        self.interval_ms = interval_ms
        with open(self.config, encoding="ascii") as f:
            text = f.read()
        text = re.sub(r"  frequency: \S+", f"  frequency: {interval_ms}ms\n{self.collection}",
                      text, count=1)
        state = self.scottyd.state if self.durable else '""'
        self.scottyd.configure_raw(f"{text}stateDir: {state}\n"
                                   f"store: {{memory: {self.memory}}}\n")
        self.scottyd.reload()

    def own(self, path):
        return self.scottyd.get_json(f"/metricsapi/collector/{path}")[0]

    def measure(self, seconds):
        self.sim.figures()
        begin, cpu = time.monotonic(), self.scottyd.cpu_seconds()
        stolen = stolen_seconds(self.collector)
        lateness, skipped = Histogram(self.own("lateness")), self.own("skippedTicks")["value"]
        time.sleep(seconds)
        sim = self.sim.figures()
        cpu, taken = self.scottyd.cpu_seconds() - cpu, time.monotonic() - begin
        stolen = stolen_seconds(self.collector) - stolen
        lateness = Histogram(self.own("lateness")).since(lateness)
        return Load(self, taken, sim, cpu, stolen, lateness,
                    self.own("skippedTicks")["value"] - skipped)

    def journal(self):
        """(bytes, changed values) written so far"""
        return [self.scottyd.get_json(f"/metricsapi/journal/{path}")[0]["value"]
                for path in ("bytes", "values")]

    def wait_polled(self, timeout=60):
        """Until all good endpoints were polled once."""
        deadline = time.monotonic() + timeout
        while self.own("polls")["value"] - self.own("failedPolls")["value"] < self.good:
            if time.monotonic() > deadline:
                raise AssertionError("endpoints are not polled")
            time.sleep(0.2)

    def at(self, interval_ms, seconds):
        """Measures at another interval, once it has settled."""
        self.set_interval(interval_ms)
        time.sleep(max(1.5, 2 * interval_ms / 1000))
        return self.measure(max(seconds, 4 * interval_ms / 1000))

    def holds(self, load):
        """Nobody missed an interval (least: the ends of the while may cut one off)."""
        whole = int(load.seconds * 1000 / self.interval_ms)
        return load.skipped == 0 and load.good["least"] >= whole - 1


# Output.

class Report:
    def __init__(self):
        self.figures, self.runs = [], []

    def figure(self, what, value, must="", aim=""):
        self.figures.append((what, value, must, aim))
        goals = ", ".join(f"{word} {goal}" for word, goal in (("must", must), ("aim", aim)) if goal)
        print(f"  {what}: {value}" + (f" ({goals})" if goals else ""), flush=True)

    def load(self, fleet, load, note=""):
        row = (f"{fleet.endpoints:,} x {fleet.metrics:,}", f"{fleet.interval_ms / 1000:g} s{note}",
               f"{load.values_per_second / 1e6:.2f} M", f"{load.cpu_per_million:.3f}",
               f"{load.cpu_us_per_poll:.0f}", f"{load.late_p50:.2f} / {load.late_p99:.2f}",
               f"{load.good['p50_ms']:.2f} / {load.good['p99_ms']:.2f}" if load.has_period
               else "-", f"{load.skipped}",
               f"{load.rss / MIB:.0f}", f"{load.bytes_per_series:.0f}",
               f"{100 * load.busy:.0f}%", f"{100 * load.stolen:.1f}%",
               f"{100 * load.process['cpu_s'] / load.seconds:.0f}%")
        self.runs.append(row)
        print("  " + ", ".join(f"{head} {cell}" for head, cell in zip(HEADS, row)), flush=True)

    def markdown(self):
        out = [f"## {machine()}", "", "| figure | measured | must | aim |",
               "| --- | --- | --- | --- |"]
        out += ["| " + " | ".join(row) + " |" for row in self.figures]
        out += ["", "| " + " | ".join(HEADS) + " |", "| " + " | ".join("---" for _ in HEADS) + " |"]
        out += ["| " + " | ".join(row) + " |" for row in self.runs]
        return "\n".join(out) + "\n"


HEADS = ("fleet", "interval", "values/s", "CPU s per M values", "CPU us per poll",
         "late p50 / p99 ms", "period off p50 / p99 ms", "skipped", "RSS MiB", "bytes per series",
         "collector", "stolen from it", "simulator")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True, check=False).stdout.strip()
    return (f"{datetime.date.today()}, {model.group(1) if model else platform.machine()}, "
            f"{len(PROCESSORS)} processors (simulator on {name_of(SIMULATOR)}, collector on "
            f"{name_of(COLLECTOR)}), Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"
            + (f", commit {commit}" if commit else ""))


def name_of(processors):
    return "+".join(str(p) for p in sorted(processors))


# Asking over one connection, without the cost of http.client.

class Client:
    def __init__(self, fleet):
        self.port = fleet.scottyd.port
        self.buffer = bytearray(4 * MIB)
        self._connect()

    def _connect(self):
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=120)

    def _ask(self, request):
        """Bytes of the first piece of the answer, which holds all of its head."""
        self.sock.sendall(request)
        return self.sock.recv_into(self.buffer)

    def get(self, path, *headers):
        """(seconds, bytes of the answer)"""
        head = "".join(f"{line}\r\n" for line in headers)
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode()
        begin = time.perf_counter()
        got = self._ask(request)
        if got == 0:  # a connection serves a limited number of requests
            self._connect()
            begin = time.perf_counter()
            got = self._ask(request)
        end_of_head = self.buffer.index(b"\r\n\r\n") + 4
        length = re.search(rb"(?i)content-length: (\d+)", self.buffer[:end_of_head])
        if length:
            left = end_of_head + int(length.group(1)) - got
            while left > 0:
                left -= self._more()
            return time.perf_counter() - begin, int(length.group(1))
        total, tail = got - end_of_head, bytes(self.buffer[max(0, got - 5):got])
        while tail != b"0\r\n\r\n":
            got = self._more()
            total += got
            tail = (tail + self.buffer[max(0, got - 5):got])[-5:]
        return time.perf_counter() - begin, total

    def _more(self):
        got = self.sock.recv_into(self.buffer)
        if got == 0:
            raise AssertionError("connection closed in the middle of an answer")
        return got

    def best(self, times, path, *headers, seconds=0):
        """Of so many, and of as many as that time allows."""
        end, got = time.monotonic() + seconds, []
        while len(got) < times or time.monotonic() < end:
            got.append(self.get(path, *headers))
        return min(got)


# The runs.

def slow(report, quick):
    """1,000 x 200 every 10 s"""
    with Fleet(1000, 200, 10000) as fleet:
        fleet.wait_polled()
        load = fleet.measure(20 if quick else 30)
        report.load(fleet, load)
    report.figure("CPU seconds per million values, 1,000 x 200 every 10 s",
                  f"{load.cpu_per_million:.3f}", "0.50", "0.30")


def durable(report, quick):
    """What the journal costs: 1,000 x 200, with and without it in turn"""
    for interval_ms in (1000,) if quick else (10000, 1000):
        best = {}
        for with_journal in (False, True) * (1 if quick else 2):
            with Fleet(1000, 200, interval_ms, durable=with_journal) as fleet:
                fleet.wait_polled()
                written = fleet.journal() if with_journal else None
                load = fleet.measure(8 if quick else max(15, 3 * interval_ms / 1000))
                report.load(fleet, load, ", journal" if with_journal else "")
                best[with_journal] = min(best.get(with_journal, load.cpu_us_per_poll),
                                         load.cpu_us_per_poll)
                if with_journal:
                    # Without the births of all series, at the start, or once a segment.
                    size, values = (a - b for a, b in zip(fleet.journal(), written))
                    bytes_per_value = size / values
        report.figure(f"CPU with a journal over that without, every {interval_ms / 1000:g} s",
                      f"{best[True] / best[False]:.2f}", "1.25")
        report.figure(f"Journal bytes per changed value, every {interval_ms / 1000:g} s",
                      f"{bytes_per_value:.2f}", "4")


def fast(report, quick):
    """1,000 x 200 every 1 s"""
    with Fleet(1000, 200, 1000) as fleet:
        fleet.wait_polled()
        load = fleet.measure(5 if quick else 20)
        report.load(fleet, load)
    report.figure("CPU seconds per million values, 1,000 x 200 every 1 s",
                  f"{load.cpu_per_million:.3f}", "0.30", "0.15")


def shortest(fleet, report, quick):
    """(interval in ms, load) of the shortest interval that nobody missed."""
    seconds, trials = (2, 6) if quick else (4, 12)
    interval, best, missed = SHORTEST_MS, None, 0
    for _ in range(trials):
        load = fleet.at(round(interval), seconds)
        held = fleet.holds(load)
        print(f"    {fleet.interval_ms} ms: {'held' if held else 'missed'}, "
              f"{load.values_per_second / 1e6:.2f} M values/s, skipped {load.skipped}, "
              f"{100 * load.busy:.0f}% busy", flush=True)
        if held and (best is None or fleet.interval_ms < best[0]):
            best = (fleet.interval_ms, load)
        elif not held:
            missed = max(missed, fleet.interval_ms)
        if best is None:
            # How much it can do tells where to begin.
            interval = max(1.1 * missed, 1050 * fleet.good * fleet.metrics / load.values_per_second)
        elif best[0] <= SHORTEST_MS or best[0] - missed < 0.04 * best[0]:
            break
        else:
            interval = (best[0] + missed) / 2
            if missed < best[0] * 0.7:  # far from full: as much shorter as it has time left
                shorter = best[0] * min(0.95, max(0.4, best[1].busy * 1.03))
                interval = shorter if shorter > missed else interval
        interval = max(SHORTEST_MS, interval)
    if best is None:
        report.figure(f"shortest interval of {fleet.endpoints:,} x {fleet.metrics:,}", "not found")
        return None
    fleet.interval_ms = best[0]
    report.load(fleet, best[1], ", the shortest")
    return best


def most(report, quick):
    """the most values/s on one processor without a missed interval"""
    found = []
    for endpoints in (2000,) if quick else (2000, 5000):
        with Fleet(endpoints, 200, 2000) as fleet:
            fleet.wait_polled()
            best = shortest(fleet, report, quick)
        if best:
            found.append((endpoints * 200 * 1000 / best[0], endpoints, best[0]))
    if found:
        rate, endpoints, interval = max(found)
        report.figure("values/s on one processor without missing an interval",
                      f"{rate / 1e6:.2f} M ({endpoints:,} x 200 every {interval} ms)", "3 M", "6 M")


def last_poll_after(fleet, begin):
    """Seconds from begin (wall clock) to the end of the last poll of all."""
    return max(float(e["lastPoll"] or 0) for e in fleet.scottyd.get_json("/api/endpoints")) - begin


def sweep_once(fleet):
    """(seconds by scottyd, by the simulator) for one sweep of all endpoints, asked at once."""
    before = fleet.own("polls")["value"]
    fleet.sim.figures()
    begin = time.time()
    answer = sp.ask(fleet.scottyd.port, "POST", "/api/poll")
    if answer.status != 202:
        raise AssertionError(f"POST /api/poll: {answer.status} {answer.body}")
    sp.eventually(lambda: time.sleep(0.2) or
                  fleet.own("polls")["value"] - before >= fleet.endpoints, "sweep", 60)
    return (last_poll_after(fleet, begin),
            fleet.sim.figures()["process", "any"]["first_to_last_ms"] / 1000)


def once(report, quick):
    """5,000 x 200 asked for at once"""
    with Fleet(5000, 200, 3600000) as fleet:
        cold = sweep_once(fleet)
        warm = min(sweep_once(fleet) for _ in range(3 if quick else 6))
    report.figure("5,000 x 200 asked for at once, from POST /api/poll to the last poll's end",
                  f"{warm[0]:.3f} s (first request to last answer {warm[1]:.3f} s; the first "
                  f"sweep, with its connects and new series, {cold[0]:.3f} s)", "0.5 s", "0.2 s")


def memory(report, _quick):
    """RSS of 5,000 x 200 after 70 s at 10 s"""
    with Fleet(5000, 200, 10000) as fleet:
        fleet.wait_polled()
        time.sleep(40)
        load = fleet.measure(20)
        report.load(fleet, load)
    report.figure("RSS, 5,000 x 200 after 70 s at 10 s", f"{load.rss / MIB:.0f} MiB", "350 MiB",
                  "200 MiB")


def latest(report, quick):
    """/api/latest/ of 1,000 x 200 while polling"""
    with Fleet(1000, 200, 10000) as fleet:
        fleet.wait_polled()
        client, times = Client(fleet), 3 if quick else 8
        seconds, size = client.best(times, "/api/latest/")
        zipped_seconds, zipped = client.best(times, "/api/latest/", "Accept-Encoding: gzip")
    report.figure("/api/latest/ of 1,000 x 200 while polling",
                  f"{size / seconds / 1e6:.0f} MB/s ({size / 1e6:.1f} MB in {seconds:.3f} s)",
                  "400 MB/s", "1 GB/s")
    report.figure("the same, gzip",
                  f"{size / zipped_seconds / 1e6:.0f} MB/s of JSON ({zipped / 1e6:.1f} MB sent in "
                  f"{zipped_seconds:.3f} s)", "250 MB/s of JSON", "350 MB/s")


def hour(report, quick):
    """one endpoint's hour by /api/hosts/H/A: 120 polls as at 30 s, but made at 100 ms"""
    with Fleet(1, 200, SHORTEST_MS) as fleet:
        fleet.wait_polled()
        client = Client(fleet)
        for polls, must in ((120, ("0.5 ms", "0.2 ms")),) + (() if quick else ((360, ("", "")),)):
            fleet.set_interval(SHORTEST_MS)
            sp.eventually(lambda: fleet.own("polls")["value"] >= polls, "polls", 60)
            fleet.set_interval(3600000)
            polls = fleet.own("polls")["value"]
            # What is stolen from the processors comes in bursts: longer than one of them.
            seconds, size = client.best(200, "/api/hosts/sim00000/sim", seconds=3)
            report.figure(f"one endpoint's hour, /api/hosts/H/A, 200 metrics, {polls} polls",
                          f"{1000 * seconds:.2f} ms ({size / 1e3:.0f} kB)", *must)


def big(report, quick):
    """9,000 x 1,000 every 10 s on two processors, and the shortest interval that works"""
    sweeps = 5 if quick else 20
    with Fleet(9000, 1000, 10000, collector=TWO, memory="12GiB") as fleet:
        fleet.wait_polled(120)
        time.sleep(10)  # what the first sweep, of new series, was late for
        load = fleet.measure(10 * sweeps)
        report.load(fleet, load, ", two processors")
        report.figure(f"9,000 x 1,000 every 10 s on two processors, {sweeps} sweeps",
                      f"{load.skipped} ticks skipped, RSS {load.rss / MIB:.0f} MiB", "0, 2,048 MiB")
        best = shortest(fleet, report, quick)
    if best:
        report.figure("shortest interval of 9,000 x 1,000 on two processors", f"{best[0]} ms", "",
                      "1 s")


BAD = {"hang": 4, "drip": 3, "refuse": 4, "500": 4, "cut": 2, "garbage": 3}  # of 200


def half(report, quick):
    """lateness at half the most load, with and without 10% misbehaving endpoints"""
    endpoints = 2000
    with Fleet(endpoints, 200, 2000) as fleet:
        fleet.wait_polled()
        best = shortest(fleet, report, quick)
        if not best:
            return
    with Fleet(endpoints, 200, 2 * best[0]) as fleet:
        fleet.wait_polled()
        load = fleet.measure(5 if quick else 15)
        report.load(fleet, load, ", half the most load")
    bad = {way: n * endpoints // 200 for way, n in BAD.items()}
    with Fleet(endpoints, 200, 2 * best[0], bad) as fleet:
        fleet.wait_polled()
        time.sleep(12)  # poll deadlines of the first round are over
        with_bad = fleet.measure(5 if quick else 15)
        report.load(fleet, with_bad, ", 10% misbehave")
    report.figure("lateness p99 at half the most load", f"{load.late_p99:.2f} ms", "50 ms")
    report.figure("the same with 10% misbehaving endpoints",
                  f"{with_bad.late_p99:.2f} ms; period of the good ones off by "
                  f"{with_bad.good['p99_ms']:.2f} ms (without: {load.good['p99_ms']:.2f} ms)")


def hang(report, quick):
    """20% hanging endpoints with connections: 500"""
    for endpoints in (1000,) if quick else (1000, 5000):
        with Fleet(endpoints, 40, 10000, {"hang": endpoints // 5},
                   collection="  connections: 500\n") as fleet:
            fleet.wait_polled()
            time.sleep(20)
            load = fleet.measure(10 if quick else 30)
            report.load(fleet, load, ", a fifth hangs")
        report.figure(f"{endpoints:,} x 40 every 10 s, a fifth hanging, connections: 500",
                      f"period of the good ones off by {load.good['p99_ms']:.2f} ms at p99, "
                      f"{load.good['least']:.0f} to {load.good['most']:.0f} polls each in "
                      f"{load.seconds:.0f} s")


def overload(report, quick):
    """2,000 x 200 at a third of the shortest interval: polls are skipped evenly"""
    with Fleet(2000, 200, 2000) as fleet:
        fleet.wait_polled()
        best = shortest(fleet, report, True)
        if not best:
            return
        load = fleet.at(max(SHORTEST_MS, best[0] // 3), 5 if quick else 15)
        report.load(fleet, load, ", three times too short")
        begin = time.monotonic()
        fleet.scottyd.get("/healthz")
        healthz = time.monotonic() - begin
    report.figure("2,000 x 200, interval a third of the shortest",
                  f"{load.good['least']:.0f} to {load.good['most']:.0f} polls each in "
                  f"{load.seconds:.0f} s, /healthz in {1000 * healthz:.1f} ms")


def tiny(report, quick):
    """2,000 x 10 every 200 ms: what a poll costs whatever it brings"""
    with Fleet(2000, 10, 1000) as fleet:
        fleet.wait_polled()
        load = fleet.at(200, 3 if quick else 10)
        report.load(fleet, load)
    report.figure("CPU of a poll of 10 metrics", f"{load.cpu_us_per_poll:.1f} us")


def allocations(report, quick):
    """allocations per poll, 1,000 x 200 every 1 s: none per value"""
    with tempfile.TemporaryDirectory(prefix="count-malloc-") as directory:
        def counts(fleet):
            with open(os.path.join(directory, str(fleet.scottyd.child.pid)), "rb") as f:
                return (fleet.own("polls")["value"], int.from_bytes(f.read(8), sys.byteorder))

        os.environ.update(LD_PRELOAD=os.path.join(sp.BIN, "count_malloc.so"),
                          SCOTTY_COUNT_MALLOC=directory)
        try:
            with Fleet(1000, 200, 1000) as fleet:
                fleet.wait_polled()
                time.sleep(2)
                before = counts(fleet)
                time.sleep(5 if quick else 10)
                polls, mallocs = (now - then for now, then in zip(counts(fleet), before))
        finally:
            del os.environ["LD_PRELOAD"], os.environ["SCOTTY_COUNT_MALLOC"]
    report.figure("allocations per poll of 200 metrics", f"{mallocs / polls:.1f}")


RUNS = {f.__name__: f for f in
        (slow, fast, durable, allocations, tiny, most, once, memory, latest, hour, half, hang, overload,
         big)}
QUICK = ("fast", "allocations", "most", "once", "latest", "hour")


def main(args):
    quick, table, names = False, None, []
    while args:
        arg = args.pop(0)
        if arg in ("-quick", "--quick"):
            quick = True
        elif arg in ("-table", "--table") and args:
            table = args.pop(0)
        elif arg in RUNS:
            names.append(arg)
        else:
            print(__doc__.split("\n\n")[1] + "\n\nruns:", file=sys.stderr)
            for name, run in RUNS.items():
                print(f"  {name:9} {run.__doc__}", file=sys.stderr)
            return 2
    if len(PROCESSORS) < 2:
        print("sweep: needs two processors", file=sys.stderr)
        return 1
    report = Report()
    print(machine(), flush=True)
    os.sched_setaffinity(0, DRIVER)
    for name in names or (QUICK if quick else RUNS):
        print(f"{name}: {RUNS[name].__doc__}", flush=True)
        RUNS[name](report, quick)
    text = report.markdown()
    print(text)
    if table:
        with open(table, "w", encoding="utf-8") as f:
            f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
