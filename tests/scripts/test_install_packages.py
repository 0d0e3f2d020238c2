"""scripts/install.sh against a distribution made of stubs: what it shows, runs, and answers."""

import os
import shutil
import subprocess
import tempfile
import unittest

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")
PACKAGES = """\
# a comment
build  present   cmd:sh
build  compiler  file:{folder}/made-by-apt
build  old|new   file:{folder}/new*
build  rt-{{clang}}-dev  file:{folder}/rt
build  luxury?   cmd:there-is-no-such-command
test   peer      file:{folder}/peer
"""
APT_CACHE = """#!/bin/sh
[ -e {folder}/updated ] || exit 0
case $2 in
compiler|new|rt-14-dev|peer) echo "$2:"; echo '  Candidate: 1' ;;
clang) echo "$2:"; echo '  Candidate: 1:14.0-55.7~deb12u1' ;;
*) echo "$2:"; echo '  Candidate: (none)' ;;
esac
"""
APT_GET = """#!/bin/sh
echo "apt-get $*" >>{folder}/log
case $1 in
update) touch {folder}/updated ;;
install)
    for word; do
        case $word in
        compiler) touch {folder}/made-by-apt ;;
        new) touch {folder}/new-one ;;
        rt-14-dev) touch {folder}/rt ;;
        peer) touch {folder}/peer ;;
        esac
    done ;;
esac
"""
# Not root, and nobody to ask: sudo -n answers as it does without a password.
ID = "#!/bin/sh\necho 1000\n"
SUDO = """#!/bin/sh
echo "sudo $*" >>{folder}/log
[ "$1" = -n ] || exit 3
shift
[ -e {folder}/sudo-refuses ] && {{ echo 'sudo: a password is required' >&2; exit 1; }}
"$@"
"""


class Install(unittest.TestCase):
    def setUp(self):
        self._temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self._temporary.cleanup)
        self.folder = self._temporary.name
        shutil.copy(os.path.join(SCRIPTS, "install.sh"), self.folder)
        # The real one writes to /usr/sbin; what it is to do is only to run its arguments.
        self.write("without-services.sh", 'echo quiet >>"%s/log"\nexec "$@"\n' % self.folder)
        self.write("packages.txt", PACKAGES.format(folder=self.folder))
        os.mkdir(os.path.join(self.folder, "bin"))
        stubs = {"apt-get": APT_GET, "apt-cache": APT_CACHE, "id": ID, "sudo": SUDO}
        for name, text in stubs.items():
            self.write("bin/" + name, text.format(folder=self.folder), 0o755)

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)

    def install(self, *words):
        return subprocess.run(
            ["sh", os.path.join(self.folder, "install.sh"), *words],
            env={"PATH": self.folder + "/bin:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def log(self):
        path = os.path.join(self.folder, "log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def test_a_fresh_machine_gets_lists_first_then_what_is_missing(self):
        result = self.install("build")
        self.assertEqual(result.returncode, 0, result.stderr)
        line = " -y --no-install-recommends compiler new rt-14-dev"
        self.assertIn("apt-get update", self.log())
        self.assertIn(line, self.log())
        self.assertIn(line, result.stderr, "what is run is shown")
        self.assertNotIn("quiet", self.log())
        self.assertNotIn("--dev", result.stderr)
        self.assertEqual(result.stdout, "")

    def test_the_second_time_does_nothing(self):
        self.install("build")
        self.write("log", "")
        self.assertEqual(self.install("build").returncode, 0)
        self.assertEqual(self.log(), "")

    def test_test_peers_start_no_service(self):
        self.assertEqual(self.install("build", "test").returncode, 0)
        self.assertIn("quiet", self.log())

    def test_without_a_terminal_sudo_may_not_ask(self):
        self.install("build")
        for line in self.log().splitlines():
            if line.startswith("sudo"):
                self.assertTrue(line.startswith("sudo -n "), line)

    def test_refused_says_what_to_type(self):
        self.write("updated", "")
        self.write("sudo-refuses", "")
        result = self.install("build")
        self.assertEqual(result.returncode, 1)
        self.assertIn("to install them yourself: sudo apt-get update", result.stderr)

    def test_no_install_runs_nothing(self):
        self.write("updated", "")
        result = self.install("--no-install", "build")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.log(), "")
        self.assertIn("compiler new rt-14-dev", result.stderr)

    def test_without_apt_the_names_are_said(self):
        for name in ("apt-get", "apt-cache"):
            os.unlink(os.path.join(self.folder, "bin", name))
        for name in ("sh", "cat", "sed", "grep", "tr", "dirname", "pkg-config"):
            os.symlink(shutil.which(name) or "/bin/true", os.path.join(self.folder, "bin", name))
        result = subprocess.run(
            ["/bin/sh", os.path.join(self.folder, "install.sh"), "build"],
            env={"PATH": self.folder + "/bin"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.assertEqual(result.returncode, 1)
        self.assertIn("there is no apt-get here", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
