"""A cluster of Kafka brokers that fails as told, and what arrives in a topic."""
import json
import os
import shutil
import subprocess
import threading
import unittest

import scottyd_proc as sp

PARTITIONS = 4

# Errors of brokers, by the protocol's number.
REQUEST_TIMED_OUT = 7
NOT_LEADER = 6
MESSAGE_TOO_LARGE = 10
NOT_ENOUGH_REPLICAS = 19
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
TOPIC_AUTHORIZATION_FAILED = 29
OUT_OF_ORDER_SEQUENCE = 45


class MockCluster:
    """librdkafka's brokers, in a process of their own."""

    def __init__(self, topic="t", partitions=PARTITIONS):
        program = os.path.join(sp.BIN, "kafka_mock")
        if not os.path.exists(program):
            raise unittest.SkipTest("built without librdkafka")
        self.child = subprocess.Popen([program, topic, str(partitions)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                      text=True, bufsize=1)
        self.brokers = self.child.stdout.readline().strip().split(",")

    def tell(self, line):
        """The lines of its answer."""
        self.child.stdin.write(line + "\n")
        answer = []
        for got in self.child.stdout:
            if got == "ok\n":
                return answer
            answer.append(got.rstrip("\n"))
        raise AssertionError(f"kafka_mock: {line}: it ended")

    def errors(self, code, count=1):
        self.tell(f"errors {code} {count}")

    def close(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()


class Reader:
    """Reads a topic from its begin, as kcat does, while it is being written."""

    def __init__(self, brokers, topic="t", *flags):
        if shutil.which("kcat") is None:
            raise unittest.SkipTest("kcat is not installed")
        self.messages = []  # (partition, key, text)
        self.child = subprocess.Popen(
            ["kcat", "-C", "-E", "-u", "-q", "-b", ",".join(brokers), "-t", topic, "-o", "beginning",
             "-X", "reconnect.backoff.max.ms=500", *flags, "-f", "%p\t%k\t%S\n%s"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        for head in iter(self.child.stdout.readline, b""):
            partition, key, length = head.split(b"\t")
            text = self.child.stdout.read(int(length)).decode()
            self.messages.append((int(partition), key.decode(), text.removesuffix("\n")))

    def objects(self, host=None, name=None):
        """The messages as objects of JSON, in the order they came."""
        every = [(key, json.loads(text)) for _, key, text in list(self.messages)]
        return [o for key, o in every if (host is None or key == host) and
                (name is None or o["name"] == name)]

    def values(self, host, name):
        return [(o["@timestamp"], o["value"]) for o in self.objects(host, name)]

    def close(self):
        self.child.kill()
        self.child.wait()
        self.thread.join()
        self.child.stdout.close()


def kafka(brokers, name="w", batch=1000, more=None, **options):
    """A writer's element."""
    return {"kafka": {"endpoints": brokers, "topic": "t", "clientId": "c", "tenantId": "aTenant",
                      "apiKey": "aKey", **options},
            "consumer": {"name": name, "batchSize": batch, **(more or {})}}
