"""Servers that writers write to: a real influxd, and one that takes lines and misbehaves as told."""
import http.client
import http.server
import json
import os
import re
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


class Influxd:
    """A running influxd with a database `d`, in a directory of its own."""

    def __init__(self):
        if shutil.which("influxd") is None:
            raise unittest.SkipTest("influxd is not installed")
        self.dir = tempfile.mkdtemp(prefix="influxd-")
        self.port, self.rpc_port = sp.free_port(), sp.free_port()
        self.child = None
        self.start()

    def start(self):
        config = os.path.join(self.dir, "influxdb.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"""
reporting-disabled = true
bind-address = "127.0.0.1:{self.rpc_port}"
[meta]
  dir = "{self.dir}/meta"
[data]
  dir = "{self.dir}/data"
  wal-dir = "{self.dir}/wal"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:{self.port}"
  log-enabled = false
  max-body-size = 1000000
[monitor]
  store-enabled = false
[logging]
  level = "error"
""")
        self.child = subprocess.Popen(["influxd", "-config", config], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, start_new_session=True)
        sp.eventually(self._is_up, "influxd answers", 30)
        self.query("CREATE DATABASE d", method="POST")

    def _is_up(self):
        if self.child.poll() is not None:
            raise AssertionError("influxd ended")
        try:
            return sp.ask(self.port, "GET", "/ping").status == 204
        except OSError:
            return False

    def query(self, q, method="GET"):
        """The series of the answer: [{"name":, "tags":, "columns":, "values":}]"""
        params = urllib.parse.urlencode({"db": "d", "epoch": "ns", "q": q})
        answer = sp.ask(self.port, method, "/query?" + params).json()
        result = answer["results"][0]
        if "error" in result:
            raise AssertionError(f"{q}: {result['error']}")
        return result.get("series", [])

    def kill(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def close(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Sink:
    """Takes InfluxDB's lines over HTTP.

    respond(sink, number, lines) decides: an answer (status, body, headers), or a function of the
    handler that does as it likes. lines are kept when the status is 204.
    """

    def __init__(self, respond=None, port=0):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.take(self, body.decode().splitlines())

            def log_message(self, *args):
                pass

        class Server(sp.HttpServer):
            closed = 0

            def get_request(self):
                request = super().get_request()
                outer.connections += 1
                return request

            def shutdown_request(self, request):
                super().shutdown_request(request)
                with outer.lock:
                    self.closed += 1

        self.lock = threading.Lock()
        self.respond = respond
        self.lines, self.requests, self.connections = [], [], 0
        self.server = Server(("127.0.0.1", port or sp.free_port()), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def take(self, handler, lines):
        with self.lock:
            number = len(self.requests)
            self.requests.append((time.monotonic(), lines, dict(handler.headers), handler.path))
            respond = self.respond
        answer = respond(self, number, lines) if respond else (204, "", {})
        if callable(answer):
            answer(handler)
            handler.close_connection = True
            return
        status, body, headers = answer
        with self.lock:
            if status == 204:
                self.lines += lines
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if status != 204:
            handler.wfile.write(body.encode())

    def values(self, path):
        """[(time in ns, value)] of a measurement, in the order they came."""
        with self.lock:
            lines = list(self.lines)
        return [(int(line.rsplit(" ", 1)[1]), float(re.search(r"value=(\S+) ", line)[1]))
                for line in lines if line.startswith(path + ",")]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Acknowledger:
    """Takes requests as fast as it can, says 204, and keeps (time, body) of them if told to."""

    NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"

    def __init__(self, keeps=False):
        self.port, self.keeps, self.taken = sp.free_port(), keeps, []
        self.listener, self.connections, self.threads = None, [], []
        self.up()

    def up(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self._run(self._listen, self.listener)

    def down(self):
        """Nothing listens any more, and what was connected is closed."""
        for one in [self.listener, *self.connections]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        for thread in self.threads:
            thread.join()
        self.connections, self.threads = [], []

    def take(self, body):
        """What is answered; nothing: the connection is closed. Any thread calls it."""
        if self.keeps:
            self.taken.append((time.monotonic(), body))
        return self.NO_CONTENT

    def _run(self, target, arg):
        thread = threading.Thread(target=target, args=(arg,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def _listen(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(connection)
            self._run(self._serve, connection)

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rb", 1 << 20) as stream:
                while stream.readline():
                    length = 0
                    for line in iter(stream.readline, b"\r\n"):
                        name, _, value = line.partition(b":")
                        if name.lower() == b"content-length":
                            length = int(value)
                        elif name.lower() == b"expect":
                            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    body = stream.read(length)
                    if len(body) < length:
                        return
                    answer = self.take(body)
                    if not answer:
                        return
                    connection.sendall(answer)
        except (OSError, ValueError):
            pass

    def close(self):
        self.down()


class Counter:
    """An endpoint with series /n/NNN, all of the same value, which grows by one several times a
    second; and with `more` metrics."""

    def __init__(self, series=3, more=()):
        self.series, self.more, self.value = series, list(more), 0
        self.endpoint = sp.Endpoint()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.done.wait(0.04):
            self.value += 1
            now = f"{time.time():.9f}"
            self.endpoint.publish(
                [sp.metric(f"/n/{i:03}", "int64", self.value, ts=now, bits=64)
                 for i in range(self.series)] + self.more)

    def config(self, host="web1", interval="100ms"):
        return {"host": host, "app": "count", "address": "127.0.0.1", "port": self.endpoint.port,
                "interval": interval}

    def close(self):
        self.done.set()
        self.thread.join()
        self.endpoint.close()


def api_values(scottyd, path, host="web1", app="count"):
    """[(time in ns, value)] of what the store has, oldest first."""
    metrics = scottyd.get_json(f"/api/hosts/{host}/{app}{path}?history=60")
    values = []
    for value in metrics[0]["values"] if metrics else []:
        seconds, nanos = value["timestamp"].split(".")
        if value["active"]:
            values.append((int(seconds) * 10**9 + int(nanos), value["value"]))
    return sorted(values)


def influx(port, name="w", batch=1000, more=None, **options):
    """A writer's element."""
    return {"influx": {"hostAndPort": f"http://127.0.0.1:{port}", "database": "d", **options},
            "consumer": {"name": name, "batchSize": batch, **(more or {})}}


def writer(scottyd, name="w"):
    """How that writer fares, or None."""
    for one in scottyd.get_json("/api/writers"):
        if one["name"] == name:
            return one
    return None
