"""Rule `bans`: tokens that are not written in some folders, each with what to write instead."""

import dataclasses
import re

from source_tree import Finding, line_of, matches

TESTS = ("*_test.cc", "src/testing/*", "tests/*", "bench/*")


@dataclasses.dataclass(frozen=True)
class Ban:
    pattern: str
    instead: str
    files: tuple = ("src/*",)
    allowed: tuple = ()
    in_comments: bool = False
    unless: str = ""  # Fine where this matches the line and the two before it, taken together.


BANS = (
    Ban(r"\b(?:system|steady|high_resolution)_clock\s*::|\bclock_gettime\b|\bgettimeofday\b|\btime\s*\(\s*(?:nullptr|NULL|0|&)",
        "take `Instant now` or `const Clock&` (base/time.h); only os reads a clock", allowed=("src/os/*",)),
    Ban(r"\bsleep_(?:for|until)\b|\b(?:nano|u)sleep\s*\(|(?<![\w.>])sleep\s*\(",
        "wait on a condition with a deadline; only os may sleep", allowed=("src/os/*.cc",)),
    Ban(r"\bsleep_(?:for|until)\b|\b(?:nano|u)sleep\s*\(|(?<![\w.>])sleep\s*\(",
        "a test that sleeps is slow and flaky: wait for the event itself, or use a clock that the test moves",
        files=("*_test.cc", "src/testing/*", "tests/*.cc")),
    Ban(r"\bstd::(?:cout|cerr|clog|cin)\b|(?<![\w.>])(?:std::)?(?:v?f?printf|puts|fputs|putchar|fputc)\s*\(",
        "return text or an Error, or write to a Log (base/log.h); only app prints",
        allowed=("src/app/*", "src/base/check.cc")),
    Ban(r"\bnew\b(?!\s*\()", "use std::make_unique, or a std::unique_ptr<T>(new T) in one statement for a private constructor",
        files=("src/*", "tests/*.cc", "bench/*.cc"), unless=r"unique_ptr\s*<[^;]*\bnew\b|\boperator new\b"),
    Ban(r"(?<!= )(?<!=)\bdelete\b", "let a std::unique_ptr own it",
        files=("src/*", "tests/*.cc", "bench/*.cc"), unless=r"\boperator delete\b"),
    Ban(r"\bmalloc\s*\(|\bcalloc\s*\(|\brealloc\s*\(|(?<![\w.>])free\s*\(",
        "use std::vector or os::PageMemory", allowed=("src/os/*",) + TESTS),
    Ban(r"\bstd::(?:jthread|thread|async)\b|\bpthread_create\b", "use os::ThreadPool; only os starts threads",
        allowed=("src/os/*",) + TESTS),
    Ban(r"\bstd::(?:recursive_|shared_|timed_)?mutex\b|\bstd::condition_variable",
        "hand the data over instead; locks live in os, telemetry, base/bounded_queue.h and what the engine's users share",
        allowed=("src/os/*", "src/telemetry/*", "src/base/bounded_queue.h", "src/engine/grammar_cache.h",
                 "src/engine/watchdog.h", "src/engine/step_loop.h") + TESTS),
    Ban(r"\b(?:secure_)?getenv\b", "read settings through os and pass them down",
        allowed=("src/os/*", "src/testing/*", "*_test.cc")),
    Ban(r"\bstd::random_device\b|(?<![\w.>:])s?rand\s*\(|\bstd::mt19937",
        "use Rng (base/rng.h) with a seed that the caller gives, so that runs repeat", files=("src/*", "tests/*.cc", "tests/*.h", "bench/*")),
    Ban(r"\bTempDir\s*\(|\btemp_directory_path\b",
        "take a testing::TestFolder (testing/test_folder.h): tests run at once and must not share a file",
        files=("*_test.cc", "src/testing/*", "tests/*.cc", "bench/*"), allowed=("src/testing/test_folder.h",)),
    Ban(r"\bstd::regex\b", "use PCRE2 through tokenizer/pretokenizer.h, or a loop: std::regex recurses without bound"),
    Ban(r"\bthrow\b(?!\s*\(\s*\))", "return an Error (base/result.h)", allowed=TESTS),
    Ban(r"(?<![\w.>])(?:std::)?(?:abort|exit|_exit|quick_exit|terminate)\s*\(",
        "return an Error, or INFER_CHECK for a bug; only app ends the program",
        allowed=("src/app/*", "src/base/check.cc") + TESTS),
    Ban(r"(?<!static_)\bassert\s*\(", "use INFER_CHECK or INFER_DCHECK (base/check.h)", files=("src/*", "bench/*")),
    Ban(r"\busing\s+namespace\s+std\b", "write std:: where it is used", files=("src/*", "tests/*.cc", "tests/*.h", "bench/*")),
    Ban(r"-m(?:arch|tune)=native|-ff" + r"ast-math|-Of" + r"ast\b",
        "give one kernel file its instruction set's flags; results must be the same on every machine",
        files=("CMakeLists.txt", "*/CMakeLists.txt", "*.cmake", "CMakePresets.json", "dev", ".ci/*", "*.cc", "*.h"),
        in_comments=True),
    Ban(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b",
        "do it, or write the limit down where a user can see it",
        files=("src/*", "tests/*.cc", "tests/*.h", "tests/*.py", "tests/*.txt", "bench/*", "cmake/*", "tools/*", "dev",
               ".ci/*", "CMakeLists.txt", "docs/*"), in_comments=True),
)

# Files that are looked at for some ban; corpora and models are bytes, not text.
TEXT_FILES = ("*.cc", "*.h", "*.py", "*.sh", "*.cmake", "*.txt", "*.md", "dev", ".ci/*", "CMakePresets.json")
NOT_TEXT = ("tests/fuzz/corpus/*", "tests/golden/*.txt")


def check(tree):
    findings = []
    for path in tree.matching(*TEXT_FILES):
        if matches(path, NOT_TEXT):
            continue
        for ban in BANS:
            if matches(path, ban.files) and not matches(path, ban.allowed):
                findings += check_file(tree, path, ban)
    return findings


def check_file(tree, path, ban):
    is_cpp = path.endswith((".cc", ".h"))
    text = tree.code(path) if is_cpp and not ban.in_comments else tree.text(path)
    lines = text.splitlines()
    for match in re.finditer(ban.pattern, text):
        line = line_of(text, match.start())
        if ban.unless and re.search(ban.unless, " ".join(lines[max(line - 3, 0):line])):
            continue
        yield Finding(path, line, f"'{match.group().strip()}': {ban.instead}")
