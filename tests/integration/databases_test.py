"""Writers of OpenTSDB, Graphite, remote write and LMM: against VictoriaMetrics, Prometheus and carbon,
and against servers that misbehave."""
import json
import os
import re
import signal
import socket
import struct
import time
import unittest

import databases as db
import scottyd_proc as sp
import sinks

NAMES = ("/n/000", "/n/001", "/n/002")


def element(kind, name, batch=1000, **options):
    return {kind: options, "consumer": {"name": name, "batchSize": batch}}


def special_metrics():
    """One metric for each character, and one of each kind."""
    now = f"{time.time():.9f}"
    special = "".join(chr(c) for c in range(1, 127) if chr(c) not in "/") + "é\u2028😀"
    metrics = [sp.metric(f"/z/{i:04}x{c}y", "int64", i, ts=now, group=1, bits=64)
               for i, c in enumerate(special)]
    ranges = [{"upper": 0.5, "count": 1}, {"lower": 0.5, "upper": 10, "count": 2},
              {"lower": 10, "count": 3}]
    metrics += [
        sp.metric("/zz/bool", "bool", True, ts=now, group=1),
        sp.metric("/zz/dist", "distribution",
                  {"min": 0.25, "max": 20, "average": 6, "median": 5, "sum": 36, "count": 6,
                   "generation": 1, "ranges": ranges}, ts=now, group=1),
        sp.metric("/zz/f32", "float32", 0.5, ts=now, group=1, bits=32),
        sp.metric("/zz/f64", "float64", 1.0e-9, ts=now, group=1, bits=64),
        sp.metric("/zz/f64big", "float64", 1e300, ts=now, group=1, bits=64),
        sp.metric("/zz/i64", "int64", -2**62, ts=now, group=1, bits=64),
        sp.metric("/zz/text", "string", "a \"b\"\n", ts=now, group=1),
        sp.metric("/zz/u64", "uint64", 2**64 - 1, ts=now, group=1, bits=64),
    ]
    return metrics


# The distribution's parts, by bucket.
BUCKETS = {"0.5": 1, "10": 3, "inf": 6}


