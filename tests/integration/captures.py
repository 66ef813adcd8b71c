"""Answers captured from upstream Scotty, and the polls that lead to them.

The captures show a time stamp and a value per metric, over some polls. An endpoint can play those
polls again. All time stamps are moved by the same number of whole seconds, to just before now,
as ?history counts from now.
"""
import json
import re
import time

import scottyd_proc as sp

HOST, APP = "host1.example.com", "vecapp"
STAMP = re.compile(r'("timestamp": ?")(\d+)(\.\d{9}")')


def load(text):
    """JSON, with -0 kept: Python's integers have none."""
    return json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))


def nanoseconds(stamp):
    """Of a time stamp's text."""
    whole, fraction = stamp.split(".")
    return int(whole) * 10**9 + int(fraction)


def stamp_of(ns):
    return f"{ns // 10**9}.{ns % 10**9:09d}"


def seconds_to_now(text):
    """What to add for the newest time stamp to be some 20 s ago."""
    newest = max(int(m.group(2)) for m in STAMP.finditer(text))
    return int(time.time()) - 20 - newest


def shift(text, by):
    """Adds so many seconds to all time stamps."""
    return STAMP.sub(lambda m: f"{m.group(1)}{int(m.group(2)) + by}{m.group(3)}", text)


def exact_markers(text):
    """Inactive markers are 1 ms after the last value, save for the noise of upstream's times."""
    newest = {}
    metrics = load(text)
    groups = {m["path"]: m["groupId"] for m in load(sp.data("tricorder_metricsapi_vec.json"))}
    for m in metrics:
        for value in m["values"]:
            if value["active"]:
                group = groups[m["path"]]
                newest[group] = max(newest.get(group, 0), nanoseconds(value["timestamp"]))
    for m in metrics:
        marker = m["values"][0]
        exact = stamp_of(newest[groups[m["path"]]] + 10**6)
        assert abs(nanoseconds(marker["timestamp"]) - nanoseconds(exact)) < 1000
        text = text.replace(marker["timestamp"], exact)
    return text


def histories(document):
    """{path: [(time stamp, value), ...]} of active values, oldest first."""
    result = {}
    for m in document:
        if "values" in m:
            result[m["path"]] = [(v["timestamp"], v["value"]) for v in reversed(m["values"])
                                 if v["active"]]
        else:
            result[m["path"]] = [(m["timestamp"], m["value"])]
    return result


def tricorder_value(original, value):
    """The captured value as an endpoint gives it: distributions look different there."""
    if original["kind"] != "distribution":
        return value
    dist = dict(original["value"], sum=value["sum"], count=value["count"])
    dist["ranges"] = [dict(r, count=n) for r, n in zip(dist["ranges"], value["counts"])]
    return dist


def polls(text):
    """The endpoint's answers, one after the other, that lead to what was captured."""
    values = histories(load(text))
    originals = load(sp.data("tricorder_metricsapi_vec.json"))
    times = {}  # of each group
    for m in originals:
        times.setdefault(m["groupId"], set()).update(t for t, _ in values[m["path"]])
    count = max(len(t) for t in times.values())
    answers = []
    for i in range(count):
        answer = []
        for m in originals:
            group = sorted(times[m["groupId"]], key=nanoseconds)
            now = group[max(0, i - (count - len(group)))]
            value = [v for t, v in values[m["path"]] if nanoseconds(t) <= nanoseconds(now)][-1]
            answer.append(dict(m, value=tricorder_value(m, value), timestamp=now))
        answers.append(answer)
    return answers
