"""Each rule is shown a tree that breaks it and must say so, and a tree that keeps it and must be silent."""

import json
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import bans  # noqa: E402
import documents  # noqa: E402
import headers  # noqa: E402
import kernel_symbols  # noqa: E402
import layers  # noqa: E402
import names  # noqa: E402
import orphans  # noqa: E402
import sizes  # noqa: E402
from source_tree import SourceTree, blank_comments_and_literals  # noqa: E402

TABLE = """
[folders]
base:
os: base
model: base
app: *
[headers]
fmt/*: src/base/format.cc
[only]
src/kernels/kernels_*.cc: kernels/* cstdint
"""


class RuleTest(unittest.TestCase):
    def tree(self, files, build=None):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for path, text in files.items():
            target = pathlib.Path(folder.name) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return SourceTree(folder.name, build and pathlib.Path(folder.name) / build)

    def messages(self, rule, files, build=None):
        return [str(finding) for finding in rule.check(self.tree(files, build))]

    def assert_silent(self, rule, files, build=None):
        self.assertEqual(self.messages(rule, files, build), [])

    def assert_says(self, rule, files, *parts, build=None):
        found = self.messages(rule, files, build)
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])


class SourceText(RuleTest):
    def test_comments_and_literals_are_blanked_and_lines_stay(self):
        code = 'a("x // y"); // new\n/* delete\n*/ b(\'"\', 1\'000, R"z(new\n)z");\n'
        blanked = blank_comments_and_literals(code)
        self.assertNotIn("new", blanked)
        self.assertNotIn("delete", blanked)
        self.assertIn("1'000", blanked)
        self.assertEqual(blanked.count("\n"), code.count("\n"))


class Layers(RuleTest):
    def files(self, path, include):
        return {layers.TABLE: TABLE, "src/base/a.h": "", "src/os/b.h": "", "src/app/c.h": "",
                "src/kernels/k.h": "", path: f"#include {include}\n"}

    def test_a_lower_folder_may_be_included(self):
        self.assert_silent(layers, self.files("src/os/x.cc", '"base/a.h"'))

    def test_a_folder_outside_the_row_is_refused_with_the_row(self):
        self.assert_says(layers, self.files("src/model/x.cc", '"os/b.h"'), "model may not include os; allowed: base")

    def test_a_test_may_include_every_folder_below_its_own(self):
        self.assert_silent(layers, self.files("src/model/x_test.cc", '"os/b.h"'))
        self.assert_says(layers, self.files("src/os/x_test.cc", '"app/c.h"'), "os may not include app")

    def test_a_third_party_header_belongs_to_its_file(self):
        self.assert_silent(layers, self.files("src/base/format.cc", "<fmt/format.h>"))
        self.assert_says(layers, self.files("src/os/x.cc", "<fmt/format.h>"), "allowed: src/base/format.cc")

    def test_an_unknown_third_party_header_is_refused(self):
        self.assert_says(layers, self.files("src/os/x.cc", "<zlib.h>"), "<zlib.h> is not in")

    def test_a_kernel_file_may_not_include_the_standard_library(self):
        self.assert_says(layers, self.files("src/kernels/kernels_avx2.cc", "<vector>"), "may not include vector")

    def test_a_missing_header_is_named(self):
        self.assert_says(layers, self.files("src/os/x.cc", '"base/gone.h"'), "does not exist")

    def test_a_row_may_not_name_a_folder_below_it(self):
        table = TABLE.replace("base:\n", "base: os\n")
        self.assert_says(layers, {layers.TABLE: table}, "base names os, which is not above it")

    def test_cmake_may_not_link_more_than_the_table_allows(self):
        cmake = "infer_folder(os    USES base PRIVATE x)\ninfer_folder(model USES base os)\n"
        self.assert_says(layers, {layers.TABLE: TABLE, "CMakeLists.txt": cmake}, "model may not use os; allowed: base")


