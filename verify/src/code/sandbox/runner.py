import os
import sys


def run():
    def take(size):
        data = b""
        while len(data) < size:
            piece = os.read(0, size - len(data))
            if not piece:
                os._exit(97)
            data += piece
        return data

    # Byte by byte: what follows belongs to the program.
    line = b""
    while not line.endswith(b"\n"):
        line += take(1)
    start, token, mode, processes, name, code_size, test_size = line.decode().split(" ")
    code, test = take(int(code_size)).decode(), take(int(test_size)).decode()
    if processes != "-":
        import resource
        resource.setrlimit(resource.RLIMIT_NPROC, (int(processes), int(processes)))
    module = type(sys)("__main__")
    module.__file__ = "solution.py"
    sys.modules["__main__"] = module
    sys.argv = ["solution.py"]
    scope = module.__dict__
    if mode == "script":
        os.write(1, start.encode() + b"\n")
        exec(compile(code, "solution.py", "exec"), scope)
        return
    # What the program prints goes nowhere: this writes the answer alone.
    answers = os.dup(1)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    exec(compile(PRELUDE, "prelude.py", "exec"), scope)
    os.write(answers, start.encode() + b"\n")
    module.__name__ = "solution"
    sys.modules["solution"] = module
    exec(compile(code, "solution.py", "exec"), scope)
    if mode == "call":
        import json
        owner = scope["Solution"]() if name not in scope and "Solution" in scope else None
        function = scope[name] if owner is None else getattr(owner, name)
        answer = json.dumps(function(*json.loads(test)), default=plain)
    else:
        try:
            exec(compile(test, "test.py", "exec"), scope)
            answer = "passed"
        except AssertionError as error:
            import traceback
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "test.py"]
            lines = test.splitlines()
            where = lines[frames[-1].lineno - 1].strip() if frames and frames[-1].lineno <= len(lines) else ""
            answer = "assertion " + (str(error) or where)
    data = (token + " " + answer).encode("utf-8", "replace")
    while data:
        data = data[os.write(answers, data):]
    os._exit(0)


def plain(value):
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if hasattr(value, "__iter__") else repr(value)


PRELUDE = """
import bisect, collections, functools, heapq, itertools, math, operator, random, re, string
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from typing import *
from builtins import pow
"""

run()
