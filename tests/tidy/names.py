"""Rule `names`: files, folders and types are named for the thing they are."""

import re

from source_tree import Finding

FORBIDDEN = set(
    "util utils utility utilities helper helpers manager managers common misc stuff handler2 v2 temp tmp new old final "
    "improved enhanced".split()
)
TYPE = re.compile(r"\b(?:class|struct|union|enum(?:\s+class|\s+struct)?|concept)\s+(?:\[\[\w+\]\]\s*)?([A-Za-z_]\w*)")


def words(name):
    return [word.lower() for word in re.findall(r"[A-Z]+\d*(?![a-z])|[A-Z]?[a-z]+\d*|\d+", name)]


def check(tree):
    findings = []
    for path in tree.paths:
        if path.startswith(("tests/fuzz/corpus/", "models/")):
            continue
        for word in forbidden(re.sub(r"\W", "_", path)):
            findings.append(Finding(path, 0, f"'{word}' in a file name says nothing: name the noun that the file defines"))
        if re.search(r"\.(?:cpp|cxx|hpp|hh|c)$", path):
            findings.append(Finding(path, 0, "C++ files end in .cc and .h (.inl.h for text that kernel files include)"))
        if path.startswith("src/") and path.endswith((".cc", ".h")) and path != path.lower():
            findings.append(Finding(path, 0, "file names are snake_case"))
    for path in tree.cpp():
        code = tree.code(path)
        for match in TYPE.finditer(code):
            for word in forbidden(match.group(1)):
                line = code.count("\n", 0, match.start()) + 1
                findings.append(Finding(path, line, f"'{word}' in the type name {match.group(1)} says nothing"))
    return findings


def forbidden(name):
    return [word for word in words(name) if word in FORBIDDEN]
