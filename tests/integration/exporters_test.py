"""Prometheus' world: real exporters are polled, and real Prometheus polls scottyd."""
import base64
import contextlib
import gzip
import http.server
import json
import math
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

import scottyd_proc as sp

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)(?: (\S+))?')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
HISTOGRAM = re.compile(r"(.*)_(bucket|sum|count)")


def read(text):
    """{(name, ((label, value), ...)): value} as Python reads it; "le" as a number."""
    samples = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        labels = dict(LABEL.findall(match[2] or ""))
        if "le" in labels:
            labels["le"] = repr(float(labels["le"]))
        labels = {k: v for k, v in labels.items() if v != ""}
        samples[match[1], tuple(sorted(labels.items()))] = float(match[3])
    return samples


def without(samples, *names):
    return {(name, tuple(l for l in labels if l[0] not in names)): value
            for (name, labels), value in samples.items()}


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


class Exporter:
    """Serves a text that may change, with or without gzip, TLS and authorization."""

    def __init__(self, text="", content_type=TEXT, tls=None, authorization=None):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers)))
                ok = authorization in (None, self.headers.get("Authorization"))
                body = outer.text.encode() if ok else b"no"
                zipped = "gzip" in self.headers.get("Accept-Encoding", "")
                body = gzip.compress(body) if zipped else body
                self.send_response(200 if ok else 401)
                self.send_header("Content-Type", outer.content_type)
                if zipped:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.text, self.content_type, self.requests = text, content_type, []
        self.server = sp.HttpServer(("127.0.0.1", sp.free_port()), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def element(self, host, app, interval="100ms", **more):
        return {"host": host, "app": app, "address": "127.0.0.1", "port": self.port,
                "source": "prometheus", "interval": interval, **more}

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextlib.contextmanager
def child(*args):
    """A server of somebody else's; its output counts only when it fails."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(args, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20 * sp.SLOW)


def answers(port, path):
    try:
        return sp.ask(port, "GET", path).status == 200
    except OSError:
        return False


def federate(scottyd, *selectors):
    query = urllib.parse.urlencode([("match[]", s) for s in selectors])
    answer = scottyd.get(f"/federate?{query}", timeout=30)
    if answer.status != 200:
        raise AssertionError(f"/federate: {answer.status} {answer.body}")
    return answer.body


def is_synced(scottyd, host, app):
    return scottyd.endpoints()[host, app]["state"] == "synced"


def promtool(text):
    return subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                          capture_output=True, timeout=60 * sp.SLOW, check=False)


class Test(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.dir = self.stack.enter_context(tempfile.TemporaryDirectory())

    def enter(self, context):
        return self.stack.enter_context(context)

    def scotty(self, *elements):
        return self.enter(sp.Scottyd({"endpoints": list(elements)}))

    def node_exporter(self):
        port = sp.free_port()
        self.enter(child("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"))
        sp.eventually(lambda: answers(port, "/metrics"), "node exporter", 20)
        return port

    def prometheus(self, scrape_configs=()):
        port = sp.free_port()
        config = os.path.join(self.dir, f"prometheus-{port}.yml")
        with open(config, "w", encoding="ascii") as f:
            json.dump({"scrape_configs": list(scrape_configs)}, f)
        self.enter(child("prometheus", f"--config.file={config}",
                         f"--storage.tsdb.path={self.dir}/data-{port}",
                         f"--web.listen-address=127.0.0.1:{port}"))
        sp.eventually(lambda: answers(port, "/-/ready"), "Prometheus", 30)
        return port


class Exporters(Test):
    def check_exporter(self, text, content_type=TEXT):
        """What an exporter serves is what /federate gives again, to the bit."""
        exporter = self.enter(Exporter(text, content_type))
        scottyd = self.scotty(exporter.element("host1", "app"))
        sp.eventually(lambda: is_synced(scottyd, "host1", "app"), "polled")
        one = scottyd.endpoints()["host1", "app"]
        self.assertEqual((one["badMetrics"], one["badMetric"]), (0, ""))
        self.assertEqual((one["up"], one["bodyBytes"]), (True, len(text.encode())))
        again = federate(scottyd, '{job="app"}')
        want, got = read(text), without(read(again), "instance", "job")
        self.assertEqual(sorted(want), sorted(got))
        for key, value in want.items():
            self.assertTrue(same(value, got[key]), f"{key}: {value!r} {got[key]!r}")
        self.assertIn(promtool(again).returncode, (0, 3), again[:200])  # 3: names that are no good
        return want

    def test_node_exporter(self):
        text = sp.ask(self.node_exporter(), "GET", "/metrics").body
        self.assertGreater(len(self.check_exporter(text)), 200)

    def test_prometheus_as_text_and_as_openmetrics(self):
        port = self.prometheus()
        text = sp.ask(port, "GET", "/metrics").body
        self.assertIn(("prometheus_http_request_duration_seconds_bucket",
                       (("handler", "/-/ready"), ("le", "0.1"))), self.check_exporter(text))
        text = sp.ask(port, "GET", "/metrics", headers={"Accept": OPENMETRICS}).body
        if text.endswith("# EOF\n"):
            self.check_exporter(text, OPENMETRICS)

    def test_live_exporters(self):
        node, prometheus = self.node_exporter(), self.prometheus()
        element = {"address": "127.0.0.1", "source": "prometheus", "interval": "200ms"}
        scottyd = self.scotty({**element, "host": "n", "app": "node", "port": node},
                              {**element, "host": "p", "app": "prometheus", "port": prometheus})
        for key in (("n", "node"), ("p", "prometheus")):
            sp.eventually(lambda: is_synced(scottyd, *key), f"{key} polled")
        time.sleep(1)
        for one in scottyd.endpoints().values():
            self.assertEqual((one["badMetrics"], one["down"]), (0, False), one)
            self.assertGreater(one["metricCount"], 100)
        begin = time.time()
        stamp = scottyd.value("n", "node", "/node_time_seconds")
        self.assertAlmostEqual(stamp, begin, delta=5 * sp.SLOW)

    def test_the_same_values_as_prometheus(self):
        text = sp.ask(self.node_exporter(), "GET", "/metrics").body
        exporter = self.enter(Exporter(text))
        scottyd = self.scotty(exporter.element("127.0.0.1", "app"))
        port = self.prometheus([{"job_name": "app", "scrape_interval": "1s",
                                 "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]}])
        sp.eventually(lambda: is_synced(scottyd, "127.0.0.1", "app"), "polled by scottyd")
        query = urllib.parse.urlencode({"match[]": '{job="app",__name__!~"up|scrape_.*"}'})

        def federated():
            return read(sp.ask(port, "GET", f"/federate?{query}").body)
        theirs = sp.eventually(federated, "polled by Prometheus", 20)
        ours = read(federate(scottyd, '{job="app"}'))
        self.assertEqual(sorted(theirs), sorted(ours))
        for key, value in theirs.items():
            self.assertTrue(same(value, ours[key]), key)

    def test_values_that_are_none_and_stamps(self):
        now_ms = int(time.time() * 1000) - 5000
        text = f'a NaN\nb +Inf\nc -Inf\nd{{x="1"}} 1.5 {now_ms}\ne 9007199254740993\n'
        exporter = self.enter(Exporter(text))
        scottyd = self.scotty(exporter.element("host1", "app"))
        sp.eventually(lambda: is_synced(scottyd, "host1", "app"), "polled")
        lines = [line.split() for line in federate(scottyd, '{job="app"}').splitlines()
                 if not line.startswith("#")]
        self.assertEqual([line[1] for line in lines],
                         ["NaN", "+Inf", "-Inf", "1.5", "9007199254740992"])
        self.assertEqual(lines[3][2], str(now_ms))

    def test_broken_lines_are_counted(self):
        exporter = self.enter(Exporter("a 1\nb{ 2\nc 3\na 4\n"))
        scottyd = self.scotty(exporter.element("host1", "app"))
        sp.eventually(lambda: is_synced(scottyd, "host1", "app"), "polled")
        one = scottyd.endpoints()["host1", "app"]
        self.assertEqual((one["metricCount"], one["badMetrics"]), (2, 2))
        self.assertEqual(one["badMetric"], "b: line 2: a label without a name")

    def test_a_page_of_another_kind_fails(self):
        exporter = self.enter(Exporter("<html>\n<p>Log in</p>\n", "text/html"))
        scottyd = self.scotty(exporter.element("host1", "app"))
        one = sp.eventually(lambda: next((e for e in scottyd.endpoints().values() if e["down"]),
                                         None), "failed")
        self.assertIn("not Prometheus' format", one["error"])

    def test_series_or_distributions(self):
        text = ('# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 3\n'
                'h_sum 4.5\nh_count 3\n')
        exporter = self.enter(Exporter(text))
        scottyd = self.scotty(exporter.element("d", "app"),
                              exporter.element("s", "app", options={"histograms": "series"}))
        for host in ("d", "s"):
            sp.eventually(lambda: is_synced(scottyd, host, "app"), "polled")
        self.assertEqual(scottyd.value("d", "app", "/h")["counts"], [1, 2])
        self.assertEqual(scottyd.value("s", "app", "/h_count"), 3)
        self.assertEqual(scottyd.value("s", "app", "/h_sum"), 4.5)


class Options(Test):
    def secret(self, text):
        path = os.path.join(self.dir, "secret")
        with open(path, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(text + "\n")
        return {"file": path}

    def polled(self, exporter, **options):
        scottyd = self.scotty(exporter.element("host1", "app", options=options))
        sp.eventually(lambda: is_synced(scottyd, "host1", "app"),
                      lambda: str(scottyd.endpoints()))
        self.assertEqual(scottyd.value("host1", "app", "/a"), 1)
        return exporter.requests[-1]

    def test_path_params_and_headers(self):
        exporter = self.enter(Exporter("a 1\n"))
        path, headers = self.polled(
            exporter, path="/probe", params={"target": "http://x/?a&b", "m": ["1", "2"]},
            headers={"X-Tenant": "one two", "X-Key": self.secret("s3cret")})
        self.assertEqual(path, "/probe?target=http%3A%2F%2Fx%2F%3Fa%26b&m=1&m=2")
        self.assertEqual((headers["X-Tenant"], headers["X-Key"]), ("one two", "s3cret"))
        self.assertIn("application/openmetrics-text", headers["Accept"])
        self.assertIn("version=0.0.4", headers["Accept"])

    def test_basic_authentication(self):
        word = base64.b64encode("me:pass wörd".encode()).decode()
        exporter = self.enter(Exporter("a 1\n", authorization=f"Basic {word}"))
        self.polled(exporter, user="me", password="pass wörd")

    def test_bearer_token(self):
        exporter = self.enter(Exporter("a 1\n", authorization="Bearer t0ken"))
        self.polled(exporter, bearerToken=self.secret("t0ken"))

    def test_wrong_password(self):
        exporter = self.enter(Exporter("a 1\n", authorization="Bearer t0ken"))
        scottyd = self.scotty(exporter.element("h", "a", options={"bearerToken": "wr0ng"}))
        one = sp.eventually(lambda: next((e for e in scottyd.endpoints().values() if e["down"]),
                                         None), "failed")
        self.assertIn("answered 401", one["error"])
        self.assertNotIn("wr0ng", scottyd.log() + str(one))

    def test_options_that_are_no_good(self):
        bad = {"password": {"password": "x"}, "':'": {"user": "a:b"},
               "control character": {"headers": {"X": "a\nY: b"}},
               "malformed": {"headers": {"X Y": "a"}}, "itself": {"headers": {"host": "a"}},
               "histograms": {"histograms": "none"}, "params": {"params": ["a"]},
               "needs its key": {"tls": True, "certFile": "/x"},
               "server name": {"tls": True, "serverName": "a b"}}
        exporter = self.enter(Exporter("a 1\n"))
        scottyd = self.scotty(*[exporter.element(f"h{i}", "a", options=options)
                                for i, options in enumerate(bad.values())])
        for i, why in enumerate(bad):
            def failed():
                one = scottyd.endpoints()[f"h{i}", "a"]
                return one["error"] if one["down"] else None
            self.assertIn(why, sp.eventually(failed, why))
        self.assertEqual(exporter.requests, [])

    def certificate(self, name, ca=None, san=None):
        """Files of a certificate and its key, signed by ca or by itself."""
        crt, key = (os.path.join(self.dir, f"{name}.{end}") for end in ("crt", "key"))
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                   "-subj", f"/CN={name}", "-keyout", key, "-out", crt]
        if san:
            command += ["-addext", f"subjectAltName=DNS:{san}"]
        if ca:
            command += ["-CA", ca[0], "-CAkey", ca[1], "-addext", "basicConstraints=CA:FALSE"]
        subprocess.run(command, check=True, capture_output=True)
        return crt, key

    def test_tls_with_certificates_of_both_sides(self):
        ca = self.certificate("ca")
        server = self.certificate("server", ca, san="exporter.example")
        client = self.certificate("client", ca)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*server)
        tls.load_verify_locations(ca[0])
        tls.verify_mode = ssl.CERT_REQUIRED
        exporter = self.enter(Exporter("a 1\n# EOF\n", OPENMETRICS, tls=tls))
        good = {"tls": True, "caFile": ca[0], "certFile": client[0], "keyFile": client[1],
                "serverName": "exporter.example"}
        _, headers = self.polled(exporter, **good)
        self.assertEqual(headers["Host"], f"127.0.0.1:{exporter.port}")
        for less in ("serverName", "caFile"):
            options = {k: v for k, v in good.items() if k != less}
            scottyd = self.scotty(exporter.element("h", "a", options=options))
            sp.eventually(lambda: scottyd.endpoints()["h", "a"]["down"], f"without {less}")


class Federation(Test):
    def test_prometheus_polls_scottyd(self):
        exporter = self.enter(Exporter('a_total{x="1"} 7\n# TYPE h histogram\n'
                                       'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 3\n'
                                       'h_sum 4.5\nh_count 3\n'))
        scottyd = self.scotty(exporter.element("host1", "app"))
        sp.eventually(lambda: is_synced(scottyd, "host1", "app"), "polled")
        target = [{"targets": [f"127.0.0.1:{scottyd.port}"]}]
        port = self.prometheus([
            {"job_name": "own", "scrape_interval": "1s", "static_configs": target},
            {"job_name": "federate", "scrape_interval": "1s", "metrics_path": "/federate",
             "honor_labels": True, "params": {"match[]": ['{job="app"}']},
             "static_configs": target}])

        def value(expression):
            query = urllib.parse.urlencode({"query": expression})
            result = sp.ask(port, "GET", f"/api/v1/query?{query}").json()["data"]["result"]
            return result[0]["value"][1] if result else None

        instance = f'instance="host1:{exporter.port}",job="app"'
        for expression, want in (
                ('up{job="own"}', "1"), ('up{job="federate"}', "1"),
                (f'a_total{{x="1",{instance}}}', "7"),
                (f'h_bucket{{le="+Inf",{instance}}}', "3"), (f'h_sum{{{instance}}}', "4.5"),
                ('scotty_fleet_total_endpoints{job="own"}', "1")):
            sp.eventually(lambda: value(expression) == want, expression, 20)

    def test_promtool_has_nothing_against_it(self):
        exporter = self.enter(Exporter('a_total{x="1"} 7\nb_bytes 3\n'))
        scottyd = self.scotty(exporter.element("host1", "app"))
        sp.eventually(lambda: is_synced(scottyd, "host1", "app"), "polled")
        for text in (scottyd.get("/metrics").body, federate(scottyd, '{job="app"}')):
            checked = promtool(text)
            self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))


if __name__ == "__main__":
    missing = [p for p in ("prometheus", "promtool", "prometheus-node-exporter", "openssl")
               if shutil.which(p) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    sp.main()
