"""Asks scottyd over XML-RPC with Python's client. Argument: the URL."""
import sys
import xmlrpc.client

server = xmlrpc.client.ServerProxy(sys.argv[1])
assert "Scotty.Latest" in server.system.listMethods()
assert "active metric" in server.system.methodHelp("Scotty.Latest")
assert server.Scotty.Latest("/one") == [
    {
        "hostName": "host1",
        "appName": "app",
        "path": "/one",
        "description": "An int",
        "unit": "None",
        "kind": "int64",
        "bits": 64,
        "timestamp": "1795209663.000000000",
        "value": 1,
    }
]
assert len(server.Scotty.Latest("")) == len(server.Scotty.Latest()) == 40001
assert server.Scotty.Latest("/nope") == []
try:
    server.Scotty.Nope()
except xmlrpc.client.Fault as fault:
    assert fault.faultCode == -506
else:
    raise AssertionError("a method that there is not answered")
