"""Servers of every kind that scottyd writes to, which tally the numbered samples that arrive: sink_sim
and kafka_mock. They are fast enough for some 100,000 values a second each."""
import os
import subprocess

import kafka_peers as kp
import scottyd_proc as sp
import sinks

HTTP_KINDS = ("influx", "openTSDB", "lmm", "prometheus")
KINDS = (*HTTP_KINDS, "graphite", "kafka")


class Told(subprocess.Popen):
    """A program that does what its input tells it to, line by line."""

    def __init__(self, *args):
        super().__init__(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def tell(self, line):
        """The lines of its answer."""
        self.stdin.write(line + "\n")
        answer = []
        for got in self.stdout:
            if got == "ok\n":
                return answer
            answer.append(got.rstrip("\n"))
        raise AssertionError(f"{self.args[0]}: {line}: it ended")

    def close(self):
        self.stdin.close()
        self.wait()
        self.stdout.close()


class Tally:
    """What arrived at one sink. tell(verb, rest of the line) asks its program."""

    def __init__(self, kind, tell):
        self.kind, self.tell = kind, tell

    def figures(self):
        """{"values": n, "series": n, "doubled": n, "missing": n, "strays": n, ...}"""
        found = {}
        for word in self.tell("figures")[0].split():
            key, _, value = word.partition("=")
            found[key] = int(value) if value.isdigit() else value
        return found

    def count(self):
        return self.figures()["values"]

    def gaps(self):
        """[(time in ns, time in ns)] between which numbers were left out."""
        return [tuple(map(int, line.split())) for line in self.tell("gaps")]

    def last(self):
        """{host: (lowest, highest)} of the last numbers of its series."""
        return {host: (int(least), int(most))
                for host, least, most in (line.rsplit(" ", 2) for line in self.tell("last"))}


class Server(Tally):
    """A server of sink_sim."""

    def __init__(self, kind, port, tell):
        super().__init__(kind, tell)
        self.port = port

    def down(self):
        self.tell("down")

    def up(self):
        self.tell("up")

    def fault(self, what, number=0, seconds=0):
        """For the next request without one; see sink_sim.c."""
        self.tell("fault", f"{what} {number} {seconds}")

    def delay(self, ms):
        self.tell("delay", str(ms))

    def element(self, batch, name=None, more=None, **options):
        address = f"127.0.0.1:{self.port}"
        own = {"influx": {"hostAndPort": f"http://{address}", "database": "d", "gzip": False},
               "openTSDB": {"hostAndPort": address, "precision": "ms"},
               "lmm": {"endpoint": f"http://{address}/", "tenantId": "T", "apiKey": "K"},
               "prometheus": {"url": f"http://{address}/api/v1/write"},
               "graphite": {"hostAndPort": address}}[self.kind]
        return {self.kind: {**own, **options},
                "consumer": {"name": name or self.kind, "batchSize": batch, **(more or {})}}


class File(Tally):
    """What the writer `file` wrote, once it has: read() adds it to the tally."""

    def __init__(self, path, tell):
        super().__init__("file", tell)
        self.path = path

    def read(self):
        self.tell("read", self.path)

    def element(self, batch, name="file"):
        return {"file": {"path": self.path, "maxSize": "64GiB"},
                "consumer": {"name": name, "batchSize": batch}}


class Kafka(Tally):
    """The brokers of kafka_mock."""

    def __init__(self, cluster):
        super().__init__("kafka", cluster.tell)
        self.cluster = cluster
        self.figures()  # it begins to read

    def down(self):
        self.cluster.tell("down")

    def up(self):
        self.cluster.tell("up")

    def element(self, batch, name="kafka", more=None, **options):
        # The brokers keep few bytes, and what they forgot before it was read can't be counted.
        return kp.kafka(self.cluster.brokers, name, batch, more,
                        **{"compression": "lz4", **options})


class Servers:
    """One server of each kind, by kind, and perhaps more of them; files: paths."""

    def __init__(self, kinds=KINDS, files=()):
        # Brokers keep 100,000 records of a partition, and a host's backlog comes at once.
        self.cluster = kp.MockCluster(partitions=400) if "kafka" in kinds else None
        kinds = [kind for kind in kinds if kind != "kafka"]
        ports = [sp.free_port() for _ in kinds]
        self.program = Told(os.path.join(sp.BIN, "sink_sim"),
                            *(f"{kind}:{port}" for kind, port in zip(kinds, ports)),
                            *("file:0" for _ in files))
        if self.program.stdout.readline() != "ready\n":
            raise AssertionError("sink_sim did not start")
        self.servers = [Server(kind, port, self._teller(i))
                        for i, (kind, port) in enumerate(zip(kinds, ports))]
        self.files = [File(path, self._teller(len(kinds) + i)) for i, path in enumerate(files)]
        if self.cluster is not None:
            self.servers.append(Kafka(self.cluster))

    def _teller(self, i):
        return lambda verb, rest="": self.program.tell(f"{verb} {i} {rest}")

    def __iter__(self):
        """All tallies but those of files."""
        return iter(self.servers)

    def __getitem__(self, kind):
        return next(one for one in self.servers if one.kind == kind)

    def close(self):
        self.program.close()
        if self.cluster is not None:
            self.cluster.close()


def newest(fleet, scottyd):
    """{host: number} of the newest that scottyd has of each endpoint."""
    return {host: max(fleet.history(scottyd, host), default=0) for host in fleet.hosts}


def wait_complete(fleet, scottyd, tallies, seconds):
    """Until each tally ends with what scottyd has, of all metrics. Nothing is polled any more."""
    want = {host: (number, number) for host, number in newest(fleet, scottyd).items()}
    for tally in tallies:
        def missing():
            last = tally.last()
            return {host: (last.get(host), want.get(host)) for host in {*last, *want}
                    if last.get(host) != want.get(host)}
        try:
            sp.eventually(lambda: not missing(), f"{tally.kind} is complete", seconds)
        except AssertionError:
            raise AssertionError(f"{tally.kind}: {tally.figures()}; "
                                 f"{dict(list(missing().items())[:5])}") from None
    return want
