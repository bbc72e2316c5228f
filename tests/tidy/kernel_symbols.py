"""Rule `kernel_symbols`: the object of each instruction set exports its kernel table and nothing else.

An inline or template function compiled with AVX-512 in one object may be the copy that the linker keeps for the whole
program, which then dies on older machines. So these objects define one global symbol, and no weak one.
"""

import subprocess

from source_tree import Finding

# What the sanitizers' instrumentation defines in every object.
INSTRUMENTATION = ("__odr_asan", "___asan_", "__asan_", "__tsan_", "__sancov", "__start___sancov", "__stop___sancov",
                   "sancov.", "asan.", "tsan.", "DW.ref.")


def check(tree):
    sources = tree.matching("src/kernels/kernels_*.cc")
    sources = [path for path in sources if not path.endswith("_test.cc")]
    if tree.build is None:
        return [Finding(path, 0, "give --build: this rule reads object files") for path in sources]
    return [finding for path in sources for finding in check_object(tree, path)]


def check_object(tree, path):
    objects = list(tree.build.rglob(path.rsplit("/", 1)[1] + ".o"))
    if not objects:
        return [Finding(path, 0, f"no object file below {tree.build.name}: build the target infer_kernels first")]
    isa = path.rsplit("/", 1)[1].removeprefix("kernels_").removesuffix(".cc")
    findings = []
    for built in objects:
        listing = subprocess.run(["nm", "--defined-only", "--demangle", "--format=posix", str(built)],
                                 capture_output=True, text=True, check=True).stdout
        findings += [Finding(path, 0, message) for message in problems(listing, isa)]
    return findings


def problems(listing, isa):
    """Messages for the output of `nm --format=posix`: lines `name letter value size`, where a name may have blanks."""
    exported = []
    for name, letter in symbols(listing):
        if name.startswith(INSTRUMENTATION):
            continue
        if letter in "uvVwW":
            yield f"{name} is a weak symbol ({letter}): other objects may get this copy; put it into the anonymous namespace"
        elif letter.isupper():
            exported.append(name)
            if letter not in "RDBGS":
                yield f"{name} is exported ({letter}) and is not data: only the kernel table may be"
    tables = [name for name in exported if name.startswith(f"infer::kernels::{isa}::")]
    if len(exported) != 1 or len(tables) != 1:
        yield f"exports {exported or 'nothing'}; it must export one symbol, the KernelTable in infer::kernels::{isa}"


def symbols(listing):
    for line in listing.splitlines():
        parts = line.rsplit(None, 3)
        while len(parts) > 1 and len(parts[1]) != 1:
            parts = line.rsplit(None, len(parts) - 2)  # Without a size column.
        if len(parts) > 1:
            yield parts[0], parts[1]
