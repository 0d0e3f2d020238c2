"""scripts/fetch-lwip.sh with an apt-get that is a stub: where it asks, what it gives and says."""

import os
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts",
                      "fetch-lwip.sh")
# Keeps what it was told, and the lists that it was pointed at.
APT_GET = """#!/bin/sh
for word; do
    case $word in
    --option=Dir::Etc::SourceParts=*) cp "${{word#*SourceParts=}}"/* "{folder}/seen" ;;
    esac
    last=$word
done
[ -e "{folder}/apt-fails" ] && {{ echo 'E: Unable to locate source package'; exit 100; }}
if [ "$last" = lwip ]; then
    mkdir -p lwip-9.9/src/core lwip-9.9/debian
    touch lwip-9.9/debian/changelog
    [ -e "{folder}/strange" ] || touch lwip-9.9/src/core/tcp_in.c
fi
"""
PARSE = "#!/bin/sh\necho 9.9-1\n"
NOTHING = "#!/bin/sh\n"


class Fetch(unittest.TestCase):
    def setUp(self):
        self._temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self._temporary.cleanup)
        self.folder = os.path.realpath(self._temporary.name)
        for name in ("bin", "seen", "etc/sources.list.d", "tmp"):
            os.makedirs(os.path.join(self.folder, name))
        self.program("apt-get", APT_GET.format(folder=self.folder))
        self.program("dpkg-parsechangelog", PARSE)
        self.program("dpkg-source", NOTHING)
        self.write("etc/sources.list", "# deb http://no.example/ x main\n"
                   "deb [signed-by=/k.gpg] http://one.example/debian stable main\n")
        self.write("etc/sources.list.d/two.sources",
                   "Types: deb\nURIs: http://two.example/debian\nSuites: stable\n")
        self.target = os.path.join(self.folder, "out", "lwip")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as f:
            return f.read()

    def program(self, name, text):
        self.write("bin/" + name, text)
        os.chmod(os.path.join(self.folder, "bin", name), 0o755)

    def fetch(self, *arguments, path=None):
        env = dict(os.environ, APT_ETC=os.path.join(self.folder, "etc"),
                   TMPDIR=os.path.join(self.folder, "tmp"))
        env["PATH"] = path or os.path.join(self.folder, "bin") + ":" + env["PATH"]
        done = subprocess.run([shutil.which("sh"), SCRIPT, *arguments], env=env, text=True,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(os.listdir(os.path.join(self.folder, "tmp")), [], "it left something")
        self.assertEqual(done.stdout, "")
        return done

    def test_source_comes_from_where_packages_come_from(self):
        done = self.fetch(self.target)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(os.path.exists(os.path.join(self.target, "src/core/tcp_in.c")))
        self.assertEqual(self.read("seen/lab.list"),
                         "deb-src [signed-by=/k.gpg] http://one.example/debian stable main\n")
        self.assertIn("Types: deb-src\nURIs: http://two.example/debian\n",
                      self.read("seen/lab.sources"))
        self.assertIn("lwIP 9.9-1 is in " + self.target, done.stderr)
        self.assertIn("-Dlwip_src=" + self.target, done.stderr)

    def test_what_is_there_is_not_touched(self):
        os.makedirs(self.target)
        done = self.fetch(self.target)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is there already", done.stderr)
        self.assertEqual(os.listdir(self.target), [])

    def test_words_of_apt_are_shown(self):
        self.write("apt-fails", "")
        done = self.fetch(self.target)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Unable to locate source package", done.stderr)
        self.assertIn("could not get the source package lwip", done.stderr)
        self.assertFalse(os.path.exists(self.target))

    def test_another_package_by_that_name_is_refused(self):
        self.write("strange", "")
        done = self.fetch(self.target)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no lwIP that lab knows", done.stderr)

    def test_no_place_to_ask(self):
        os.remove(os.path.join(self.folder, "etc/sources.list"))
        os.remove(os.path.join(self.folder, "etc/sources.list.d/two.sources"))
        done = self.fetch(self.target)
        self.assertEqual(done.returncode, 1)
        self.assertIn("names no place", done.stderr)

    def test_missing_tool_is_named(self):
        os.remove(os.path.join(self.folder, "bin/dpkg-source"))
        tools = os.path.join(self.folder, "tools")
        os.makedirs(tools)
        for name in ("dirname", "mktemp", "rm"):
            os.symlink(shutil.which(name), os.path.join(tools, name))
        done = self.fetch(self.target, path=os.path.join(self.folder, "bin") + ":" + tools)
        self.assertEqual(done.returncode, 1)
        self.assertIn("dpkg-source is not installed", done.stderr)

    def test_wrong_usage(self):
        self.assertEqual(self.fetch("one", "two").returncode, 2)


if __name__ == "__main__":
    unittest.main()
