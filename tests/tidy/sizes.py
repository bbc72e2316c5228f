"""Rule `sizes`: functions fit a screen, files fit a sitting. Exceptions are listed with their size and may only shrink."""

import re

from source_tree import Finding, line_of

FILE_LINES = 600
FUNCTION_LINES = 70
KERNEL_FUNCTION_LINES = 120
EXCEPTIONS = "tests/tidy/size_exceptions.txt"


def function_limit(path):
    return KERNEL_FUNCTION_LINES if path.startswith("src/kernels/") and not path.endswith("_test.cc") else FUNCTION_LINES


def check(tree):
    found = dict(oversized(tree))
    allowed = read_exceptions(tree)
    findings = []
    for key, (path, line, lines, limit) in found.items():
        ratchet = allowed.pop(key, None)
        if ratchet is None:
            findings.append(Finding(path, line, f"{key.split()[-1]} has {lines} lines, the limit is {limit}: split it"))
        elif lines > ratchet:
            findings.append(Finding(path, line, f"{key.split()[-1]} grew from {ratchet} to {lines} lines; it may only shrink"))
        elif lines < ratchet:
            findings.append(Finding(EXCEPTIONS, 0, f"{key} has shrunk from {ratchet} to {lines} lines: write {lines} there"))
    for key in allowed:
        findings.append(Finding(EXCEPTIONS, 0, f"{key} is within the limit: remove its line"))
    return findings


def read_exceptions(tree):
    """Lines `path lines` and `path function lines`."""
    allowed = {}
    if tree.exists(EXCEPTIONS):
        for line in tree.text(EXCEPTIONS).splitlines():
            line = line.split("#")[0].strip()
            if line:
                key, lines = line.rsplit(None, 1)
                allowed[key] = int(lines)
    return allowed


def oversized(tree):
    """Yields (exception key, (path, line, lines, limit))."""
    for path in tree.cpp() + tree.matching("tests/*.py", "bench/*.py", "tools/*.py", "tools/*.sh", "dev"):
        lines = len(tree.text(path).splitlines())
        if lines > FILE_LINES:
            yield path, (path, 0, lines, FILE_LINES)
    for path in tree.cpp():
        limit = function_limit(path)
        for name, first, last in functions(tree.code(path)):
            if last - first + 1 > limit:
                yield f"{path} {name}", (path, first, last - first + 1, limit)


def functions(code):
    """Yields (name, first line, last line) of each function body; nested lambdas belong to their function."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group().count("\n"), code, flags=re.MULTILINE)
    stack = []  # (is function, name, first line); depth inside a function is counted only.
    head_start = 0
    member_depth = 0
    for match in re.finditer(r"[{};]", code):
        offset, mark = match.start(), match.group()
        inside = any(is_function for is_function, _, _ in stack)
        head = code[head_start:offset]
        if mark == "{":
            is_initializer = not inside and initializes_member(head)
            name = None if inside or is_initializer else function_name(head)
            first = line_of(code, head_start + len(head) - len(head.lstrip()))
            stack.append((name is not None, name, first))
            if is_initializer:
                member_depth = len(stack)
        elif mark == "}" and stack:
            is_function, name, first = stack.pop()
            if is_function:
                yield name, first, line_of(code, offset)
        if member_depth:  # The constructor's head goes on behind `member{value}`.
            if len(stack) < member_depth:
                member_depth = 0
            continue
        head_start = offset + 1


def initializes_member(head):
    """`C::C(int a) : a_` before a brace: the brace holds the value of a_, the body comes later."""
    return re.search(r"\)[^(){}]*(?<!:):(?!:)", head) and re.search(r"[\w>]\s*$", head)


def function_name(head):
    """The name when these words before a brace open a function, else None."""
    head = strip_template_headers(re.sub(r"__attribute__\s*\(\(.*?\)\)|\[\[.*?\]\]", " ", head).strip())
    if re.match(r"(?:inline\s+)?namespace\b|extern\b\s*\"", head):
        return None
    if re.match(r"(?:typedef\s+|static\s+|constexpr\s+|const\s+)*(?:class|struct|union|enum)\b(?![^(]*\w\s*\()", head):
        return None
    match = re.search(r"([~\w:]+|operator\s*\S+|\])\s*\(", head)
    if not match or re.search(r"=\s*$", head):
        return None
    return "lambda" if match.group(1) == "]" else match.group(1)


def strip_template_headers(head):
    while (match := re.match(r"template\s*<", head)) is not None:
        depth, index = 1, match.end()
        while index < len(head) and depth:
            depth += {"<": 1, ">": -1}.get(head[index], 0)
            index += 1
        head = head[index:].lstrip()
    return head
