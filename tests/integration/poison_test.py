"""A few records among 10,000 that a server refuses or a writer can't say: the others all arrive, with
each writer."""
import json
import os
import tempfile
import time
import unittest

import databases as db
import kafka_peers as kp
import scottyd_proc as sp
import sinks

COUNT = 10000
GOOD = {f"/p/{i:04}" for i in range(COUNT)}
BAD_NAME = "/q/a b\t\r\n\"'\\;,=|{}<>%\x01\x7f\u00e9\u2028\U0001F600"
LONG = "/q/long"
TAG = "x\"y,z=\\ \u00e9;"


def element(kind, name, **options):
    return {kind: options, "consumer": {"name": name, "batchSize": 1000}}


class Poison(unittest.TestCase):
    def open(self, make, *args, **more):
        one = make(*args, **more)
        self.addCleanup(one.close)
        return one

    def write(self, *writers):
        """Has all of it polled once and written. The names of writers lead to how they fared."""
        now = f"{time.time():.9f}"
        long_ago = f"{time.time() - 7 * 86400:.9f}"
        many = self.open(sp.Endpoint, [
            *(sp.metric(path, "int64", i, ts=now, bits=64) for i, path in enumerate(sorted(GOOD))),
            sp.metric(BAD_NAME, "int64", 1, ts=now, bits=64),
            sp.metric(LONG, "string", "x" * 70000, ts=now),
            sp.metric("/q/old", "int64", 1, ts=long_ago, group=7, bits=64)])
        numbers = self.open(sp.Endpoint, b"no_number NaN\nmore_than_all +Inf\n")
        target = {"host": "web1", "address": "127.0.0.1", "interval": "1h",
                  "tags": {"d_c": TAG}}
        scottyd = sp.Scottyd({"writers": list(writers), "endpoints": [
            {**target, "app": "many", "port": many.port},
            {**target, "app": "numbers", "port": numbers.port, "source": "prometheus"}]}, grows=True)
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        self.assertEqual(sp.ask(scottyd.port, "POST", "/api/poll").status, 202)
        self.wait_written(scottyd)
        return {one["name"]: one for one in scottyd.get_json("/api/writers")}

    def wait_written(self, scottyd):
        def is_done():
            return all(one["valuesWritten"] + one["refused"] >= COUNT and one["valuesWaiting"] == 0
                       and one["lagSeconds"] == 0 and one["state"] == "idle"
                       for one in scottyd.get_json("/api/writers"))

        sp.eventually(is_done, "all written", 60)

    def check(self, one, refused, unwritable, unsupported=0):
        self.assertEqual((one["refused"], one["deadLettered"], one["unwritable"],
                          one["unsupported"], one["missed"]),
                         (refused, refused, unwritable, unsupported, 0), one)

    def test_influx(self):
        influxd = self.open(sinks.Influxd)
        one = self.write(sinks.influx(influxd.port))
        found = influxd.query("SHOW MEASUREMENTS")[0]["values"]
        names = {name for name, in found}
        self.assertLessEqual(GOOD, names)
        self.assertIn(LONG, names)
        self.assertEqual(len(names), COUNT + 3)
        self.check(one["w"], 0, 2)

    def test_influx_tagged(self):
        influxd = self.open(sinks.Influxd)
        one = self.write(sinks.influx(influxd.port, schema="tagged", gzip=True))
        names = {name for name, in influxd.query("SHOW MEASUREMENTS")[0]["values"]}
        self.assertLessEqual(GOOD, names)
        self.check(one["w"], 0, 2)

    def test_opentsdb(self):
        sink = self.open(db.JsonSink, lambda _, points: db.opentsdb_details(
            points, lambda one: isinstance(one["value"], str)))
        one = self.write(element("openTSDB", "w", hostAndPort=f"127.0.0.1:{sink.port}"))
        names = [point["metric"] for point in sink.objects()]
        self.assertLessEqual(GOOD, set(names))
        self.assertLessEqual(len(names), 2 * COUNT)
        self.assertIn(BAD_NAME, {db.unescape(name) for name in names})
        self.check(one["w"], 1, 2)

    def test_graphite(self):
        sink, tagged = self.open(db.LineSink), self.open(db.LineSink)
        one = self.write(
            element("graphite", "w", hostAndPort=f"127.0.0.1:{sink.port}"),
            element("graphite", "t", hostAndPort=f"127.0.0.1:{tagged.port}", form="tags"))
        names = [line.split()[0] for line in sink.lines]
        self.assertLessEqual({"web1.many" + path.replace("/", ".") for path in GOOD}, set(names))
        self.assertEqual((len(names), len(set(names))), (COUNT + 2, COUNT + 2))
        names = [line.split()[0] for line in tagged.lines]
        self.assertEqual(len(set(names)), COUNT + 2)
        for line in tagged.lines:
            self.assertIn(";app=many;host=web1;d_c=x_22y_2Cz_3D_5C_20_C3_A9_3B ", line)
        self.check(one["w"], 0, 2, 1)
        self.check(one["t"], 0, 2, 1)

    def test_prometheus(self):
        prometheus = self.open(db.Prometheus)
        one = self.write(
            element("prometheus", "w", url=f"http://127.0.0.1:{prometheus.port}/api/v1/write"))
        found = prometheus.now('{__name__=~"p_.*",d_c=%s}' % json.dumps(TAG, ensure_ascii=False))
        names = {dict(key)["__name__"] for key in found}
        self.assertEqual(names, {path[1:].replace("/", "_") for path in GOOD})
        self.assertEqual(len(prometheus.now("q_long_info")), 1)
        self.assertEqual(len(prometheus.now("no_number")) + len(prometheus.now("more_than_all")), 2)
        # What is older than a week is refused by the server.
        self.check(one["w"], 1, 0)

    def test_lmm(self):
        def respond(_, objects):
            bad = any(one["name"] in (LONG, BAD_NAME) for one in objects)
            return (400, "no", {}) if bad else None

        sink = self.open(db.JsonSink, respond)
        one = self.write(element("lmm", "w", endpoint=f"http://127.0.0.1:{sink.port}/",
                                 tenantId="t", apiKey="k", schema="tagged"))
        names = [o["name"] for _, objects, _, _ in sink.requests
                 if respond(0, objects) is None for o in objects]
        self.assertLessEqual(GOOD, set(names))
        self.assertEqual((len(names), len(set(names))), (COUNT + 1, COUNT + 1))
        self.check(one["w"], 2, 2)
        # 10 requests, and log2(1000) + 1 for each bad one.
        self.assertLessEqual(one["w"]["writeAttempts"], 11 + 2 * 11 + 1)

    def test_kafka(self):
        cluster = self.open(kp.MockCluster)
        reader = self.open(kp.Reader, cluster.brokers)
        one = self.write(*(kp.kafka(cluster.brokers, name, format=name, maxMessageSize=60000)
                           for name in ("lmm", "json", "influx")))
        sp.eventually(lambda: len(reader.messages) >= 3 * (COUNT + 2) + 2, "all read", 30)
        names = {"lmm": [], "json": [], "influx": []}
        for _, _, text in list(reader.messages):
            if not text.startswith("{"):
                names["influx"].append(text.split(",")[0])
            elif "hostName" in json.loads(text):
                names["json"].append(json.loads(text)["path"])
            else:
                names["lmm"].append(json.loads(text)["name"].replace("_", "/"))
        for name, found in names.items():
            with self.subTest(name):
                self.assertLessEqual(GOOD, set(found))
                self.assertEqual(len(found), len(set(found)))
                self.check(one[name], 1, 0 if name == "json" else 2)

    def test_file(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "records")
            one = self.write(element("file", "w", path=path))
            with open(path, encoding="utf-8") as f:
                objects = [json.loads(line) for line in f]
        names = [o["path"] for o in objects]
        self.assertLessEqual(GOOD, set(names))
        self.assertEqual((len(names), len(set(names))), (COUNT + 5, COUNT + 5))
        self.assertIn(BAD_NAME, names)
        self.assertEqual({o["endpointTags"]["d_c"] for o in objects}, {TAG})
        self.check(one["w"], 0, 0)


if __name__ == "__main__":
    sp.main()
