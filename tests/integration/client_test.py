"""The client for a terminal, against a running scottyd."""
import json
import os
import subprocess
import unittest

import scottyd_proc as sp

SCOTTY = os.path.join(sp.BIN, "scotty")


class Client(unittest.TestCase):
    def ask(self, *args, server=None, code=0):
        server = server or f"127.0.0.1:{self.scottyd.port}"
        done = subprocess.run([SCOTTY, *args], capture_output=True, timeout=20 * sp.SLOW,
                              check=False, env={**os.environ, "SCOTTY_SERVER": server})
        self.assertEqual(done.returncode, code, done)
        return done.stdout.decode(), done.stderr.decode()

    def setUp(self):
        self.endpoint = sp.Endpoint([
            sp.metric("/a/text", "string", "\x1b]0;owned\x07\x9b2Jcaf\u00e9"),
            sp.metric("/b", "int32", 7, bits=32)])
        self.addCleanup(self.endpoint.close)
        config = {"endpoints": [
            self.endpoint.element("web1", "my app"),
            {"host": "gone", "app": "x", "address": "127.0.0.1", "port": 1, "interval": "100ms"}],
            "writers": [{"mock": {}, "consumer": {"name": "a/b c"}}]}
        self.scottyd = sp.Scottyd(config)
        self.addCleanup(self.scottyd.__exit__, None, None, None)
        self.endpoint.wait_polled()
        sp.eventually(lambda: self.scottyd.get_json("/api/errors/"), "an error")
        sp.eventually(lambda: self.scottyd.value("web1", "my%20app", "/b") == 7, "a value")

    def test_tables_are_for_people(self):
        out, _ = self.ask("latest")
        self.assertRegex(out, r"(?m)^HOST +APPLICATION +PATH +AGE +UNIT +VALUE$")
        self.assertRegex(out, r"(?m)^web1 +my app +/b .* 7$")
        out, _ = self.ask("latest", "b/")
        self.assertEqual(len(out.splitlines()), 2)
        self.assertEqual(self.ask("latest", "/none"), ("", ""))
        out, _ = self.ask("errors")
        self.assertRegex(out, r"(?m)^gone +x .*Connection refused$")
        out, _ = self.ask("endpoints")
        self.assertRegex(out, r"(?m)^web1 +my app +tricorder .* (synced|polling|connecting)")

    def test_what_endpoints_send_does_not_reach_the_terminal(self):
        for args in ("latest",), ("latest", "-json"):
            out, _ = self.ask(*args)
            bad = [c for c in out if ord(c) < 32 and c != "\n" or 0x7f <= ord(c) < 0xa0]
            self.assertEqual(bad, [])
        self.assertIn(r"\x1b]0;owned\x07\xc2\x9b2Jcafé", self.ask("latest", "/a")[0])

    def test_json_is_the_answer(self):
        for command, path in (("errors", "/api/errors/"), ("latest", "/api/latest/")):
            ours = json.loads(self.ask(command, "--json=true")[0])
            theirs = self.scottyd.get_json(path)
            for row in ours + theirs:
                row.pop("timestamp")
            self.assertEqual(ours, theirs)

    def test_poll(self):
        self.assertEqual(self.ask("poll"), ("", ""))
        self.assertEqual(json.loads(self.ask("poll", "web1/my app", "-json")[0]), {"endpoints": 1})
        _, err = self.ask("poll", "web1/none", code=1)
        self.assertRegex(err, r"^scotty: POST http://.*/api/poll/web1/none: 404 .*no endpoint")
        self.ask("poll", "web1", code=2)

    def test_writers(self):
        out, _ = self.ask("writers")
        self.assertRegex(out, r"(?m)^NAME +WRITER +STATE +LAG +WRITTEN +LEFT .*LAST ERROR$")
        self.assertRegex(out, r"(?m)^a/b c +mock +(idle|writing) +\d")
        self.assertEqual(self.ask("writers", "pause", "a/b c"), ("", ""))
        self.assertEqual(json.loads(self.ask("writers", "-json")[0])[0]["state"], "paused")
        self.assertRegex(self.ask("writers")[0], r"(?m)^a/b c +mock +paused ")
        self.assertEqual(self.ask("writers", "resume", "a/b c"), ("", ""))
        self.assertNotIn("paused", self.ask("writers")[0])
        _, err = self.ask("writers", "pause", "none", code=1)
        self.assertRegex(err, r"404 .*no writer 'none'")
        for words in (("pause",), ("stop", "a/b c"), ("pause", "a", "b")):
            self.ask("writers", *words, code=2)

    def test_wrong_usage_and_nobody_there(self):
        for args in ((), ("nothing",), ("errors", "1"), ("-frob",), ("latest", "-server", "a/b")):
            _, err = self.ask(*args, code=2)
            self.assertRegex(err, r"^scotty: .*\n$")
        _, err = self.ask("errors", server="127.0.0.1:1", code=1)
        self.assertRegex(err, r"^scotty: GET http://127.0.0.1:1/api/errors/: .*\n$")
        out, _ = self.ask("-help")
        self.assertLessEqual(len(out.splitlines()), 24)
        self.assertTrue(all(len(line) <= 100 for line in out.splitlines()))


if __name__ == "__main__":
    sp.main()
