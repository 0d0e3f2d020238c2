#!/usr/bin/env python3
"""Holds who may know whom (docs/architecture.md) and the house style, by reading the sources.

usage: layering.py ROOT        prints each offence as file:line: what, and exits 1 if there is one
       layering.py --self-test shows that each rule can fail
"""

import fnmatch
import os
import re
import sys
import tempfile

# Which rooms the files of a room may include. A room that is not named here must be added.
MAY_KNOW = {
    "core": {"core"},
    "engines": {"engines", "core"},
    "proto": {"proto", "core"},
    "pump": {"pump", "engines", "proto", "core"},
    "client": {"client", "pump", "engines", "proto", "core"},
    "server": {"server", "pump", "engines", "proto", "core"},
    "run": {"run", "core"},
    "cli": {"cli", "run", "client", "server", "pump", "engines", "proto", "core"},
    "bench": {"bench", "core"},
    "tests": {"tests", "cli", "run", "client", "server", "pump", "engines", "proto", "core"},
}

# Headers that only some files may include: one optional library, one place; and no I/O, threads
# or clock in the rooms that promise to have none.
ONLY_IN = {
    "rte_*.h": ["engines/dpdk/wire_*", "bench/bare/*"],
    "lwip/*": ["engines/dpdk/reach*", "engines/dpdk/stack*", "bench/bare/*",
               "tests/unit/engines/dpdk/*"],
    "liburing.h": ["engines/io_uring*", "bench/bare/*", "tests/*"],
    "jansson.h": ["cli/*", "tests/*"],
    "ini.h": ["cli/*", "tests/*"],
    "zlib.h": ["core/*", "tests/*"],
    "nghttp2/nghttp2.h": ["proto/h2*", "bench/bare/*", "tests/*"],
    "criterion/*": ["tests/*"],
}
NEVER_IN = {
    "core": ["pthread.h", "threads.h", "poll.h", "fcntl.h", "unistd.h", "sys/epoll.h", "netdb.h"],
    "proto": [
        "pthread.h", "threads.h", "poll.h", "fcntl.h", "unistd.h", "sys/*", "netinet/*", "netdb.h",
        "time.h", "core/clock.h", "core/timer.h", "core/addr.h",
    ],
    "engines": ["proto/*"],
}  # fmt: skip

# Rooms that never print: what goes wrong is a sentence in a struct lab_error.
SILENT = {"core", "engines", "proto", "pump", "client", "server", "run"}
# Three speak on the stderr of a child process, where its controller looks for last words: a
# refused connection, a picture that cannot be served, or a control channel that broke, can be told
# nowhere else. And some are programs of their own, which only the build runs.
SILENT_EXCEPT = {
    "run/child.c", "server/serve.c", "server/image_stream.c", "proto/pictures_make.c",
    "proto/embed.c",
}  # fmt: skip
PRINTS = re.compile(r"(?<!->)(?<!\.)\b(?:v?f?printf|f?puts|putchar|perror|psignal|dprintf)\s*\(")

FILE_LINES_MOST = 900
FUNCTION_LINES_MOST = 80  # "about 70" is the rule; this is where it is certainly broken
COLUMNS_MOST = 100
COLUMNS_IN = (".c", ".h", ".py", ".sh", ".build", ".proto")
TEXT_FILES = COLUMNS_IN + (".md", ".txt", ".job", ".json", ".in", ".1", ".bash", ".yml")
SCRIPTS = {"quickstart", "run-tests", "run"}
SKIPPED_FOLDERS = ("build*", ".git", "__pycache__", "corpus", ".venv", ".cache")

