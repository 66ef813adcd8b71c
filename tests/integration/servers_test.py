"""All real servers at once: one scottyd writes the same to InfluxDB, VictoriaMetrics in four ways,
Prometheus and carbon, while they stand still, end and begin again. In the end each has what
/api/hosts says, no more and no less."""
import os
import signal
import time
import unittest

import databases as db
import ledger
import scottyd_proc as sp
import sinks

NS_PER_MS, NS_PER_S = 10**6, 10**9


def element(kind, name, **options):
    return {kind: {"timeout": f"{2 * sp.SLOW:g}s", **options},
            "consumer": {"name": name, "batchSize": 100}}


def kinds(now):
    """A metric of each kind that a number can be made of, and a distribution."""
    ranges = [{"upper": 0.5, "count": 1}, {"lower": 0.5, "upper": 10, "count": 2},
              {"lower": 10, "count": 3}]
    return [
        sp.metric("/zz/bool", "bool", True, ts=now),
        sp.metric("/zz/dist", "distribution",
                  {"min": 0.25, "max": 20, "average": 6, "median": 5, "sum": 36, "count": 6,
                   "generation": 1, "ranges": ranges}, ts=now),
        sp.metric("/zz/f32", "float32", 0.5, ts=now, bits=32),
        sp.metric("/zz/f64", "float64", 1.0e-9, ts=now, bits=64),
        sp.metric("/zz/i64", "int64", -2**53, ts=now, bits=64),
        sp.metric("/zz/text", "string", "a \"b\"\n", ts=now),
        sp.metric("/zz/u64", "uint64", 2**53, ts=now, bits=64),
    ]


