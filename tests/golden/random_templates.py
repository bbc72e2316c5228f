"""Random templates and values: the same for the same seed on every machine.

A template is drawn from a grammar of what chat templates are made of, with all the white space control, and of odd things
beside it. Values are conversations, tools and small data.
"""
import random

WORDS = ["user", "assistant", "system", "tool", "a", "B c", " x ", "", "Ünï", "の木", "line\nbreak", "tab\t", "it's", 'say "hi"',
         "<|im_start|>", "</think>", "x</think>y", "{}", "\\n", "0", "12", "3.5", "ABC def-ghi", "é", "\u00a0pad\u2003", "ß"]
NAMES = ["messages", "tools", "message", "name", "count", "ratio", "flag", "nothing", "missing", "words", "table", "loop",
         "ns", "i", "x", "y", "nested"]
KEYS = ["role", "content", "name", "id", "arguments", "items", "b", "missing"]
FILTERS = ["upper", "lower", "title", "capitalize", "trim", "length", "first", "last", "list", "reverse", "string", "int",
           "float", "abs", "round", "tojson", "unique", "sort", "min", "max", "sum", "dictsort", "items", "safe", "e", "wordcount",
           "default('d')", "default('d', true)", "d(1)", "join(', ')", "join", "replace('a', 'b')", "replace('', '-')",
           "replace('e', 'E', 1)", "indent", "indent(2, true)", "indent(2, false, true)", "indent('> ')", "map('upper')",
           "map(attribute='role')", "map(attribute='role', default='-')", "selectattr('role')", "selectattr('role', 'equalto', 'user')",
           "rejectattr('role', 'in', ['user', 'tool'])", "select('string')", "reject('none')", "select", "batch(2)", "batch(3, '-')",
           "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(sort_keys=true)", "tojson(separators=(',', ':'))",
           "sort(reverse=true)", "sort(attribute='role')", "trim('x ')", "round(1)", "round(1, 'ceil')", "int(7)", "attr('role')",
           "format('a', 2)", "map('default', 'z')", "map('length')", "unique(attribute='role')", "min(attribute='role')"]
TESTS = ["defined", "undefined", "none", "string", "mapping", "sequence", "iterable", "number", "integer", "float", "boolean",
         "true", "false", "callable", "lower", "upper", "even", "odd", "divisibleby(2)", "divisibleby 3", "eq('user')", "ne 1",
         "in ['user']", "sameas none", "sameas(true)", "equalto 'a'", "gt(1)", "le 2", "filter", "test"]
METHODS = ["strip()", "lstrip()", "rstrip()", "strip('x')", "rstrip('\\n')", "split()", "split(' ')", "split('e', 1)", "split('</think>')[-1]",
           "rsplit(' ', 1)", "splitlines()", "splitlines(true)", "startswith('a')", "startswith(('a', 'u'))", "endswith('t')", "upper()",
           "lower()", "title()", "capitalize()", "find('e')", "rfind('e')", "count('e')", "replace('e', 'x')", "join(['p', 'q'])",
           "isdigit()", "isalpha()", "isspace()", "islower()", "isupper()", "isalnum()", "zfill(5)", "center(9)", "center(8, '*')",
           "ljust(7)", "rjust(7)", "partition('e')", "rpartition('e')", "removeprefix('a')", "removesuffix('t')",
           "items()", "keys()", "values()", "get('role')", "get('zz', 'none here')", "index('user')", "copy()", "append(1)", "update(1)"]
TEXTS = ["text", " ", "\n", "  \n", "\n    ", "a\n\nb", "\t", "<|user|>", "{ }", "% }", "é\n", "\r\n", "# no comment"]
BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]


