"""The JSON of a run: its schema, its file, and what others can do with it."""

import json
import os
import re
import resource
import stat
import subprocess
import unittest

from harness import EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, LAB, LabCase, main

try:
    import jsonschema
except ImportError:
    jsonschema = None

SOURCE = os.environ.get("LAB_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
SHORT = ("-q", "-r", "1", "-d", "50ms", "-w", "10ms")


class Schema(LabCase):
    @unittest.skipIf(jsonschema is None, "python3-jsonschema is not there (apt install it)")
    def validate(self, *words, **options):
        with open(os.path.join(SOURCE, "docs/schema/run-1.json"), encoding="utf-8") as file:
            schema = json.load(file)
        # An old jsonschema knows no 2020-12; what is used here means the same in draft 7.
        validator = getattr(jsonschema, "Draft202012Validator", jsonschema.Draft7Validator)
        validator.check_schema(schema)
        document = self.run_json("echo", *SHORT, *words, **options)
        errors = [
            f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
            for error in validator(schema).iter_errors(document)
        ]
        self.assertEqual(errors, [])
        return document

    def test_a_run_of_every_engine(self):
        document = self.validate()
        self.assertTrue(document["complete"])
        self.assertGreaterEqual(len(document["cases"]), 2)

    def test_compact(self):
        document = self.validate("-e", "epoll", "--json-compact")
        trial = document["cases"][0]["trials"][0]
        self.assertIsNone(trial["latency_ns"]["histogram"])
        self.assertIsNotNone(trial["latency_ns"]["p50"])

    def test_what_is_a_number_is_one(self):
        document = self.validate("-e", "epoll:loan=512k,busy_poll=50us")
        case = document["cases"][0]
        for options in (case["engine_options"], case["server_engine_options"]):
            self.assertEqual(options["loan_bytes"], 512 * 1024)
            self.assertEqual(options["busy_poll_s"], 50e-6)
            self.assertEqual(options["spin"], "off")
        self.assertGreater(document["env"]["somaxconn"], 0)

    def test_open_loop_and_reconnect(self):
        self.validate("-e", "epoll", "-R", "1000")
        self.validate("-e", "epoll", "--reconnect")

    def test_a_poller_tells_how_busy_it_was(self):
        # Long enough that no side goes without its CPU for all of it, beside what else runs.
        document = self.validate("-e", "epoll,epoll:spin", "-d", "500ms")
        sleeps, spins = (case["trials"][0] for case in document["cases"])
        for side in ("client", "server"):
            self.assertIsNone(sleeps[side]["busy_s"])
            self.assertGreater(spins[side]["busy_s"], 0)
        for process in spins["processes"]:
            self.assertGreater(process["busy_s"], 0)

    def test_a_trial_that_failed_has_no_figures(self):
        via = ("--server-via", "sh -c 'exit 9'")
        document = self.validate("-e", "epoll", *via, exit_code=EXIT_FAILED)
        trial = document["cases"][0]["trials"][0]
        self.assertEqual(trial["verdict"], "failed")
        for name in ("duration_s", "ops", "ops_per_s"):
            self.assertIsNone(trial[name], name)
        self.assertIsNone(document["cases"][0]["summary"]["ops_per_s"]["ci_method"])

    def test_a_server_that_is_there_has_no_cpu(self):
        _, address = self.serve()
        (case,) = self.validate(address, "-e", "epoll")["cases"]
        self.assertEqual(set(case["summary"]["cpu_ns_per_op"].values()), {None})

    def test_one_way_and_both_sides_in_one(self):
        self.validate("-e", "epoll", "--one-way")
        self.validate("-e", "null")

    def test_a_spec_as_json_is_asked_with_its_options(self):
        for spec in ("epoll", "epoll:busy_poll=50us"):
            text = self.lab("engines", spec)
            (engine,) = json.loads(self.lab("engines", "--json", spec).stdout)
            self.assertEqual(engine["name"], "epoll")
            for name, what in engine["capabilities"].items():
                self.assertRegex(text.stdout, rf"(?m)^{re.escape(name)} +{what['state']}")
            self.assertEqual("busy polling" in engine["capabilities"], "busy_poll" in spec)

    def test_engines_as_json(self):
        for engine in json.loads(self.lab("engines", "--json").stdout):
            self.assertLessEqual(
                {"name", "help", "here", "built", "reason", "capabilities", "options"}, set(engine)
            )
            self.assertTrue(engine["here"] or engine["reason"])


class Null(LabCase):
    def test_few_samples_have_no_tail(self):
        document = self.run_json("echo", "-q", "-r", "1", "-e", "epoll", "-c", "1", "-n", "100")
        latency = document["cases"][0]["trials"][0]["latency_ns"]
        self.assertEqual(latency["count"], 100)
        self.assertIsNotNone(latency["p50"])
        self.assertIsNone(latency["p99"])
        self.assertIsNone(latency["p9999"])

    def test_a_closed_loop_asked_for_nothing_and_has_no_slip(self):
        trial = self.run_json("echo", *SHORT, "-e", "epoll")["cases"][0]["trials"][0]
        for key in ("asked_ops_per_s", "slip_ns", "scheduled"):
            self.assertIsNone(trial[key], key)


class Found(LabCase):
    """What an engine learns about its capabilities while it runs."""

    def assert_without_effect(self, name, spec, *words):
        words = ("run", "echo", "-q", "-r", "1", "-d", "100ms", "-e", spec, *words)
        result = self.lab(*words, "--json", "-")
        if result.returncode == EXIT_UNAVAILABLE:
            self.skipTest(result.stderr.strip())
        case = json.loads(result.stdout)["cases"][0]
        marks = [m["evidence"] for m in case["trials"][0]["watermarks"] if m["name"] == "no-effect"]
        for side in ("client", "server"):
            found = case["capabilities"][side][name]
            if found["state"] == "absent":
                self.skipTest(f"{spec}: no {name}: {found['note']}")
            self.assertEqual(found["state"], "no effect", side)
            self.assertTrue(any(m.startswith(f"{side}: {name}") for m in marks), marks)

    def test_zero_copy_over_a_link_that_copies(self):
        for spec in ("io_uring", "io_uring:zc=on"):
            with self.subTest(spec=spec):
                self.assert_without_effect("zero-copy send", spec, "-c", "1", "-s", "256k")

    def test_busy_polling_of_what_has_no_queue_to_poll(self):
        self.assert_without_effect("busy polling", "epoll:busy_poll=10us")


class File(LabCase):
    def path(self, name="out.json"):
        return os.path.join(self.folder, name)

    def test_a_file_beside_the_table(self):
        result = self.lab("run", "echo", *SHORT, "-e", "epoll", "--json", "out.json")
        self.assert_exit(result, 0)
        self.assert_says(result.stdout, "ops/s")
        with open(self.path(), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["schema"], "lab-run")
        umask = os.umask(0)
        os.umask(umask)
        self.assertEqual(stat.S_IMODE(os.stat(self.path()).st_mode), 0o666 & ~umask)
        self.assertEqual(os.listdir(self.folder), ["out.json"], "something is left beside it")

    def test_closed_streams_do_not_become_the_file(self):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            with self.subTest(closed=closed):
                words = " ".join((*SHORT, "-e", "epoll", "--label", "x=" + 5000 * "y"))
                code = subprocess.run(
                    f"exec '{LAB}' run echo {words} -v --json out.json {closed}",
                    shell=True, cwd=self.folder, env=self.environment(), timeout=60, check=False,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                ).returncode  # fmt: skip
                lost = " >&-" in f" {closed}"
                self.assertEqual(code, EXIT_FAILED if lost else EXIT_OK, "the table is lost")
                with open(self.path(), encoding="utf-8") as file:
                    self.assertEqual(json.load(file)["schema"], "lab-run")
                os.unlink(self.path())

    def test_what_was_there_is_replaced_at_the_end(self):
        with open(self.path(), "w", encoding="utf-8") as file:
            file.write("old")
        self.assert_refused("run", "echo", "--json", "out.json", "-e", "epol", says="epol")
        with open(self.path(), encoding="utf-8") as file:
            self.assertEqual(file.read(), "old", "a run that never was has spoilt a file")
        self.lab("run", "echo", *SHORT, "-e", "epoll", "--json", "out.json")
        with open(self.path(), encoding="utf-8") as file:
            json.load(file)

    def test_a_path_that_cannot_be(self):
        self.assert_refused(
            "run", "--json", "nowhere/x.json", says=("nowhere/x.json", "No such file")
        )
        self.assert_refused("run", "--json", self.folder, says="Is a directory")

    def test_a_full_disk_is_a_failure(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full here")
        result = self.lab("run", "echo", *SHORT, "-e", "epoll", "--json", "/dev/full")
        self.assert_exit(result, 4)
        self.assert_says(result.stderr, "/dev/full", "No space left")

    def test_so_is_a_file_that_may_not_be_that_large(self):
        def small():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

        result = self.lab(
            "run", "echo", *SHORT, "-e", "epoll", "--json", "out.json", preexec_fn=small
        )
        self.assert_exit(result, EXIT_FAILED)
        self.assert_says(result.stderr, "cannot write out.json: File too large")
        self.assert_says(result.stdout, "ops/s")
        self.assertEqual(os.listdir(self.folder), [])


class Histogram(LabCase):
    def test_public_tools_read_it(self):
        try:
            from hdrh.histogram import HdrHistogram
        except ImportError:
            self.skipTest("PyPI's hdrhistogram is not there")
        trial = self.run_json("echo", *SHORT, "-e", "epoll")["cases"][0]["trials"][0]
        latency = trial["latency_ns"]
        histogram = HdrHistogram.decode(latency["histogram"])
        self.assertEqual(histogram.get_total_count(), latency["count"])
        self.assertAlmostEqual(
            histogram.get_value_at_percentile(50) / latency["p50"], 1, delta=0.002
        )


if __name__ == "__main__":
    main()
