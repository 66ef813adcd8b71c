"""Numbered samples on their way to a sink: what is missing, doubled, out of order, invented.

All metrics of an endpoint of `fleet_sim -numbered` have the number of its answer as their value. So
what arrived tells by itself what did not: numbers that are left out, between two times.
"""
import contextlib
import os
import re
import tempfile
import time

import scottyd_proc as sp
import sinks

INFLUX_LINE = re.compile(r"(/n/\d+),[^ ]*\bhost=(\w+)[^ ]* [^ ]*value=(\d+) (\d+)")
JSON_LINE = re.compile(r'\{"hostName":"(\w+)",[^{}]*"path":"(/n/\d+)",[^{}]*"value":(\d+),'
                       r'"timestamp":"(\d+)\.(\d{9})"[^{}]*\}\n')


class Recorder(sinks.Sink):
    """A sink that can be down: connections are refused."""

    def __init__(self):
        self.before = []  # lines that came before it was down
        super().__init__()

    def down(self):
        self.respond = lambda *_: lambda handler: None  # of connections that are kept
        self.close()
        with self.lock:
            self.before += self.lines
            self.lines = []

    def up(self):
        super().__init__(port=self.port)

    def settle(self):
        """Until what clients sent who are dead by now has been taken in."""
        if self.server.socket.fileno() < 0:
            return  # it is down
        sp.ask(self.port, "POST", "/write", b"")  # is accepted after those that wait
        sp.eventually(lambda: self.server.closed == self.connections, "all has come")

    def count(self):
        return len(self.before) + len(self.lines)

    def arrived(self):
        """[((host, path), number, time in ns)], in order."""
        with self.lock:
            lines = self.before + self.lines
        for line in lines:
            path, host, number, ts = INFLUX_LINE.fullmatch(line).groups()
            yield (host, path), int(number), int(ts)


class Lines:
    """The file of the writer `file`."""

    def __init__(self, directory, name="lines"):
        self.path = os.path.join(directory, name)

    def element(self, name="file", batch=1000):
        return {"file": {"path": self.path, "maxSize": "16GiB"},
                "consumer": {"name": name, "batchSize": batch}}

    def settle(self):
        pass

    def count(self):
        """Only to be compared with marks: whole lines, when nothing is being written."""
        if not os.path.exists(self.path):
            return 0
        with open(self.path, "rb") as f:
            return sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b""))

    def arrived(self):
        with open(self.path, encoding="utf-8", newline="\n") as f:
            for line in f:
                found = JSON_LINE.fullmatch(line)
                if found is None:
                    raise AssertionError(f"{self.path}: no line of JSON: {line!r}")
                host, path, number, s, ns = found.groups()
                yield (host, path), int(number), int(s + ns)


class Fleet(contextlib.ExitStack):
    """Endpoints with numbered samples, polled every interval_s."""

    def __init__(self, endpoints, metrics, interval_s, *flags):
        super().__init__()
        self.metrics, self.interval_s = metrics, interval_s * min(2, sp.SLOW)
        self.directory = self.enter_context(tempfile.TemporaryDirectory(prefix="ledger-"))
        config = os.path.join(self.directory, "sim.yaml")
        self.sim = self.enter_context(sp.FleetSim(
            "-n", str(endpoints), "-metrics", str(metrics), "-numbered", "-addresses", "-base",
            str(sp.free_port()), "-interval", f"{round(self.interval_s * 1000)}ms",
            "-write-config", config, *flags))
        with open(config, encoding="ascii") as f:
            found = re.findall(r"- \{host: (\S+), app: (\S+), address: (\S+), port: (\d+)",
                               f.read())
        self.elements = [{"host": h, "app": a, "address": ip, "port": int(p)}
                         for h, a, ip, p in found]
        self.hosts = [element["host"] for element in self.elements]
        self.state = os.path.join(self.directory, "state")

    def config(self, writers, polled=True, **store):
        return {"collection": {"frequency": f"{round(self.interval_s * 1000)}ms"},
                "store": {"memory": "1GiB", **store},
                "endpoints": self.elements if polled else [], "writers": writers}

    def newest(self, scottyd, path="/n/000"):
        """{host: time in ns} of the newest value; None if not all hosts have one."""
        newest = {m["hostName"]: int(m["timestamp"].replace(".", ""))
                  for m in scottyd.get_json(f"/api/latest{path}")}
        return newest if len(newest) == len(self.hosts) else None

    def history(self, scottyd, host, path="/n/000"):
        """{number: time in ns} as it is served."""
        metrics = scottyd.get_json(f"/api/hosts/{host}/sim{path}?history=60")
        values = [v for v in metrics[0]["values"] if v["active"]] if metrics else []
        return {v["value"]: int(v["timestamp"].replace(".", "")) for v in values}


