"""The example configuration and the demo endpoint work together, as ./dev run starts them."""
import os
import tempfile
import unittest

import scottyd_proc as sp

EXAMPLE = os.path.join(sp.DATA, "..", "..", "examples", "scottyd.yaml")


class Example(unittest.TestCase):
    def start(self, *args):
        process = sp.Process(list(args))
        self.addCleanup(self.stop, process)
        return process

    def stop(self, process):
        process.child.terminate()
        self.assertEqual(process.wait(10 * sp.SLOW), 0, process.log())
        self.assertIsNone(sp.COMPLAINTS.search(process.log()), process.log())

    def test_demo_endpoint_is_taken_in_whole(self):
        port, demo_port = sp.free_port(), sp.free_port()
        with open(EXAMPLE, encoding="utf-8") as f:
            config = f.read()
        directory = tempfile.TemporaryDirectory(prefix="scottyd-")
        self.addCleanup(directory.cleanup)
        for name, value in (("@STATE@", directory.name), ("@PORT@", str(port)),
                            ("@DEMO_PORT@", str(demo_port))):
            config = config.replace(name, value)
        path = os.path.join(directory.name, "scottyd.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(config)
        self.start(os.path.join(sp.BIN, "tricorder_demo"), str(demo_port))
        scottyd = self.start(sp.SCOTTYD, "-config", path)
        sp.eventually(lambda: "scottyd: ready" in scottyd.lines, "ready")

        def endpoints():
            listed = sp.ask(port, "GET", "/api/endpoints").json()
            return all(e["state"] == "synced" for e in listed) and {e["appName"]: e for e in listed}

        listed = sp.eventually(endpoints, "both endpoints polled", 15)
        self.assertEqual(sorted(listed), ["demo", "scotty"])
        for one in listed.values():
            self.assertEqual((one["badMetrics"], one["badMetric"]), (0, ""))
        published = sp.ask(demo_port, "GET", "/metricsapi/demo/kinds").json()
        latest = sp.ask(port, "GET", "/api/latest/demo").json()
        self.assertEqual([m["path"] for m in latest], [m["path"] for m in published])
        self.assertEqual(len({m["kind"] for m in latest}), len(latest))


if __name__ == "__main__":
    sp.main()
