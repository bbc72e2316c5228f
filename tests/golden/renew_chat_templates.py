#!/usr/bin/env python3
"""Writes what Jinja 2 renders of the templates in chat_templates/ into chat_templates/expected.json.

    tests/golden/renew_chat_templates.py            needs Debian's python3-jinja2
    tests/golden/renew_chat_templates.py --check    only says whether the file is as it would be written
"""
import json
import pathlib
import sys

import hugging_face

HERE = pathlib.Path(__file__).resolve().parent / "chat_templates"
NOW = 1_735_689_600_000  # 2025-01-01 00:00 UTC


def expected():
    conversations = json.loads((HERE / "conversations.json").read_text())
    found = {}
    for path in sorted(HERE.glob("*.jinja")):
        found[path.stem] = {}
        for name, variables in conversations.items():
            try:
                found[path.stem][name] = {"text": hugging_face.render(path.read_text(), variables, NOW)}
            except Exception as error:  # A template may refuse a conversation, or not be made for its content.
                found[path.stem][name] = {"refused": str(error)}
    return json.dumps({"now": NOW, "templates": found}, ensure_ascii=False, indent=1) + "\n"


def main():
    path = HERE / "expected.json"
    if sys.argv[1:] == ["--check"]:
        return 0 if path.read_text() == expected() else "chat_templates/expected.json is not what Jinja 2 renders: renew it"
    path.write_text(expected())
    return 0


if __name__ == "__main__":
    sys.exit(main())