# British spelling. Stems: -ize and its kin, then words that differ otherwise.
IZE = (
    "initial serial deserial synchron normal summar recogn organ minim maxim optim util general "
    "special visual categor priorit random final local real standard tokin modern penal emphas "
    "custom capital author apolog memor stabil neutral"
).split()
AMERICAN = [rf"{stem}i[z](?:e[ds]?|er|ers|ing|ation|ations)" for stem in IZE] + [
    r"colo[r]s?", r"colo[r]ed", r"behavio[r]s?", r"neighbo[r]s?", r"favo[r](?:ed|ite|s)?",
    r"hono[r](?:ed|s|ing)?", r"analy[z](?:e[ds]?|er|ing)", r"cente[r](?:ed|s)?", r"cance[l]ed",
    r"cance[l]ing", r"labe[l]ed", r"labe[l]ing", r"signa[l]ed", r"signa[l]ing", r"catalo[g]",
    r"gra[y]", r"fulfil[l]s?", r"defen[s]e", r"modele[d]", r"artifac[t]s?",
]  # fmt: skip
SPELLING = re.compile(r"(?<![A-Za-z])(?:" + "|".join(AMERICAN) + r")(?![A-Za-z])", re.I)
# Names that others gave.
SPELLING_EXCEPT = re.compile(
    r"NO_COLO[R]|field-initiali[z]ers|--colo[r]\b|b_colo[r]out|artifac[t]_prefix"
)
# What belongs to a place of work and not to the program.
WORKPLACE = re.compile(r"/wor[k]/|far[m]-|\.librar[y]|\bissue #?\d|/hom[e]/|\bTO[D]O\b|\bFIXM[E]\b")

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
GENERATED = ("core/record.pb-c.h", "proto/*.pb-c.h", "proto/descriptor_bytes.h")


def room_of(path):
    return path.split("/", 1)[0] if "/" in path else ""


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def strip_code(lines):
    """The lines without comments and string contents, for looking at code alone."""
    text = "\n".join(lines)
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        kept = "\n" * match.group(0).count("\n")
        return '""' + kept if match.group(0)[0] in "\"'" else kept

    return token.sub(blank, text).split("\n")


def check_includes(root, path, lines, tell):
    room = room_of(path)
    if room not in MAY_KNOW:
        tell(1, f"room '{room}' is not in MAY_KNOW of tests/layering.py")
        return
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        if not include:
            continue
        quoted, name = include.group(1) == '"', include.group(2)
        for header, places in ONLY_IN.items():
            if fnmatch.fnmatchcase(name, header) and not matches(path, places):
                tell(number, f"<{name}> belongs to {', '.join(places)}")
        if matches(name, NEVER_IN.get(room, [])):
            tell(number, f"{room}/ does not know {name}")
        if not quoted:
            continue
        beside = os.path.join(root, os.path.dirname(path), name)
        if room in ("bench", "tests") and os.path.exists(beside):
            continue  # what is no part of lab shares what it shares within its own folder
        if not matches(name, GENERATED) and not os.path.exists(os.path.join(root, name)):
            tell(number, f'"{name}" is not a path from the root of the tree')
        elif room_of(name) not in MAY_KNOW[room]:
            tell(number, f"{room}/ does not know {room_of(name)}/ ({name})")


def check_code(path, lines, tell):
    if not lines or not lines[0].startswith(("/*", "//")):
        tell(1, "a file opens with what it is for, in a comment")
    code = strip_code(lines)
    start = 0
    for number, line in enumerate(code, 1):
        if re.match(r"\s*typedef\s+(?:struct|union|enum)\b", line):
            tell(number, "no typedef of structs, unions and enums")
        silent = room_of(path) in SILENT and path not in SILENT_EXCEPT
        if silent and PRINTS.search(line):
            tell(number, "library code never prints")
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start:
            if number - start + 1 > FUNCTION_LINES_MOST:
                tell(start, f"a function of {number - start + 1} lines (about 70 at most)")
            start = 0


def check_text(path, lines, tell):
    columns = path.endswith(COLUMNS_IN) or os.path.basename(path) in SCRIPTS
    if len(lines) > FILE_LINES_MOST and path.endswith((".c", ".h", ".py")):
        tell(len(lines), f"{len(lines)} lines ({FILE_LINES_MOST} at most)")
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            tell(number, "a tab")
        if line != line.rstrip():
            tell(number, "white space at the end")
        if columns and len(line) > COLUMNS_MOST:
            tell(number, f"{len(line)} columns ({COLUMNS_MOST} at most)")
        american = SPELLING.search(SPELLING_EXCEPT.sub("", line))
        if american:
            tell(number, f"'{american.group(0)}': British spelling here")
        place = WORKPLACE.search(line)
        if place:
            tell(number, f"'{place.group(0)}' has no place in the tree")


