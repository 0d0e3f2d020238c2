"""That scripts/test-runner.py loses no failure and invents no pass."""

import importlib.util
import os
import unittest

RUNNER = os.path.join(os.path.dirname(__file__), "..", "..", "scripts", "test-runner.py")
spec = importlib.util.spec_from_file_location("test_runner", RUNNER)
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)

CRITERION = """\
[RUN ] hist::merge
[PASS] hist::merge: (0.00s)
[SKIP] sock::ipv6: there is no IPv6 here
[FAIL] hist::encode: (0.00s)
[====] Synthesis: Tested: 7 | Passing: 6 | Failing: 1 | Crashing: 0\x20
"""
UNITTEST = """\
test_a (test_run.Run) ... ok
test_b (test_run.Run)
What it is about ... skipped 'no strace'
test_c (test_run.Run.test_c) ... skipped "it's not here"

----------------------------------------------------------------------
Ran 5 tests in 0.012s

FAILED (failures=1, errors=1, skipped=2)
"""


def count(result="OK", returncode=0, stdout="", stderr=""):
    found = runner.count_test(
        {"result": result, "returncode": returncode, "stdout": stdout, "stderr": stderr}
    )
    return found.passed, found.failed, found.skipped


class Counting(unittest.TestCase):
    def test_a_program_without_totals_is_one_test(self):
        self.assertEqual(count(), (1, 0, []))
        self.assertEqual(count("FAIL", 1), (0, 1, []))
        self.assertEqual(count("TIMEOUT", -15), (0, 1, []))

    def test_exit_77_is_skipped_with_its_last_line(self):
        self.assertEqual(
            count("SKIP", 77, "starting\nno clang here\n"), (0, 0, [("", "no clang here")])
        )

    def test_criterion_totals_and_reasons(self):
        skipped = [("sock::ipv6", "there is no IPv6 here")]
        self.assertEqual(count("FAIL", 1, stderr=CRITERION), (6, 1, skipped))

    def test_what_totals_do_not_show_is_a_failure(self):
        good = CRITERION.replace("Failing: 1", "Failing: 0")
        self.assertEqual(count("FAIL", 1, stderr=good)[1], 1, "a leak found at exit")
        self.assertEqual(count("TIMEOUT", -15, stderr=good)[1], 1)

    def test_colours_do_not_hide_totals(self):
        line = "\x1b[34mSynthesis: Tested: \x1b[1m2\x1b[0m | Passing: 2 | Failing: 0"
        self.assertEqual(count(stderr=line)[:2], (2, 0))

    def test_unittest_totals_and_reasons(self):
        passed, failed, skipped = count("FAIL", 1, stderr=UNITTEST)
        self.assertEqual((passed, failed), (1, 2))
        self.assertEqual([reason for _, reason in skipped], ["no strace", "it's not here"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
