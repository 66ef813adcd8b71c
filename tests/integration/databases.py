"""Databases that writers write to: VictoriaMetrics, Prometheus, carbon; and two that misbehave as
told: one that speaks OpenTSDB's and LMM's JSON, one that reads Graphite's lines.
"""
import gzip
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

import scottyd_proc as sp


class Database:
    """A server of a program of its own, with its files in a directory of its own."""

    program = None

    def __init__(self):
        if shutil.which(self.program) is None:
            raise unittest.SkipTest(f"{self.program} is not installed")
        self.dir = tempfile.mkdtemp(prefix=f"{self.program}-")
        self.child = None
        self.prepare()
        self.start()

    def prepare(self):
        """Chooses ports, writes its configuration."""

    def arguments(self):
        raise NotImplementedError

    def is_up(self):
        raise NotImplementedError

    def start(self):
        self.child = subprocess.Popen([self.program, *self.arguments()],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      start_new_session=True)
        sp.eventually(self._is_up, f"{self.program} answers", 40)

    def _is_up(self):
        if self.child.poll() is not None:
            raise AssertionError(f"{self.program} ended")
        try:
            return self.is_up()
        except OSError:
            return False

    def end(self, sig=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(sig)
        self.child.wait()

    def close(self):
        self.end(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)


class VictoriaMetrics(Database):
    program = "victoria-metrics"

    def prepare(self):
        self.port, self.tsdb_port, self.tsdb_text_port = (sp.free_port() for _ in range(3))
        self.graphite_port = sp.free_port()

    def arguments(self):
        return [f"-storageDataPath={self.dir}", f"-httpListenAddr=127.0.0.1:{self.port}",
                f"-opentsdbHTTPListenAddr=127.0.0.1:{self.tsdb_port}",
                f"-opentsdbListenAddr=127.0.0.1:{self.tsdb_text_port}",
                f"-graphiteListenAddr=127.0.0.1:{self.graphite_port}",
                "-retentionPeriod=100y", "-memory.allowedBytes=128MB"]

    def is_up(self):
        return sp.ask(self.port, "GET", "/health").status == 200

    def series(self, match):
        """{labels as sorted pairs: [(ms, value)]} of what matches."""
        sp.ask(self.port, "GET", "/internal/force_flush")
        query = urllib.parse.urlencode({"match[]": match, "start": "0"})
        lines = sp.ask(self.port, "GET", "/api/v1/export?" + query).body.splitlines()
        found = {}
        for line in lines:
            one = json.loads(line)
            # null: where the series ended.
            found[tuple(sorted(one["metric"].items()))] = sorted(
                (t, float(v)) for t, v in zip(one["timestamps"], one["values"]) if v is not None)
        return found


class Prometheus(Database):
    program = "prometheus"

    def prepare(self):
        self.port = sp.free_port()

    def arguments(self):
        return ["--config.file=/dev/null", f"--storage.tsdb.path={self.dir}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--web.enable-remote-write-receiver"]

    def is_up(self):
        return sp.ask(self.port, "GET", "/-/ready").status == 200

    def _query(self, query):
        query = urllib.parse.urlencode({"query": query})
        answer = sp.ask(self.port, "GET", "/api/v1/query?" + query).json()
        if answer["status"] != "success":
            raise AssertionError(answer)
        return {tuple(sorted(one["metric"].items())): one for one in answer["data"]["result"]}

    def series(self, selector):
        """{labels as sorted pairs: [(ms, value)]} of the last hour."""
        return {labels: [(round(float(t) * 1000), float(v)) for t, v in one["values"]]
                for labels, one in self._query(selector + "[1h]").items()}

    def now(self, selector):
        """{labels as sorted pairs: value}: what is there at this moment, looking back 5 minutes."""
        return {labels: float(one["value"][1]) for labels, one in self._query(selector).items()}


class Carbon(Database):
    program = "carbon-cache"

    def prepare(self):
        self.port, self.pickle_port, self.query_port = (sp.free_port() for _ in range(3))
        with open(os.path.join(self.dir, "carbon.conf"), "w", encoding="ascii") as f:
            f.write(f"""
[cache]
STORAGE_DIR = {self.dir}
LOCAL_DATA_DIR = {self.dir}/whisper
CONF_DIR = {self.dir}
LOG_DIR = {self.dir}
PID_DIR = {self.dir}
USER =
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {self.port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {self.pickle_port}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {self.query_port}
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
ENABLE_TAGS = False
""")
        with open(os.path.join(self.dir, "storage-schemas.conf"), "w", encoding="ascii") as f:
            f.write("[all]\npattern = .*\nretentions = 1s:1h\n")

    def arguments(self):
        return [f"--config={self.dir}/carbon.conf", "--nodaemon", "start"]

    def start(self):
        # What a kill left.
        for name in os.listdir(self.dir):
            if name.endswith(".pid"):
                os.unlink(os.path.join(self.dir, name))
        super().start()

    def is_up(self):
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    # Debian's interpreter has the library that carbon itself uses.
    FETCH = """
import json, os, sys, time, whisper
found = {}
for path in sys.argv[1:]:
    if os.path.exists(path):
        (start, _, step), values = whisper.fetch(path, time.time() - 3000)
        found[path] = [[start + i * step, v] for i, v in enumerate(values) if v is not None]
print(json.dumps(found))
"""

    def values(self, names):
        """{name: {second: value}} of what is on its disk."""
        paths = {name: os.path.join(self.dir, "whisper", *name.split(".")) + ".wsp"
                 for name in names}
        found = json.loads(subprocess.run(
            ["/usr/bin/python3", "-c", self.FETCH, *paths.values()],
            capture_output=True, text=True, check=True).stdout)
        return {name: dict(found.get(path, ())) for name, path in paths.items()}


class JsonSink:
    """Takes arrays of JSON objects by POST.

    respond(number, objects) gives (status, body, headers), or a function of the handler that does
    as it likes; None: 204. What is in `requests` is (body length, objects, headers, path).
    """

    def __init__(self, respond=None):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.take(self, body)

            def log_message(self, *args):
                pass

        self.lock = threading.Lock()
        self.respond, self.requests = respond, []
        self.server = sp.HttpServer(("127.0.0.1", sp.free_port()), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def take(self, handler, body):
        if handler.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        objects = json.loads(body)
        with self.lock:
            number = len(self.requests)
            self.requests.append((len(body), objects, dict(handler.headers), handler.path))
        answer = self.respond(number, objects) if self.respond else None
        if callable(answer):
            answer(handler)
            handler.close_connection = True
            return
        status, text, headers = answer or (204, "", {})
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text.encode())

    def objects(self):
        with self.lock:
            return [one for _, objects, _, _ in self.requests for one in objects]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def opentsdb_details(points, is_bad, why="Unable to parse value to a number", known=True):
    """What OpenTSDB answers to ?details."""
    bad = [one for one in points if is_bad(one)]
    errors = [{"datapoint": {**one, "value": str(one["value"]),
                             "tags": dict(reversed(list(one["tags"].items())))},
               "error": why} for one in bad]
    body = {"success": len(points) - len(bad), "failed": len(bad)}
    if known:
        body["errors"] = errors
    return 400 if bad else 200, json.dumps(body), {"Content-Type": "application/json"}


class LineSink:
    """Reads lines from TCP until the end of each connection, as carbon does.

    misbehave(sink, sock) is called for the next connections instead, one after the other.
    """

    def __init__(self, misbehave=()):
        self.lock = threading.Lock()
        self.pending = list(misbehave)
        self.lines, self.connections, self.done = [], 0, False
        self.sock = socket.create_server(("127.0.0.1", sp.free_port()))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while True:
            sock, _ = self.sock.accept()
            if self.done:
                sock.close()
                return
            with self.lock:
                self.connections += 1
                handle = self.pending.pop(0) if self.connections > 1 and self.pending else None
            with sock:
                try:
                    (handle or LineSink.read_all)(self, sock)
                except OSError:
                    pass

    def read_all(self, sock, slice_bytes=65536):
        """All lines, and only then the end of our side."""
        data = b""
        while True:
            piece = sock.recv(slice_bytes)
            if not piece:
                break
            data += piece
        with self.lock:
            self.lines += data.decode("ascii").splitlines()

    def values(self, name):
        with self.lock:
            lines = list(self.lines)
        return [(int(line.split()[2]), float(line.split()[1])) for line in lines
                if line.split()[0] == name]

    def close(self):
        self.done = True
        with socket.create_connection(("127.0.0.1", self.port)):
            pass
        self.thread.join()
        self.sock.close()


def unescape(name):
    """As upstream has names back: _XX is a byte."""
    out, i = bytearray(), 0
    raw = name.encode()
    while i < len(raw):
        digits = raw[i + 1:i + 3]
        if raw[i:i + 1] == b"_" and len(digits) == 2 and \
                all(c in b"0123456789abcdefABCDEF" for c in digits):
            out.append(int(digits, 16))
            i += 3
        else:
            out.append(raw[i])
            i += 1
    return out.decode()
