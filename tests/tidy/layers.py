"""Rule `layers`: a folder includes only what layers.txt allows, third-party headers only where it says so."""

import re

from source_tree import Finding, matches

TABLE = "tests/tidy/layers.txt"


def read_table(tree):
    """Returns ({folder: allowed folders}, [(header patterns, file patterns)], [(file patterns, header patterns)], findings)."""
    folders, headers, only, findings = {}, [], [], []
    section = None
    for number, line in enumerate(tree.text(TABLE).splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        left, _, right = line.partition(":")
        if section == "headers":
            headers.append((left.split(), right.split()))
        elif section == "only":
            only.append((left.split(), right.split()))
        else:
            allowed = list(folders) if right.strip() == "*" else right.split()
            for name in allowed:
                if name not in folders:
                    findings.append(Finding(TABLE, number, f"{left} names {name}, which is not above it"))
            folders[left.strip()] = allowed
    return folders, headers, only, findings


def check(tree):
    folders, headers, only, findings = read_table(tree)
    findings += check_cmake(tree, folders)
    for path in tree.cpp():
        for number, header, quoted in tree.includes(path):
            for message in problems(tree, path, header, quoted, folders, headers, only):
                findings.append(Finding(path, number, message))
    return findings


def problems(tree, path, header, quoted, folders, headers, only):
    for file_patterns, allowed in only:
        if matches(path, file_patterns) and not matches(header, allowed):
            yield f"{path} may not include {header}; allowed: {' '.join(allowed)}"
    if quoted:
        yield from project_problems(tree, path, header, folders)
    elif "." in header or "/" in header:
        rows = [files for header_patterns, files in headers if matches(header, header_patterns)]
        if not rows:
            yield f"<{header}> is not in {TABLE}; add a row that names the one file that needs it"
        elif not any(matches(path, files) for files in rows):
            yield f"{path} may not include <{header}>; allowed: {' '.join(sum(rows, []))}"


def project_problems(tree, path, header, folders):
    target = header.split("/")[0]
    if "/" not in header or not tree.exists("src/" + header):
        if not tree.exists(path.rsplit("/", 1)[0] + "/" + header) or path.startswith("src/"):
            yield f'"{header}" does not exist; includes are written from src/, as "folder/file.h"'
        return
    if target not in folders:
        yield f"folder {target} has no row in {TABLE}"
    if not path.startswith("src/"):
        if target == "app":
            yield f"{path} may not include app; move what it needs into a lower folder"
        return
    folder = path.split("/")[1]
    if folder not in folders:
        yield f"folder {folder} has no row in {TABLE}"
        return
    allowed = allowed_for(path, folder, folders)
    if target != folder and target not in allowed:
        yield f"{folder} may not include {target}; allowed: {' '.join(allowed) or 'nothing'}"


def allowed_for(path, folder, folders):
    if not path.endswith("_test.cc"):
        return folders[folder]
    names = list(folders)
    return names[: names.index(folder)] + ["testing"]


def check_cmake(tree, folders):
    """Each infer_folder row of CMakeLists.txt links no more than the table allows."""
    if not tree.exists("CMakeLists.txt"):
        return
    for number, line in enumerate(tree.text("CMakeLists.txt").splitlines(), 1):
        match = re.match(r"infer_folder\((\w+)(?:\s+USES\s+([\w\s]+?))?(?:\s+PRIVATE\b.*)?\)", line)
        if not match:
            continue
        folder, used = match.group(1), (match.group(2) or "").split()
        if folder not in folders:
            yield Finding("CMakeLists.txt", number, f"folder {folder} has no row in {TABLE}")
            continue
        for name in used:
            if name not in folders[folder]:
                allowed = " ".join(folders[folder]) or "nothing"
                yield Finding("CMakeLists.txt", number, f"{folder} may not use {name}; allowed: {allowed}")
