"""unity_groups.py SOURCE...: a list, as CMake has them, of each source's group: sources that can be compiled as one.

Two sources cannot when both define a name in an anonymous namespace, or one defines what the other takes over with
`using`. The names are read from lines that begin in the first column, where all definitions of a namespace do; what
this misses is an error of the compiler, and the name a poor one.
"""

import re
import sys

SOURCES_MAX = 10  # In a group: enough to share headers, few enough for all processors to have work.

TYPE = re.compile(r"(?:struct|class|union|enum(?: class)?)\s+(?:alignas\(\w+\)\s+)?(\w+)")
ALIAS = re.compile(r"using\s+(\w+)\s*=")
TAKEN_OVER = re.compile(r"using\s+[\w:]*::(\w+);")
MACRO = re.compile(r"#define\s+(\w+)")
# The last name before what makes a line a definition.
OTHER = re.compile(r"[^(){}=;\[]*?(::)?\b(\w+)\s*(?:[(){}=;\[]|$)")
FURTHER = re.compile(r", (\w+) = ")  # `constexpr int a = 1, b = 2;`


def names_of(text):
    """What a source defines, and what it takes over."""
    defined, taken_over = set(), set()
    for line in text.splitlines():
        if macro := MACRO.match(line):
            defined.add(macro[1])
        elif not line or not (line[0].isalpha() or line[0] == "_"):
            continue
        elif found := TAKEN_OVER.match(line):
            taken_over.add(found[1])
        elif found := TYPE.match(line) or ALIAS.match(line):
            defined.add(found[1])
        elif line.startswith(("namespace ", "using ", "template", "TEST")):
            continue
        elif (found := OTHER.match(line)) and not found[1]:
            defined.add(found[2])
            defined.update(FURTHER.findall(line) if line.startswith("const") else ())
    return defined, taken_over


def groups_of(sources):
    """The number of each source's group."""
    groups, numbers = [], []
    for defined, taken_over in (names_of(text) for text in sources):
        for number, (count, group_defined, group_taken_over) in enumerate(groups):
            clashes = defined & (group_defined | group_taken_over) or taken_over & group_defined
            if count < SOURCES_MAX and not clashes:
                break
        else:
            number, (count, group_defined, group_taken_over) = len(groups), (0, set(), set())
            groups.append(None)
        groups[number] = (count + 1, group_defined | defined, group_taken_over | taken_over)
        numbers.append(number)
    return numbers


def main(paths):
    texts = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            texts.append(file.read())
    print(";".join(f"group{number}" for number in groups_of(texts)))


if __name__ == "__main__":
    main(sys.argv[1:])
