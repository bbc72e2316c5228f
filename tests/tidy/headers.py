"""Rule `headers`: each header compiles alone. A .cc includes its own header first, so the build proves it for most."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile

from source_tree import Finding


def check(tree):
    findings = []
    proven = set()
    for path in tree.cpp():
        if not path.startswith("src/") or not path.endswith(".cc"):
            continue
        includes = [(number, header) for number, header, quoted in tree.includes(path) if quoted]
        own = path.removeprefix("src/").removesuffix(".cc") + ".h"
        if includes:
            proven.add("src/" + includes[0][1])
        if not path.endswith("_test.cc") and tree.exists("src/" + own) and (not includes or includes[0][1] != own):
            findings.append(Finding(path, includes[0][0] if includes else 1, f'include "{own}" first'))
    for path in tree.cpp():
        if path.endswith(".h") and not is_textual(path) and "#pragma once" not in tree.text(path):
            findings.append(Finding(path, 1, "#pragma once is missing"))
    alone = [path for path in tree.cpp()
             if path.startswith("src/") and path.endswith(".h") and path not in proven and not is_textual(path)]
    return findings + compile_changed(tree, alone)


def compile_changed(tree, paths):
    """Compiles each header alone, but for those that compiled in this build tree before and, with all they include, have
    not changed since."""
    known_file = tree.build / "tidy-headers.json" if tree.build else None
    known = json.loads(known_file.read_text()) if known_file and known_file.exists() else {}
    digests = {path: digest(tree, path) for path in paths}
    changed = [path for path in paths if known.get(path) != digests[path]]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = [finding for finding in pool.map(lambda path: compile_alone(tree, path), changed) if finding]
    if known_file:
        broken = {finding.path for finding in findings}
        known_file.write_text(json.dumps({path: text for path, text in digests.items() if path not in broken}))
    return findings


def digest(tree, path):
    """Of a header and all headers of the project that it reaches."""
    reached, waiting = {path}, [path]
    while waiting:
        for _, header, quoted in tree.includes(waiting.pop()):
            target = "src/" + header
            if quoted and target not in reached and tree.exists(target):
                reached.add(target)
                waiting.append(target)
    return hashlib.sha256("\0".join(tree.text(name) for name in sorted(reached)).encode()).hexdigest()


def is_textual(path):
    """Text that only a kernel file includes, once, with the flags of its instruction set."""
    return path.endswith(".inl.h") or path.startswith("src/kernels/isa/")


def compile_alone(tree, path):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "alone.cc"
        source.write_text(f'#include "{path.removeprefix("src/")}"\n')
        command = [os.environ.get("CXX", "c++"), "-std=c++20", "-fsyntax-only", "-I", str(tree.root / "src"), str(source)]
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode == 0:
        return None
    errors = [line for line in outcome.stderr.splitlines() if "error:" in line]
    return Finding(path, 1, "does not compile alone: " + (errors or outcome.stderr.splitlines() or ["?"])[0])
