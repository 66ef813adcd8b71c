"""Writers against a real influxd and one that misbehaves: what arrives, and what happens when not."""
import json
import os
import socket
import tempfile
import time
import unittest

import scottyd_proc as sp
import sinks


def threads_of(scottyd):
    return len(os.listdir(f"/proc/{scottyd.child.pid}/task"))


class WriterTest(unittest.TestCase):
    def start(self, config, **more):
        scottyd = sp.Scottyd(config, **more)
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        return scottyd

    def sink(self, respond=None):
        sink = sinks.Sink(respond)
        self.addCleanup(sink.close)
        return sink

    def counter(self, **more):
        counter = sinks.Counter(**more)
        self.addCleanup(counter.close)
        return counter

    def influxd(self):
        influxd = sinks.Influxd()
        self.addCleanup(influxd.close)
        return influxd

    @staticmethod
    def other_goes_on(scottyd):
        """A writer that waits does not hold up the other: what that lags behind does not grow."""
        sp.eventually(lambda: sinks.writer(scottyd, "other")["lagSeconds"] < 3 * sp.SLOW,
                      "the other writer goes on")

    def stop_polling(self, scottyd, writers):
        """No more values: the configuration without endpoints; then all is written."""
        scottyd.configure({"writers": writers})
        scottyd.reload()
        name = writers[0]["consumer"]["name"]
        time.sleep(1.5 + sp.SLOW)  # what it says is as of a second ago
        sp.eventually(lambda: sinks.writer(scottyd, name)["lagSeconds"] == 0 and
                      sinks.writer(scottyd, name)["valuesWaiting"] == 0, "all written", 40)

    def check_same(self, sink, scottyd, paths=("/n/000", "/n/001", "/n/002"), duplicates=False):
        """The sink has what the store has, in order of time."""
        for path in paths:
            want = sinks.api_values(scottyd, path)
            got = sink.values(path)
            if duplicates:
                got = sorted(set(got))
            self.assertGreater(len(want), 5)
            # The store shows a value that stays the same once.
            self.assertEqual(sorted(got), got, path)
            self.assertEqual([v for v in got if v in set(want)], want, path)


