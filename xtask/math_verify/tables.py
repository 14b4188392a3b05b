"""Writes the parametrised tables of math-verify's tests as JSON lines, without importing them.

Usage: tables.py SOURCE_PACKAGE.tar.gz OUT.jsonl
A row has `gold`, `pred`, `expected` and `from`, the name of its test. `config` lists the settings of its own that the
row passes, which change how Math-Verify reads or compares.
"""

import ast
import json
import math
import sys
import tarfile
from pathlib import Path

# Columns of every table. `precision` counts the decimals that Math-Verify compares; rows that change it stay in.
COLUMNS = {"gold", "pred", "expected", "result", "precision"}


def value(node):
    """Returns the value of an expression of literals, or of an f-string over the module `math`."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return eval(compile(ast.Expression(node), "table", "eval"), {"math": math, "__builtins__": {}})


def tables(module):
    """Yields the function, the names and the rows of every parametrised test."""
    for function in ast.walk(module):
        if not isinstance(function, ast.FunctionDef):
            continue
        for mark in function.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.parametrize":
                names = [name.strip() for name in ast.literal_eval(mark.args[0]).split(",")]
                yield function, names, mark.args[1].elts


def tests(archive):
    """Yields the name and the text of every file of tests in a source package."""
    with tarfile.open(archive) as package:
        for member in sorted(package.getmembers(), key=lambda member: member.name):
            path = Path(member.name)
            if path.parent.name == "tests" and path.name.startswith("test_") and path.suffix == ".py":
                yield path.name, package.extractfile(member).read().decode("utf-8")


def main(archive, out):
    rows, skipped = [], []
    for file, text in tests(archive):
        for function, names, elements in tables(ast.parse(text)):
            if not {"gold", "pred"} <= set(names):
                skipped.append(f"{file}:{function.name} ({len(elements)} rows)")
                continue
            for element in elements:
                row = dict(zip(names, map(value, element.elts), strict=True))
                rows.append(
                    {
                        "gold": row["gold"],
                        "pred": row["pred"],
                        "expected": int(row.get("expected", row.get("result"))),
                        "config": {name: value for name, value in row.items() if name not in COLUMNS},
                        "from": f"{file}:{function.name}",
                    }
                )
    Path(out).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    own = sum(bool(row["config"]) for row in rows)
    print(f"{len(rows)} rows, {own} of them with a configuration of their own")
    print("without a gold answer and a prediction, left out:", "; ".join(skipped) or "none")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
