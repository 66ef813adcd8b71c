"""The kafka writer against brokers that fail (reliability B5): all arrives, in order per host."""
import datetime
import json
import os
import time
import unittest

import kafka_peers as kp
import scottyd_proc as sp
import sinks

NAMES = ("/n/000", "/n/001", "/n/002")


def utc_ms(ns):
    """As the messages have it."""
    ms = ns // 10**6
    whole = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def stored(scottyd, path, host):
    """What the store has, in the form of messages."""
    return [(utc_ms(t), v) for t, v in sinks.api_values(scottyd, path, host)]


def without_repeats(values):
    return list(dict.fromkeys(values))


class KafkaTest(unittest.TestCase):
    hosts = ("web1", "web2", "web3")

    def setUp(self):
        self.cluster = kp.MockCluster()
        self.addCleanup(self.cluster.close)
        self.reader = kp.Reader(self.cluster.brokers)
        self.addCleanup(self.reader.close)

    def start(self, config, **more):
        scottyd = sp.Scottyd(config, grows=True, **more)
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        return scottyd

    def start_counting(self, writers, more=()):
        counter = sinks.Counter(more=more)
        self.addCleanup(counter.close)
        self.endpoints = [counter.config(host) for host in self.hosts]
        return self.start({"endpoints": self.endpoints, "writers": writers})

    def stop_polling(self, scottyd, writers):
        scottyd.configure({"writers": writers})
        scottyd.reload()
        sp.eventually(lambda: sinks.writer(scottyd)["lagSeconds"] == 0 and
                      sinks.writer(scottyd)["valuesWaiting"] == 0, "all written", 60)

    def is_read(self, scottyd, host, path):
        """The last messages are on their way to the reader for a while."""
        got = self.reader.values(host, path.replace("/", "_"))
        return set(stored(scottyd, path, host)) <= set(got)

    def check_same(self, scottyd, at_most_repeats=0):
        """The topic has what the store has: of each host in one partition, in order of time."""
        try:
            sp.eventually(lambda: all(self.is_read(scottyd, host, path)
                                      for host in self.hosts for path in NAMES), "all read", 20)
        except AssertionError:
            pass  # below it is said what is missing
        repeats = 0
        for host in self.hosts:
            partitions = {p for p, key, _ in self.reader.messages if key == host}
            self.assertEqual(len(partitions), 1)
            for path in NAMES:
                want = stored(scottyd, path, host)
                got = self.reader.values(host, path.replace("/", "_"))
                self.assertGreater(len(want), 5)
                once = without_repeats(got)
                repeats += len(got) - len(once)
                self.assertEqual(once, sorted(once))
                # The store shows a value that stays the same once.
                self.assertEqual([v for v in once if v in set(want)], want, (host, path))
        self.assertLessEqual(repeats, at_most_repeats)

    def run_through(self, trouble, repeats=0, **options):
        """Trouble comes to the brokers while values do; in the end all is there."""
        writers = [kp.kafka(self.cluster.brokers, **options)]
        scottyd = self.start_counting(writers)
        sp.eventually(lambda: len(self.reader.messages) > 0, "first messages", 30)
        trouble(scottyd)
        count = sinks.writer(scottyd)["valuesWritten"]
        sp.eventually(lambda: sinks.writer(scottyd)["valuesWritten"] > count, "goes on", 60)
        self.stop_polling(scottyd, writers)
        self.check_same(scottyd, repeats)
        return scottyd


