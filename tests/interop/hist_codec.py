#!/usr/bin/env python3
"""Compares lab's histogram encoding with hdrhistogram from PyPI, both ways: every count and the
usual percentiles. Exits 77 with the reason when hdrhistogram is not there.

usage: hist_codec.py HIST_TOOL
"""

import base64
import random
import subprocess
import sys

try:
    from hdrh.histogram import HdrHistogram
except ImportError as error:
    print(f"hdrhistogram cannot be imported ({error}): pip install hdrhistogram")
    sys.exit(77)

HIGHEST = 2**41 - 1
PERCENTILES = (50, 75, 90, 95, 99, 99.9, 99.99, 100)


def cases():
    """Pairs of a name and {value: count}."""
    chance = random.Random(12)
    yield "empty", {}
    yield "zero", {0: 1}
    yield "one value", {12345: 1}
    yield "the ends", {0: 3, 1: 2, HIGHEST: 1}
    yield "where buckets begin", {2**bit + off: bit for bit in range(11, 41) for off in (-1, 0, 1)}
    yield "no zeros between", {value: value % 7 + 1 for value in range(5000)}
    yield "words of every length", {2 ** (bit + 2): 2**bit + 1 for bit in range(21)}
    for spread in (0.3, 1, 3):
        values = {}
        for _ in range(20000):
            value = min(HIGHEST, int(30000 * chance.lognormvariate(0, spread)))
            values[value] = values.get(value, 0) + 1
        yield f"latencies, spread {spread}", values


def theirs(values, highest=HIGHEST):
    histogram = HdrHistogram(1, highest, 3)
    for value, count in values.items():
        assert histogram.record_value(value, count)
    return histogram


def counts_of(histogram):
    """{lowest equivalent value: count} of one of theirs."""
    counts = {}
    for item in histogram.get_recorded_iterator():
        if item.count_added_in_this_iter_step:
            lowest = histogram.get_lowest_equivalent_value(item.value_iterated_to)
            counts[lowest] = item.count_added_in_this_iter_step
    return counts


def percentile_of(values, total, percentile):
    """By definition: the smallest value that so many per cent of all do not exceed."""
    seen = 0
    for value in sorted(values):
        seen += values[value]
        # In integers: 99.99 and the like have no exact binary form.
        if seen * 10000 >= round(percentile * 100) * total:
            return value
    raise AssertionError("the percentile lies beyond the values")


def tool(program, command, data):
    done = subprocess.run([program, command], input=data, capture_output=True, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"hist_tool {command}: {done.stderr.decode()}")
    return done.stdout


def check(what, ours, expected):
    if ours != expected:
        raise SystemExit(f"{what}: lab has {ours}, hdrhistogram {expected}")


def check_ours_read_by_them(program, name, values):
    lines = "".join(f"{value} {count}\n" for value, count in values.items())
    encoded = tool(program, "encode", lines.encode())
    decoded = HdrHistogram.decode(base64.b64encode(encoded))
    expected = theirs(values)
    check(f"{name}: total", decoded.get_total_count(), expected.get_total_count())
    check(f"{name}: counts", counts_of(decoded), counts_of(expected))
    for percentile in PERCENTILES if values else ():
        check(
            f"{name}: p{percentile} of ours",
            decoded.get_value_at_percentile(percentile),
            expected.get_value_at_percentile(percentile),
        )


def check_theirs_read_by_us(program, name, values, highest=HIGHEST):
    histogram = theirs(values, highest)
    answer = tool(program, "decode", base64.b64decode(histogram.encode())).decode().split("\n")
    total = sum(values.values())
    check(f"{name}: total", answer[0], f"total {total}")
    counts = {}
    for line in filter(None, answer[1:]):
        fields = line.split()
        if fields[0] != "p":
            counts[int(fields[0])] = int(fields[1])
        elif values:
            exact = percentile_of(values, total, float(fields[1]))
            check(
                f"{name}: p{fields[1]} of theirs",
                int(fields[2]),
                histogram.get_highest_equivalent_value(exact),
            )
    check(f"{name}: counts", counts, counts_of(histogram))


def main():
    program = sys.argv[1]
    count = 0
    for name, values in cases():
        check_ours_read_by_them(program, name, values)
        check_theirs_read_by_us(program, name, values)
        count += 2
    # Ranges that are not ours, as long as the values are.
    check_theirs_read_by_us(program, "a smaller range", {5: 1, 1000: 7}, 2000)
    check_theirs_read_by_us(program, "a larger range", {5: 1, HIGHEST: 7}, 2**50)
    print(f"{count + 2} histograms agree")


if __name__ == "__main__":
    main()
