"""What lab says about itself, and what it answers to words that it does not know."""

import os
import re
import subprocess

from harness import EXIT_USAGE, LAB, LabCase, main


class About(LabCase):
    def test_version_names_what_was_built(self):
        result = self.lab("--version")
        self.assert_exit(result, 0)
        self.assertRegex(result.stdout, r"^lab \d+\.\d+\.\d+ \(.+\)\n")
        self.assertRegex(result.stdout, r"uring +(yes|no: .+)")
        self.assertEqual(result.stderr, "")

    def test_version_names_the_stack_that_dpdk_has(self):
        result = self.lab("--version")
        self.assertRegex(result.stdout,
                         r"dpdk +(no: .+|yes \(lwIP \d+\.\d+\.\d+, "
                         r"(the package's shared object|compiled in from its source)\))\n")

    def test_help_goes_to_stdout_and_lists_each_command_once(self):
        result = self.lab("--help")
        self.assert_exit(result, 0)
        self.assertEqual(result.stderr, "")
        for command in ("run", "serve", "engines"):
            self.assertEqual(len(re.findall(rf"^  {command} +\S", result.stdout, re.M)), 1)
        self.assertNotRegex(result.stdout, r"^  drive\b", "an internal command is listed")

    def test_help_tells_what_a_value_means(self):
        for command, says in (
            ("run", "a bare number is seconds; an engine's options need the unit"),
            ("serve", ":PORT is 127.0.0.1 only, 0.0.0.0:PORT all"),
        ):
            text = " ".join(self.lab(command, "--help").stdout.split())
            self.assert_says(text, says)
        self.assert_says(self.lab("links").stdout, "a NIC that")

    def test_no_command_is_a_usage_error_that_shows_the_help(self):
        result = self.lab()
        self.assert_exit(result, EXIT_USAGE)
        self.assertEqual(result.stdout, "")
        self.assert_says(result.stderr, "lab COMMAND", "run")

    def test_every_command_that_help_lists_has_help(self):
        for command in re.findall(r"^  (\w+) ", self.lab("--help").stdout, re.M):
            with self.subTest(command=command):
                result = self.lab(command, "--help")
                self.assert_exit(result, 0)
                self.assert_says(result.stdout, "lab " + command)

    def test_a_pipe_that_closes_early_does_not_hang_or_crash(self):
        line = subprocess.run(
            f"'{LAB}' run --help | head -n 1",
            shell=True,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        self.assertEqual(line.count("\n"), 1)

    def test_a_full_disk_is_not_success(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full here")
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run(
                [LAB, "--help"],
                env=self.environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=30,
                check=False,
            )
        self.assertEqual(result.returncode, 4)
        self.assert_says(result.stderr, "standard output")

    def test_nor_is_a_standard_output_that_is_closed(self):
        run = "run echo -e epoll -q -r 1 -d 20ms -w 1ms"
        for words in ("engines", "links", "--help", "--version", run, f"{run} --json -"):
            with self.subTest(words=words):
                result = subprocess.run(
                    f"exec '{LAB}' {words} >&-",
                    shell=True,
                    cwd=self.folder,
                    env=self.environment(),
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=60,
                    check=False,
                )
                self.assertEqual(result.returncode, 4, result.stderr)
                self.assert_says(result.stderr, "standard output", "closed")


class Unknown(LabCase):
    def test_unknown_command_gets_a_suggestion(self):
        self.assert_refused("rnu", says=("rnu", "lab run"))

    def test_unknown_command_far_from_all_points_to_help(self):
        self.assert_refused("frobnicate", says=("frobnicate", "--help"))

    def test_option_before_the_command(self):
        self.assert_refused("--duration", "2", says="after a command")

    def test_unknown_option_gets_a_suggestion(self):
        self.assert_refused("run", "--durration", "2", says="--duration")

    def test_unknown_workload_gets_a_suggestion(self):
        self.assert_refused("run", "ecko", says=("ecko", "echo"))

    def test_unknown_engine_gets_a_suggestion(self):
        self.assert_refused("run", "echo", "-e", "epol", says=("epol", "epoll"))
        self.assert_refused("engines", "epol", says=("epol", "epoll"))

    def test_unknown_engine_option_gets_a_suggestion(self):
        self.assert_refused("run", "echo", "-e", "epoll:spni", says=("spni", "spin"))

    def test_an_option_is_given_once(self):
        for words, says in (
            (("-e", "epoll:bufs=4,bufs=5"), "epoll: bufs is given twice in 'bufs=4,bufs=5'"),
            (("--link", "veth:mtu=1500,mtu=9000"), "veth: mtu is given twice"),
        ):
            with self.subTest(words=words):
                self.assert_refused("run", "echo", *words, says=says)

    def test_a_text_of_an_engine_is_read_before_it_is_asked_whether_it_can_run(self):
        built = {
            line.split()[0]
            for line in self.lab("engines").stdout.splitlines()
            if line and "not built in" not in line
        }
        for engine, spec, says in (
            ("io_uring", "io_uring:without=skp", ("'skp' is none of", "did you mean 'skip'")),
            ("fault", "fault:over=xyz", ("unknown engine 'xyz'", "known: ")),
            ("fault", "fault:over=epoll+spni", ("spni", "did you mean 'spin'")),
        ):
            if engine not in built:
                continue
            with self.subTest(spec=spec):
                self.assert_refused("run", "echo", "-e", spec, says=says)
                self.assert_refused("run", "echo", "-e", spec, "--skip-unavailable", says=says)
                self.assert_refused("serve", "echo", "-e", spec, "-l", "0", says=says)

    def test_values_that_mean_nothing(self):
        for words, named in (
            (("--duration", "soon"), "--duration"),
            (("--duration", "-1"), "--duration"),
            (("--connections", "0"), "--connections: 0 is too small; it takes 1 to 1000000"),
            (("--ops", "0"), "--ops: 0 is too small"),
            (("--loops", "0"), "--loops: 0 is too small"),
            (("--connections", "many"), "--connections"),
            (("--size", "1 parsec"), "--size"),
            (("--size", "17M"), "--size"),
            (("--rate", "fast"), "--rate"),
            (("--link", "pigeon"), "--link"),
        ):
            with self.subTest(words=words):
                self.assert_refused("run", "echo", *words, says=named)

    def test_an_empty_value_is_not_one_that_was_not_given(self):
        """A variable of the shell that is not set makes these."""
        for name in (
            "server", "json", "cc", "listen", "reference", "client-cpus", "server-cpus",
            "server-via", "client-via", "section", "label", "server-engine",
        ):  # fmt: skip
            with self.subTest(name=name):
                self.assert_refused(
                    "run", "echo", "-e", "epoll", f"--{name}", "",
                    says=f"--{name}: the value is empty",
                )  # fmt: skip
        for words, says in (
            (("run", "echo", ""), "server: the value is empty; it takes HOST:PORT"),
            (("run", "echo", "--cc", ","), "--cc: the value is empty; it takes NAME"),
            (("run", "echo", "--link", "veth:device="), "veth: device: the value is empty"),
            (("run", "echo", "-e", "fault:over="), "fault: over: the value is empty"),
            (("serve", "echo", "--listen", ""), "--listen: the value is empty"),
            (("serve", "echo", "--link", ""), "--link: the value is empty"),
        ):
            with self.subTest(words=words):
                self.assert_refused(*words, says=says)

    def test_a_server_that_is_there_is_neither_started_nor_pinned(self):
        for words in (
            ("--server-via", "env X=1"), ("--server-cpus", "0"), ("--server-engine", "epoll"),
        ):
            with self.subTest(words=words):
                self.assert_refused(
                    "run", "echo", "-e", "epoll", "--server", "127.0.0.1:1", *words,
                    says=("--server names", words[0]),
                )

    def test_a_missing_value(self):
        self.assert_refused("run", "echo", "--connections", says="connections")


class Engines(LabCase):
    def test_lists_each_engine_with_here_yes_or_no(self):
        result = self.lab("engines")
        self.assert_exit(result, 0)
        for engine in ("blocking", "epoll", "io_uring"):
            self.assertRegex(result.stdout, rf"(?m)^ *{engine}\b")

    def test_one_engine_shows_its_options(self):
        result = self.lab("engines", "epoll")
        self.assert_exit(result, 0)
        self.assert_says(result.stdout, "spin", "busy_poll", "sndbuf", "bufs")


class Completion(LabCase):
    def words(self, *typed):
        """What pressing TAB after the words offers."""
        script = os.path.join(os.path.dirname(__file__), "..", "..", "scripts", "lab.bash")
        line = " ".join(["lab", *typed])
        probe = (
            f'PATH="{os.path.dirname(LAB)}:$PATH"; source "{script}"\n'
            f'COMP_LINE="{line}" COMP_POINT=${{#COMP_LINE}}\n'
            f"COMP_WORDS=(lab {' '.join(repr(w) for w in typed)})\n"
            "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
            '_lab; printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        result = subprocess.run(
            ["bash", "--norc", "-c", probe],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        self.assertEqual(result.stderr, "")
        return result.stdout.split()

    def test_commands(self):
        self.assertIn("engines", self.words("e"))
        self.assertNotIn("drive", self.words(""))

    def test_options_of_a_command(self):
        self.assertEqual(self.words("run", "--reconn"), ["--reconnect"])
        self.assertIn("--listen", self.words("serve", "--"))

    def test_choices_of_an_option(self):
        self.assertIn("poisson", self.words("run", "--arrival", ""))

    def test_engines_and_workloads(self):
        self.assertIn("io_uring", self.words("run", "-e", "io"))
        self.assertIn("echo", self.words("run", "e"))


if __name__ == "__main__":
    main()
