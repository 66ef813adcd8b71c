"""A long time of operation, in short: what would be 30 s apart is half a second apart here, so a day
takes 24 minutes. Endpoints and series come and go, servers of writers fail, the configuration is
read again each second, clients ask; and nothing may grow, get later, or be lost.

usage: soak.py [DURATION]      such as 90s, 30m or 2h; 24m if not given

SCOTTY_BIN names the directory of the programs. A line of progress comes each minute, at the end a
table: what the second half of the time was like, as growth from its first third to its last, and of
memory after the first day, if there is enough of it; exit 0 only if all is well. It is reliability's
D7; soak_test.py runs a minute of it.
"""
import contextlib
import dataclasses
import http.client
import json
import os
import random
import re
import statistics
import sys
import threading
import time
import xmlrpc.client

import ledger
import scottyd_proc as sp
import sinks
import snmp_agents

DAY_S = 24 * 60
INTERVAL = "500ms"
SCALE = 4 if sp.SANITIZED else 1
# Endpoints of each kind. Those with numbered samples stay: all of their samples must arrive.
NUMBERED, COMING, EXPORTERS, AGENTS = 80 // SCALE, 60 // SCALE, 8 // SCALE, 8 // SCALE
METRICS = 40
BAD = {"hang": 2, "drip": 1, "refuse": 2, "500": 2, "cut": 1, "garbage": 1}
STORE_MIB, DISK_MIB = 12, 16
# What is fine.
RSS_PER_DAY = 0.01
FEW = 8  # descriptors more or less: connections that are being closed
LATE_MS, LATE_FEW_MS = 25, 100  # more than before; with few samples
ENOUGH = 6  # samples, to tell a slope


class Numbers(sinks.Acknowledger):
    """Takes Influx lines and follows the numbered samples among them: of each series every number
    must come, and in order. What is kept does not grow with time."""

    UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    OUTAGES = ("refuses", "hangs", "says 503")

    def __init__(self):
        self.lock, self.released = threading.Lock(), threading.Event()
        self.last, self.lost, self.doubled, self.values = {}, 0, 0, 0
        self.outage = None
        super().__init__()

    def take(self, body):
        if self.outage == "hangs":
            self.released.wait()
            return b""
        if self.outage == "says 503":
            return self.UNAVAILABLE
        with self.lock:
            for line in body.splitlines():
                if line.startswith(b"/n/"):
                    self._follow(line)
        return self.NO_CONTENT

    def _follow(self, line):
        series, fields, _ = line.split(b" ")
        number = int(fields.rpartition(b"=")[2])
        last = self.last.get(series, 0)
        self.values += 1
        if number <= last:
            self.doubled += 1
            return
        self.lost += number - last - 1
        self.last[series] = number

    def fail(self, how):
        self.outage = how
        self.released.clear()
        if how == "refuses":
            self.down()

    def recover(self):
        how, self.outage = self.outage, None
        self.released.set()
        if how == "refuses":
            self.up()

    def close(self):
        self.released.set()
        super().close()


class Renamer:
    """An endpoint a part of whose metrics gets new names, each second."""

    def __init__(self):
        self.endpoint, self.step = sp.Endpoint(), 0
        self.rename()

    def rename(self):
        self.step += 1
        now = f"{time.time():.9f}"
        self.endpoint.publish(
            [sp.metric(f"/renamed/{part}/{self.step // part}/{i}", "int64", self.step, ts=now, bits=64)
             for part in (1, 7, 60) for i in range(10)] +
            [sp.metric("/text", "string", f"step {self.step} {'x' * (self.step % 50)}", ts=now)])

    def element(self):
        return self.endpoint.element("renamer", "app", INTERVAL)

    def close(self):
        self.endpoint.close()


class Asker(threading.Thread):
    """A client that asks one thing after another over a connection that it keeps."""

    PAUSE_S = 0.05

    def __init__(self, port):
        super().__init__()
        self.port, self.over = port, threading.Event()
        self.answered, self.failures, self.worst_s, self.random = 0, [], 0, random.Random(port)

    def requests(self):
        host = f"sim{self.random.randrange(NUMBERED):05d}"
        yield from ("/api/latest/n/003", f"/api/hosts/{host}/sim?history=5", "/api/endpoints",
                    "/api/latest/sim?format=text", "/metrics", "/metricsapi/", "/api/errors/",
                    "/api/writers", "/showAllApps", "/healthz",
                    f"/api/hosts/{host}/sim/n/001?history=60",
                    "/federate?match[]=%7Bjob%3D%22exporter%22%7D",
                    "/api/hosts/renamer/app?history=3")

    def ask(self, conn, path):
        begin = time.monotonic()
        conn.request("GET", path)
        answer = conn.getresponse()
        answer.read()
        self.worst_s = max(self.worst_s, time.monotonic() - begin)
        if answer.status != 200:
            self.failures.append(f"GET {path}: {answer.status}")
        self.answered += 1

    def run(self):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10 * sp.SLOW)
        with contextlib.closing(conn):
            while not self.over.is_set():
                for path in self.requests():
                    try:
                        self.ask(conn, path)
                    except (OSError, http.client.HTTPException) as error:
                        self.failures.append(f"GET {path}: {error!r}")
                        conn.close()
                    self.over.wait(self.PAUSE_S)


