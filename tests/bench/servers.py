#!/usr/bin/env python3
"""What the servers that writers write to can take: the other side of writers_bench.

Requests that were made beforehand (2,000 series, 10,000 records each, the next times in each)
go one after the other to a server on a processor of its own, as fast as it acknowledges them. Those
that are not installed are left out.
"""
import http.client
import json
import os
import socket
import struct
import sys
import time

import sweep
from sweep import sp

import databases  # noqa: E402 (sweep adds the path)
import sinks

SERIES, TIMES = 2000, 5  # of a request
RECORDS = SERIES * TIMES
SECONDS = 5
NAMES = [(f"web{i // 100}", f"metric{i % 100}") for i in range(SERIES)]


class Request:
    """Text or bytes that differ in its times only. record(host, metric) gives what stands before
    and behind a time."""

    def __init__(self, record, head=b"", between=b"", tail=b""):
        parts = [record(host, metric) for host, metric in NAMES]
        self.head, self.tail = head + parts[0][0], parts[-1][1] + tail
        # What is between the times of two records; and round from the last to the first.
        self.between = [end + between + begin
                        for (_, end), (begin, _) in zip(parts, parts[1:] + parts[:1])]

    def at(self, stamps):
        out = [self.head]
        for stamp in stamps:
            for between in self.between:
                out += (stamp, between)
        out[-1] = self.tail
        return b"".join(out)


# Remote write: protobuf and snappy by hand.

def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def remote_write(host, metric):
    labels = b"".join(field(1, field(1, name) + field(2, value.encode()))
                      for name, value in ((b"__name__", metric), (b"host", host)))
    sample = b"\x09" + struct.pack("<d", 100) + b"\x10"  # and the time, in milliseconds
    length = len(sample) + len(varint(int(time.time() * 1000)))
    before = b"\x12" + varint(length) + sample
    return b"\x0a" + varint(len(labels) + len(before) - len(sample) + length) + labels + before, b""


def snappy(data):
    """Literals only."""
    out = [varint(len(data))]
    for at in range(0, len(data), 65536):
        piece = data[at:at + 65536]
        out += (b"\xf4" + (len(piece) - 1).to_bytes(2, "little"), piece)
    return b"".join(out)


# Ways to send. Each returns when the server has acknowledged.

def poster(port, path, headers=(), pack=bytes):
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(body):
        conn.request("POST", path, pack(body), dict(headers))
        answer = conn.getresponse()
        text = answer.read()
        if answer.status not in (200, 204):
            raise AssertionError(f"{answer.status}: {text[:200]}")
    return send


def liner(port):
    def send(body):
        with socket.create_connection(("127.0.0.1", port), 60) as sock:
            sock.sendall(body)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
    return send


INFLUX = Request(lambda host, metric: (f"{metric},app=sim,host={host} value=100 ".encode(), b"\n"))
OPENTSDB = Request(lambda host, metric: (
    b'{"metric":%s,"timestamp":' % json.dumps(metric).encode(),
    b',"value":100,"tags":{"appname":"sim","HostName":%s}}' % json.dumps(host).encode()),
    b"[", b",", b"]")
GRAPHITE = Request(lambda host, metric: (f"{host}.sim.{metric} 100 ".encode(), b"\n"))
REMOTE_WRITE = Request(remote_write)
REMOTE_WRITE_HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                        "X-Prometheus-Remote-Write-Version": "0.1.0"}


def decimal(unit):
    return lambda at_s: b"%d" % round(at_s * unit)


def feed(name, server, send, request, stamp):
    """Prints records a second, and the server's CPU a million."""
    at_s = time.time() - 3000
    sent, cpu, begin = 0, sp.cpu_seconds(server.child.pid), time.monotonic()
    while time.monotonic() - begin < SECONDS:
        send(request.at([stamp(at_s + i / 1e3) for i in range(TIMES)]))
        at_s += TIMES / 1e3
        sent += RECORDS
    seconds = time.monotonic() - begin
    cpu = sp.cpu_seconds(server.child.pid) - cpu
    print(f"{name + '_server':34}{sent / seconds:10.0f} records/s\n"
          f"{name + '_server_cpu':34}{cpu / sent * 1e6:10.2f} s per million records", flush=True)


def run(name, make, ways):
    try:
        with sweep.children_on(sweep.COLLECTOR):
            server = make()
    except sp.unittest.SkipTest as missing:
        print(f"{name}: {missing}")
        return
    try:
        for way, send, request, stamp in ways(server):
            feed(f"{way}_{name}", server, send, request, stamp)
    finally:
        server.close()


def main():
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    run("influxd", sinks.Influxd, lambda s: [
        ("influx", poster(s.port, "/write?db=d&precision=ms"), INFLUX, decimal(1e3))])
    run("victoria", databases.VictoriaMetrics, lambda s: [
        ("influx", poster(s.port, "/write?db=d&precision=ms"), INFLUX, decimal(1e3)),
        ("openTSDB", poster(s.tsdb_port, "/api/put"), OPENTSDB, decimal(1e3)),
        ("graphite", liner(s.graphite_port), GRAPHITE, decimal(1)),
        ("prometheus", poster(s.port, "/api/v1/write", REMOTE_WRITE_HEADERS, snappy),
         REMOTE_WRITE, lambda at_s: varint(round(at_s * 1e3)))])
    run("prometheus", databases.Prometheus, lambda s: [
        ("prometheus", poster(s.port, "/api/v1/write", REMOTE_WRITE_HEADERS, snappy),
         REMOTE_WRITE, lambda at_s: varint(round(at_s * 1e3)))])
    run("carbon", databases.Carbon, lambda s: [
        ("graphite", liner(s.port), GRAPHITE, decimal(1))])


if __name__ == "__main__":
    main()