class Ledger:
    """Checks what arrived at one sink against the runs of scottyd."""

    def __init__(self, fleet, sink, batch=1000):
        self.fleet, self.sink, self.batch = fleet, sink, batch
        self.runs = []  # (lines before it, when the one before was killed, when this one began)
        self.doubled = self.missing = 0

    def run_begins(self, killed_ns=0):
        """Just before scottyd starts again: the one before was killed then (wall clock)."""
        self.sink.settle()
        self.runs.append((self.sink.count(), killed_ns, time.time_ns()))

    def check(self, times, lose_s=1):
        """times: {(host, number): time in ns}, which the first check fills and others compare.

        lose_s: what was polled so long before a kill arrived.
        """
        last, came_at, run = {}, {}, 0
        for i, (series, number, ts) in enumerate(self.sink.arrived()):
            while run < len(self.runs) and i >= self.runs[run][0]:
                run += 1
            if times.setdefault((series[0], number), ts) != ts:
                raise AssertionError(f"{series}: number {number} at {ts} and at "
                                     f"{times[series[0], number]}; {self.about(series, number)}")
            came_before = came_at.get((series, number))
            came_at[series, number] = i
            before, before_ts = last.get(series, (0, 0))
            if number <= before:
                self.check_doubled(series, number, came_before, run)
                continue
            if before and number > before + 1:
                self.check_gap(series, before, before_ts, number, ts, lose_s)
            if ts <= before_ts:
                raise AssertionError(f"{series}: time does not rise with {number}")
            last[series] = number, ts
        wanted = len(self.fleet.hosts) * self.fleet.metrics
        if len(last) != wanted:
            raise AssertionError(f"{len(last)} series arrived of {wanted}")
        return last

    def wait_for(self, polled):
        """polled: {host: time in ns}, up to which all arrives soon."""
        def late():
            last = {}
            for (host, path), _, ts in self.sink.arrived():
                last[host, path] = max(ts, last.get((host, path), 0))
            return [(host, path, (polled[host] - ts) / 1e9) for (host, path), ts in last.items()
                    if ts < polled[host]]
        # A writer is idle until it looks for what is new.
        sp.eventually(lambda: not late(), "all has arrived", 10)

    def about(self, series, number):
        """What arrived of a series around that number, and when there were kills."""
        return [one[1:] for one in self.sink.arrived()
                if one[0] == series and abs(one[1] - number) < 4], self.runs

    def check_doubled(self, series, number, before, run):
        """What comes again was in the last batch of a run before: later ones need not have come
        so far, as series come in no set order."""
        if before is None:
            raise AssertionError(f"{series}: {number} is out of order")
        if not any(end - self.batch <= before < end for end, _, _ in self.runs[:run]):
            raise AssertionError(f"{series}: {number} came as {before} and again in the run that "
                                 f"began with {self.runs[run - 1][0]}")
        self.doubled += 1

    def check_gap(self, series, before, before_ts, number, ts, lose_s):
        lose_ns = (lose_s + self.fleet.interval_s) * 1e9
        for _, killed_ns, begun_ns in self.runs:
            if killed_ns and killed_ns - lose_ns <= before_ts and ts >= killed_ns:
                self.missing += number - before - 1
                return
        raise AssertionError(
            f"{series}: {before + 1} to {number - 1} did not arrive, nobody was killed between "
            f"{before_ts} and {ts}: {[(k, b) for _, k, b in self.runs]}")