class Bans(RuleTest):
    BROKEN = (
        ("src/model/x.cc", "auto t = std::chrono::steady_clock::now();", "base/time.h"),
        ("src/model/x.cc", "std::this_thread::sleep_for(d);", "only os may sleep"),
        ("src/os/x_test.cc", "usleep(5);", "slow and flaky"),
        ("src/model/x.cc", 'std::printf("x");', "only app prints"),
        ("src/model/x.cc", "auto* x = new Thing;", "make_unique"),
        ("src/model/x.cc", "delete x;", "own it"),
        ("src/model/x.cc", "void* p = malloc(5);", "PageMemory"),
        ("src/model/x.cc", "std::thread t;", "ThreadPool"),
        ("src/model/x.cc", "std::mutex m;", "hand the data over"),
        ("src/app/x.cc", 'std::getenv("A");', "through os"),
        ("src/model/x_test.cc", "std::random_device d;", "Rng"),
        ("src/model/x_test.cc", "auto path = ::testing::TempDir();", "TestFolder"),
        ("src/model/x.cc", "std::regex r;", "PCRE2"),
        ("src/model/x.cc", "throw 1;", "return an Error"),
        ("src/model/x.cc", "std::abort();", "only app ends"),
        ("src/model/x.cc", "assert(x);", "INFER_CHECK"),
        ("src/model/x.cc", "using namespace std;", "write std::"),
        ("CMakeLists.txt", "add_compile_options(-march" + "=native)", "same on every machine"),
        ("src/model/x.cc", "// TO" + "DO: more", "write the limit down"),
    )

    def test_every_ban_can_fail(self):
        seen = set()
        for path, line, part in self.BROKEN:
            with self.subTest(line):
                found = self.messages(bans, {path: f"void f() {{\n{line}\n}}\n"})
                self.assertTrue(any(part in message and f"{path}:2" in message for message in found), found)
                seen |= {ban.instead for ban in bans.BANS if any(ban.instead in message for message in found)}
        self.assertEqual(seen, {ban.instead for ban in bans.BANS})

    def test_what_is_allowed_is_not_reported(self):
        self.assert_silent(bans, {
            "src/os/x.cc": "auto t = std::chrono::steady_clock::now();\nstd::thread t2;\nstd::getenv(name);\n",
            "src/app/x.cc": 'std::printf("x");\n',
            "src/model/x.h": "X(const X&) = delete;\nauto p = std::unique_ptr<X>(new X(1));\nstatic_assert(1);\n"
                             "double now = step.time(x);\n// a new thread, then delete it; printf(\n",
        })


class Sizes(RuleTest):
    def function(self, lines, head="int f(int a) {"):
        return "namespace n {\n" + head + "\n" + "a();\n" * (lines - 2) + "}\n}\n"

    def test_a_function_at_the_limit_passes_and_one_above_fails(self):
        self.assert_silent(sizes, {"src/os/x.cc": self.function(sizes.FUNCTION_LINES)})
        self.assert_says(sizes, {"src/os/x.cc": self.function(sizes.FUNCTION_LINES + 1)}, "src/os/x.cc:2: f has 71 lines")

    def test_methods_constructors_templates_and_lambdas_are_functions(self):
        for head in ("template <class T> T C<T>::f(T a) const {", "C::f(int a) : a_(a), b_{2} {",
                     "auto f = [](int a) {", "struct X f(int a) noexcept {"):
            with self.subTest(head):
                self.assertEqual(len(self.messages(sizes, {"src/os/x.cc": self.function(90, head)})), 1)

    def test_a_class_and_a_table_are_not_functions(self):
        for head in ("class C {", "enum class E : int {", "constexpr int kTable[] = {", 'extern "C" {'):
            with self.subTest(head):
                self.assert_silent(sizes, {"src/os/x.cc": self.function(90, head)})

    def test_kernels_have_a_longer_limit(self):
        self.assert_silent(sizes, {"src/kernels/x.cc": self.function(sizes.KERNEL_FUNCTION_LINES)})
        self.assert_says(sizes, {"src/kernels/x.cc": self.function(sizes.KERNEL_FUNCTION_LINES + 1)}, "the limit is 120")

    def test_a_long_file_fails(self):
        self.assert_says(sizes, {"src/os/x.h": "int a;\n" * (sizes.FILE_LINES + 1)}, "601 lines, the limit is 600")

    def test_an_exception_may_only_shrink(self):
        def with_exception(lines, listed):
            return {"src/os/x.cc": self.function(lines), sizes.EXCEPTIONS: f"src/os/x.cc f {listed}  # why\n"}
        self.assert_silent(sizes, with_exception(80, 80))
        self.assert_says(sizes, with_exception(81, 80), "grew from 80 to 81")
        self.assert_says(sizes, with_exception(79, 80), "write 79 there")
        self.assert_says(sizes, with_exception(70, 80), "remove its line")


