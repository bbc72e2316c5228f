#!/usr/bin/env python3
"""Random schemas: whatever their grammars let a model write is JSON that the schema accepts, and values that a schema
accepts can be written. Judges are Python's json and, where Debian's python3-jsonschema is installed, jsonschema.
INFER_SEED=<n> replays one schema."""
import json
import os
import random
import string
import subprocess
import sys
import unittest

try:
    import jsonschema
except ImportError:
    jsonschema = None

SCHEMAS = 400


class RandomSchema:
    """A schema, and values that it accepts by the way they are made."""

    def __init__(self, rng):
        self.rng = rng
        self.defs = {}
        self.schema = self.make(3)
        if self.defs:
            self.schema = {**self.schema, "$defs": {name: schema for name, (schema, _) in self.defs.items()}}

    def make(self, depth):
        """A schema; self.value(schema) makes values for it."""
        kinds = ["string", "length", "integer", "range", "number", "bounds", "boolean", "null", "enum", "const", "pattern",
                 "multiple", "types"]
        if depth > 0:
            kinds += ["object", "array", "tuple", "any", "all", "ref", "tree"] * 2
        return getattr(self, "make_" + self.rng.choice(kinds))(depth)

    def word(self):
        return "".join(self.rng.choice('ab"\\/é\n😀 x') for _ in range(self.rng.randint(0, 5)))

    def make_string(self, _):
        return {"type": "string"}

    def make_length(self, _):
        least = self.rng.randint(0, 4)
        return {"type": "string", "minLength": least, "maxLength": least + self.rng.randint(0, 6)}

    def make_integer(self, _):
        return {"type": "integer"}

    def make_range(self, _):
        ends = sorted(self.rng.randint(-10 ** self.rng.randint(0, 12), 10 ** self.rng.randint(0, 12)) for _ in "12")
        schema = {"type": "integer", "minimum": ends[0], "maximum": ends[1]}
        if self.rng.random() < 0.3:
            del schema[self.rng.choice(["minimum", "maximum"])]
        return schema

    def make_multiple(self, _):
        return {"type": "integer", "multipleOf": self.rng.randint(1, 60), "minimum": self.rng.randint(-5000, 0),
                "maximum": self.rng.randint(1, 100000)}

    def make_number(self, _):
        return {"type": "number"}

    def make_bounds(self, _):
        ends = sorted(round(self.rng.uniform(-10 ** self.rng.randint(0, 4), 10 ** self.rng.randint(0, 4)), 3) for _ in "12")
        if ends[0] == ends[1]:
            ends[1] += 1
        exclusive = self.rng.random() < 0.5
        return {"type": "number", "exclusiveMinimum" if exclusive else "minimum": ends[0], "maximum": ends[1]}

    def make_boolean(self, _):
        return {"type": "boolean"}

    def make_null(self, _):
        return {"type": "null"}

    def make_types(self, _):
        return {"type": self.rng.sample(["string", "integer", "boolean", "null"], self.rng.randint(1, 4))}

    def make_enum(self, _):
        return {"enum": [self.rng.choice([self.word(), self.rng.randint(-5, 5), None, True, [1, "a"], {"k": [2]}])
                         for _ in range(self.rng.randint(1, 4))]}

    def make_const(self, _):
        return {"const": self.word()}

    def make_pattern(self, _):
        return {"type": "string", "pattern": self.rng.choice(
            [r"^[a-c]{2,4}$", r"^\d+(\.\d{1,2})?$", r"^(yes|no|[x-z]?)$", r"b", r"^a|b$", r'^["\\][ \t]\w$', r"^.{0,3}é$"])}

    def make_object(self, depth):
        names = self.rng.sample(["a", "b", "ab", "é", 'q"', "a\\", "long name"], self.rng.randint(0, 4))
        schema = {"type": "object", "properties": {name: self.make(depth - 1) for name in names},
                  "required": [name for name in names if self.rng.random() < 0.5]}
        if self.rng.random() < 0.4:
            schema["additionalProperties"] = self.rng.choice([False, True, {"type": "integer"}])
        return schema

    def make_array(self, depth):
        schema = {"type": "array", "items": self.make(depth - 1)}
        if self.rng.random() < 0.7:
            schema["minItems"] = self.rng.randint(0, 3)
            schema["maxItems"] = schema["minItems"] + self.rng.randint(0, 3)
        return schema

    def make_tuple(self, depth):
        schema = {"type": "array", "prefixItems": [self.make(depth - 1) for _ in range(self.rng.randint(1, 3))]}
        if self.rng.random() < 0.5:
            schema["items"] = self.rng.choice([False, {"type": "integer"}])
        return schema

    def make_any(self, depth):
        return {"anyOf": [self.make(depth - 1) for _ in range(self.rng.randint(1, 3))]}

    def make_all(self, depth):
        return {"allOf": [self.make_object(depth), {"type": "object", "required": ["z"]}], "properties": {"z": True}}

    def make_ref(self, depth):
        name = f"d{len(self.defs)}"
        self.defs[name] = ({}, None)
        self.defs[name] = (self.make(depth - 1), None)
        return {"$ref": f"#/$defs/{name}"}

    def make_tree(self, _):
        name = f"d{len(self.defs)}"
        here = {"$ref": f"#/$defs/{name}"}
        self.defs[name] = ({"type": "object", "properties": {"v": {"type": "integer"}, "next": {"anyOf": [here, {"type": "null"}]}},
                            "required": ["v", "next"]}, None)
        return here


