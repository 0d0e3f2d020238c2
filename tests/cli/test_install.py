"""What `meson install` puts where, and that the man page knows what the program knows."""

import os
import re
import shutil
import subprocess

from harness import LAB, LabCase, main

BUILD = os.environ.get("LAB_BUILD", os.path.dirname(LAB))


class Install(LabCase):
    def setUp(self):
        super().setUp()
        if shutil.which("meson") is None:
            self.skipTest("meson is not in PATH")
        self.root = os.path.join(self.folder, "root")
        done = subprocess.run(
            ["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", self.root],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.files = sorted(
            os.path.relpath(os.path.join(folder, name), self.root)
            for folder, _, names in os.walk(self.root)
            for name in names
        )

    def path_of(self, name):
        found = [path for path in self.files if path.endswith("/" + name)]
        self.assertEqual(len(found), 1, f"{name} in {self.files}")
        return os.path.join(self.root, found[0])

    def test_the_program_its_man_pages_and_completion_and_nothing_else(self):
        self.assertTrue(os.access(self.path_of("bin/lab"), os.X_OK))
        self.path_of("man/man1/lab.1")
        self.path_of("bash-completion/completions/lab")
        commands = re.findall(r"^  (\w+) ", self.lab("--help").stdout, re.M)
        for command in commands:
            with open(self.path_of(f"man/man1/lab-{command}.1"), encoding="utf-8") as file:
                self.assertEqual(file.read(), ".so man1/lab.1\n")
        self.assertEqual(len(self.files), 3 + len(commands), self.files)

    def test_the_man_page_has_every_option_of_every_command(self):
        with open(self.path_of("lab.1"), encoding="utf-8") as file:
            page = file.read().replace("\\-", "-")
        self.assertNotRegex(page, r"@[A-Z]+@")
        for command in re.findall(r"^  (\w+) ", self.lab("--help").stdout, re.M):
            options = re.findall(r"--[a-z][a-z-]*", self.lab(command, "--help").stdout)
            for option in set(options) - {"--help"}:
                self.assertIn(option, page, f"of lab {command}")

    def test_the_man_page_is_sound(self):
        if shutil.which("man") is None:
            self.skipTest("man is not installed")
        shown = subprocess.run(
            ["man", "--warnings", "-l", "-Tutf8", self.path_of("lab.1")],
            env=self.environment(MANWIDTH="80", MAN_KEEP_FORMATTING="0"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertIn("lab run", re.sub("\x1b\\[[0-9;]*m|.\b", "", shown.stdout))


if __name__ == "__main__":
    main()
