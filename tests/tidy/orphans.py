"""Rule `orphans`: every source is built, every header is used, every fuzz target has seeds, every document is linked."""

import json
import pathlib
import re

from source_tree import Finding, matches

DOCUMENT_ROOTS = ("README.md", "README.ja.md", "docs/ARCHITECTURE.md")


def check(tree):
    return [*unused_headers(tree), *unbuilt_sources(tree), *fuzz_targets(tree), *unlinked_documents(tree)]


def unused_headers(tree):
    used, waiting = set(), [path for path in tree.cpp() if path.endswith(".cc")]
    while waiting:
        path = waiting.pop()
        for _, header, quoted in tree.includes(path):
            for target in ("src/" + header, path.rsplit("/", 1)[0] + "/" + header):
                if quoted and target not in used and tree.exists(target):
                    used.add(target)
                    waiting.append(target)
    for path in tree.cpp():
        if path.endswith(".h") and path not in used:
            yield Finding(path, 0, "no .cc reaches this header: use it or remove it")


def unbuilt_sources(tree):
    """Needs the build tree: what is not in compile_commands.json is built by nobody."""
    if not tree.build:
        return
    commands = json.loads((tree.build / "compile_commands.json").read_text())
    built = {source for entry in commands for source in sources_of(entry["file"])}
    cache = (tree.build / "CMakeCache.txt").read_text()
    has_benchmarks = re.search(r"^INFER_BENCH:\w+=(?:ON|1|TRUE)", cache, re.MULTILINE)
    for path in tree.cpp():
        if not path.endswith(".cc") or str(tree.root.resolve() / path) in built:
            continue
        if path.startswith("bench/") and not has_benchmarks:
            continue
        if is_for_another_system(path):
            continue
        yield Finding(path, 0, "no target builds this file: put it into its folder's CMakeLists.txt or remove it")


def sources_of(file):
    """Where sources are compiled together (INFER_UNITY) CMake writes a file that includes them."""
    if "/Unity/" not in file:
        return [file]
    return re.findall(r'^#include "(.+)"$', pathlib.Path(file).read_text(), re.MULTILINE)


def is_for_another_system(path):
    return matches(path, ("*_windows.cc", "*_macos.cc"))


def fuzz_targets(tree):
    for path in tree.matching("tests/fuzz/*_fuzz.cc"):
        name = path.rsplit("/", 1)[1].removesuffix("_fuzz.cc")
        if not tree.matching(f"tests/fuzz/corpus/{name}/*"):
            yield Finding(path, 0, f"no seeds: put some into tests/fuzz/corpus/{name}/")


def unlinked_documents(tree):
    documents = set(tree.matching("docs/*.md"))
    linked, waiting = set(DOCUMENT_ROOTS), [path for path in DOCUMENT_ROOTS if tree.exists(path)]
    while waiting:
        path = waiting.pop()
        folder = path.rpartition("/")[0]
        targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", tree.text(path)) + re.findall(r"`([^`\s]+\.md)`", tree.text(path))
        for target in targets:
            for candidate in (target, normalized(folder + "/" + target)):
                if candidate in documents and candidate not in linked:
                    linked.add(candidate)
                    waiting.append(candidate)
    for path in sorted(documents - linked):
        yield Finding(path, 0, "no document leads here: link it from docs/ARCHITECTURE.md or from a document that is linked")


def normalized(path):
    parts = []
    for part in path.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