def judge(schema, text):
    """What is wrong with a text, or None."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"no JSON: {error}"
    if jsonschema:
        for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
            return f"{error.message[:200]} at {list(error.absolute_path)}"
    return None


def mutated(rng, text):
    """The text with one small change."""
    at = rng.randrange(len(text) + 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + rng.choice('",:{}[]0a1.-e\\ ') + text[at:]
    return text[:at] + text[at + 1:] if kind == 1 else text[:at] + rng.choice(string.printable) + text[at + 1:]


class WalkTest(unittest.TestCase):
    binary = ""

    def ask(self, **request):
        self.program.stdin.write(json.dumps(request) + "\n")
        self.program.stdin.flush()
        return json.loads(self.program.stdout.readline())

    def setUp(self):
        self.program = subprocess.Popen([self.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.program.wait)
        self.addCleanup(self.program.stdout.close)
        self.addCleanup(self.program.stdin.close)

    def check_schema(self, seed):
        rng = random.Random(seed)
        schema = RandomSchema(rng).schema
        reply = self.ask(schema=schema, judge=[], walks=4, seed=seed)
        where = f"INFER_SEED={seed}, schema {json.dumps(schema)}"
        if "error" in reply:
            self.assertRegex(reply["error"], "^JSON schema, #.*(no value satisfies|not supported|may both)", where)
            return 0
        for text in reply["texts"]:
            self.assertIsNone(judge(schema, text), f"{where}, text {text}")
        # What is near an accepted text is accepted only where the judge accepts it too.
        near = [mutated(rng, text) for text in reply["texts"] for _ in range(6)]
        verdicts = self.ask(schema=schema, judge=reply["texts"] + near, walks=0, seed=seed)["accepted"]
        self.assertTrue(all(verdicts[:len(reply["texts"])]), where)
        for text, accepted in zip(near, verdicts[len(reply["texts"]):]):
            if accepted:
                self.assertIsNone(judge(schema, text), f"{where}, accepted text {text}")
        return len(reply["texts"])

    def test_what_a_grammar_lets_through_satisfies_the_schema(self):
        if "INFER_SEED" in os.environ:
            self.check_schema(int(os.environ["INFER_SEED"]))
            return
        written = sum(self.check_schema(seed) for seed in range(1, SCHEMAS + 1))
        self.assertGreater(written, SCHEMAS)
        print(f"{written} texts of {SCHEMAS} schemas, judged by json{' and jsonschema' if jsonschema else ' alone'}")

    def test_values_in_the_order_of_the_schema_can_be_written(self):
        schema = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "number"}},
                  "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18, "maximum": 130},
                                 "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 2},
                                 "when": {"type": "string", "format": "date-time"}, "price": {"type": "number", "minimum": 0.5}},
                  "required": ["name", "age"]}
        good = [{"name": 'Ann "é" \n😀', "age": 18}, {"name": "", "age": 130, "tags": []},
                {"name": "b", "age": 99, "tags": ["x", "y"], "when": "2024-02-28T23:59:59Z", "price": 0.5},
                {"name": "c", "age": 20, "price": 12.75, "other": [1, -2.5, 1e5], "names": [0]}]
        bad = [{"name": "a"}, {"age": 20, "name": "a"}, {"name": "a", "age": 17}, {"name": "a", "age": 131},
               {"name": "a", "age": 20, "tags": ["z"]}, {"name": "a", "age": 20, "tags": ["x", "x", "x"]},
               {"name": "a", "age": 20, "when": "2024-02-30T00:00:00Z"}, {"name": "a", "age": 20, "price": 0.49},
               {"name": "a", "age": 20, "other": "no list"}, {"name": "a", "age": 20, "name\u0000": [1], "x": {}}]
        texts = [json.dumps(value, ensure_ascii=ascii, indent=indent) for value in good
                 for ascii in (True, False) for indent in (None, 2)]
        texts += [json.dumps(value, separators=(",", ":")) for value in good]
        refused = [json.dumps(value) for value in bad]
        refused += ['{"name": "a", "age": 20, "n\\u0061me": [1]}', '{"name": "a", "age": 20,}', '{"name": "a", "age": 020}']
        verdicts = self.ask(schema=schema, judge=texts + refused, walks=0, seed=1)["accepted"]
        self.assertEqual([text for text, ok in zip(texts, verdicts) if not ok], [])
        self.assertEqual([text for text, ok in zip(refused, verdicts[len(texts):]) if ok], [])


if __name__ == "__main__":
    WalkTest.binary = sys.argv.pop(1)
    unittest.main()
