"""The repository as the rules see it: files by path relative to the root, and C++ text without comments and strings."""

import dataclasses
import fnmatch
import functools
import pathlib
import re

SKIPPED_FOLDERS = {".git", ".cache", "build", "__pycache__"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One broken rule. The message says what is wrong and what to do instead."""

    path: str
    line: int  # 0: the file as a whole
    message: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"


class SourceTree:
    def __init__(self, root, build=None):
        self.root = pathlib.Path(root)
        self.build = pathlib.Path(build) if build else None

    @functools.cached_property
    def paths(self):
        found = []
        folders = [self.root]
        while folders:
            for entry in folders.pop().iterdir():
                if entry.is_dir():
                    if entry.name not in SKIPPED_FOLDERS and not entry.is_symlink():
                        folders.append(entry)
                elif entry.is_file():
                    found.append(entry.relative_to(self.root).as_posix())
        return sorted(found)

    def matching(self, *patterns):
        """Paths that match any pattern; `*` also crosses folders."""
        return [path for path in self.paths if matches(path, patterns)]

    def cpp(self):
        return self.matching("src/*.cc", "src/*.h", "tests/*.cc", "tests/*.h", "bench/*.cc", "bench/*.h")

    def exists(self, path):
        return (self.root / path).exists()

    @functools.cache
    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")

    @functools.cache
    def code(self, path):
        """C++ text with comments and the insides of literals blanked; line numbers stay."""
        return blank_comments_and_literals(self.text(path))

    def includes(self, path):
        """(line number, header, is_quoted) of each #include."""
        for number, line in enumerate(self.text(path).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
            if match:
                yield number, match.group(1) or match.group(2), match.group(1) is not None


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


_LEXEME = re.compile(
    r'R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)"'  # raw string
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Za-z_])(?:u8|[uUL])?'(?:\\.|[^'\\\n])+'"  # not the separator in 1'000
    r"|//[^\n]*"
    r"|/\*.*?\*/",
    re.DOTALL,
)


def blank_comments_and_literals(text):
    def blank(match):
        lexeme = match.group()
        newlines = "\n" * lexeme.count("\n")
        if lexeme.startswith(("//", "/*")):
            return " " + newlines
        quote = lexeme[-1]
        return quote + newlines + quote

    # The paths of #include lines are not literals.
    lines = [" " if re.match(r"\s*#\s*include\b", line) else line for line in text.split("\n")]
    return _LEXEME.sub(blank, "\n".join(lines))


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