class RealInflux(WriterTest):
    def test_values_read_back_equal_those_of_the_api(self):
        influxd = self.influxd()
        now = f"{time.time():.9f}"
        special = "".join(chr(c) for c in range(1, 127) if chr(c) not in "\n\r/") + "é\u2028😀"
        text = "".join(chr(c) for c in range(1, 256)) + "\U0001F600\\"
        more = [sp.metric(f"/z/{i:04}x{c}y", "int64", i, ts=now, bits=64)
                for i, c in enumerate(special)]
        more += [
            sp.metric("/zz/bool", "bool", True, ts=now),
            sp.metric("/zz/f32", "float32", 0.5, ts=now, bits=32),
            sp.metric("/zz/f64", "float64", 1.0e-9, ts=now, bits=64),
            sp.metric("/zz/f64big", "float64", 1e300, ts=now, bits=64),
            sp.metric("/zz/i64", "int64", -2**62, ts=now, bits=64),
            sp.metric("/zz/text", "string", text, ts=now),
            sp.metric("/zz/u64", "uint64", 2**64 - 1, ts=now, bits=64),
        ]
        counter = self.counter(more=more)
        writers = [sinks.influx(influxd.port)]
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        time.sleep(2)
        self.stop_polling(scottyd, writers)
        for path in ("/n/000", "/n/001", "/n/002"):
            series = influxd.query(f'SELECT value FROM "{path}" WHERE host=\'web1\'')
            self.assertEqual([tuple(v) for v in series[0]["values"]],
                             sinks.api_values(scottyd, path))
        found = {s["name"]: s["values"] for s in influxd.query('SELECT "name", value FROM /.*/')}
        api = {m["path"]: m["values"][0]["value"]
               for m in scottyd.get_json("/api/hosts/web1/count?history=60")}
        for path, value in api.items():
            name = path.replace("\\", "/") if path.endswith("\\") else path
            with self.subTest(path=path):
                self.assertIn(name, found)
                self.assertEqual(found[name][0][1], path)
                stored = found[name][0][2]
                if isinstance(value, str):
                    self.assertEqual(stored, value)
                elif not path.startswith("/n/"):
                    self.assertEqual(float(stored), float(value))
        self.assertEqual(set(found), set(api))
        self.assertEqual(sinks.writer(scottyd)["refused"], 0)

    def test_an_outage_is_made_up_for(self):
        influxd = self.influxd()
        counter = self.counter(series=50)
        mock = {"mock": {}, "consumer": {"name": "other"}}
        writers = [sinks.influx(influxd.port, batch=200), mock]
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        time.sleep(1)
        influxd.kill()
        time.sleep(5)
        self.assertEqual(sinks.writer(scottyd)["state"], "retrying")
        self.assertGreater(sinks.writer(scottyd)["lagSeconds"], 2)
        self.other_goes_on(scottyd)
        self.assertIn("Couldn't connect", sinks.writer(scottyd)["lastWriteError"])
        influxd.start()
        self.stop_polling(scottyd, writers)
        for path in ("/n/000", "/n/049"):
            series = influxd.query(f'SELECT value FROM "{path}"')
            self.assertEqual([tuple(v) for v in series[0]["values"]],
                             sinks.api_values(scottyd, path))
        self.assertEqual(sinks.writer(scottyd)["missed"], 0)
        sp.eventually(lambda: scottyd.has_line("writer: w: writes again"), "it is said")

    def test_answers_of_influxd(self):
        influxd = self.influxd()
        influxd.query('CREATE RETENTION POLICY short ON d DURATION 1h REPLICATION 1', "POST")
        influxd.query("CREATE DATABASE e", "POST")
        # A point whose type is another: the line is refused, the others are stored.
        sp.ask(influxd.port, "POST", "/write?db=d", '/n/001 value="text"')
        old = sp.metric("/old", "int64", 5, ts=f"{time.time() - 7200:.9f}", group=7, bits=64)
        counter = self.counter(more=[old])
        writers = [sinks.influx(influxd.port, "type", batch=50),
                   sinks.influx(influxd.port, "retention", retentionPolicy="short"),
                   sinks.influx(influxd.port, "no db", database="nope"),
                   sinks.influx(influxd.port, "no rp", retentionPolicy="nope"),
                   sinks.influx(influxd.port, "gzip", gzip=True, schema="tagged",
                                precision="ms", database="e")]
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: sinks.writer(scottyd, "type")["refused"] > 2, "refused", 20)
        sp.eventually(lambda: sinks.writer(scottyd, "retention")["refused"] == 1, "too old", 20)
        for name, why in (("no db", "404"), ("no rp", "retention policy not found")):
            sp.eventually(lambda: sinks.writer(scottyd, name)["state"] == "refused", name, 20)
            self.assertIn(why, sinks.writer(scottyd, name)["lastWriteError"])
        sp.eventually(lambda: sinks.writer(scottyd, "gzip")["valuesWritten"] > 2, "gzip", 20)
        self.stop_polling(scottyd, writers)
        one = sinks.writer(scottyd, "type")
        self.assertEqual(one["refused"], one["deadLettered"])
        self.assertIn("field type conflict", one["lastWriteError"] + self.dead(scottyd, "type"))
        series = influxd.query('SELECT value FROM "/n/000"')
        self.assertEqual([tuple(v) for v in series[0]["values"]][-5:],
                         sinks.api_values(scottyd, "/n/000")[-5:])

    def dead(self, scottyd, name):
        with open(os.path.join(scottyd.state, "dead", name + ".jsonl"), encoding="utf-8") as f:
            lines = f.read().splitlines()
        for line in lines:
            letter = json.loads(line)
            self.assertEqual((letter["writer"], letter["path"]), (name, "/n/001"))
        return lines[0]