class Kafka(KafkaTest):
    def test_values_read_back_equal_those_of_the_api(self):
        now = f"{time.time():.9f}"
        special = "".join(chr(c) for c in range(1, 127) if chr(c) not in "\n\r/") + "é\u2028😀"
        text = "".join(chr(c) for c in range(1, 256)) + "\U0001F600\\"
        more = [sp.metric(f"/z/{i:04}x{c}y", "int64", i, ts=now, bits=64)
                for i, c in enumerate(special)]
        more += [
            sp.metric("/zz/bool", "bool", True, ts=now),
            sp.metric("/zz/f32", "float32", 0.5, ts=now, bits=32),
            sp.metric("/zz/f64", "float64", 1.0e-9, ts=now, bits=64),
            sp.metric("/zz/i64", "int64", -2**52, ts=now, bits=64),
            sp.metric("/zz/text", "string", text, ts=now),
            sp.metric("/zz/u64", "uint64", 2**64 - 1, ts=now, bits=64),
        ]
        writers = [kp.kafka(self.cluster.brokers)]
        scottyd = self.start_counting(writers, more)
        time.sleep(2)
        self.stop_polling(scottyd, writers)
        self.check_same(scottyd)
        found = {o["name"]: o for o in self.reader.objects("web1")}
        api = {m["path"].replace("/", "_"): m["values"][0]["value"]
               for m in scottyd.get_json("/api/hosts/web1/count?history=60")}
        self.assertEqual(set(found), set(api))
        for name, value in api.items():
            message = found[name]
            with self.subTest(name=name):
                self.assertEqual((message["host"], message["appname"], message["apikey"],
                                  message["tenant_id"], message["@version"]),
                                 ("web1", "count", "aKey", "aTenant", "1"))
                if isinstance(value, str):
                    self.assertEqual((message["stringValue"], message["value"]), (value, 0))
                elif not name.startswith("_n_"):
                    self.assertEqual(float(message["value"]), float(value))

    def test_the_other_formats(self):
        writers = [kp.kafka(self.cluster.brokers, format="json", compression="zstd")]
        scottyd = self.start_counting(writers)
        sp.eventually(lambda: len(self.reader.messages) > 20, "messages", 30)
        one = self.reader.objects()[0]
        self.assertEqual((one["appName"], one["kind"]), ("count", "int64"))
        writers = [kp.kafka(self.cluster.brokers, format="influx", compression="gzip")]
        scottyd.configure({"writers": writers, "endpoints": self.endpoints})
        scottyd.reload()
        sp.eventually(lambda: "/n/000,@version=1,appname=count,host=web1" in
                      self.reader.messages[-1][2] or
                      "name=\"/n/0" in self.reader.messages[-1][2], "lines", 30)

    def test_errors_that_pass(self):
        def trouble(_):
            for code in (kp.NOT_LEADER, kp.REQUEST_TIMED_OUT, kp.NOT_ENOUGH_REPLICAS,
                         kp.NOT_ENOUGH_REPLICAS_AFTER_APPEND):
                self.cluster.errors(code, 4)
                time.sleep(1)

        scottyd = self.run_through(trouble)
        self.assertEqual(sinks.writer(scottyd)["refused"], 0)

    def test_all_brokers_down_for_a_while(self):
        def trouble(scottyd):
            self.cluster.tell("down")
            sp.eventually(lambda: sinks.writer(scottyd)["state"] == "retrying", "retrying", 15)
            polls = {k: float(e["lastPoll"]) for k, e in scottyd.endpoints().items()}
            time.sleep(6)
            self.assertGreater(sinks.writer(scottyd)["lagSeconds"], 3)
            self.assertIn("127.0.0.1", sinks.writer(scottyd)["lastWriteError"])
            for key, endpoint in scottyd.endpoints().items():
                self.assertGreater(float(endpoint["lastPoll"]), polls[key] + 4)
            self.cluster.tell("up")

        scottyd = self.run_through(trouble)
        self.assertEqual(sinks.writer(scottyd)["missed"], 0)
        sp.eventually(lambda: scottyd.has_line("writer: w: writes again"), "it is said")

    def test_too_large_for_the_brokers(self):
        def trouble(_):
            self.cluster.errors(kp.MESSAGE_TOO_LARGE, 1)
            time.sleep(1)

        scottyd = self.run_through(trouble)
        # A batch of several is tried in parts. One of a single record is that record's fault.
        self.assertLessEqual(sinks.writer(scottyd)["refused"], 1)

    def test_one_that_is_too_large_among_many(self):
        endpoint = sp.Endpoint(
            [sp.metric(f"/p/{i:04}", "int64", i, bits=64) for i in range(2000)] +
            [sp.metric("/q/large", "string", "x" * 70000)])
        self.addCleanup(endpoint.close)
        scottyd = self.start({
            "endpoints": [{"host": "web1", "app": "many", "address": "127.0.0.1",
                           "port": endpoint.port, "interval": "1h"}],
            "writers": [kp.kafka(self.cluster.brokers, maxMessageSize=60000)]})
        self.assertEqual(sp.ask(scottyd.port, "POST", "/api/poll").status, 202)
        sp.eventually(lambda: len(self.reader.messages) >= 2000, "the others", 30)
        names = [o["name"] for o in self.reader.objects("web1")]
        self.assertEqual(sorted(names), [f"_p_{i:04}" for i in range(2000)])
        sp.eventually(lambda: sinks.writer(scottyd)["deadLettered"] == 1, "dead letter", 20)
        self.assertEqual(sinks.writer(scottyd)["refused"], 1)
        with open(os.path.join(scottyd.state, "dead", "w.jsonl"), encoding="utf-8") as f:
            letter = json.loads(f.read())
        self.assertEqual((letter["path"], letter["writer"]), ("/q/large", "w"))
        self.assertIn("too large", letter["reason"])

    def test_a_fatal_error(self):
        def trouble(scottyd):
            for _ in range(3):
                retries = sinks.writer(scottyd)["retries"]
                self.cluster.errors(kp.OUT_OF_ORDER_SEQUENCE)
                sp.eventually(lambda: sinks.writer(scottyd)["retries"] > retries, "retried", 20)
                sp.eventually(lambda: sinks.writer(scottyd)["state"] not in ("retrying",),
                              "again", 20)

        self.run_through(trouble, repeats=3 * 1000)

    def test_slow_brokers(self):
        def trouble(scottyd):
            self.cluster.tell("rtt 2500")
            sp.eventually(lambda: sinks.writer(scottyd)["retries"] > 0, "retried", 30)
            self.assertIn("no acknowledgement", sinks.writer(scottyd)["lastWriteError"])
            self.cluster.tell("rtt 0")

        # What was not acknowledged in time comes again: real brokers know it by its number, these
        # take it for new.
        self.run_through(trouble, repeats=1000, timeout="1s")

    def test_no_right_to_write(self):
        writers = [kp.kafka(self.cluster.brokers)]
        self.cluster.errors(kp.TOPIC_AUTHORIZATION_FAILED)
        scottyd = self.start_counting(writers)
        sp.eventually(lambda: sinks.writer(scottyd)["state"] == "refused", "refused", 20)
        self.assertIn("authorization failed", sinks.writer(scottyd)["lastWriteError"].lower())
        sp.eventually(lambda: scottyd.has_line("refused, check its configuration"), "it is said")

    def test_threads_and_files_do_not_grow_and_the_end_comes_soon(self):
        writers = [kp.kafka(self.cluster.brokers)]
        scottyd = self.start_counting(writers)
        sp.eventually(lambda: len(self.reader.messages) > 0, "first messages", 30)
        threads = len(os.listdir(f"/proc/{scottyd.child.pid}/task"))
        for _ in range(3):
            retries = sinks.writer(scottyd)["retries"]
            self.cluster.errors(kp.OUT_OF_ORDER_SEQUENCE)
            sp.eventually(lambda: sinks.writer(scottyd)["retries"] > retries, "retried", 20)
        time.sleep(2)
        self.assertLessEqual(len(os.listdir(f"/proc/{scottyd.child.pid}/task")), threads + 1)
        self.cluster.tell("rtt 20000")
        time.sleep(1)
        code, seconds = scottyd.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, 5 * sp.SLOW)


if __name__ == "__main__":
    sp.main()
