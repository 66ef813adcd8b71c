"""Scotty.Latest over XML-RPC, with Python's own client; hostile requests."""
import unittest
import xmlrpc.client

import scottyd_proc as sp

HOST, APP = "host1.example.com", "app"

METRICS = [
    sp.metric("/v/bool", "bool", True),
    sp.metric("/v/float", "float64", 0.1, bits=64),
    sp.metric("/v/int16", "int16", -32768, bits=16),
    sp.metric("/v/int64", "int64", -2**63, bits=64),
    sp.metric("/v/list", "list", [1, 2], group=11),
    sp.metric("/v/string", "string", "<&\"> \u00e4\n"),
    sp.metric("/v/uint32", "uint32", 2**32 - 1, bits=32, unit="Bytes"),
    sp.metric("/v/uint64", "uint64", 2**64 - 1, bits=64),
    sp.metric("/w", "string", "beside"),
]
METRICS[4]["subType"] = "int32"
METRICS[4]["bits"] = 32

# Ten entities, each ten times the one before: 10^10 characters when expanded.
BOMB = "".join(["<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY l0 'lol'>",
                *[f"<!ENTITY l{i + 1} '{f'&l{i};' * 10}'>" for i in range(10)],
                "]><methodCall><methodName>Scotty.Latest</methodName><params><param><value>",
                "<string>&l10;</string></value></param></params></methodCall>"])


class XmlRpc(unittest.TestCase):
    def setUp(self):
        endpoint = sp.Endpoint(METRICS)
        self.addCleanup(endpoint.close)
        self.scottyd = sp.Scottyd({"endpoints": [endpoint.element(HOST, APP)]})
        self.addCleanup(self.scottyd.__exit__, None, None, None)
        endpoint.wait_polled()
        self.proxy = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{self.scottyd.port}/RPC2")
        self.addCleanup(lambda: self.proxy("close")())

    def post(self, body):
        return sp.ask(self.scottyd.port, "POST", "/RPC2", body, {"Content-Type": "text/xml"})

    def test_values_are_typed(self):
        latest = {m["path"]: m for m in self.proxy.Scotty.Latest("/v")}
        self.assertEqual(list(latest), [m["path"] for m in METRICS[:-1]])
        for path, wanted in (("bool", True), ("float", 0.1), ("int16", -32768), ("int64", -2**63),
                             ("string", "<&\"> \u00e4\n"), ("uint32", 2**32 - 1), ("list", [1, 2])):
            value = latest["/v/" + path]["value"]
            self.assertEqual((type(value), value), (type(wanted), wanted), path)
        self.assertEqual(int(latest["/v/uint64"]["value"]), 2**64 - 1)

    def test_keys_are_those_of_the_rest_answer(self):
        by_rest = {m["path"]: m for m in self.scottyd.get_json("/api/latest/")}
        by_rpc = {m["path"]: m for m in self.proxy.Scotty.Latest("")}
        self.assertEqual(list(by_rpc), list(by_rest))
        for path, m in by_rpc.items():
            self.assertEqual(set(m), set(by_rest[path]), path)
            for key in ("hostName", "appName", "description", "unit", "kind"):
                self.assertEqual(m[key], by_rest[path][key])

    def test_path_chooses(self):
        self.assertEqual([m["path"] for m in self.proxy.Scotty.Latest("/w")], ["/w"])
        self.assertEqual(self.proxy.Scotty.Latest("/nothing"), [])

    def test_introspection(self):
        methods = self.proxy.system.listMethods()
        self.assertIn("Scotty.Latest", methods)
        self.assertIn("system.listMethods", methods)
        self.assertIn(["array", "string"], self.proxy.system.methodSignature("Scotty.Latest"))
        self.assertNotEqual(self.proxy.system.methodHelp("Scotty.Latest"), "")

    def test_faults(self):
        for call in (lambda: self.proxy.Scotty.Nothing(), lambda: self.proxy.Scotty.Latest(1),
                     lambda: self.proxy.Scotty.Latest("a", "b")):
            with self.assertRaises(xmlrpc.client.Fault):
                call()

    def check_refused(self, body):
        answer = self.post(body)
        if answer.status == 200:
            with self.assertRaises(xmlrpc.client.Fault):
                xmlrpc.client.loads(answer.body)
        else:
            self.assertIn(answer.status, (400, 413))

    def test_hostile_requests_are_refused(self):
        before = self.scottyd.status_kib("VmRSS")
        call = "<methodCall><methodName>Scotty.Latest</methodName><params><param>{}</param></params>" \
               "</methodCall>"
        self.check_refused(BOMB)
        self.check_refused("")
        self.check_refused("not XML")
        self.check_refused(call.format("<value><array><data>" * 15000))
        self.check_refused(call.format("<value><string>" + "x" * (200 << 10) + "</string></value>"))
        if not sp.SANITIZED:
            self.assertLess(self.scottyd.status_kib("VmRSS"), before + 32 * 1024)
        self.assertEqual(len(self.proxy.Scotty.Latest("/w")), 1)

    def test_long_requests_are_refused_by_their_length(self):
        answer = sp.ask(self.scottyd.port, "POST", "/RPC2", None, {"Content-Length": str(4 << 20)})
        self.assertEqual(answer.status, 413)

    def test_only_post_is_answered(self):
        self.assertIn(self.scottyd.get("/RPC2").status, (404, 405))


if __name__ == "__main__":
    sp.main()
