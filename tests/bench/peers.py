#!/usr/bin/env python3
"""The benchmark of peers: scottyd, Prometheus and vmagent poll the same simulated exporters.

usage: peers.py [-quick] [-endpoints N] [-metrics N] [-table FILE] [INTERVAL...]

One after the other, each alone on one processor, at the INTERVALs given in seconds (1 and 10).
-quick measures for a shorter time. -table writes what is printed as Markdown. SCOTTY_BIN names the
directory of the programs. A peer that is not installed is left out, and named.

A sample is one series of one endpoint at one poll, counted at the simulator: of all peers alike. CPU
seconds are those of the whole process, with all that it does to what it polls: scottyd keeps it in
memory, Prometheus in memory and a log on disk, vmagent sends it on to a server that throws it away.
"""
import contextlib
import datetime
import http.server
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import sweep  # noqa: E402 (needs the path above)
from sweep import sp  # noqa: E402

MIB = 1 << 20


class Peer:
    """A collector as a child process of ours, on the collector's processor."""

    name = ""

    def __init__(self, sim, interval_s):
        self.dir = tempfile.mkdtemp(prefix="peers-")
        self.stack = contextlib.ExitStack()
        self.stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        with sweep.children_on(sweep.COLLECTOR):
            self.pid = self.start(sim, interval_s)

    def spawn(self, *args):
        log = self.stack.enter_context(open(os.path.join(self.dir, "log"), "wb"))
        child = subprocess.Popen(args, stdout=log, stderr=log, cwd=self.dir)
        self.stack.callback(child.wait)
        self.stack.callback(child.send_signal, signal.SIGTERM)
        return child.pid

    def scrape_config(self, sim, interval_s):
        """JSON is YAML."""
        targets = [f"{e['address']}:{e['port']}" for e in sim.endpoints]
        path = os.path.join(self.dir, "peer.yml")
        with open(path, "w", encoding="ascii") as f:
            json.dump({"global": {"scrape_interval": f"{interval_s}s",
                                  "scrape_timeout": f"{interval_s}s"},
                       "scrape_configs": [{"job_name": "sim",
                                           "static_configs": [{"targets": targets}]}]}, f)
        return path

    def cpu_seconds(self):
        return sp.cpu_seconds(self.pid)

    def rss(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            line = next(line for line in f if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def close(self):
        self.stack.close()


class Scotty(Peer):
    name = "scottyd"

    @classmethod
    def missing(cls):
        return None

    def start(self, sim, interval_s):
        config = {"collection": {"frequency": f"{interval_s}s"}, "store": {"memory": "3GiB"},
                  "endpoints": [{**e, "source": "prometheus"} for e in sim.endpoints]}
        return self.stack.enter_context(sp.Scottyd(config)).child.pid


class Prometheus(Peer):
    name = "Prometheus"

    @classmethod
    def missing(cls):
        return None if shutil.which("prometheus") else "prometheus is not installed"

    def start(self, sim, interval_s):
        config = self.scrape_config(sim, interval_s)
        return self.spawn("prometheus", f"--config.file={config}",
                          f"--web.listen-address=127.0.0.1:{sp.free_port()}",
                          f"--storage.tsdb.path={self.dir}/data", "--log.level=warn")


class Vmagent(Peer):
    name = "vmagent"

    @classmethod
    def missing(cls):
        return None if shutil.which("vmagent") else "no vmagent in PATH"

    def start(self, sim, interval_s):
        class Sink(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", sp.free_port()), Sink)
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        config = self.scrape_config(sim, interval_s)
        return self.spawn("vmagent", f"-promscrape.config={config}",
                          f"-httpListenAddr=127.0.0.1:{sp.free_port()}",
                          f"-remoteWrite.tmpDataPath={self.dir}/queue",
                          f"-remoteWrite.url=http://127.0.0.1:{server.server_address[1]}/write")


PEERS = (Scotty, Prometheus, Vmagent)


class Simulator:
    """The exporters, on a processor of their own."""

    def __init__(self, endpoints, metrics, stack):
        base = sp.free_port()
        self.metrics = metrics
        with tempfile.NamedTemporaryFile("r", encoding="ascii") as config:
            with sweep.children_on(sweep.SIMULATOR):
                self.sim = stack.enter_context(sp.FleetSim(
                    "-n", str(endpoints), "-metrics", str(metrics), "-prometheus", "-addresses",
                    "-base", str(base), "-write-config", config.name))
            text = config.read()
        lines = [line.strip("- {}\n") for line in text.splitlines() if line.startswith("- ")]
        fields = [dict(f.split(": ") for f in line.split(", ")) for line in lines]
        self.endpoints = [{"host": f["host"], "app": f["app"], "address": f["address"],
                           "port": int(f["port"])} for f in fields]

    def answers(self):
        """Since it was last asked."""
        return self.sim.figures()["process", "any"]["answers"]


class Figures:
    def __init__(self, peer, sim, seconds):
        sim.answers()
        begin, cpu = time.monotonic(), peer.cpu_seconds()
        time.sleep(seconds)
        answers = sim.answers()
        self.seconds = time.monotonic() - begin
        self.cpu = peer.cpu_seconds() - cpu
        self.samples = answers * sim.metrics
        self.rss = peer.rss()

    @property
    def ns_per_sample(self):
        return self.cpu / self.samples * 1e9


def measure(cls, sim, interval_s, seconds):
    peer = cls(sim, interval_s)
    try:
        # Until all were polled and their series made, and then once more.
        time.sleep(max(5, 2.5 * interval_s))
        return Figures(peer, sim, seconds)
    finally:
        peer.close()


def row(interval_s, name, f, least):
    ratio = ("1", "1") if f is least else (f"{f.ns_per_sample / least.ns_per_sample:.1f}",
                                           f"{f.rss / least.rss:.1f}")
    return (f"{interval_s:g} s", name, f"{f.samples / f.seconds:,.0f}",
            f"{100 * f.cpu / f.seconds:.1f}%", f"{f.ns_per_sample:,.0f} ns", ratio[0],
            f"{f.rss / MIB:,.0f} MiB", ratio[1])


COLUMNS = ("every", "collector", "samples/s", "of a processor", "CPU a sample", "ratio", "RSS",
           "ratio")


def table(rows, notes):
    lines = ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(lines + [""] + notes)


def parse_arguments(arguments):
    options = {"endpoints": 1000, "metrics": 310, "quick": False, "table": None, "intervals": []}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "-quick":
            options["quick"] = True
        elif word in ("-endpoints", "-metrics") and rest:
            options[word[1:]] = int(rest.pop(0))
        elif word == "-table" and rest:
            options["table"] = rest.pop(0)
        elif not word.startswith("-"):
            options["intervals"].append(float(word))
        else:
            print(__doc__)
            sys.exit(0 if word in ("-help", "--help") else 2)
    options["intervals"] = [int(i) if i == int(i) else i for i in options["intervals"]] or [1, 10]
    return options


def main():
    options = parse_arguments(sys.argv[1:])
    rows, notes, peers = [], [], []
    for cls in PEERS:
        why = cls.missing()
        if why is None:
            peers.append(cls)
        else:
            notes.append(f"{cls.name} was skipped: {why}.")
            print(notes[-1], flush=True)
    notes.append(f"{options['endpoints']:,} endpoints of {options['metrics']:,} series, "
                 f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} processors.")
    with contextlib.ExitStack() as stack:
        sim = Simulator(options["endpoints"], options["metrics"], stack)
        for interval_s in options["intervals"]:
            seconds = (2 if options["quick"] else 6) * max(interval_s, 5)
            least = None
            for cls in peers:
                figures = measure(cls, sim, interval_s, seconds)
                least = least or figures
                rows.append(row(interval_s, cls.name, figures, least))
                print("  ".join(rows[-1]), flush=True)
    text = table(rows, notes)
    if options["table"]:
        with open(options["table"], "w", encoding="utf-8") as f:
            f.write(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