class BadSinks(WriterTest):
    """What a server may do wrong (reliability B2, B3): in the end all of it is there."""

    def run_through(self, steps, duplicates=False, batch=1000, **options):
        """Each step is an answer to the next request, or a number of good ones."""
        pending = list(steps)

        def respond(_, number, lines):
            if not pending or number == 0:
                return 204, "", {}
            return pending.pop(0)

        sink = self.sink(respond)
        counter = self.counter()
        writers = [sinks.influx(sink.port, batch=batch, **options)]
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: len(sink.requests) > 0, "first request", 20)
        files, threads = scottyd.open_files(), threads_of(scottyd)
        sp.eventually(lambda: not pending, "all steps", 60)
        self.assertLessEqual(scottyd.open_files(), files + 1)
        self.assertEqual(threads_of(scottyd), threads)
        self.stop_polling(scottyd, writers)
        self.check_same(sink, scottyd, duplicates=duplicates)
        return sink, scottyd

    def test_statuses_that_mean_later(self):
        sink, scottyd = self.run_through(
            [(408, "", {}), (429, "", {"Retry-After": "3"}), (500, "oops", {}), (503, "", {})])
        self.assertEqual(sinks.writer(scottyd)["retries"], 4)
        times = [at for at, _, _, _ in sink.requests]
        self.assertGreater(times[3] - times[2], 2.9)  # as asked for
        self.assertGreater(times[2] - times[1], 0.9)
        # The same bytes again.
        self.assertEqual(sink.requests[1][1], sink.requests[2][1])

    def test_silence_drips_and_half_answers(self):
        def silent(handler):
            time.sleep(3 * sp.SLOW)

        def drip(handler):
            try:
                for byte in b"HTTP/1.1 204 No Content\r\n\r\n":
                    handler.wfile.write(bytes([byte]))
                    time.sleep(0.5 * sp.SLOW)
            except OSError:
                pass

        def half(handler):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        def close(handler):
            pass

        def reset(handler):
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        sink, scottyd = self.run_through([silent, drip, half, close, reset],
                                         timeout=f"{sp.SLOW}s")
        self.assertGreaterEqual(sinks.writer(scottyd)["retries"], 4)

    def test_a_slow_server_is_waited_for(self):
        def respond(_, number, lines):
            if number in (1, 2):
                time.sleep(10)
            return 204, "", {}

        sink = self.sink(respond)
        counter = self.counter()
        writers = [sinks.influx(sink.port), {"mock": {}, "consumer": {"name": "other"}}]
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: len(sink.requests) > 1, "second request", 20)
        threads = threads_of(scottyd)
        sp.eventually(lambda: sinks.writer(scottyd)["lagSeconds"] > 6, "it waits", 20)
        self.other_goes_on(scottyd)
        polled = counter.endpoint.requests
        sp.eventually(lambda: len(sink.requests) > 3, "goes on", 40)
        self.assertGreater(counter.endpoint.requests, polled + 20)
        self.assertEqual(threads_of(scottyd), threads)
        self.stop_polling(scottyd, writers)
        self.check_same(sink, scottyd)
        self.assertEqual((sinks.writer(scottyd)["retries"], sink.connections), (0, 1))

    def test_an_endless_answer_is_cut_off(self):
        def endless(handler):
            try:
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    handler.wfile.write(b"x" * 65536)
            except OSError:
                pass

        self.run_through([endless])

    def test_too_large(self):
        def respond(_, number, lines):
            return (413, "", {}) if len(lines) > 2 else (204, "", {})

        sink = self.sink(respond)
        counter = self.counter()
        writers = [sinks.influx(sink.port)]
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        time.sleep(3)
        self.stop_polling(scottyd, writers)
        self.check_same(sink, scottyd)
        self.assertEqual(sinks.writer(scottyd)["refused"], 0)

    def test_misconfigured_is_said_and_does_not_hammer(self):
        sink = self.sink(lambda *_: (401, "who are you", {}))
        counter = self.counter()
        scottyd = self.start({"endpoints": [counter.config()],
                              "writers": [sinks.influx(sink.port, username="u", password="p")]})
        sp.eventually(lambda: sinks.writer(scottyd)["state"] == "refused", "refused", 20)
        time.sleep(3)
        self.assertEqual(len(sink.requests), 1)
        self.assertIn("who are you", sinks.writer(scottyd)["lastWriteError"])
        self.assertEqual(sink.requests[0][2]["Authorization"], "Basic dTpw")
        sp.eventually(lambda: scottyd.has_line("refused, check its configuration"), "it is said")
        self.assertEqual(scottyd.value("web1", "count", "/n/000") is not None, True)

    def test_one_poisoned_record_among_many(self):
        def respond(_, number, lines):
            if any(line.startswith("/p/0777,") for line in lines):
                return 400, '{"error":"unable to parse"}', {}
            return 204, "", {}

        sink = self.sink(respond)
        endpoint = sp.Endpoint([sp.metric(f"/p/{i:04}", "int64", i, bits=64)
                                for i in range(10000)])
        self.addCleanup(endpoint.close)
        scottyd = self.start({
            "endpoints": [{"host": "web1", "app": "many", "address": "127.0.0.1",
                           "port": endpoint.port, "interval": "1h"}],
            "writers": [sinks.influx(sink.port)]})
        self.assertEqual(sp.ask(scottyd.port, "POST", "/api/poll").status, 202)
        sp.eventually(lambda: len(sink.lines) >= 9999, "the others", 30)
        time.sleep(0.5)
        paths = [line.split(",")[0] for line in sink.lines]
        self.assertEqual(len(paths), 9999)
        self.assertEqual(len(set(paths)), 9999)
        one = sinks.writer(scottyd)
        self.assertEqual((one["refused"], one["deadLettered"]), (1, 1))
        self.assertLessEqual(one["writeAttempts"], 10 + 10 + 1 + 1)

    def test_a_full_backlog_loses_the_oldest_and_says_how_many(self):
        sink = self.sink(lambda *_: (503, "", {}))
        base = sp.free_port(count=10)
        with sp.FleetSim("-n", "10", "-metrics", "500", "-base", str(base),
                         "-interval", "100ms"):
            endpoints = [{"host": f"web{i}", "app": "sim", "address": "127.0.0.1",
                          "port": base + i, "interval": "100ms"} for i in range(10)]
            writers = [sinks.influx(sink.port, batch=10000)]
            # Else what memory gives up would come from disk.
            store = {"memory": "1MiB", "diskRetention": "0s"}
            scottyd = self.start({"endpoints": endpoints, "store": store, "writers": writers})
            time.sleep(10)
            before = {e["hostName"]: e for e in scottyd.get_json("/api/endpoints")}
            kib = scottyd.status_kib("VmRSS")
            time.sleep(5)
            self.assertLess(scottyd.status_kib("VmRSS"), kib * 1.2 + 2048)
            for endpoint in scottyd.get_json("/api/endpoints"):
                self.assertEqual((endpoint["error"], endpoint["down"]), ("", False))
                self.assertGreater(float(endpoint["lastPoll"]),
                                   float(before[endpoint["hostName"]]["lastPoll"]))
            sink.respond = None
            scottyd.configure({"writers": writers, "store": store})
            scottyd.reload()
            sp.eventually(lambda: sinks.writer(scottyd)["lagSeconds"] == 0, "caught up", 90)
            one = sinks.writer(scottyd)
            self.assertGreater(one["missed"], 1000, scottyd.get("/metricsapi/store").body)
            self.assertEqual(one["valuesWritten"], len(sink.lines))
            said = [line for line in scottyd.lines if "too far behind" in line]
            self.assertIn(len(said), (1, 2, 3))  # once a minute

    def test_a_hanging_server_does_not_hold_up_the_end(self):
        sink = self.sink(lambda *_: lambda handler: time.sleep(20))
        counter = self.counter()
        scottyd = self.start({"endpoints": [counter.config()],
                              "writers": [sinks.influx(sink.port), sinks.influx(sink.port, "b")]})
        sp.eventually(lambda: len(sink.requests) > 1, "first request", 20)
        code, seconds = scottyd.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, 5 * sp.SLOW)