def in_ms(values):
    return [(t // 10**6, v) for t, v in values]


def changes(values):
    """Without those that repeat the one before, which the API does not show."""
    return [one for i, one in enumerate(values) if i == 0 or one[1] != values[i - 1][1]]


def in_seconds(values):
    return {(t // 10**9, v) for t, v in values}


class DatabaseTest(unittest.TestCase):
    def start(self, config, **more):
        scottyd = sp.Scottyd(config, **more)
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        return scottyd

    def open(self, make, *args, **more):
        server = make(*args, **more)
        self.addCleanup(server.close)
        return server

    def stop_polling(self, scottyd, writers):
        """No more values: the configuration without endpoints; then all is written."""
        scottyd.configure({"writers": writers})
        scottyd.reload()
        # New values are looked for, and the lag is told, once a second.
        time.sleep(2.5)
        for one in writers:
            name = one["consumer"]["name"]
            sp.eventually(lambda: sinks.writer(scottyd, name)["lagSeconds"] == 0 and
                          sinks.writer(scottyd, name)["valuesWaiting"] == 0,
                          f"{name}: all written", 40)

    def run_for(self, seconds, writers, more=(), interval="100ms"):
        counter = self.open(sinks.Counter, more=more)
        scottyd = self.start({"endpoints": [counter.config(interval=interval)],
                              "writers": writers})
        time.sleep(seconds)
        self.stop_polling(scottyd, writers)
        return scottyd

    def api(self, scottyd):
        """{path: value} of what does not change. The newest value says that it is gone."""
        return {m["path"]: next(v["value"] for v in m["values"] if v["active"])
                for m in scottyd.get_json("/api/hosts/web1/count?history=60")
                if not m["path"].startswith("/n/")}


class RealVictoriaMetrics(DatabaseTest):
    def test_values_read_back_equal_those_of_the_api(self):
        vm = self.open(db.VictoriaMetrics)
        writers = [
            element("openTSDB", "tsdb", hostAndPort=f"127.0.0.1:{vm.tsdb_port}", precision="ms",
                    strings=False),
            element("graphite", "path", hostAndPort=f"127.0.0.1:{vm.graphite_port}", prefix="p"),
            element("graphite", "tags", hostAndPort=f"127.0.0.1:{vm.graphite_port}", form="tags",
                    prefix="t"),
            element("prometheus", "remote", url=f"http://127.0.0.1:{vm.port}/api/v1/write"),
        ]
        scottyd = self.run_for(3, writers, more=special_metrics())
        api = self.api(scottyd)
        count = len(api)
        for one in writers:
            status = sinks.writer(scottyd, one["consumer"]["name"])
            self.assertEqual((status["refused"], status["missed"], status["unwritable"]),
                             (0, 0, 0), one)
        for name in ("tsdb", "path", "tags"):  # the string
            self.assertGreater(sinks.writer(scottyd, name)["unsupported"], 0)
        self.assertEqual(sinks.writer(scottyd, "remote")["unsupported"], 0)

        self.check_opentsdb(vm, scottyd, api)
        self.check_graphite(vm, scottyd, api)
        self.check_remote_write(vm, scottyd, api)
        self.assertEqual(len(api), count)

    def assert_near(self, got, want, path):
        """VictoriaMetrics keeps decimal digits, which costs the last bit of some values."""
        self.assertLessEqual(abs(got - want), abs(want) * 4e-16, path)

    def check_opentsdb(self, vm, scottyd, api):
        tags = {"HostName": "web1", "appname": "count", "ipaddress": "127.0.0.1"}
        for path in NAMES:
            key = tuple(sorted({"__name__": path, **tags}.items()))
            want = in_ms(sinks.api_values(scottyd, path))
            # What it took can be searched a little later.
            sp.eventually(lambda: changes(vm.series('{HostName="web1"}').get(key, [])) == changes(want),
                          path, 20)
        found = vm.series('{HostName="web1"}')
        names = {db.unescape(dict(key)["__name__"]): values[-1][1] for key, values in found.items()}
        for path, value in api.items():
            if path not in ("/zz/text", "/zz/dist"):
                self.assert_near(names[path], float(value), path)
        buckets = {dict(key)["le"]: values[-1][1] for key, values in found.items()
                   if "le" in dict(key)}
        self.assertEqual(buckets, BUCKETS)
        self.assertEqual((names["/zz/dist.count"], names["/zz/dist.sum"]), (6, 36))

    def check_graphite(self, vm, scottyd, api):
        found = vm.series('{__name__=~"p[.].*"}')
        self.check_seconds({dict(key)["__name__"]: values for key, values in found.items()},
                           "p.web1.count.", scottyd, api)
        found = vm.series('{__name__=~"t[.].*"}')
        for key in found:
            labels = dict(key)
            self.assertEqual((labels["app"], labels["host"]), ("count", "web1"))
        by_name = {dict(key)["__name__"] + (".le=" + dict(key)["le"].replace(".", "_2E")
                                            if "le" in dict(key) else ""): values
                   for key, values in found.items()}
        self.check_seconds(by_name, "t.", scottyd, api)

    def check_seconds(self, found, prefix, scottyd, api):
        names = {}
        for name, values in found.items():
            self.assertTrue(name.startswith(prefix), name)
            path = "/" + "/".join(db.unescape(part) for part in name[len(prefix):].split("."))
            names[path] = values
        for path in NAMES:
            got = {(t // 1000, v) for t, v in names[path]}
            want = in_seconds(sinks.api_values(scottyd, path))
            self.assertLessEqual(want, got)
            self.assertEqual({v for _, v in want}, {v for _, v in got})
        for path, value in api.items():
            if path == "/zz/text":
                self.assertNotIn(path, names)
            elif path != "/zz/dist":
                self.assert_near(names[path][-1][1], float(value), path)
        for limit, value in BUCKETS.items():
            self.assertEqual(names["/zz/dist/bucket/le=" + limit][-1][1], value)
        self.assertEqual(names["/zz/dist/count"][-1][1], 6)

    def check_remote_write(self, vm, scottyd, api):
        check_remote_write(self, vm.series('{job="count"}'), scottyd, api, 4e-16)


def check_remote_write(test, found, scottyd, api, tolerance=0):
    """tolerance: how wrong a value may be, as a part of it."""
    labels = {"instance": "web1", "job": "count"}
    key_of = lambda name, **more: tuple(sorted({"__name__": name, **labels, **more}.items()))
    for path in NAMES:
        test.assertEqual(changes(found[key_of(path[1:].replace("/", "_"))]),
                         changes(in_ms(sinks.api_values(scottyd, path))))
    for path, value in api.items():
        if path == "/zz/text":
            test.assertEqual(found[key_of("zz_text_info", value=value)][-1][1], 1)
        elif path.startswith("/zz/") and path != "/zz/dist":
            got = found[key_of(path[1:].replace("/", "_"))][-1][1]
            test.assertLessEqual(abs(got - value), abs(value) * tolerance, path)
    for limit, value in BUCKETS.items():
        limit = limit.replace("inf", "+Inf")
        test.assertEqual(found[key_of("zz_dist_bucket", le=limit)][-1][1], value)
    test.assertEqual(found[key_of("zz_dist_sum")][-1][1], 36)
    test.assertEqual(found[key_of("zz_dist_count")][-1][1], 6)


class RealPrometheus(DatabaseTest):
    def test_values_read_back_and_an_outage_is_made_up_for(self):
        prometheus = self.open(db.Prometheus)
        writers = [element("prometheus", "w", batch=100,
                           url=f"http://127.0.0.1:{prometheus.port}/api/v1/write")]
        counter = self.open(sinks.Counter, more=special_metrics())
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        time.sleep(2)
        prometheus.end(signal.SIGKILL)
        sp.eventually(lambda: sinks.writer(scottyd)["state"] == "retrying", "retrying", 20)
        time.sleep(2)
        prometheus.start()
        self.stop_polling(scottyd, writers)
        check_remote_write(self, prometheus.series('{job="count"}'), scottyd, self.api(scottyd))
        self.assertEqual((sinks.writer(scottyd)["missed"], sinks.writer(scottyd)["unwritable"]),
                         (0, 0))

    def test_what_ended_has_no_value_any_more(self):
        prometheus = self.open(db.Prometheus)
        endpoint = self.open(sp.Endpoint)
        ranges = [{"upper": 0.5, "count": 1}, {"lower": 0.5, "count": 2}]
        dist = {"min": 0.25, "max": 20, "average": 6, "median": 5, "sum": 36, "count": 3,
                "generation": 1, "ranges": ranges}

        def publish(*paths):
            now = f"{time.time():.9f}"
            endpoint.publish([sp.metric(path, "distribution", dist, ts=now) if path == "/m/dist"
                              else sp.metric(path, "int64", 7, ts=now, bits=64)
                              for path in paths])

        publish("/m/dist", "/m/int", "/n")
        writers = [element("prometheus", "w",
                           url=f"http://127.0.0.1:{prometheus.port}/api/v1/write")]
        target = {"host": "web1", "app": "a", "address": "127.0.0.1", "port": endpoint.port,
                  "interval": "100ms", "tags": {"dc": "x y", "job": "other"}}
        scottyd = self.start({"endpoints": [target], "writers": writers})
        sp.eventually(lambda: len(prometheus.now('{dc="x y",exported_job="other"}')) == 4 + 1 + 1,
                      "all series, with the endpoint's tags", 20)
        # Two that the endpoint has no longer: Prometheus would show them for 5 minutes.
        publish("/n")
        sp.eventually(lambda: not prometheus.now('{__name__=~"m_.*"}'), "they ended", 20)
        self.assertEqual(len(prometheus.now("n")), 1)
        self.assertEqual(len(prometheus.series('{__name__=~"m_.*"}')), 4 + 1)
        publish("/m/int", "/n")
        sp.eventually(lambda: len(prometheus.now("m_int")) == 1, "back again", 20)
        # All of an endpoint that is there no longer.
        self.stop_polling(scottyd, writers)
        sp.eventually(lambda: not prometheus.now('{job="a"}'), "gone", 20)
        one = sinks.writer(scottyd)
        self.assertEqual((one["refused"], one["unwritable"]), (0, 0))

    def test_what_it_refuses_is_found(self):
        prometheus = self.open(db.Prometheus)
        # Far in the past: Prometheus takes nothing that is older than its head.
        old = sp.metric("/old", "int64", 5, ts=f"{time.time() - 7 * 86400:.9f}", group=7, bits=64)
        writers = [element("prometheus", "w",
                           url=f"http://127.0.0.1:{prometheus.port}/api/v1/write"),
                   element("prometheus", "wrong", url=f"http://127.0.0.1:{prometheus.port}/nope")]
        counter = self.open(sinks.Counter, more=[old])
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: sinks.writer(scottyd)["refused"] > 0, "refused", 20)
        sp.eventually(lambda: sinks.writer(scottyd, "wrong")["state"] == "refused", "wrong", 20)
        self.assertIn("404", sinks.writer(scottyd, "wrong")["lastWriteError"])
        self.stop_polling(scottyd, writers[:1])
        one = sinks.writer(scottyd)
        # And that it ended, a moment later.
        self.assertEqual((one["refused"], one["deadLettered"]), (2, 2))
        for path in NAMES:
            found = prometheus.series(path[1:].replace("/", "_"))
            self.assertEqual([changes(values) for values in found.values()],
                             [changes(in_ms(sinks.api_values(scottyd, path)))])


class RealCarbon(DatabaseTest):
    def test_values_read_back_and_an_outage_is_made_up_for(self):
        carbon = self.open(db.Carbon)
        writers = [element("graphite", "w", hostAndPort=f"127.0.0.1:{carbon.port}", batch=100)]
        counter = self.open(sinks.Counter, more=special_metrics())
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        time.sleep(2)
        # What carbon has read and not on disk yet goes with it: that is nothing, some seconds later.
        self.assertEqual(sp.ask(scottyd.port, "POST", "/api/writers/w/pause").status, 204)
        time.sleep(4)
        carbon.end()
        self.assertEqual(sp.ask(scottyd.port, "POST", "/api/writers/w/resume").status, 204)
        sp.eventually(lambda: sinks.writer(scottyd)["state"] == "retrying", "retrying", 20)
        self.assertIn("Connection refused", sinks.writer(scottyd)["lastWriteError"])
        time.sleep(2)
        carbon.start()
        self.stop_polling(scottyd, writers)
        want = {}
        for path in NAMES:
            values = want[self.name(path)] = {}
            for t, v in sinks.api_values(scottyd, path):
                values[t // 10**9] = v
            self.assertGreater(len(values), 4)
        sp.eventually(lambda: all(values.items() <= carbon.values(want)[name].items()
                                  for name, values in want.items()), "on carbon's disk", 20)
        for name, values in carbon.values(want).items():
            self.assertEqual(set(values.values()), set(want[name].values()))
        want = {self.name(path): float(value) for path, value in self.api(scottyd).items()
                if path not in ("/zz/text", "/zz/dist")}
        want["web1.count.zz.dist.bucket.le=10"] = 3
        sp.eventually(lambda: all(want[name] in values.values()
                                  for name, values in carbon.values(want).items()), "others", 20)
        self.assertEqual(sinks.writer(scottyd)["missed"], 0)

    @staticmethod
    def name(path):
        """é is two bytes for carbon, and for us."""
        return "web1.count" + "".join(
            "." if c == ord("/") else
            chr(c) if re.match(r"[A-Za-z0-9_-]", chr(c)) else f"_{c:02X}" for c in path.encode())


class BadOpenTSDB(DatabaseTest):
    """A stub that answers as OpenTSDB does to ?details."""

    def check_all_there(self, sink, scottyd, accepted):
        for path in NAMES:
            want = in_ms(sinks.api_values(scottyd, path))
            got = [(one["timestamp"], one["value"]) for one in accepted if one["metric"] == path]
            self.assertGreater(len(want), 3)
            self.assertEqual(sorted(got), got)
            self.assertEqual(changes(got), changes(want), path)

    def test_bad_points_are_told_apart_and_good_ones_not_sent_again(self):
        accepted = []
        is_bad = lambda one: isinstance(one["value"], str) or one["metric"] == "/zz/i64"

        def respond(number, objects):
            accepted.extend(one for one in objects if not is_bad(one))
            return db.opentsdb_details(objects, is_bad)

        sink = self.open(db.JsonSink, respond)
        writers = [element("openTSDB", "w", hostAndPort=f"127.0.0.1:{sink.port}",
                           precision="ms")]
        scottyd = self.run_for(2, writers, more=special_metrics())
        one = sinks.writer(scottyd)
        self.assertEqual(one["refused"], one["deadLettered"])
        self.assertEqual(one["retries"], 0)
        self.assertIn("Unable to parse value to a number", one["lastWriteError"] +
                      self.dead(scottyd))
        self.check_all_there(sink, scottyd, accepted)
        self.assertEqual(len(accepted), len({(p["metric"], p["timestamp"], str(p["tags"]))
                                             for p in accepted}))
        for length, objects, headers, path in sink.requests:
            self.assertEqual(path, "/api/put?details")
            self.assertLessEqual(length, 40960)
            self.assertEqual(headers["Content-Type"], "application/json; charset=UTF-8")
            for point in objects:
                for text in (point["metric"], *point["tags"], *point["tags"].values()):
                    self.assertRegex(text, r"\A[A-Za-z0-9_./-]+\Z")
        letters = {(json.loads(line)["path"]) for line in self.dead(scottyd).splitlines()}
        self.assertEqual(letters, {"/zz/text", "/zz/i64"})

    def dead(self, scottyd):
        with open(os.path.join(scottyd.state, "dead", "w.jsonl"), encoding="utf-8") as f:
            return f.read()

    def run_through(self, steps, **options):
        """Each step answers the next request; then all is well."""
        accepted, pending = [], list(steps)

        def respond(number, objects):
            step = pending.pop(0) if number > 0 and pending else None
            if step is not None:
                return step(objects) if callable(step) else step
            accepted.extend(objects)
            return 204, "", {}

        sink = self.open(db.JsonSink, respond)
        writers = [element("openTSDB", "w", hostAndPort=f"http://127.0.0.1:{sink.port}",
                           precision="ms", **options)]
        counter = self.open(sinks.Counter)
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: not pending, "all steps", 60)
        self.stop_polling(scottyd, writers)
        self.check_all_there(sink, scottyd, accepted)
        return sink, scottyd

    def test_refusals_that_pass(self):
        half = lambda handler: handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"fai")
        reset = lambda handler: handler.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        silent = lambda handler: time.sleep(3 * sp.SLOW)
        storage = lambda objects: db.opentsdb_details(objects, lambda _: True,
                                               "Storage exception: region server is gone")
        _, scottyd = self.run_through(
            [(503, "", {}), (429, "", {"Retry-After": "1"}), storage, lambda _: half,
             lambda _: reset, lambda _: silent], timeout=f"{sp.SLOW}s")
        self.assertEqual(sinks.writer(scottyd)["refused"], 0)

    def test_too_large_and_a_summary(self):
        large = lambda objects: (413, "", {}) if len(objects) > 1 else (204, "", {})
        self.run_through([large])
        accepted = []

        def respond(number, objects):
            bad = any(one["metric"] == "/n/001" for one in objects)
            if not bad:
                accepted.extend(objects)
            return db.opentsdb_details(objects, lambda one: one["metric"] == "/n/001", known=False)

        sink = self.open(db.JsonSink, respond)
        writers = [element("openTSDB", "w", hostAndPort=f"127.0.0.1:{sink.port}",
                           precision="ms")]
        scottyd = self.run_for(2, writers)
        one = sinks.writer(scottyd)
        self.assertGreaterEqual(one["refused"], len(sinks.api_values(scottyd, "/n/001")))
        got = [(p["timestamp"], p["value"]) for p in accepted if p["metric"] == "/n/000"]
        self.assertEqual(changes(got), changes(in_ms(sinks.api_values(scottyd, "/n/000"))))


class Lmm(DatabaseTest):
    def test_objects_are_those_of_upstream(self):
        steps = [(500, "", {}), (429, "", {"Retry-After": "1"})]
        accepted = []

        def respond(number, objects):
            if number > 0 and steps:
                return steps.pop(0)
            accepted.extend(objects)
            return 200, "ok", {}

        sink = self.open(db.JsonSink, respond)
        writers = [element("lmm", "w", endpoint=f"http://127.0.0.1:{sink.port}/lmm",
                           tenantId="T", apiKey="K", gzip=True, region="ignored")]
        counter = self.open(sinks.Counter, more=special_metrics())
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: not steps, "steps", 30)
        self.stop_polling(scottyd, writers)
        for _, objects, headers, path in sink.requests:
            self.assertEqual((path, headers["tenantid"], headers["apikey"],
                              headers["Content-Type"]), ("/lmm", "T", "K", "application/json"))
        for path in NAMES:
            want = [(t // 10**6, v) for t, v in sinks.api_values(scottyd, path)]
            got = [(self.ms(one["@timestamp"]), one["value"]) for one in accepted
                   if one["name"] == path]
            self.assertEqual(changes(got), changes(want))
        by_name = {one["name"]: one for one in accepted}
        for path, value in self.api(scottyd).items():
            one = by_name[path]
            self.assertEqual((one["host"], one["appname"], one["ipaddress"], one["apikey"],
                              one["tenant_id"], one["@version"]),
                             ("web1", "count", "127.0.0.1", "K", "T", "1"))
            if path == "/zz/text":
                self.assertEqual((one["stringValue"], one["value"]), (value, 0))
            elif path != "/zz/dist":
                self.assertEqual(float(one["value"]), float(value))
        dist = by_name["/zz/dist"]
        self.assertEqual((dist["count"], dist["sum"], dist["le_10"], dist["le_inf"]),
                         (6, 36, 3, 6))

    @staticmethod
    def ms(stamp):
        seconds, millis = stamp[:-1].split(".")
        parsed = time.strptime(seconds + " UTC", "%Y-%m-%dT%H:%M:%S %Z")
        return int(time.mktime(parsed) - time.timezone) * 1000 + int(millis)


class BadGraphite(DatabaseTest):
    """What a server that only reads may do wrong: in the end all of it is there."""

    def check_all_there(self, sink, scottyd):
        for path in NAMES:
            want = [(t // 10**9, v) for t, v in sinks.api_values(scottyd, path)]
            got = sink.values("web1.count" + path.replace("/", "."))
            self.assertGreater(len(want), 3)
            # What was read before it went wrong came again.
            self.assertEqual(changes(sorted(set(got))), changes(want))

    def test_servers_that_do_not_read_all(self):
        def silent(sink, sock):
            time.sleep(2 * sp.SLOW)

        def reset(sink, sock):
            sock.recv(10)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def early_end(sink, sock):
            sock.recv(10)

        def at_once(sink, sock):
            pass

        def slow(sink, sock):
            sink.read_all(sock, 50)

        def answers(sink, sock):
            sock.sendall(b"hello\n")
            sink.read_all(sock)

        steps = [silent, reset, early_end, at_once, slow, answers]
        sink = self.open(db.LineSink, steps)
        writers = [element("graphite", "w", hostAndPort=f"127.0.0.1:{sink.port}",
                           timeout=f"{sp.SLOW}s")]
        counter = self.open(sinks.Counter)
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: sink.connections > 0, "first connection", 20)
        files = scottyd.open_files()
        sp.eventually(lambda: not sink.pending, "all steps", 60)
        self.stop_polling(scottyd, writers)
        self.check_all_there(sink, scottyd)
        self.assertEqual(sinks.writer(scottyd)["retries"], 4)
        self.assertLessEqual(scottyd.open_files(), files + 1)

    def test_names_are_looked_up_and_a_hanging_server_does_not_hold_up_the_end(self):
        hang = lambda sink, sock: time.sleep(5 * sp.SLOW)
        sink = self.open(db.LineSink, [hang])
        counter = self.open(sinks.Counter)
        writers = [element("graphite", "w", hostAndPort=f"localhost:{sink.port}"),
                   element("graphite", "unknown", hostAndPort="no-such-host.invalid")]
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: sinks.writer(scottyd, "unknown")["state"] == "retrying",
                      "unknown name", 30)
        self.assertIn("no-such-host.invalid:2003: address:",
                      sinks.writer(scottyd, "unknown")["lastWriteError"])
        sp.eventually(lambda: sink.connections > 1, "it hangs", 20)
        code, seconds = scottyd.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, 4 * sp.SLOW)


class Configuration(DatabaseTest):
    def test_upstreams_samples_load(self):
        sample = {"writers": [
            {"openTSDB": {"hostAndPort": "127.0.0.1:4242"},
             "consumer": {"name": "main tsdb", "batchSize": 500, "paused": True}},
            {"lmm": {"endpoint": "http://127.0.0.1:1/", "tenantId": "t", "apiKey": "k",
                     "name": "async", "region": "r"},
             "consumer": {"name": "lmm", "paused": True}}]}
        scottyd = self.start(sample)
        self.assertEqual([w["writer"] for w in scottyd.get_json("/api/writers")],
                         ["openTSDB", "lmm"])


if __name__ == "__main__":
    sp.main()
