"""Captured HTTP exchanges: status, type, redirects, bodies."""
import re
import unittest

import captures
import scottyd_proc as sp

AGENT = "health agent"

# scottyd differs on purpose: it answers at once where upstream redirects to its own last slash.
DIFFERENT = {"/api/errors"}

EXCHANGE = re.compile(r"^### GET (\S+)\nHTTP/1\.1 (\d+) [^\n]*\n(.*?)\n\n(.*?)(?=^### |\Z)",
                      re.M | re.S)


def exchanges(text):
    """(path, status, headers, body) of each; the body without the empty line put after it."""
    for path, status, head, body in EXCHANGE.findall(text):
        headers = dict(line.split(": ", 1) for line in head.splitlines())
        yield path, int(status), headers, body[:int(headers["Content-Length"])]


def go_float(ns):
    """Seconds as Go's %g writes them, from nanoseconds."""
    digits = repr(ns // 10**9 + ns % 10**9 * 1e-9).replace(".", "")
    return f"{digits[0]}.{digits[1:].rstrip('0')}e+09"


def shift_tsdb(body, by, polls):
    """Lines of /api/tsdb/ begin with a time as a float, of which the exact one is in polls."""
    for ns in polls:
        body = body.replace(go_float(ns), go_float(ns + by * 10**9))
    return body


class Exchanges(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        text, history = sp.data("scotty_http_exchanges.txt"), sp.data("scotty_api_hosts_vec.json")
        self.by = captures.seconds_to_now(history)
        times = re.findall(r'"timestamp":"([\d.]+)"', text)
        self.exchanges = []
        for path, status, headers, body in exchanges(text):
            body = shift_tsdb(body, self.by, {captures.nanoseconds(t) for t in times})
            self.exchanges.append((path, status, headers, captures.shift(body, self.by)))
        vec, agent = sp.Endpoint(), sp.Endpoint(self.agent_metrics())
        self.addCleanup(vec.close)
        self.addCleanup(agent.close)
        self.scottyd = sp.Scottyd({"endpoints": [vec.element(captures.HOST, captures.APP),
                                                 agent.element(captures.HOST, AGENT)]})
        self.addCleanup(self.scottyd.__exit__, None, None, None)
        for answer in captures.polls(captures.shift(history, self.by)):
            vec.publish(answer)
            vec.wait_polled()
        agent.wait_polled()

    def agent_metrics(self):
        """What the captured answer about the health agent shows, as an endpoint gives it."""
        shown = next(body for path, _, _, body in self.exchanges if AGENT.replace(" ", "%20") in path)
        for m in captures.load(shown):
            value = m["values"][0]
            yield dict(sp.metric(m["path"], m["kind"], value["value"], value["timestamp"],
                                 unit=m["unit"], bits=m["bits"]), description=m["description"])

    def test_all_that_was_captured(self):
        self.assertGreater(len(self.exchanges), 25)
        for path, status, headers, body in self.exchanges:
            if path in DIFFERENT:
                continue
            with self.subTest(path):
                answer = self.scottyd.get(path)
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.headers["Content-Type"], headers["Content-Type"])
                self.assertEqual(answer.headers["Location"], headers.get("Location"))
                self.assertEqual(answer.body, body)

    def test_errors_are_answered_with_and_without_the_last_slash(self):
        for path in ("/api/errors", "/api/errors/"):
            self.assertEqual(self.scottyd.get_json(path), [])

    def test_unknown_paths_are_not_found(self):
        for path in ("/nothing", "/api", "/api/", "/api/nothing", "/RPC3"):
            self.assertEqual(self.scottyd.get(path).status, 404, path)

    def test_pages_for_people(self):
        for path, words in (("/", ["Scotty", "Total Endpoints", "/showAllApps"]),
                            ("/showAllApps", [captures.HOST, captures.APP, AGENT])):
            answer = self.scottyd.get(path)
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.headers["Content-Type"].startswith("text/html"), path)
            for word in words:
                self.assertIn(word, answer.body)


if __name__ == "__main__":
    sp.main()