class Caller(Asker):
    """One that uses XML-RPC, has endpoints polled, registers some and takes them away."""

    PAUSE_S = 0.2

    def __init__(self, port, elements):
        super().__init__(port)
        self.elements = elements

    def requests(self):
        yield "latest"
        element = self.random.choice(self.elements)
        yield "PUT", f"api{self.random.randrange(10)}/app", {
            "address": element["address"], "port": element["port"], "interval": INTERVAL}
        yield "POST", f"{element['host']}/{element['app']}", None
        yield "DELETE", f"api{self.random.randrange(10)}/app", None

    def ask(self, conn, path):
        self.answered += 1
        if path == "latest":
            server = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{self.port}/RPC2")
            with server("close") and contextlib.closing(server("transport")):
                server.Scotty.Latest("/n/001")
            return
        method, name, body = path
        conn.request(method, f"/api/{'poll' if method == 'POST' else 'endpoints'}/{name}",
                     body and json.dumps(body))
        answer = conn.getresponse()
        text = answer.read()
        if answer.status >= 500 or answer.status == 400:
            self.failures.append(f"{method} {name}: {answer.status} {text}")


@dataclasses.dataclass
class Sample:
    """How scottyd is at the end of a cycle, when all servers are there."""
    at_s: float
    rss_kib: int
    store_kib: int
    disk_kib: int
    files: int
    threads: int
    late_ms: float
    cpu_s: float


def size_kib(directory):
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # gone meanwhile
                total += os.stat(os.path.join(where, name)).st_blocks
    return total // 2


