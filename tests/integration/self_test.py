"""What scottyd says of itself: as tricorder JSON, which it takes in itself, and for Prometheus."""
import json
import unittest

import prometheus
import scottyd_proc as sp


class Self(unittest.TestCase):
    def setUp(self):
        self.endpoint = sp.Endpoint([sp.metric("/a", "int32", 1, bits=32)])
        self.addCleanup(self.endpoint.close)
        config = {"endpoints": [self.endpoint.element("host1", "app")]}
        self.scottyd = sp.Scottyd(config, "-name", "me")
        self.addCleanup(self.scottyd.__exit__, None, None, None)

    def poll_itself(self):
        body = json.dumps({"address": "127.0.0.1", "port": self.scottyd.port, "interval": "100ms"})
        answer = sp.ask(self.scottyd.port, "PUT", "/api/endpoints/localhost/scotty", body)
        self.assertEqual(answer.status, 201)
        one = lambda: self.scottyd.endpoints()["localhost", "scotty"]
        sp.eventually(lambda: one()["state"] == "synced", "polled itself")
        return one()

    def test_its_own_metrics_are_taken_in_without_a_bad_one(self):
        one = self.poll_itself()
        self.assertEqual((one["badMetrics"], one["badMetric"], one["down"]), (0, "", False))
        published = self.scottyd.get_json("/metricsapi/")
        self.assertEqual(one["metricCount"], len(published))
        taken = self.scottyd.get_json("/api/hosts/localhost/scotty?history=0")
        self.assertEqual(sorted(m["path"] for m in published), [m["path"] for m in taken])
        for m in taken:
            self.assertTrue(m["values"][0]["active"], m["path"])

    def test_metrics_of_upstream_are_there(self):
        self.poll_itself()
        kinds = {m["path"]: m["kind"] for m in self.scottyd.get_json("/metricsapi/")}
        for path, kind in (("/collector/collectionTimes", "distribution"),
                           ("/collector/changedMetricsPerEndpoint", "distribution"),
                           ("/store/metricValueCount", "int64"),
                           ("/proc/start-time", "time"), ("/proc/args", "string")):
            self.assertEqual(kinds.get(path), kind, path)

    def test_a_part_and_a_single_metric(self):
        part = self.scottyd.get_json("/metricsapi/proc")
        self.assertTrue(part)
        self.assertTrue(all(m["path"].startswith("/proc/") for m in part))
        one = self.scottyd.get_json("/metricsapi/proc/args?singleton=1")
        self.assertEqual(one["path"], "/proc/args")
        self.assertEqual(self.scottyd.get("/metricsapi/nothing?singleton=1").status, 404)

    def test_prometheus_text(self):
        self.poll_itself()
        answer = self.scottyd.get("/metrics")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Content-Type"].replace(" ", "").lower(),
                         "text/plain;version=0.0.4;charset=utf-8")
        families = prometheus.parse(answer.body)
        times = families["scotty_collector_collection_times_seconds"]
        self.assertEqual(times.kind, "histogram")
        count = [v for name, _, v in times.samples if name.endswith("_count")][0]
        self.assertGreater(count, 0)

    def test_health(self):
        for path in ("/healthz", "/readiness"):
            self.assertEqual(self.scottyd.get(path).body, "OK")


if __name__ == "__main__":
    sp.main()
