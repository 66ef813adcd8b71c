"""The table `discovery`: target groups from files and servers, as Prometheus has them."""
import http.server
import json
import os
import re
import socket
import tempfile
import threading
import time
import unittest

import scottyd_proc as sp
import sinks


class TargetServer:
    """Answers what `answer` says: (status, headers, body), or a function of the handler."""

    def __init__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(dict(self.headers))
                if callable(outer.answer):
                    outer.answer(self)
                    return
                status, headers, body = outer.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.requests = []
        self.answer = None
        self.server = sp.HttpServer(("127.0.0.1", sp.free_port()), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/targets"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def publish(self, groups, **headers):
        self.answer = (200, {"Content-Type": "application/json; charset=utf-8", **headers},
                       json.dumps(groups).encode())

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Discovery(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="scottyd-sd-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        self.web = sp.Endpoint([sp.metric("/a", "int32", 2, bits=32)])
        self.addCleanup(self.web.close)

    def write(self, name, groups, in_place=False):
        text = groups if isinstance(groups, str) else json.dumps(groups)
        path = os.path.join(self.dir, name)
        with open(path if in_place else path + "~", "w", encoding="utf-8") as f:
            f.write(text)
        if not in_place:
            os.rename(path + "~", path)

    def start(self, *entries):
        scottyd = sp.Scottyd({"discovery": entries, "collection": {"frequency": "200ms"}})
        self.addCleanup(scottyd.__exit__, None, None, None)
        return scottyd

    def files(self, **more):
        return {"fileSd": [f"{self.dir}/*.json", f"{self.dir}/*.yml"], "app": "web", **more}

    def group(self, *hosts, **labels):
        """Hosts by instance; all are one endpoint."""
        return [{"targets": [f"127.0.0.1:{self.web.port}"],
                 "labels": {"instance": host, **labels}} for host in hosts]

    def server(self):
        server = TargetServer()
        self.addCleanup(server.close)
        return server

    def active(self, scottyd):
        return sorted(host for (host, _), e in scottyd.endpoints().items() if e["active"])

    def await_active(self, scottyd, *hosts):
        sp.eventually(lambda: self.active(scottyd) == sorted(hosts),
                      f"{hosts}, not {self.active(scottyd)}")

    def own(self, scottyd, name):
        """A number of /metrics."""
        for line in scottyd.get("/metrics").body.splitlines():
            if line.split(" ")[0].split("{")[0].endswith(name):
                return float(line.split()[1])
        return None

    def test_targets_of_files_are_polled(self):
        self.write("a.json", self.group("m1:1", dc="x", __meta_y="z"))
        self.write("b.yml", f"- targets: ['127.0.0.1:{self.web.port}']\n"
                            "  labels:\n    instance: m2\n    __metrics_path__: /other\n"
                            "    region: r1\n")
        scottyd = self.start(self.files())
        sp.eventually(lambda: scottyd.value("m1", "web", "/a") == 2, "value of m1")
        sp.eventually(lambda: scottyd.value("m2", "web", "/a") == 2, "value of m2")
        e = scottyd.endpoints()["m1", "web"]
        self.assertEqual((e["origin"], e["address"], e["port"], e["source"], e["tags"]),
                         ("fileSd", "127.0.0.1", self.web.port, "tricorder",
                          {"dc": "x", "instance": "m1:1"}))
        self.assertEqual(list(e)[-1], "tags")
        self.assertIn("/other", self.web.paths)

    def test_files_appear_change_and_vanish(self):
        scottyd = self.start(self.files())
        self.await_active(scottyd)
        self.write("a.json", self.group("m1"))
        self.await_active(scottyd, "m1")
        for i, in_place in enumerate((True, False, True), 2):
            self.write("a.json", self.group("m1", f"m{i}"), in_place)
            self.await_active(scottyd, "m1", f"m{i}")
        os.unlink(os.path.join(self.dir, "a.json"))
        sp.eventually(lambda: scottyd.has_line(r"a\.json: no such file; its last good list stays"),
                      "complaint")
        self.assertEqual(self.active(scottyd), ["m1", "m4"])
        self.write("a.json", [])
        self.await_active(scottyd)

    def test_files_that_make_no_sense_change_nothing(self):
        self.write("a.json", self.group("m1"))
        scottyd = self.start(self.files())
        self.await_active(scottyd, "m1")
        for text in ('[{"targets": ["x:1"', "{}", "nonsense", "", '[{"targets": "x:1"}]'):
            self.write("a.json", text, in_place=True)
            time.sleep(0.1)
        sp.eventually(lambda: scottyd.has_line(r"a\.json.*its last good list stays"), "complaint")
        self.assertEqual(self.active(scottyd), ["m1"])
        self.assertEqual(len([1 for line in scottyd.lines if "last good list" in line]), 1)
        self.write("a.json", self.group("m2"))
        self.await_active(scottyd, "m2")

    def test_half_written_files_cause_no_complaint(self):
        scottyd = self.start(self.files())
        text = json.dumps(self.group("m1"))
        with open(os.path.join(self.dir, "a.json"), "w", encoding="utf-8") as f:
            for c in text:
                f.write(c)
                f.flush()
                time.sleep(0.005)
        self.await_active(scottyd, "m1")
        self.assertFalse(scottyd.has_line("a.json.*expected"))

    def test_single_bad_targets_are_left_out(self):
        self.write("a.json", self.group("m1") + [{"targets": ["x:0"]}]
                   + self.group("m2", __param_a="b"))
        scottyd = self.start(self.files())
        self.await_active(scottyd, "m1")
        self.assertTrue(scottyd.has_line(r"2 of 3 left out: .*target 'x:0'"))
        self.assertEqual(self.own(scottyd, "discovery_file_sd_1_bad_targets"), 2)
        self.assertEqual(self.own(scottyd, "discovery_file_sd_1_targets"), 1)

    def test_reload_changes_the_table(self):
        self.write("a.json", self.group("m1"))
        self.write("b.txt", self.group("m2"))
        scottyd = self.start(self.files())
        self.await_active(scottyd, "m1")
        before = scottyd.endpoints()["m1", "web"]["lastPoll"]
        scottyd.configure({"discovery": [{"fileSd": f"{self.dir}/b.txt", "app": "web"},
                                         self.files()]})
        scottyd.reload()
        self.await_active(scottyd, "m1", "m2")
        scottyd.configure({"discovery": [{"fileSd": f"{self.dir}/b.txt", "app": "web"},
                                         {"fileSd": "x", "sauce": "y"}]})
        scottyd.reload()
        self.assertEqual(self.active(scottyd), ["m1", "m2"])
        scottyd.configure({})
        scottyd.reload()
        self.await_active(scottyd)
        self.assertIsNotNone(before)

    def test_targets_of_a_server_are_polled(self):
        server = self.server()
        server.publish(self.group("m1"), ETag='"one"')
        scottyd = self.start({"httpSd": server.url, "app": "web", "refresh": "1s"})
        self.await_active(scottyd, "m1")
        self.assertEqual(scottyd.endpoints()["m1", "web"]["origin"], "httpSd")
        self.assertEqual(server.requests[0]["X-Prometheus-Refresh-Interval-Seconds"], "1")
        self.assertEqual(server.requests[0]["Accept"], "application/json")
        self.assertNotIn("If-None-Match", server.requests[0])
        sp.eventually(lambda: server.requests[-1].get("If-None-Match") == '"one"', "ETag")
        server.answer = (304, {}, b"")
        count = len(server.requests)
        sp.eventually(lambda: len(server.requests) > count + 1, "requests")
        self.assertEqual(self.active(scottyd), ["m1"])
        server.publish(self.group("m2"))
        self.await_active(scottyd, "m2")
        server.publish([])
        self.await_active(scottyd)

    def test_writers_wait_for_a_server_that_is_slow_after_a_restart(self):
        """What they had not written yet goes under the same tags as before."""
        sd, sink = self.server(), sinks.Sink()
        self.addCleanup(sink.close)
        counter = sinks.Counter(series=1)
        self.addCleanup(counter.close)
        sd.publish([{"targets": [f"127.0.0.1:{counter.endpoint.port}"],
                     "labels": {"instance": "m1", "rack": "r1"}}])
        config = {"discovery": [{"httpSd": sd.url, "app": "web"}],
                  "collection": {"frequency": "200ms"},
                  "writers": [sinks.influx(sink.port, schema="tagged")]}
        state = os.path.join(self.dir, "state")
        scottyd = sp.Scottyd(config, state=state)
        sp.eventually(lambda: sink.lines, "it begins")
        sink.respond = lambda *_: (503, "", {})
        time.sleep(2)
        scottyd.kill()
        sink.respond, prompt, before = None, sd.answer, len(sink.lines)

        def late(handler):
            time.sleep(3)
            sd.answer = prompt
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.end_headers()
            handler.wfile.write(prompt[2])

        sd.answer = late
        with sp.Scottyd(config, state=state) as scottyd:
            sp.eventually(lambda: len(sink.lines) > before + 5, "it goes on", 20)
            self.assertEqual({line.split(" ")[0] for line in sink.lines},
                             {"/n/000,app=web,host=m1,ipaddress=127.0.0.1,instance=m1,rack=r1"})

    def test_a_server_that_lies_hangs_or_floods_changes_nothing(self):
        def hang(handler):
            time.sleep(20)

        def flood(handler):
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.end_headers()
            handler.wfile.write(b"[")
            for _ in range(40):
                handler.wfile.write(b" " * (1 << 20))

        def cut(handler):
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", "100")
            handler.end_headers()
            handler.wfile.write(b"[]")

        json_type = {"Content-Type": "application/json"}
        good = self.group("m1")
        server = self.server()
        server.publish(good)
        scottyd = self.start({"httpSd": server.url, "app": "web", "refresh": "1s",
                              "timeout": f"{round(3 * sp.SLOW)}s"})
        self.await_active(scottyd, "m1")
        for answer, text in (
                ((500, json_type, b"[]"), "answered 500"),
                ((301, {"Location": "/x"}, b""), "redirects are not followed"),
                ((200, {"Content-Type": "text/html"}, b"[]"), "text/html"),
                ((200, json_type, b'[{"targets": ["m9:1"'), "last good list"),
                ((200, json_type, b"targets: []"), "not a JSON list"),
                (cut, "last good list"), (hang, "timed out"), (flood, "larger than 16 MiB")):
            seen = len(scottyd.lines)
            has_news = lambda pattern, seen=seen: any(
                re.search(pattern, line) for line in scottyd.lines[seen:])
            server.answer = answer
            sp.eventually(lambda text=text: has_news(rf"target server .*{text}"), text)
            self.assertEqual(self.active(scottyd), ["m1"])
            server.publish(good)
            sp.eventually(lambda: has_news("is good again"), f"recovery after {text}")
        self.assertGreaterEqual(self.own(scottyd, "discovery_http_sd_1_errors"), 8)
        self.assertLess(scottyd.status_kib("VmRSS"), 400_000)

    def test_a_server_that_dies_leaves_its_targets(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
            server = self.server()
            server.publish(self.group("m1"))
            # One never answers at all, beside one that does.
            scottyd = self.start({"httpSd": url, "app": "x"},
                                 {"httpSd": server.url, "app": "web", "refresh": "1s"})
            self.await_active(scottyd, "m1")
            server.server.shutdown()
            server.server.server_close()
            sp.eventually(lambda: scottyd.has_line("target server .*its last good list stays"),
                          "complaint")
            scottyd.reload()
            self.assertEqual(self.active(scottyd), ["m1"])
            code, seconds = scottyd.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, 2 * sp.SLOW)

    def test_five_thousand_targets_load_within_a_second(self):
        groups = [{"targets": [f"h{i}.invalid:9100"], "labels": {"rack": str(i // 40)}}
                  for i in range(5000)]
        for i in range(100):
            self.write(f"{i:03}.json", groups[i * 50:i * 50 + 50])
        begin = time.monotonic()
        scottyd = self.start(self.files(interval="1h"))
        sp.eventually(lambda: len(self.active(scottyd)) == 5000, "targets")
        if not sp.SANITIZED:
            self.assertLess(time.monotonic() - begin, 3)  # the start of the process included
        changed = self.own(scottyd, "discovery_file_sd_1_changed_targets")
        self.assertEqual(changed, 5000)
        self.write("007.json", groups[350:399])
        sp.eventually(lambda: len(self.active(scottyd)) == 4999, "targets")
        self.assertEqual(self.own(scottyd, "discovery_file_sd_1_changed_targets"), 5001)

    def test_errors_have_a_line_and_a_column(self):
        file = os.path.join(self.dir, "scottyd.yaml")
        for text, complaint in (
                ("discovery: {}", "1:12: 'discovery' must be a list"),
                ("discovery:\n- app: x", "2:3: an entry of 'discovery' must have one of"),
                ("discovery:\n- {fileSd: a, mdb: b}", "2:3: an entry of 'discovery' can have only"),
                ("discovery:\n- fileSd: a\n  options:\n    pfad: x", "4:5: "),
                ("discovery:\n- fileSd: a\n  source: x", "3:11: no source 'x'"),
                ("discovery:\n- httpSd: ftp://x/", "2:11: 'httpSd' must begin with http://"),
                ("discovery:\n- httpSd: http://u:p@x/", "2:11: 'httpSd' must not hold a user"),
                ("discovery:\n- fileSd: a\n- fileSd: a", "3:3: this entry is given twice"),
                ("discovery:\n- mdb: a\n  app: x", "3:3: "),
                ("discovery:\n- fileSd: []", "2:11: 'fileSd' must name 1 to")):
            with open(file, "w", encoding="utf-8") as f:
                f.write(text + "\n")
            done = sp.run("-config", file, "-validate")
            self.assertEqual(done.returncode, 1, text)
            self.assertIn(f"{file}:{complaint}", done.stderr)


if __name__ == "__main__":
    sp.main()