def slope(points):
    """Per second, by the median of the slopes of all pairs (Theil-Sen)."""
    return statistics.median((y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(points)
                             for x2, y2 in points[i + 1:])


class Soak(contextlib.ExitStack):
    def __init__(self, seconds, cycle_s=60):
        super().__init__()
        self.seconds, self.cycle_s, self.samples, self.step = seconds, cycle_s, [], 0
        self.fleet = self.enter_context(ledger.Fleet(
            NUMBERED + sum(BAD.values()), METRICS, 0.5,
            *(word for way, n in BAD.items() for word in (f"-{way}", str(n)))))
        self.fleet.hosts = self.fleet.hosts[:NUMBERED]
        self.coming = self.simulate("coming", COMING, "-metrics", "100")
        self.stable = [
            *self.fleet.elements,
            *self.simulate("exporter", EXPORTERS, "-metrics", "100", "-prometheus",
                           source="prometheus"),
            *self.agents()]
        self.renamer = Renamer()
        self.callback(self.renamer.close)
        self.failing, self.steady, self.other = Numbers(), Numbers(), sinks.Acknowledger()
        for sink in (self.failing, self.steady, self.other):
            self.callback(sink.close)
        self.targets = os.path.join(self.fleet.directory, "targets.json")
        self.write_targets()
        self.scottyd = self.enter_context(sp.Scottyd(self.config(), state=self.fleet.state))
        self.askers = [Asker(self.scottyd.port), Asker(self.scottyd.port),
                       Caller(self.scottyd.port, self.coming)]

    def simulate(self, app, n, *flags, **more):
        """Elements of n endpoints of a simulator."""
        port = sp.free_port("0.0.0.0")
        self.enter_context(sp.FleetSim("-n", str(n), "-addresses", "-base", str(port), "-interval",
                                       INTERVAL, *flags))
        return [{"host": f"{app}{i}", "app": app, "address": f"127.1.0.{i}", "port": port,
                 "interval": INTERVAL, **more} for i in range(n)]

    def agents(self):
        sim = self.enter_context(snmp_agents.Sim(AGENTS))
        return [{"host": f"agent{i}", "app": "snmp", "address": sim.address(i), "port": sim.port,
                 "source": "snmp", "interval": INTERVAL,
                 "options": {"community": "public", "walk": ["1.3.6.1.2.1.2.2"]}}
                for i in range(AGENTS)]

    # What changes.

    def window(self):
        """Half of the endpoints that come and go, others each second; now and then another name."""
        for i in range(COMING // 2):
            yield dict(self.coming[(3 * self.step + i) % COMING])
        yield {**self.coming[self.step % COMING], "host": f"new{self.step // 10 % 60}"}

    def write_targets(self):
        """The list of a discovery: some endpoints, others each second."""
        chosen = [self.coming[(self.step + i) % COMING] for i in range(4)]
        groups = [{"targets": [f"{e['address']}:{e['port']}" for e in chosen],
                   "labels": {"step": str(self.step)}}]
        with open(self.targets + "~", "w", encoding="ascii") as f:
            json.dump(groups, f)
        os.rename(self.targets + "~", self.targets)

    def writers(self):
        """The last one is there in the first half of a cycle and in its last fifth."""
        directory = self.fleet.directory
        consumer = lambda name, **more: {"name": name, "batchSize": 1000, **more}
        writers = [
            sinks.influx(self.failing.port, "failing", more={"concurrency": 2}, timeout="2s"),
            sinks.influx(self.steady.port, "steady"),
            sinks.influx(self.other.port, "means", more={"rollUpSpan": "30s"}, schema="tagged"),
            {"file": {"path": os.path.join(directory, "lines"), "maxSize": "4MiB", "keep": 2},
             "consumer": consumer("lines")}]
        part = self.step % self.cycle_s / self.cycle_s
        if part < 0.5 or part >= 0.8:
            url = f"http://127.0.0.1:{self.other.port}/api/v1/write"
            writers.append({"prometheus": {"url": url}, "consumer": consumer("comes and goes")})
        return writers

    def config(self):
        return {"collection": {"frequency": INTERVAL, "pollTimeout": "5s", "connectTimeout": "2s",
                               "staleAfter": "5s"},
                "store": {"memory": f"{STORE_MIB}MiB", "diskSize": f"{DISK_MIB}MiB",
                          "journalSegment": "20s", "journalRestore": "6m"},
                "endpoints": [*self.stable, self.renamer.element(), *self.window()],
                "discovery": [{"fileSd": [self.targets], "app": "found", "interval": INTERVAL}],
                "writers": self.writers()}

    def next_step(self):
        """What happens in a second, which stands for a minute."""
        self.step += 1
        self.renamer.rename()
        self.write_targets()
        second = self.step % self.cycle_s
        if second == 1:
            self.failing.fail(Numbers.OUTAGES[self.step // self.cycle_s % len(Numbers.OUTAGES)])
        elif second == 1 + self.cycle_s // 6:
            self.failing.recover()
        if self.step % 10 == 5:
            self.scottyd.configure_raw("endpoints: 5\n")
        else:
            self.scottyd.configure(self.config())
        self.scottyd.reload()

    # What is watched.

    def sample(self):
        self.scottyd.check_log()
        del self.scottyd.lines[:-100]  # of reloads many come together
        rss = []
        for _ in range(5):
            rss.append(self.scottyd.status_kib("VmRSS"))
            time.sleep(0.1)
        return Sample(self.step, int(statistics.median(rss)),
                      self.scottyd.get_json("/metricsapi/store/bytesUsed")[0]["value"] >> 10,
                      size_kib(self.fleet.state), self.scottyd.open_files(),
                      self.scottyd.status_kib("Threads"),
                      self.fleet.sim.figures()["all", "good"]["p99_ms"], self.scottyd.cpu_seconds())

    def progress(self, now):
        before = self.samples[-2] if len(self.samples) > 1 else None
        cpu = "" if before is None else \
            f", CPU {(now.cpu_s - before.cpu_s) / (now.at_s - before.at_s):.0%}"
        print(f"{now.at_s:5.0f} s: RSS {now.rss_kib / 1024:.1f} MiB, store {now.store_kib / 1024:.1f}, "
              f"disk {now.disk_kib / 1024:.1f}; {now.files} fds, {now.threads} threads; lateness p99 "
              f"{now.late_ms:.1f} ms{cpu}; {sum(a.answered for a in self.askers)} requests, "
              f"{self.failing.values} + {self.steady.values} values, "
              f"{self.failing.lost + self.steady.lost} lost", flush=True)

    def run(self):
        self.fleet.sim.figures()
        for asker in self.askers:
            asker.start()
        try:
            begin = time.monotonic()
            while self.step < self.seconds:
                self.next_step()
                time.sleep(max(0, begin + self.step - time.monotonic()))
                if self.step % self.cycle_s == self.cycle_s - 1:  # all servers are there
                    self.samples.append(self.sample())
                    self.progress(self.samples[-1])
        finally:
            for asker in self.askers:
                asker.over.set()
            for asker in self.askers:
                asker.join()
        self.finish()

    def finish(self):
        """No more polls; then all is written."""
        config = self.config()
        self.scottyd.configure({**config, "endpoints": [], "discovery": []})
        self.failing.recover()
        self.scottyd.reload()
        for (host, app), one in self.scottyd.endpoints().items():
            if one["origin"] == "api":
                sp.ask(self.scottyd.port, "DELETE", f"/api/endpoints/{host}/{app}")
        names = ("failing", "steady", "lines")
        sp.eventually(lambda: all(sinks.writer(self.scottyd, name)["valuesNotWritten"] == 0
                                  for name in names), "all is written", 60)
        self.fares = {name: sinks.writer(self.scottyd, name) for name in names}
        self.newest = {host: max(self.fleet.history(self.scottyd, host)) for host in
                       self.fleet.hosts}

    # What is to be thought of it.

    def lost(self, sink):
        """Samples that did not come to a sink, those after the last that came included."""
        last = dict.fromkeys(self.newest, 0)
        for series, number in sink.last.items():
            if series.startswith(b"/n/000,"):
                last[re.search(rb"\bhost=(\w+)", series)[1].decode()] = number
        return sink.lost + sum(self.newest[host] - last[host] for host in last)

    def rss_verdict(self):
        """After the first day: until then store and disk fill up, which takes the heap its time."""
        settled = [s for s in self.samples if s.at_s >= DAY_S]
        if len(settled) < ENOUGH:
            last = self.samples[-1].rss_kib
            return "RSS, growth per day", "", f"{last} KiB", "longer than 30m", True
        rss = slope([(s.at_s, s.rss_kib) for s in settled]) * DAY_S
        share = rss / statistics.median(s.rss_kib for s in settled)
        return ("RSS, growth per day", f"{settled[0].rss_kib} KiB",
                f"{settled[-1].rss_kib} KiB, {share:+.2%}", f"{RSS_PER_DAY:.0%}",
                share < RSS_PER_DAY)

    def verdicts(self):
        """(what, at the begin, at the end, at most, whether that is fine)"""
        # By then the store is full, each name has been there, and memory has found its places.
        after = self.samples[len(self.samples) // 2:]
        third = max(1, len(after) // 3)
        early, late = after[:third], after[-third:]

        def compared(what, key, more, unit=""):
            a, b = (statistics.median(getattr(s, key) for s in part) for part in (early, late))
            return what, f"{a:g}{unit}", f"{b:g}{unit}", f"{a + more:g}{unit}", b <= a + more

        yield self.rss_verdict()
        enough = len(after) >= ENOUGH
        yield compared("file descriptors", "files", FEW)
        yield compared("threads", "threads", 0)
        yield compared("lateness p99", "late_ms",
                       (LATE_MS if enough else LATE_FEW_MS) * sp.SLOW, " ms")
        disk = max(s.disk_kib for s in after)
        # The journal and what is about to be sealed count on top.
        yield ("disk", f"{early[0].disk_kib} KiB", f"{disk} KiB", f"{2 * DISK_MIB} MiB",
               disk < 2 * DISK_MIB << 10)

    def all_verdicts(self):
        yield from self.verdicts()
        lost = [self.lost(sink) for sink in (self.failing, self.steady)]
        yield ("samples lost", "", f"{lost[0]} + {lost[1]} of {self.steady.values}", "0",
               lost == [0, 0])
        yield ("sent twice", "", f"{self.failing.doubled} + {self.steady.doubled}", "0 to who was up",
               self.steady.doubled == 0)
        bad = {name: [one[key] for key in ("missed", "refused")] for name, one in self.fares.items()}
        yield ("missed, refused by writers", "", str(list(bad.values())), "0",
               all(v == [0, 0] for v in bad.values()))
        failures = [f for asker in self.askers for f in asker.failures]
        yield (f"requests failed{', as ' + failures[0] if failures else ''}", "",
               f"{len(failures)} of {sum(a.answered for a in self.askers)}", "0", not failures)

    def report(self):
        """Prints the table. True if all is well."""
        rows = list(self.all_verdicts())
        for what, begin, end, limit, fine in rows:
            print(f"{what:34} {begin:>14} {end:>26} {limit:>16}  {'ok' if fine else 'NOT FINE'}")
        return all(row[-1] for row in rows)


def soak(seconds, cycle_s=60):
    """True if all is well."""
    with Soak(seconds, cycle_s) as it:
        it.run()
        return it.report()


def main(args):
    found = re.fullmatch(r"(\d+)(s|m|h)", args[0]) if len(args) == 1 else None
    if args and found is None:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else DAY_S
    return 0 if soak(seconds) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