class Names(RuleTest):
    def test_empty_words_are_refused_in_files_folders_and_types(self):
        self.assert_says(names, {"src/os/file_util.cc": ""}, "'util'")
        self.assert_says(names, {"src/common/file.cc": ""}, "'common'")
        self.assert_says(names, {"src/os/x.h": "class PageManager;\n"}, "'manager'", "PageManager")
        self.assert_says(names, {"src/os/x.h": "enum class [[nodiscard]] KindV2 {};\n"}, "'v2'")

    def test_words_that_merely_contain_them_pass(self):
        self.assert_silent(names, {"src/os/commonality.cc": "struct Newton {};\nclass X final {};\n"})

    def test_other_suffixes_are_refused(self):
        self.assert_says(names, {"src/os/x.cpp": ""}, "end in .cc")


class Documents(RuleTest):
    def test_one_title(self):
        self.assert_silent(documents, {"docs/a.md": "# A\n```\n# not a title\n```\n"})
        self.assert_says(documents, {"docs/a.md": "# A\n# B\n"}, "this has 2")
        self.assert_says(documents, {"docs/a.md": "A\n"}, "this has 0")

    def test_links_lead_somewhere(self):
        self.assert_silent(documents, {"docs/a.md": "# A\n[b](b.md#c) [w](https://x.org/y)\n", "docs/b.md": "# B\n"})
        self.assert_says(documents, {"docs/a.md": "# A\n[b](gone.md)\n"}, "gone.md leads nowhere")

    def test_named_paths_exist(self):
        self.assert_silent(documents, {"a.md": "# A\n`base/x.h` `src/base/` `text/plain` `build/x/y.h` `M.gguf` `src/NAME/x.h` `base/x_test.cc`\n", "src/base/x.h": ""})
        self.assert_says(documents, {"a.md": "# A\n\nsee `base/gone.h`\n", "src/base/x.h": ""}, "a.md:3", "`base/gone.h`")

    def test_folders_of_one_machine_are_refused(self):
        self.assert_says(documents, {"src/os/x.cc": "// see /ho" + "me/ann/x\n"}, "write a relative path")


class Orphans(RuleTest):
    def build(self, files, built, cache=""):
        tree = self.tree({**files, "b/CMakeCache.txt": cache, "b/compile_commands.json": ""}, "b")
        commands = [{"file": str(tree.root.resolve() / path)} for path in built]
        (tree.root / "b/compile_commands.json").write_text(json.dumps(commands))
        return [str(finding) for finding in orphans.check(tree)]

    def test_a_header_that_nobody_includes(self):
        self.assert_silent(orphans, {"src/os/x.cc": '#include "os/x.h"\n', "src/os/x.h": '#include "os/y.h"\n', "src/os/y.h": ""})
        self.assert_says(orphans, {"src/os/x.cc": "", "src/os/x.h": ""}, "src/os/x.h", "no .cc reaches")

    def test_a_source_that_no_target_builds(self):
        files = {"src/os/x.cc": "", "src/os/x_test.cc": "", "bench/b.cc": ""}
        self.assertEqual(self.build(files, files, "INFER_BENCH:BOOL=ON\n"), [])
        self.assertEqual(self.build(files, list(files)[:2]), [])
        self.assertIn("src/os/x_test.cc: no target", self.build(files, ["src/os/x.cc"])[0])
        self.assertIn("bench/b.cc: no target", self.build(files, list(files)[:2], "INFER_BENCH:BOOL=ON\n")[0])

    def test_sources_that_are_compiled_together_are_built(self):
        united = '#include "{0}/src/os/x.cc"\n\n#include "{0}/src/os/y.cc"\n'
        tree = self.tree({"src/os/x.cc": "", "src/os/y.cc": "", "src/os/z.cc": "", "b/CMakeCache.txt": "", "b/Unity/u.cxx": ""}, "b")
        (tree.root / "b/Unity/u.cxx").write_text(united.format(tree.root.resolve()))
        (tree.root / "b/compile_commands.json").write_text(json.dumps([{"file": str(tree.root / "b/Unity/u.cxx")}]))
        found = [str(finding) for finding in orphans.check(tree)]
        self.assertEqual(len(found), 1)
        self.assertIn("src/os/z.cc: no target", found[0])

    def test_a_fuzz_target_needs_seeds(self):
        self.assert_silent(orphans, {"tests/fuzz/x_fuzz.cc": "", "tests/fuzz/corpus/x/1": "a"})
        self.assert_says(orphans, {"tests/fuzz/x_fuzz.cc": "", "tests/fuzz/corpus/y/1": "a"}, "no seeds")

    def test_a_document_that_is_not_linked(self):
        files = {"README.md": "[a](docs/ARCHITECTURE.md)", "docs/ARCHITECTURE.md": "[b](formats/b.md)",
                 "docs/formats/b.md": "`docs/c.md`", "docs/c.md": ""}
        self.assert_silent(orphans, files)
        self.assert_says(orphans, {**files, "docs/d.md": ""}, "docs/d.md", "no document leads here")


