"""Registering endpoints over the API: what comes and goes, what is refused and why, what is kept."""
import json
import os
import socket
import tempfile
import unittest

import scottyd_proc as sp

PATH = "/api/endpoints/host1/my%20app"


def other_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
            address = sock.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


class Registry(unittest.TestCase):
    def setUp(self):
        self.state = tempfile.TemporaryDirectory(prefix="scottyd-state-")
        self.addCleanup(self.state.cleanup)
        self.endpoint = sp.Endpoint([sp.metric("/a", "int32", 1, bits=32)])
        self.addCleanup(self.endpoint.close)

    def start(self, config=None, **more):
        scottyd = sp.Scottyd(config or {}, state=self.state.name, **more)
        self.addCleanup(lambda: scottyd.stopped or scottyd.__exit__(None, None, None))
        return scottyd

    def body(self, **more):
        return json.dumps({"address": "127.0.0.1", "port": self.endpoint.port, "interval": "100ms",
                           **more})

    def put(self, scottyd, path, body, headers=None, address="127.0.0.1"):
        return sp.ask(scottyd.port, "PUT", path, body, headers, address)

    def delete(self, scottyd, path, **more):
        return sp.ask(scottyd.port, "DELETE", path, **more)

    def check_value(self, scottyd, app, value):
        sp.eventually(lambda: scottyd.value("host1", app, "/a") == value, f"/a is {value}")

    def test_registered_endpoints_are_polled_and_kept_over_restarts(self):
        with self.start() as scottyd:
            self.assertEqual(self.put(scottyd, PATH, self.body()).status, 201)
            self.check_value(scottyd, "my%20app", 1)
            one = scottyd.endpoints()["host1", "my app"]
            self.assertEqual((one["origin"], one["active"], one["port"], one["source"]),
                             ("api", True, self.endpoint.port, "tricorder"))
        with self.start() as scottyd:
            self.check_value(scottyd, "my%20app", 1)
            self.assertEqual(scottyd.endpoints()["host1", "my app"]["origin"], "api")
            self.assertEqual(self.delete(scottyd, PATH).status, 204)
            self.assertNotIn(("host1", "my app"), scottyd.endpoints())
            self.assertEqual(self.delete(scottyd, PATH).status, 404)
        with self.start() as scottyd:
            self.assertEqual(scottyd.endpoints(), {})

    def test_put_replaces(self):
        with sp.Endpoint([sp.metric("/a", "int32", 2, bits=32)]) as second, self.start() as scottyd:
            self.assertEqual(self.put(scottyd, PATH, self.body()).status, 201)
            self.assertEqual(self.put(scottyd, PATH, self.body()).status, 200)
            self.check_value(scottyd, "my%20app", 1)
            second.publish([sp.metric("/a", "int32", 2, f"{float(sp.NOW) + 1:.9f}", bits=32)])
            self.assertEqual(self.put(scottyd, PATH, self.body(port=second.port)).status, 200)
            self.check_value(scottyd, "my%20app", 2)
            self.assertEqual(len(scottyd.endpoints()), 1)

    def test_history_of_a_removed_endpoint_is_still_served(self):
        with self.start() as scottyd:
            self.put(scottyd, PATH, self.body())
            self.check_value(scottyd, "my%20app", 1)
            self.assertEqual(self.delete(scottyd, PATH).status, 204)
            values = lambda: scottyd.get_json("/api/hosts/host1/my%20app/a")[0]["values"]
            sp.eventually(lambda: [v["active"] for v in values()] == [False, True],
                          "its series ends")
            self.assertEqual(scottyd.get_json("/api/latest/"), [])

    def test_bad_bodies_are_refused_with_the_reason(self):
        with self.start() as scottyd:
            for body, reason in (
                ("", "port"),
                ("{", "line 1|1:"),
                ("[]", "map"),
                ('{"port": 1, "colour": "red"}', "colour"),
                ('{"port": "x"}', "port"),
                ('{"port": 65536}', "port"),
                ('{"address": "127.0.0.1"}', "'port' is missing"),
                ('{"port": 1, "source": "gopher"}',
                 "no source 'gopher' in this build; there are: .*tricorder"),
                ('{"port": 1, "interval": "1ms"}', "interval"),
                ('{"port": 1, "host": "host2"}', "'host' is 'host2' here and 'host1' in the URL"),
                ('{"port": 1, "options": {"nonsense": 1}}', "nonsense"),
            ):
                answer = self.put(scottyd, PATH, body)
                self.assertEqual(answer.status, 400, (body, answer.body))
                self.assertEqual(answer.headers["Content-Type"], "application/json")
                self.assertRegex(answer.json()["error"], reason, body)
            # Refused by its length, before any of it was sent.
            answer = self.put(scottyd, PATH, None, {"Content-Length": "1048576"})
            self.assertEqual(answer.status, 413)
            self.assertIn("error", answer.json())
            self.assertEqual(scottyd.endpoints(), {})

    def test_endpoints_of_the_configuration_stay(self):
        config = {"endpoints": [self.endpoint.element("host1", "configured")]}
        with self.start(config) as scottyd:
            path = "/api/endpoints/host1/configured"
            answer = self.delete(scottyd, path)
            self.assertEqual(answer.status, 409)
            self.assertIn("error", answer.json())
            self.check_value(scottyd, "configured", 1)

    def test_browsers_of_other_sites_are_refused(self):
        with self.start() as scottyd:
            for origin in ("http://evil.example", "null", f"http://127.0.0.1:{scottyd.port + 1}"):
                answer = self.put(scottyd, PATH, self.body(), {"Origin": origin})
                self.assertEqual(answer.status, 403, origin)
            own = {"Origin": f"http://127.0.0.1:{scottyd.port}"}
            self.assertEqual(self.put(scottyd, PATH, self.body(), own).status, 201)

    def test_other_machines_need_the_token(self):
        address = other_address()
        if address is None:
            self.skipTest("this machine has no address but loopback")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        token = os.path.join(directory.name, "token")
        with open(token, "w", encoding="ascii") as f:
            f.write("s3cret\n")
        os.chmod(token, 0o600)
        config = {"adminToken": {"file": token}}
        with self.start(config, listen_address="") as scottyd:
            def put(authorization, body):
                headers = {} if authorization is None else {"Authorization": authorization}
                return self.put(scottyd, PATH, body, headers, address)

            for authorization in (None, "Bearer", "Bearer wrong", "Bearer s3cretx", "Basic s3cret"):
                answer = put(authorization, self.body())
                self.assertEqual(answer.status, 403, authorization)
                self.assertIn("error", answer.json())
            self.assertEqual(scottyd.endpoints(), {})
            self.assertEqual(put("Bearer s3cret", json.dumps({"port": 1})).status, 201)
            self.assertEqual(self.delete(scottyd, PATH, address=address).status, 403)
            self.assertNotIn("s3cret", scottyd.log())

    def test_without_a_state_directory_registrations_live_as_long_as_the_process(self):
        with sp.Scottyd({"stateDir": ""}) as scottyd:
            self.assertEqual(self.put(scottyd, PATH, self.body()).status, 201)
            self.check_value(scottyd, "my%20app", 1)
            self.assertFalse(os.path.exists(scottyd.state))


if __name__ == "__main__":
    sp.main()
