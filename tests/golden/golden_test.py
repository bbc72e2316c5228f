#!/usr/bin/env python3
"""Checks that the files of this folder belong together: shows a half-done renewal, a changed model or a hand edit."""
import hashlib
import pathlib
import tempfile
import unittest

import renew
import tiny_archs
import tiny_models

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent.parent / "models"
KINDS = ["text", "tokens", "stats", "top", "sample", "greedy", "gaps", "end"]


GAP_MIN = 0.001
SMALL_VOCABULARY = tiny_models.VOCABULARY, 318


def references():
    return [path for path in sorted(HERE.glob("t*.txt")) if path.name != "tokens-tales.txt"]


def arch_references():
    return sorted(HERE.glob("arch-*.txt"))


def records(path):
    return [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]


def by_prompt(path):
    """Prompt -> kind -> values, in the file's order."""
    prompts = {}
    for kind, name, *values in records(path):
        if kind in KINDS:
            prompts.setdefault(name, {})[kind] = values
    return prompts


class GoldenTest(unittest.TestCase):
    def test_the_generator_writes_the_tiny_models_byte_for_byte(self):
        with tempfile.TemporaryDirectory() as folder:
            names = tiny_models.write_all(MODELS / "tales-q8_0.gguf", folder)
            self.assertEqual(len(names), 4)
            for name in names:
                self.assertEqual((pathlib.Path(folder) / (name + ".gguf")).read_bytes(),
                                 (HERE / (name + ".gguf")).read_bytes(), name)

    def test_each_reference_was_made_from_the_model_that_lies_here(self):
        checked = 0
        for path in references():
            (_, name, size, digest), = [record for record in records(path) if record[0] == "model"]
            for model in (HERE / name, MODELS / name):
                if model.exists():
                    data = model.read_bytes()
                    self.assertEqual((len(data), hashlib.sha256(data).hexdigest()), (int(size), digest), path.name)
                    checked += 1
        self.assertEqual(checked, 5)

    def test_each_architecture_has_a_reference_made_from_the_model_that_is_written_today(self):
        with tempfile.TemporaryDirectory() as folder:
            names = tiny_archs.write_all(MODELS / "tales-q8_0.gguf", folder)
            self.assertEqual({path.stem for path in arch_references()}, {"arch-" + name for name in names})
            for path in arch_references():
                (_, name, size, digest), = [record for record in records(path) if record[0] == "model"]
                data = (pathlib.Path(folder) / name).read_bytes()
                self.assertEqual((len(data), hashlib.sha256(data).hexdigest()), (int(size), digest), path.name)

    def test_each_architecture_has_its_prompts_and_one_of_300_tokens(self):
        wanted = {name: renew.as_hex(text) for name, text in renew.arch_prompts().items()}
        for path in arch_references():
            prompts = by_prompt(path)
            self.assertEqual({name: kinds["text"][0] for name, kinds in prompts.items()}, wanted, path.name)
            self.assertGreaterEqual(len(prompts["tale"]["tokens"]), 300)
            self.assertGreater(len(prompts["sea"]["tokens"]), 2 * tiny_archs.WINDOW)
            for name, kinds in prompts.items():
                with self.subTest(file=path.name, prompt=name):
                    self.check_prompt(kinds, *SMALL_VOCABULARY)

    def test_greedy_text_of_the_architectures_leaves_room_for_rounding(self):
        for path in arch_references():
            for name, kinds in by_prompt(path).items():
                if "gaps" in kinds:
                    gap = min(map(float, kinds["gaps"]))
                    self.assertGreater(gap, GAP_MIN, f"{path.name}, {name}: choose another seed")

    def test_each_reference_holds_the_prompts_of_prompts_txt(self):
        texts = {name: renew.as_hex(text) for name, text in renew.prompts().items()}
        self.assertEqual(len(texts), 20)
        for path in references():
            wanted = texts if path.name.startswith("tales") else {name: texts[name] for name in renew.TINY_PROMPTS}
            self.assertEqual({name: kinds["text"][0] for name, kinds in by_prompt(path).items()}, wanted, path.name)

    def test_each_prompt_has_every_kind_with_consistent_values(self):
        for path in references():
            vocabulary, bos = (4096, 4094) if path.name.startswith("tales") else SMALL_VOCABULARY
            for name, kinds in by_prompt(path).items():
                with self.subTest(file=path.name, prompt=name):
                    self.check_prompt(kinds, vocabulary, bos)

    def check_prompt(self, kinds, vocabulary, bos):
        self.assertEqual([kind for kind in KINDS if kind in kinds or kind != "gaps"], list(kinds))
        tokens = list(map(int, kinds["tokens"]))
        self.assertEqual((tokens[0], tokens.count(bos)), (bos, 1))
        top = list(zip(map(int, kinds["top"][::2]), map(float, kinds["top"][1::2])))
        self.assertEqual(len(top), renew.TOP)
        self.assertEqual([value for _, value in top], sorted((value for _, value in top), reverse=True))
        low, high, mean, norm = map(float, kinds["stats"])
        self.assertEqual(high, top[0][1])
        self.assertTrue(low <= mean <= high and norm <= max(-low, high) * vocabulary ** 0.5)
        step, sample = int(kinds["sample"][0]), list(map(float, kinds["sample"][1:]))
        self.assertEqual(len(sample), vocabulary // step)
        for token, value in top:
            if token % step == 0:
                self.assertEqual(sample[token // step], value)
        greedy, (end,) = list(map(int, kinds["greedy"])), kinds["end"]
        self.assertEqual(greedy[0], top[0][0])
        self.assertTrue(end == "limit" and len(greedy) == renew.GREEDY_TOKENS or end == "eos" and greedy[-1] == bos + 1)
        if "gaps" in kinds:
            gaps = list(map(float, kinds["gaps"]))
            self.assertEqual(len(gaps), len(greedy))
            self.assertGreaterEqual(min(gaps), 0)
            self.assertAlmostEqual(gaps[0], top[0][1] - top[1][1], delta=0.05)

    def test_greedy_text_of_f16_leaves_room_for_rounding(self):
        for name, kinds in by_prompt(HERE / "tales-f16.txt").items():
            self.assertGreater(min(map(float, kinds["gaps"])), 0.0125, f"{name}: choose another prompt")

    def test_every_string_has_its_tokens(self):
        plain = [record[1] for record in records(HERE / "tokens-tales.txt") if record[0] == "plain"]
        self.assertEqual(plain, [renew.as_hex(renew.unescaped(line)) for line in renew.input_lines("strings.txt")])


if __name__ == "__main__":
    unittest.main()