class Servers(unittest.TestCase):
    def open(self, make, *args):
        server = make(*args)
        self.addCleanup(server.close)
        return server

    def setUp(self):
        self.influxd, self.vm = self.open(sinks.Influxd), self.open(db.VictoriaMetrics)
        self.prometheus, self.carbon = self.open(db.Prometheus), self.open(db.Carbon)
        self.servers = [self.influxd, self.vm, self.prometheus, self.carbon]
        http = lambda port: f"http://127.0.0.1:{port}"
        self.writers = [
            element("influx", "influxd", hostAndPort=http(self.influxd.port), database="d"),
            element("influx", "vm-influx", hostAndPort=http(self.vm.port), database="d"),
            element("openTSDB", "vm-tsdb", hostAndPort=f"127.0.0.1:{self.vm.tsdb_port}",
                    precision="ms", strings=False),
            element("graphite", "vm-graphite", hostAndPort=f"127.0.0.1:{self.vm.graphite_port}",
                    prefix="p"),
            element("prometheus", "vm-remote", url=http(self.vm.port) + "/api/v1/write"),
            element("prometheus", "prometheus", url=http(self.prometheus.port) + "/api/v1/write"),
            element("graphite", "carbon", hostAndPort=f"127.0.0.1:{self.carbon.port}"),
        ]
        self.names = [one["consumer"]["name"] for one in self.writers]

    # What each has of a metric: {time in its unit: value}.

    def in_influxd(self, host, path):
        series = self.influxd.query(f'SELECT value FROM "{path}" WHERE host=\'{host}\'')
        return {t: value for t, value in series[0]["values"]} if series else {}

    def in_vm(self, **labels):
        labels = ",".join(f'{key}="{value}"' for key, value in labels.items())
        found = list(self.vm.series("{" + labels + "}").values())
        self.assertLessEqual(len(found), 1, labels)
        return dict(found[0]) if found else {}

    def in_prometheus(self, host, path):
        name = path[1:].replace("/", "_")
        found = list(self.prometheus.series(f'{name}{{instance="{host}"}}').values())
        self.assertLessEqual(len(found), 1, path)
        return dict(found[0]) if found else {}

    def in_carbon(self, host, path):
        name = host + ".sim" + path.replace("/", ".")
        return self.carbon.values([name])[name]

    def found(self, host, path):
        """{writer: (what its server has, ns of a unit of its time)}"""
        dots, underscores = path.replace("/", "."), path[1:].replace("/", "_")
        seconds_of_ms = lambda values: {t // 1000: v for t, v in values.items()}
        return {
            "influxd": (self.in_influxd(host, path), 1),
            "vm-influx": (self.in_vm(__name__=f"{path}_value", host=host), NS_PER_MS),
            "vm-tsdb": (self.in_vm(__name__=path, HostName=host), NS_PER_MS),
            "vm-graphite": (seconds_of_ms(self.in_vm(__name__=f"p.{host}.sim{dots}")), NS_PER_S),
            "vm-remote": (self.in_vm(__name__=underscores, instance=host), NS_PER_MS),
            "prometheus": (self.in_prometheus(host, path), NS_PER_MS),
            "carbon": (self.in_carbon(host, path), NS_PER_S),
        }

    def differing(self, fleet, scottyd, host, path):
        """The first server that does not have what the API says; None: all have."""
        history = fleet.history(scottyd, host, path)
        self.assertGreater(len(history), 4)
        for name, (got, unit) in self.found(host, path).items():
            want = {}
            for number, ns in history.items():  # two may be of the same second
                want.setdefault(ns // unit, set()).add(number)
            if want.keys() != got.keys() or any(v not in want[t] for t, v in got.items()):
                return name, sorted(want.items()), sorted(got.items())
        return None

    def lags(self, scottyd):
        return {name: sinks.writer(scottyd, name)["lagSeconds"] for name in self.names}

    def wait_behind(self, scottyd, names):
        sp.eventually(lambda: all(self.lags(scottyd)[name] > 4 for name in names), "behind", 30)

    def wait_level(self, scottyd):
        sp.eventually(lambda: max(self.lags(scottyd).values()) < 3 * sp.SLOW, "caught up", 75)

    def signal_all(self, sig):
        for server in self.servers:
            os.kill(server.child.pid, sig)

    def test_they_stand_still_end_and_begin_again(self):
        fleet = ledger.Fleet(3, 4, 1)
        self.addCleanup(fleet.close)
        config = fleet.config(self.writers)
        with sp.Scottyd(config, state=fleet.state) as scottyd:
            sp.eventually(lambda: all(sinks.writer(scottyd, name)["valuesWritten"] > 0
                                      for name in self.names), "it begins", 30)
            self.signal_all(signal.SIGSTOP)
            self.wait_behind(scottyd, self.names)
            self.signal_all(signal.SIGCONT)
            self.wait_level(scottyd)
            # VictoriaMetrics and carbon keep in memory what they have acknowledged: they may end,
            # carbon with some time before it, but not be killed.
            self.influxd.kill()
            self.prometheus.end(signal.SIGKILL)
            self.vm.end()
            self.wait_behind(scottyd, [name for name in self.names if name != "carbon"])
            for server in self.servers[:-1]:
                server.start()
            self.wait_level(scottyd)
            sp.eventually(lambda: all(len(fleet.history(scottyd, host, "/n/000")) > 4
                                      for host in fleet.hosts), "there is some history", 30)
            scottyd.configure({**config, "endpoints": []})
            scottyd.reload()
            for host in fleet.hosts:
                for path in ("/n/000", "/n/003"):
                    try:
                        sp.eventually(lambda: not self.differing(fleet, scottyd, host, path),
                                      f"{host}{path} is the same everywhere", 30)
                    except AssertionError as failure:
                        self.fail(f"{failure}: {self.differing(fleet, scottyd, host, path)}")
            for name in self.names:
                state = sinks.writer(scottyd, name)
                self.assertEqual((state["missed"], state["refused"], state["unwritable"]),
                                 (0, 0, 0), state)

    def test_a_value_of_each_kind(self):
        endpoint = self.open(sp.Endpoint, kinds(f"{time.time():.9f}"))
        config = {"endpoints": [endpoint.element("web1", "sim")], "writers": self.writers}
        want = {"/zz/bool": 1, "/zz/f32": 0.5, "/zz/f64": 1e-9, "/zz/i64": -2**53,
                "/zz/u64": 2**53}

        def differing():
            for path, value in want.items():
                for name, (got, _) in self.found("web1", path).items():
                    if set(got.values()) != {value}:
                        return path, name, got
            return None
        with sp.Scottyd(config) as scottyd:
            self.check_api(scottyd, want)
            try:
                sp.eventually(lambda: not differing(), "all are there", 30)
            except AssertionError as failure:
                self.fail(f"{failure}: {differing()}")
            self.check_distribution()
            text = self.influxd.query('SELECT value FROM "/zz/text"')[0]["values"][0][1]
            self.assertEqual(text, "a \"b\"\n")
            for name in ("vm-tsdb", "vm-graphite", "carbon"):  # of the string
                self.assertEqual(sinks.writer(scottyd, name)["unsupported"], 1)

    def check_api(self, scottyd, want):
        api = sp.eventually(lambda: {m["path"]: m["values"][0]["value"] for m in
                                     scottyd.get_json("/api/hosts/web1/sim?history=1")}, "polled")
        self.assertEqual({path: api[path] for path in want}, want)

    def check_distribution(self):
        fields = self.influxd.query('SELECT "count", "sum", "le_0.5", "le_10", "le_inf" FROM '
                                    '"/zz/dist"')[0]["values"][0]
        self.assertEqual(fields[1:], [6, 36, 1, 3, 6])
        for field, value in (("count", 6), ("sum", 36), ("le_0.5", 1), ("le_10", 3),
                             ("le_inf", 6)):
            got = sp.eventually(lambda: self.in_vm(__name__="/zz/dist_" + field), field, 20)
            self.assertEqual(set(got.values()), {value}, field)


if __name__ == "__main__":
    sp.main()
