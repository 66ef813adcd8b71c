"""A strict reader of the Prometheus text format, version 0.0.4."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (\S+)( -?\d+)?")
HELP = re.compile(rf"# HELP ({NAME}) (?:[^\\]|\\[\\n])*")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram|summary|untyped)")
VALUE = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|NaN")


class Family:
    def __init__(self, kind):
        self.kind = kind
        self.samples = []  # (name, {label: value}, value)


def check(condition, line):
    if not condition:
        raise AssertionError(f"not valid: {line!r}")


def parse(text):
    """{name: Family}; an AssertionError names the first line that is not as it should be."""
    families, helps, seen = {}, set(), set()
    current = None
    check(text.endswith("\n"), text[-80:])
    for line in text.splitlines():
        if line.startswith("# HELP"):
            match = HELP.fullmatch(line)
            check(match and match[1] not in helps and match[1] not in families, line)
            helps.add(match[1])
        elif line.startswith("# TYPE"):
            match = TYPE.fullmatch(line)
            check(match and match[1] not in families, line)
            current = match[1]
            families[current] = Family(match[2])
        else:
            match = SAMPLE.fullmatch(line)
            check(match and VALUE.fullmatch(match[3]), line)
            name = match[1]
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            check(current is not None and name in names_of(current, families[current].kind), line)
            key = (name, tuple(sorted(labels.items())))
            check(key not in seen, line)
            seen.add(key)
            families[current].samples.append((name, labels, float(match[3])))
    for name, family in families.items():
        check(family.samples, name)
        if family.kind == "histogram":
            check_histogram(name, family.samples)
    return families


def names_of(family, kind):
    if kind == "histogram":
        return {family + "_bucket", family + "_sum", family + "_count"}
    return {family}


def check_histogram(name, samples):
    """Buckets rise, in bounds and in counts, and the last one holds all."""
    buckets = [(float(labels["le"]), value) for n, labels, value in samples if n == name + "_bucket"]
    counts = [value for n, _, value in samples if n == name + "_count"]
    sums = [value for n, _, value in samples if n == name + "_sum"]
    check(len(counts) == 1 and len(sums) == 1 and buckets, name)
    check(buckets == sorted(buckets) and math.isinf(buckets[-1][0]), name)
    check([n for _, n in buckets] == sorted(n for _, n in buckets), name)
    check(buckets[-1][1] == counts[0], name)
