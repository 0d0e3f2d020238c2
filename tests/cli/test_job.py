"""Job files as people write them, those that are shipped among them."""

import glob
import os

from harness import EXIT_OK, LabCase, main

SOURCE = os.environ.get("LAB_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
QUICK = ("-q", "--json-compact", "-r", "1", "-d", "10ms", "-w", "0")


class Job(LabCase):
    def job(self, text):
        path = os.path.join(self.folder, "my.job")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def keys(self, text, *words):
        document = self.run_json("--job", self.job(text), *QUICK, *words)
        return [case["key"] for case in document["cases"]]

    def test_sections_and_lists(self):
        keys = self.keys(
            "[global]\nworkload = echo\nengine = epoll\n"
            "[small]\nsize = 16, 64\nconnections = 1,\n   4\n[large]\nsize = 64KiB\n"
        )
        self.assertEqual(len(keys), 5)
        self.assertIn("size=64KiB", keys[4])

    def test_the_command_line_wins(self):
        text = "[global]\nworkload = echo\nengine = epoll\n[a]\nsize = 16\n[b]\nsize = 32\n"
        self.assertEqual(len(self.keys(text)), 2)
        keys = self.keys(text, "--size", "8")
        self.assertEqual(len(keys), 1, "both sections are the same then")
        self.assertIn("size=8", keys[0])

    def test_one_section(self):
        text = "[global]\nworkload = echo\nengine = epoll\n[a]\nsize = 16\n[b]\nsize = 32\n"
        self.assertIn("size=32", self.keys(text, "--section", "b")[0])
        self.assert_refused(
            "run", "--job", self.job(text), "--section", "c", says="no section 'c'"
        )

    def test_what_the_command_line_takes_twice(self):
        """Lines of one name are no continuation of each other."""
        text = (
            "[global]\nworkload = echo\nlabel = a=b\nlabel = c=d\nclient-via = env\n"
            "client_via = env X=1\n[a]\nengine = epoll\nengine = epoll:spin,\n  blocking\n"
        )
        document = self.run_json("--job", self.job(text), *QUICK, "-c", "2")
        self.assertEqual(document["run"]["labels"], {"a": "b", "c": "d"})
        self.assertEqual(
            [case["engine"] for case in document["cases"]], ["epoll", "epoll:spin", "blocking"]
        )
        sides = [process["side"] for process in document["cases"][0]["trials"][0]["processes"]]
        self.assertEqual(sides.count("client"), 2)

    def test_wrong_files_name_file_and_line(self):
        for text, says in (
            ("[a]\nsiez = 3\n", ("my.job:2", "siez", "did you mean 'size'")),
            ("[a]\nsize = big\n", ("my.job:2", "size", "big")),
            ("[a]\nengine = epoll, epol\n", ("my.job:2", "epol", "epoll")),
            ("[a]\n\nworkload = ecko\n", ("my.job:3", "ecko", "echo")),
            ("[a]\nreconnect\n", ("my.job:2", "heading")),
            ("size = 3\n", ("my.job:1", "[global]")),
            ("[a]\ntrials = 3\n", ("my.job:2", "[global]")),
            ("[a]\nsize = 1\n[a]\n", ("my.job:3", "line 1")),
            ("[a]\nsize = 1\nsize = 2\n", ("my.job:3", "'size' is in line 2 already")),
            ("[a]\nlink = vteh\n", ("my.job:2", "vteh", "did you mean 'veth'")),
            ("[a]\nserver_engine = epol\n", ("my.job:2", "epol", "epoll")),
            ("[a]\ndepth = 2\nreconnect = yes\n", ("my.job:2", "--depth: with --reconnect")),
            ("[a]\nengine = null\nserver = h:1\n", ("my.job: [a]", "null engine")),
            ("[global]\nserver-cpus = 9999\n[a]\n", ("my.job:2", "there is no CPU 9999")),
            ("[global]\nreference = epol\n[a]\nengine = epoll\n", ("my.job:2", "epol")),
            ("[global]\nclient-via = ' \n[a]\n", ("my.job:2", "a quote is left open")),
            ("[a]\nserver = 127.0.0.1:1\n", ("my.job:2", "nothing listens there")),
            ("[a]\nserver =\n", ("my.job:2: server: the value is empty",)),
            ("[a]\ncc = reno,\n", ("my.job:2: cc: the value is empty",)),
            ("[global]\n\njson =\n[a]\n", ("my.job:3: json: the value is empty",)),
            ("[a]\n\nlisten = 192.0.2.1:0\n", ("my.job:3: --listen: ", "no such address")),
            ("[Global]\nsize = 8\n[a]\n", ("my.job:1: [Global]: did you mean [global]?",)),
            ("[a]\n[b]]\n", ("my.job:2: a heading ends with the first ']'",)),
            ("", ("my.job", "no case")),
        ):
            with self.subTest(text=text):
                self.assert_refused("run", "--job", self.job(text), says=says)

    def test_no_file(self):
        self.assert_refused("run", "--job", "nowhere.job", says=("nowhere.job", "No such file"))

    def test_what_is_shipped_is_taken(self):
        jobs = sorted(glob.glob(os.path.join(SOURCE, "bench", "*.job")))
        self.assertGreaterEqual(len(jobs), 4)
        for path in jobs:
            workload = "image-stream" if "image-stream" in path else "echo"
            if "was built without" in self.lab("run", workload, "-r", "1", "-n", "1").stderr:
                continue  # its library is not there
            with self.subTest(job=os.path.basename(path)):
                # Few ops in the place of the plan's millions; a window does not go with them.
                window = ("-n", "8") if "seed" in path else ("-d", "10ms", "-w", "0")
                loops = ("--loops", "2") if "jmeter" in path else window
                # Its other section differs in one word, and has 20 cases more.
                section = ("--section", "a connection an op") if "seed" in path else ()
                result = self.lab(
                    "run", "--job", path, "-q", "-r", "1", "-e", "epoll", "-c", "4",
                    "--ramp", "0", *loops, *section,
                )  # fmt: skip
                self.assert_exit(result, EXIT_OK)

    def test_plans_are_what_they_say(self):
        for number, connections, loops in ((1, 1000, 2000), (2, 100, 20000)):
            path = os.path.join(SOURCE, "bench", f"jmeter-plan-{number}.job")
            with open(path, encoding="utf-8") as file:
                lines = [line.split(";")[0].strip() for line in file]
            self.assertIn(f"connections = {connections}", lines)
            self.assertIn(f"loops = {loops}", lines)
            self.assertIn("ramp = 1s", lines)


if __name__ == "__main__":
    main()