class Configuration(WriterTest):
    def test_the_queue_follows_the_name(self):
        sink = self.sink(lambda *_: (503, "", {}))
        counter = self.counter()
        endpoints = [counter.config()]
        first = sinks.influx(sink.port, "first")
        other = {"mock": {}, "consumer": {"name": "other"}}
        scottyd = self.start({"endpoints": endpoints, "writers": [first, other]})
        sp.eventually(lambda: len(sink.requests) > 0, "first request", 20)
        before = sinks.writer(scottyd, "other")["valuesWritten"]
        # Another order: nothing is disturbed; another batch size: its queue goes on.
        scottyd.configure({"endpoints": endpoints, "writers": [other, first]})
        scottyd.reload()
        self.assertEqual([w["name"] for w in scottyd.get_json("/api/writers")],
                         ["other", "first"])
        self.assertGreaterEqual(sinks.writer(scottyd, "other")["valuesWritten"], before)
        self.assertGreater(sinks.writer(scottyd, "first")["writeAttempts"], 0)
        # Removed, and back again.
        scottyd.configure({"endpoints": endpoints, "writers": [other]})
        scottyd.reload()
        self.assertIsNone(sinks.writer(scottyd, "first"))
        self.assertTrue(scottyd.has_line("first: removed; its queue is kept"))
        sink.respond = None
        writers = [sinks.influx(sink.port, "first", batch=7), other]
        scottyd.configure({"endpoints": endpoints, "writers": writers})
        scottyd.reload()
        time.sleep(1)
        self.stop_polling(scottyd, writers)
        self.check_same(sink, scottyd)
        # Under another name it begins anew.
        del sink.lines[:]
        writers = [sinks.influx(sink.port, "second"), other]
        self.stop_polling(scottyd, writers)
        self.check_same(sink, scottyd)

    def test_pause_and_resume(self):
        sink = self.sink()
        counter = self.counter()
        writers = [sinks.influx(sink.port, "a/b c")]
        scottyd = self.start({"endpoints": [counter.config()], "writers": writers})
        sp.eventually(lambda: len(sink.lines) > 0, "first lines", 20)
        post = lambda what: sp.ask(scottyd.port, "POST", "/api/writers/" + what).status
        self.assertEqual(post("a%2Fb%20c/pause"), 204)
        time.sleep(1.5)
        count = len(sink.lines)
        time.sleep(2)
        self.assertEqual(len(sink.lines), count)
        self.assertEqual(sinks.writer(scottyd, "a/b c")["state"], "paused")
        self.assertEqual(post("a%2Fb%20c/resume"), 204)
        sp.eventually(lambda: len(sink.lines) > count, "goes on", 20)
        self.assertEqual(post("nope/pause"), 404)
        self.assertEqual(post("a%2Fb%20c/what"), 404)
        self.assertEqual(sp.ask(scottyd.port, "GET", "/api/writers/a/pause").status, 405)
        self.stop_polling(scottyd, writers)
        self.check_same(sink, scottyd)
        status = sp.ask(scottyd.port, "POST", "/api/writers/a%2Fb%20c/pause",
                        headers={"Origin": "http://evil.example"}).status
        self.assertEqual(status, 403)

    def test_pstore_yaml_is_read_too_and_checked(self):
        with tempfile.TemporaryDirectory() as directory:
            main = os.path.join(directory, "scottyd.yaml")
            pstore = os.path.join(directory, "pstore.yaml")
            with open(main, "w", encoding="utf-8") as f:
                f.write("writers:\n- mock: {}\n  consumer: {name: a}\n")
            with open(pstore, "w", encoding="utf-8") as f:
                f.write("- mock: {}\n  consumer: {name: b}\n")
            run = lambda: sp.run("-validate", "-configDir", directory, "-stateDir", "")
            self.assertEqual((run().returncode, run().stderr), (0, ""))
            with open(pstore, "a", encoding="utf-8") as f:
                f.write("- influx: {}\n  consumer: {name: c}\n")
            self.assertEqual(run().returncode, 1)
            self.assertEqual(run().stderr, f"{pstore}:3:11: HostAndPort and Database fields "
                                           "required.\n")
            with open(pstore, "w", encoding="utf-8") as f:
                f.write("- mock: {}\n  consumer: {name: a}\n")
            self.assertEqual(run().stderr, f"{main}:3:20: config: Duplicate consumer name found: "
                                           "a\n")

    def test_requests_of_both_versions(self):
        sink = self.sink()
        counter = self.counter(series=1)
        two = {"influx": {"hostAndPort": f"http://127.0.0.1:{sink.port}/", "bucket": "a b",
                          "org": "o", "token": "secret", "gzip": False},
               "consumer": {"name": "two"}}
        one = sinks.influx(sink.port, "one", precision="ms", retentionPolicy="r p",
                           writeConsistency="one")
        scottyd = self.start({"endpoints": [counter.config()], "writers": [one, two]})
        sp.eventually(lambda: len({path for _, _, _, path in sink.requests}) == 2, "both", 20)
        for _, lines, headers, path in sink.requests:
            if path.startswith("/write"):
                self.assertEqual(path, "/write?consistency=one&db=d&precision=ms&rp=r%20p")
                self.assertNotIn("Authorization", headers)
                self.assertRegex(lines[0], r"^/n/000,@version=1,appname=count,host=web1,"
                                 r'ipaddress=127.0.0.1 name="/n/000",value=\d+ \d{13}$')
            else:
                self.assertEqual(path, "/api/v2/write?bucket=a%20b&org=o&precision=ns")
                self.assertEqual(headers["Authorization"], "Token secret")
            self.assertEqual(headers["User-Agent"], "InfluxDBClient")
        self.assertEqual(sink.connections, 2)  # kept
        self.assertNotIn("secret", scottyd.log() + scottyd.get("/api/writers").body)

    def test_own_metrics(self):
        sink = self.sink()
        counter = self.counter()
        scottyd = self.start({"endpoints": [counter.config()],
                              "writers": [sinks.influx(sink.port, "main one")]})
        sp.eventually(lambda: len(sink.lines) > 0, "first lines", 20)
        metrics = lambda: {m["path"]: m for m in scottyd.get_json("/metricsapi/writer")}
        for name in ("totalTimeSpent writeTimePerMetric maxRecordsPerSecond concurrency batchSize "
                     "rollUpSpan valuesWritten valuesNotWritten writeAttempts successfulWrites "
                     "successfulWriteRatio valuesSkipped blocked paused lastWriteError "
                     "timeLeft writePositionIndex lastWriteErrorTime lastSuccessfulWrite lag "
                     "dropped deadLettered retries bytes").split():
            self.assertIn("/writer/main one/" + name, metrics())
        sp.eventually(lambda: metrics()["/writer/main one/valuesWritten"]["value"] > 0, "counted")

    def test_roll_ups_are_written(self):
        sink = self.sink()
        counter = self.counter(series=1)
        scottyd = self.start({
            "endpoints": [counter.config()],
            "writers": [sinks.influx(sink.port, more={"rollUpSpan": "1s", "rollUp": "count"})]})
        sp.eventually(lambda: len(sink.lines) > 3, "frames", 20)
        self.assertTrue(all(t % 10**9 == 0 for t, _ in sink.values("/n/000")))
        self.assertTrue(any(v > 5 for _, v in sink.values("/n/000")))
        self.assertIsNotNone(sinks.writer(scottyd))

    def test_roll_ups_go_on_over_restarts(self):
        sink = self.sink()
        counter = self.counter(series=2)
        config = {"endpoints": [counter.config()], "writers": [
            sinks.influx(sink.port, more={"rollUpSpan": "1s", "rollUp": "count"})]}
        with tempfile.TemporaryDirectory() as state:
            for end in ("stop", "kill", "stop", None):
                scottyd = self.start(config, state=state)
                frames = len(sink.values("/n/001"))
                sp.eventually(lambda: len(sink.values("/n/001")) > frames + 2, "frames", 20)
                if end is not None:
                    getattr(scottyd, end)()
            for path in ("/n/000", "/n/001"):
                values = sink.values(path)
                # What comes twice is the same; it does only if the answer came after the end.
                self.assertEqual(len(set(values)), len({at for at, _ in values}), values)
                self.assertLessEqual(len(values) - len(set(values)), 1, values)
                last = max(at for at, _ in values)
                stored = [at for at, _ in sinks.api_values(scottyd, path) if at < last + 5 * 10**8]
                self.assertEqual(sum(v for _, v in set(values)), len(stored))
            scottyd.stop()


if __name__ == "__main__":
    sp.main()