class Writer:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.loops = 0

    def one(self, choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def literal(self):
        kind = self.random.randrange(9)
        if kind < 4:
            word = self.one(WORDS)
            quote = self.one("'\"")
            return quote + word.replace("\\", "\\\\").replace(quote, "\\" + quote).replace("\n", "\\n") + quote
        return self.one(["0", "1", "2", "7", "-3", "2.5", "1e3", "0.1", "10_000", "true", "False", "none", "None"])

    def atom(self, depth):
        kind = self.random.randrange(10)
        if kind < 3:
            return self.literal()
        if kind < 7 or depth <= 0:
            return self.one(NAMES)
        if kind == 7:
            return "[" + ", ".join(self.expression(depth - 1) for _ in range(self.random.randrange(4))) + "]"
        if kind == 8:
            return "{" + ", ".join(f"{self.literal()}: {self.expression(depth - 1)}" for _ in range(self.random.randrange(3))) + "}"
        return "(" + self.expression(depth - 1) + self.one(["", "", ", " + self.atom(0), ","]) + ")"

    def postfix(self, depth):
        text = self.atom(depth)
        if text[0] in "-0123456789":
            return text
        is_filtered = False
        for _ in range(self.random.choice([0, 0, 1, 1, 2, 3])):
            kind = self.random.randrange(9)
            if kind >= 7:
                text += self.one(["|", " | "]) + self.one(FILTERS)
                is_filtered = True
                continue
            if is_filtered:  # Behind a filter's name a dot would belong to the name.
                text = f"({text})"
                is_filtered = False
            if kind < 2:
                text += "." + self.one(KEYS)
            elif kind == 2:
                text += f"['{self.one(KEYS)}']"
            elif kind == 3:
                text += f"[{self.one(['0', '-1', '1', '99', 'i', 'loop.index0'])}]"
            elif kind == 4:
                text += f"[{self.one(['1:', ':-1', '::2', '::-1', '1:3', ':', '-2:', '5:1:-1'])}]"
            else:
                text += "." + self.one(METHODS)
        return text

    def expression(self, depth):
        kind = self.random.randrange(12)
        if depth <= 0 or kind < 5:
            return self.postfix(depth)
        if kind < 8:
            return f"{self.expression(depth - 1)} {self.one(BINARY)} {self.expression(depth - 1)}"
        if kind == 8:
            return "not " + self.expression(depth - 1)
        if kind == 9:
            return f"{self.postfix(depth - 1)} is {self.one(['', 'not '])}{self.one(TESTS)}"
        if kind == 10:
            otherwise = f" else {self.expression(depth - 1)}" if self.chance(0.8) else ""
            return f"{self.expression(depth - 1)} if {self.expression(depth - 1)}{otherwise}"
        return self.one(["range(3)", "range(1, 6, 2)", "range(3, 0, -1)", "loop.index", "loop.last", "loop.length", "loop.revindex",
                         "loop.cycle('p', 'q')", "loop.previtem", "loop.nextitem", "loop.changed(x)", "dict(p=1, q='r')", "ns.x",
                         "m(1)", "m(x, q=2)", "-count", "+ratio", "'%s-%d' % ('a', 3)", "strftime_now('%d %b %Y')"])

    def tag(self, text):
        return "{%" + self.one(["", "", "-", "-", "+"]) + " " + text + " " + self.one(["", "", "-", "-", "+"]) + "%}"

    def statement(self, depth):
        kind = self.random.randrange(15)
        if kind < 4:
            return self.one(TEXTS)
        if kind < 8:
            return "{{" + self.one(["", "-"]) + " " + self.expression(2) + " " + self.one(["", "-"]) + "}}"
        if kind == 8:
            return self.one(["{# note #}", "{#- note -#}", "{# a\nb #}\n", "{%- raw %} {{ x }} {% endraw -%}"])
        if kind == 9:
            target = self.one(["x", "y", "i", "ns.x", "ns.y", "x, y"])
            return self.tag(f"set {target} = {self.expression(2)}")
        if depth <= 0:
            return self.one(TEXTS)
        if kind == 10:
            text = self.tag("if " + self.expression(2)) + self.body(depth - 1)
            if self.chance(0.3):
                text += self.tag("elif " + self.expression(1)) + self.body(depth - 1)
            if self.chance(0.5):
                text += self.tag("else") + self.body(depth - 1)
            return text + self.tag("endif")
        if kind < 13:
            return self.loop(depth)
        if kind == 13:
            return self.tag("set x" + self.one(["", " | upper", " | trim"])) + self.body(depth - 1) + self.tag("endset")
        return self.one([
            lambda: self.tag("macro m(x, q=" + self.literal() + ")") + self.body(depth - 1) + self.tag("endmacro"),
            lambda: self.tag("filter " + self.one(["upper", "trim", "indent(2)", "replace('e', '3')"])) + self.body(depth - 1)
            + self.tag("endfilter"),
            lambda: self.tag("with x = " + self.expression(1)) + self.body(depth - 1) + self.tag("endwith"),
            lambda: self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration"),
        ])()

    def loop(self, depth):
        target, iterable = self.one([("message", "messages"), ("x", "words"), ("i", "range(4)"), ("x, y", "table.items()"),
                                     ("x", "table"), ("x", "nested"), ("message", "messages[1:]"), ("x", self.postfix(1)),
                                     ("message", "messages | rejectattr('role', 'equalto', 'system')")])
        condition = f" if {self.expression(1)}" if self.chance(0.2) else ""
        self.loops += 1
        body = self.body(depth - 1)
        if self.chance(0.2):
            body += self.tag("if " + self.expression(1)) + self.tag(self.one(["break", "continue"])) + self.tag("endif") + self.body(0)
        self.loops -= 1
        otherwise = self.tag("else") + self.body(0) if self.chance(0.2) else ""
        return self.tag(f"for {target} in {iterable}{condition}") + body + otherwise + self.tag("endfor")

    def body(self, depth):
        return "".join(self.statement(depth) for _ in range(self.random.randrange(1, 4)))

    def template(self):
        start = self.tag("set ns = namespace(x=1, y='z')") if self.chance(0.9) else ""
        start += "{%- macro m(x, q='dq') %}[{{ x }}:{{ q }}]{% endmacro -%}" if self.chance(0.8) else ""
        return start + "".join(self.statement(2) for _ in range(self.random.randrange(1, 7)))

    def words(self, count):
        return " ".join(self.one(WORDS) for _ in range(self.random.randrange(count)))

    def variables(self):
        messages = []
        for i in range(self.random.randrange(1, 5)):
            role = "system" if i == 0 and self.chance(0.4) else self.one(["user", "assistant", "tool"])
            message = {"role": role, "content": self.words(5)}
            if self.chance(0.2):
                message["arguments"] = {"b": self.random.randrange(9), "items": [1, 2]}
            messages.append(message)
        return {"messages": messages, "name": self.words(3), "count": self.random.randrange(-3, 12), "i": self.random.randrange(3), "x": self.one(WORDS),
                "y": self.one([1, "y", None, [3, 4]]), "message": messages[-1],
                "ratio": self.one([0.5, 2.0, 1e20, 1e-7, 3.14159]), "flag": self.chance(0.5), "nothing": None,
                "words": [self.one(WORDS) for _ in range(self.random.randrange(5))],
                "table": {key: self.one([1, "v", None, [1, "b"], {"k": 2.5}]) for key in self.random.sample(KEYS, 3)},
                "nested": [[1, 2], ["a"], {"role": "user"}, "text", None, 4.0],
                "tools": self.one([None, [], [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]])}
