"""Endpoints that misbehave in ways fleet_sim does not know: a function each, run by threads."""
import contextlib
import gzip
import socket
import struct
import threading

import scottyd_proc as sp


def read_request(conn):
    """The head of a request; empty when the other side is gone."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = conn.recv(4096)
        if not more:
            return b""
        head += more
    return head


def reset(conn, _):
    """Half an answer, then RST."""
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[")
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def redirect(conn, port):
    """To itself, for ever."""
    conn.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/metricsapi/\r\n"
                 b"Content-Length: 0\r\n\r\n" % port)
    return True


def truncated(conn, _):
    """A whole answer whose JSON ends too early."""
    body = b'[{"path":"/a","description":"","unit":"None","kind":"int32","bits":32,"value":'
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    return True


BOMB = gzip.compress(b" " * (200 << 20), 9)


def bomb(conn, _):
    """200 kB that unpack to 200 MiB."""
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB))
    conn.sendall(BOMB)
    return True


def no_http(conn, _):
    """Another protocol altogether."""
    conn.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    return False


def endless_head(conn, _):
    """Header fields without end."""
    conn.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        conn.sendall(b"X-Filler: " + b"x" * 1000 + b"\r\n")


class BadEndpoint:
    """Answers each request with way(connection, port), which returns whether to keep the connection."""

    def __init__(self, way):
        self.way = way
        self.server = socket.create_server(("127.0.0.1", sp.free_port()))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.server.accept()
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with conn, contextlib.suppress(OSError):
            while read_request(conn) and self.way(conn, self.port):
                pass

    def close(self):
        self.server.close()


class BlackHole:
    """Connection attempts are neither accepted nor refused: the queue of a listener that is full."""

    def __init__(self):
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", sp.free_port()))
        self.server.listen(0)
        self.port = self.server.getsockname()[1]
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(filler)

    def close(self):
        for sock in [self.server, *self.fillers]:
            sock.close()
