"""Upstream Scotty's captured answers must come out byte for byte."""
import unittest

import captures
import scottyd_proc as sp


class Vectors(unittest.TestCase):
    maxDiff = None

    def play(self, name, change=None, *last):
        """A scottyd that was polling while the endpoint played what leads to the capture, and last."""
        text = sp.data(name)
        text = change(text) if change else text
        expected = captures.shift(text, captures.seconds_to_now(text))
        endpoint = sp.Endpoint()
        self.addCleanup(endpoint.close)
        answers = captures.polls(expected)
        endpoint.publish(answers[0])
        scottyd = sp.Scottyd({"endpoints": [endpoint.element(captures.HOST, captures.APP)]})
        self.addCleanup(scottyd.__exit__, None, None, None)
        for answer in [*answers, *last]:
            endpoint.publish(answer)
            endpoint.wait_polled()
        return scottyd, expected

    def check(self, scottyd, path, expected):
        answer = scottyd.get(path)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(answer.body, expected)

    def test_latest(self):
        scottyd, expected = self.play("scotty_api_latest_vec.json")
        self.check(scottyd, "/api/latest/", expected)

    def test_latest_as_text(self):
        scottyd, expected = self.play("scotty_api_latest_vec_text.json")
        self.check(scottyd, "/api/latest/?format=text", expected)

    def test_an_hour_of_history(self):
        scottyd, expected = self.play("scotty_api_hosts_vec.json")
        self.check(scottyd, f"/api/hosts/{captures.HOST}/{captures.APP}", expected)

    def test_no_history(self):
        """One server answers both forms; the first capture has more history than is asked for."""
        scottyd, expected = self.play("scotty_api_hosts_vec.json")
        newest = {m["path"]: m["values"][0]["timestamp"] for m in captures.load(expected)}
        for name, form in (("history0.json", ""), ("history0_text.json", "&format=text")):
            capture = sp.data(f"scotty_api_hosts_vec_{name}")
            for m in captures.load(capture):
                capture = capture.replace(m["values"][0]["timestamp"], newest[m["path"]])
            self.check(scottyd, f"/api/hosts/{captures.HOST}/{captures.APP}?history=0{form}", capture)

    def test_markers_of_metrics_that_are_gone(self):
        scottyd, expected = self.play("scotty_api_hosts_inactive_text.json", captures.exact_markers, [])
        self.check(scottyd, f"/api/hosts/{captures.HOST}/{captures.APP}?format=text", expected)
        self.check(scottyd, "/api/latest/", "[]\n")
        scottyd.configure({"endpoints": []})
        scottyd.reload()
        self.check(scottyd, f"/api/hosts/{captures.HOST}/{captures.APP}?format=text", expected)


if __name__ == "__main__":
    sp.main()