class Headers(RuleTest):
    def test_a_header_that_leans_on_its_includer(self):
        self.assert_silent(headers, {"src/os/x.h": "#pragma once\nstruct A {};\n"})
        self.assert_says(headers, {"src/os/x.h": "#pragma once\nstd::string a;\n"}, "does not compile alone")

    def test_a_header_that_compiled_before_is_looked_at_again_when_what_it_includes_changes(self):
        tree = self.tree({"b/x": "", "src/os/y.h": "#pragma once\nusing A = int;\n",
                          "src/os/x.h": '#pragma once\n#include "os/y.h"\nA a();\n'}, "b")
        self.assertEqual(headers.check(tree), [])
        (tree.root / "src/os/y.h").write_text("#pragma once\n")
        found = headers.check(SourceTree(tree.root, tree.build))
        self.assertEqual([finding.path for finding in found], ["src/os/x.h"])
        self.assertEqual(len(headers.check(SourceTree(tree.root, tree.build))), 1)

    def test_the_own_header_comes_first(self):
        files = {"src/os/x.h": "#pragma once\n", "src/os/y.h": "#pragma once\n"}
        self.assert_silent(headers, {**files, "src/os/x.cc": '#include "os/x.h"\n#include "os/y.h"\n'})
        self.assert_says(headers, {**files, "src/os/x.cc": '#include "os/y.h"\n#include "os/x.h"\n'}, 'include "os/x.h" first')

    def test_a_header_without_a_guard(self):
        self.assert_says(headers, {"src/os/x.h": "struct A {};\n"}, "#pragma once")


class KernelSymbols(RuleTest):
    TABLE = "infer::kernels::avx2::kTable R 0 10\n"

    def problems(self, listing):
        return list(kernel_symbols.problems(listing, "avx2"))

    def test_one_table_passes(self):
        self.assertEqual(self.problems(self.TABLE + "infer::kernels::avx2::(anonymous namespace)::f(float*, int) t 0 5\n"), [])
        self.assertEqual(self.problems("infer::kernels::avx2::kTable D 0 10\n__odr_asan_gen_x B 0 1\n"), [])

    def test_a_weak_or_unique_symbol_fails(self):
        self.assertIn("weak symbol (W)", self.problems(self.TABLE + "std::vector<int, std::allocator<int> >::~vector() W 0 5\n")[0])
        self.assertIn("(u)", self.problems(self.TABLE + "infer::x u 0 5\n")[0])

    def test_a_second_export_fails(self):
        found = self.problems(self.TABLE + "infer::kernels::avx2::f(int) T 0 5\n")
        self.assertIn("is not data", found[0])
        self.assertIn("must export one symbol", found[1])

    def test_a_missing_or_foreign_table_fails(self):
        self.assertIn("exports nothing", self.problems("")[0])
        self.assertIn("must export", self.problems("infer::kernels::avx512::kTable R 0 10\n")[0])

    def test_a_missing_object_fails(self):
        self.assert_says(kernel_symbols, {"src/kernels/kernels_avx2.cc": "", "b/x": ""}, "no object file", build="b")


if __name__ == "__main__":
    unittest.main()
