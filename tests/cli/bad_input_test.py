#!/usr/bin/env python3
"""Whatever comes in: one line that says what, why and what to do, the right exit code, and no crash."""
import json
import pathlib
import random
import resource
import subprocess

import program


class BadInputTest(program.ProgramTest):
    def file(self, data, name="bad.gguf"):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def tiny_model(self):
        path = self.folder / "tiny.gguf"
        if not path.exists():
            self.output("make-model", "--shape", "llama-tiny", "--type", "q4_0", path)
        return path.read_bytes()

    def test_wrong_usage_is_exit_code_2(self):
        self.assertIn("did you mean run?", self.error(2, "runn"))
        self.assertIn("did you mean --temp?", self.error(2, "run", "--tepm", 1))
        for value in ["0", "-1", "257", "two", ""]:
            self.assertIn("1 to 256", self.error(2, "run", "-p", "x", "--threads", value))
        self.assertIn("--prompt", self.error(2, "run", "-p", "a", "-f", "b"))
        self.assertIn("--shape", self.error(2, "make-model", self.folder / "x.gguf"))
        self.assertIn("llama-1b", self.error(2, "make-model", "--shape", "llama-2b", self.folder / "x.gguf"))
        self.assertIn("q4_0", self.error(2, "make-model", "--shape", "llama-1b", "--type", "q9", self.folder / "x"))
        self.assertIn("--memory-limit", self.error(2, "run", "-p", "x", "--memory-limit", "much"))

    def test_a_wrong_grammar_or_schema_is_named_with_its_place(self):
        words = ["run", "-p", "x"]
        self.assertIn("line 1, column 10", self.error(2, *words, "--grammar", "root ::= ("))
        self.assertIn("left-recursive", self.error(2, *words, "--grammar", 'root ::= root "a" | "b"'))
        self.assertIn("#/properties/a/not", self.error(2, *words, "--json-schema", '{"properties":{"a":{"not":{}}}}'))
        self.assertIn("JSON", self.error(2, *words, "--json-schema", '{"type":'))
        self.assertIn("bad.json", self.error(3, *words, "--json-schema", self.file(b"[1]", "bad.json")))
        self.assertIn("absent", self.error(3, *words, "--grammar", self.folder / "absent"))
        self.assertIn("exclude", self.error(2, *words, "--json-object", "--grammar", 'root ::= "a"'))
        self.assertIn("--ignore-eos", self.error(2, *words, "--json-object", "--ignore-eos"))

    def test_a_model_that_is_no_model_is_exit_code_3(self):
        for command in (["run", "-p", "x"], ["inspect"], ["tokenize", "-p", "x"], ["bench"]):
            with self.subTest(command=command):
                self.assertIn("absent.gguf", self.error(3, *command, "-m", self.folder / "absent.gguf"))
                self.assertIn("directory", self.error(3, *command, "-m", self.folder))
                self.assertIn("empty", self.error(3, *command, "-m", self.file(b"")))
                self.assertIn("bad.gguf", self.error(3, *command, "-m", self.file(b"not a model at all, but some text")))
                self.assertIn("bad.gguf", self.error(3, *command, "-m", self.file(self.tiny_model()[:5000])))
                self.assertIn("bad.gguf", self.error(3, *command, "-m", self.file(self.tiny_model()[:-5000])))

    def test_a_wrong_architecture_is_named_with_those_that_are_known(self):
        data = self.tiny_model().replace(b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
                                         b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0lamda", 1)
        text = self.error(3, "bench", "-m", self.file(data))
        self.assertIn("lamda", text)
        self.assertIn("llama", text)
        self.assertFalse(self.document("inspect", self.file(data))["model"]["runnable"])

    def test_a_missing_tensor_is_named(self):
        data = self.tiny_model().replace(b"blk.2.ffn_up.weight", b"blk.2.ffn_xx.weight", 1)
        self.assertIn("blk.2.ffn_up.weight", self.error(3, "bench", "-m", self.file(data)))

    def test_a_missing_key_is_named(self):
        data = self.tiny_model().replace(b"llama.block_count", b"llama.block_kount", 1)
        self.assertIn("llama.block_count", self.error(3, "bench", "-m", self.file(data)))

    def test_a_model_without_a_vocabulary_cannot_read_text(self):
        path, text = self.file(self.tiny_model()), self.file(b"some text", "text.txt")
        for command in (["run", "-p", "x"], ["tokenize", "-p", "x"], ["perplexity", "-f", text]):
            self.assertIn("vocabulary", self.error(3, *command, "-m", path))

    def test_flipped_bits_never_crash(self):
        healthy = pathlib.Path(self.tales).read_bytes()
        rng = random.Random(1)
        for case in range(40):
            data = bytearray(healthy)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(3000 if case % 2 else 200000)] ^= 1 << rng.randrange(8)
            path = self.file(bytes(data))
            for command in (["inspect", "-m", path], ["run", "-m", path, "-p", "Once", "-n", 2, "--temp", 0]):
                result = self.run_program(*command)
                self.assertIn(result.returncode, (0, 2, 3, 5), (case, result.stderr))
                self.assertLessEqual(result.stderr.count(b"\n"), 2, (case, result.stderr))

    def test_text_that_is_not_utf8_is_refused_with_its_byte(self):
        self.assertIn("byte 3", self.error(2, "run", "-p", b"abc\xffdef"))
        self.assertIn("byte 3", self.error(2, "run", "-f", self.file(b"abc\xe3\x81", "text.txt")))
        self.assertIn("byte 1", self.error(2, "tokenize", stdin=b"a\xc0\x80"))

    def test_a_prompt_that_cannot_be_used_is_refused(self):
        self.assertIn("context", self.error(2, "run", "-p", "word " * 3000))
        self.assertIn("64", self.error(2, "run", "-p", "word " * 100, "--ctx", 64))
        self.assertIn("empty", self.error(2, "run"))
        self.assertIn("absent.txt", self.error(3, "run", "-f", self.folder / "absent.txt"))
        self.assertIn("directory", self.error(3, "run", "-f", self.folder))
        self.assertIn("two windows", self.error(2, "perplexity", "-f", self.file(b"too short", "short.txt")))

    def test_memory_that_is_not_enough_is_exit_code_5_with_the_numbers(self):
        self.assertIn("MB", self.error(5, "run", "-p", "x", "--memory-limit", "1MB"))

    def test_a_full_disk_is_exit_code_1(self):
        with open("/dev/full", "wb") as full:
            for command in (["tokenize", "-p", "x"], ["run", "-p", "x", "-n", "3"], ["--help"], ["inspect", "--json"]):
                result = subprocess.run([self.binary, *command], stdout=full, stderr=subprocess.PIPE, check=False,
                                        env=self.environment(), timeout=program.TIMEOUT)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(b"standard output", result.stderr)

    def test_a_model_that_does_not_fit_on_the_disk_leaves_nothing_behind(self):
        def limit_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        path = self.folder / "big.gguf"
        self.error(1, "make-model", "--shape", "llama-tiny", path, preexec_fn=limit_files)
        self.assertEqual(list(self.folder.iterdir()), [])
        self.error(1, "make-model", "--shape", "llama-tiny", self.folder / "no" / "such" / "x.gguf")

    def test_errors_with_json_are_one_document_too(self):
        for code, command in ((2, ["run", "--threads", "0"]), (3, ["inspect", "absent.gguf"]), (2, ["rnu"])):
            result = self.run_program(*command, "--json")
            error = json.loads(result.stdout)["error"]
            self.assertEqual((result.returncode, error["exit_code"]), (code, code))
            self.assertIn(error["message"], result.stderr.decode())


if __name__ == "__main__":
    program.main()
