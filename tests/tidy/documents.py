"""Rule `documents`: one title each, links and named paths exist, nothing names a folder of somebody's machine."""

import re

from source_tree import Finding, matches

MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(?:work|home|root|Users|mnt|media)/\w")
TEXT = ("*.md", "*.cc", "*.h", "*.py", "*.sh", "*.cmake", "*.txt", "*.json", "*.yaml", "*.yml", "dev", ".ci/*")
KNOWN_SUFFIXES = (".h", ".cc", ".md", ".txt", ".py", ".sh", ".cmake", ".json", ".gguf", ".http")


def check(tree):
    findings = []
    for path in tree.matching("*.md"):
        if not matches(path, ("tests/fuzz/corpus/*",)):
            findings += check_document(tree, path)
    for path in tree.matching(*TEXT):
        if matches(path, ("tests/fuzz/corpus/*",)):
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            for match in MACHINE_PATHS.finditer(line):
                findings.append(Finding(path, number, f"'{match.group()}...' is a folder of one machine: write a relative path"))
    return findings


def prose(text):
    """(line number, line) outside code fences."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, line


def check_document(tree, path):
    lines = list(prose(tree.text(path)))
    titles = [number for number, line in lines if re.match(r"# \S", line)]
    if len(titles) != 1:
        yield Finding(path, 0, f"a document has one title (a line `# ...`), this has {len(titles)}")
    for number, line in lines:
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            target = target.split("#")[0]
            if target and "://" not in target and not target.startswith("mailto:") and not resolves(tree, path, target):
                yield Finding(path, number, f"the link to {target} leads nowhere")
        for named in re.findall(r"`([^`\s]+)`", line):
            if looks_like_path(tree, named) and not resolves(tree, path, named):
                yield Finding(path, number, f"`{named}` does not exist")


def looks_like_path(tree, named):
    """A path of the repository: has a slash, no pattern, and starts with a known folder or ends like a file."""
    if not re.fullmatch(r"\.?[\w][\w.\-]*(?:/[\w.\-]+)*/?", named) or "/" not in named or named.startswith("build/"):
        return False
    if re.search(r"/(?:[A-Z]+|x_\w+\.\w+)(?:/|$)", named):  # A placeholder: corpus/NAME/, folder/x_test.cc
        return False
    first = named.split("/")[0]
    return named.endswith(KNOWN_SUFFIXES) or tree.exists(first) or named.endswith("/") and tree.exists("src/" + first)


def resolves(tree, path, target):
    """As seen from the root, from src/, from the document, or from the folder of src/ that the document is named for."""
    folder, _, name = path.rpartition("/")
    target = target.rstrip("/")
    bases = ["", "src/", folder + "/" if folder else "", f"src/{name.removesuffix('.md')}/"]
    return any(inside(tree, base + target) for base in bases)


def inside(tree, path):
    full = (tree.root / path).resolve()
    return full.exists() and full.is_relative_to(tree.root.resolve())