def files_of(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not matches(f, SKIPPED_FOLDERS))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith(TEXT_FILES) or name in SCRIPTS:
                yield path


def check(root):
    """All offences of the tree, as `file:line: what`."""
    offences = []
    for path in files_of(root):
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            text = file.read()

        def tell(number, what, path=path):
            offences.append(f"{path}:{number}: {what}")

        lines = text.split("\n")
        if lines[-1] != "":
            tell(len(lines), "no newline at the end of the file")
        else:
            lines.pop()
        check_text(path, lines, tell)
        if path.endswith((".c", ".h")):
            check_code(path, lines, tell)
            check_includes(root, path, lines, tell)
    return offences


# Each: a file, what stands in it, and a part of the offence that must be found.
SELF_TEST = [
    ("core/a.c", '/* x */\n#include "engines/engine.h"\n', "core/ does not know engines/"),
    ("engines/a.c", '/* x */\n#include "proto/proto.h"\n', "engines/ does not know proto/"),
    ("proto/a.c", '/* x */\n#include "core/clock.h"\n', "proto/ does not know core/clock.h"),
    ("proto/a.c", "/* x */\n#include <sys/socket.h>\n", "proto/ does not know sys/socket.h"),
    ("client/a.c", '/* x */\n#include "server/a.h"\n', "client/ does not know server/"),
    ("run/a.c", '/* x */\n#include "engines/engine.h"\n', "run/ does not know engines/"),
    ("server/a.c", '/* x */\n#include "cli/a.h"\n', "server/ does not know cli/"),
    ("core/a.c", "/* x */\n#include <pthread.h>\n", "core/ does not know pthread.h"),
    ("core/a.c", '/* x */\n#include "clock.h"\n', "is not a path from the root"),
    ("engines/epoll.c", "/* x */\n#include <liburing.h>\n", "belongs to engines/io_uring*"),
    ("attic/a.c", "/* x */\n", "is not in MAY_KNOW"),
    ("core/a.c", "int a;\n", "opens with what it is for"),
    ("core/a.c", "/* x */\ntypedef struct a a;\n", "no typedef"),
    ("core/a.c", '/* x */\nvoid f(void)\n{\n    printf("x");\n}\n', "never prints"),
    ("core/a.c", "/* x */\nvoid f(void)\n{\n" + "\n" * 90 + "}\n", "a function of 92 lines"),
    ("core/a.c", "/* x */\n" + "\n" * 900, "901 lines"),
    ("core/a.c", "/* x */\n\tint a;\n", "a tab"),
    ("core/a.c", "/* x */\nint a; \n", "white space"),
    ("core/a.c", "/* x */\n/* " + "x" * 100 + " */\n", "106 columns"),
    ("core/a.c", "/* x */", "no newline"),
    ("docs/a.md", "the colo" + "r of it\n", "British"),
    ("core/a.c", "/* x */\nint list_initiali" + "ze;\n", "British"),
    ("docs/a.md", "see /wor" + "k/main\n", "no place in the tree"),
]
INNOCENT = [
    ("core/clock.h", "/* x */\nint clock_ns;\n"),
    ("engines/engine.h", '/* x */\n#include "core/clock.h"\n'),
    ("proto/proto.h", '/* typedef struct in a comment, printf("x") too */\n'),
    ("server/a.h", '/* x */\n#include "engines/engine.h"\n#include "proto/proto.h"\n'),
    ("cli/a.h", "/* NO_COLOR is how others spell it */\nint a;\n"),
]


def write(root, path, text):
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    with open(os.path.join(root, path), "w", encoding="utf-8") as file:
        file.write(text)


def self_test():
    bad = 0
    for path, text, expected in [("", "", "")] + SELF_TEST:
        with tempfile.TemporaryDirectory() as root:
            for innocent in INNOCENT:
                write(root, *innocent)
            if path:
                write(root, path, text)
            found = check(root)
            good = any(expected in offence for offence in found) if path else not found
            if not good:
                print(f"not found: {expected}" if path else "found in innocent files", found)
                bad += 1
    return bad


def main():
    if sys.argv[1:] == ["--self-test"]:
        return 1 if self_test() else 0
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    offences = check(sys.argv[1])
    for offence in offences:
        print(offence)
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
