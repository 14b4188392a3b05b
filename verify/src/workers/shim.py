# Judges completions with a function of the user, by the protocol of flowrl: one JSON object a line.
import asyncio, importlib.util, inspect, json, math, os, sys, traceback

# The protocol has the standard streams to itself: what the function prints goes to standard error.
requests = os.fdopen(os.dup(0), "rb")
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
sys.stdout = sys.stderr

NAMES = ["reward", "compute_score", "reward_func", "reward_fn", "reward_function", "score"]


def say(value):
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def refuse(message):
    say({"error": message})
    sys.exit(1)


def math_verify(completion, answer):
    from math_verify import parse, verify

    gold = parse(answer if "\\boxed" in str(answer) else f"\\boxed{{{answer}}}")
    if not gold:
        return {"reward": None, "verdict": "no-answer"}
    found = parse(completion)
    if not found:
        return {"reward": 0.0, "verdict": "unparseable"}
    return 1.0 if verify(gold, found) else 0.0


def load(path, name):
    if path == "math":
        return math_verify
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location("flowrl_reward", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["flowrl_reward"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        traceback.print_exc()
        refuse(f"{path}: {describe(error, path)}")
    own = {
        key: value
        for key, value in vars(module).items()
        if callable(value) and not inspect.isclass(value) and not key.startswith("_")
        and getattr(value, "__module__", None) == "flowrl_reward"
    }
    if name:
        if not callable(getattr(module, name, None)):
            refuse(f"{path} has no function `{name}`; it has {', '.join(own) or 'none'}")
        return getattr(module, name)
    usual = [key for key in NAMES if key in own]
    usable = usual[:1] or [key for key in own if kind_of(own[key])]
    if len(usable) == 1:
        return own[usable[0]]
    why = f"several functions that could be meant: {', '.join(usable)}" if usable else "no function that could be meant"
    refuse(f"{path} has {why}; name one, as in {os.path.basename(path)}:FUNCTION")


def kind_of(function):
    """How a function wants its arguments, or None."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    if "completions" in parameters:
        return "trl"
    if "solution_str" in parameters:
        return "verl"
    if "completion" in parameters:
        return "plain"
    return None


def check(function, path, kind):
    """Refuses a function with parameters that nobody fills."""
    parameters = inspect.signature(function).parameters.values()
    if not kind:
        named = ", ".join(parameter.name for parameter in parameters)
        refuse(
            f"{path}: `{getattr(function, '__name__', 'the function')}({named})` has parameters of no known kind: "
            "expected (prompts, completions, **columns), (data_source, solution_str, ground_truth, extra_info) or "
            "(prompt, completion, answer)"
        )
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            refuse(f"{path}: parameter `{parameter.name}` is positional only, but arguments are passed by name")


def describe(error, path):
    """The error in one line, with the last line of the user's file that it passed."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if os.path.basename(frame.filename) == os.path.basename(path)]
    place = f" ({os.path.basename(path)}:{lines[-1].lineno})" if lines else ""
    return f"{type(error).__name__}: {error}{place}"


def number(value):
    """The number of a result, also from numpy or torch; None stays None."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "item"):
        return number(value.item())
    raise TypeError(f"the function returned {value!r}, but a reward must be a number or None")


def judgement(result):
    """The fields of an answer from what a function returned for one completion."""
    if isinstance(result, (tuple, list)) and len(result) == 1:
        result = result[0]
    if not isinstance(result, dict):
        return finite({"reward": number(result)})
    fields = {}
    for key in ("reward", "score"):
        if key in result:
            fields["reward"] = number(result[key])
            break
    else:
        raise TypeError(f"the function returned {result!r}, but a dictionary needs `reward` or `score`")
    for key in ("verdict", "answer", "log"):
        if isinstance(result.get(key), str):
            fields[key] = result[key]
    parts = dict(result["parts"]) if isinstance(result.get("parts"), dict) else {
        key: value for key, value in result.items() if key not in ("reward", "score", "verdict", "answer", "log", "parts")
    }
    known = {key: number(value) for key, value in parts.items() if is_number(value)}
    if known:
        fields["parts"] = {str(key): float(value) for key, value in known.items()}
    return finite(fields)


def is_number(value):
    try:
        return number(value) is not None and math.isfinite(float(number(value)))
    except (TypeError, ValueError):
        return False


def finite(fields):
    reward = fields["reward"]
    if reward is not None:
        if not math.isfinite(reward):
            raise ValueError(f"the reward is {reward}, but must be finite; return None to leave a completion out")
        fields["reward"] = float(reward)
    return fields


def arguments(function, fields, kind):
    """Those of `fields` that the function has parameters for; with **columns, all of them."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return fields
    named = {parameter.name for parameter in parameters}
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in fields and p.kind is not p.VAR_POSITIONAL]
    if missing:
        raise TypeError(f"no column `{missing[0]}` for the function; the row has {', '.join(fields)}")
    return {key: value for key, value in fields.items() if key in named}


def call(function, fields, kind):
    result = function(**arguments(function, fields, kind))
    return asyncio.run(result) if inspect.isawaitable(result) else result


def one(function, kind, item):
    columns = dict(item["extra"])
    if kind == "verl":
        fields = {
            **columns,
            "data_source": columns.get("data_source"),
            "solution_str": item["completion"],
            "ground_truth": item["answer"],
            "extra_info": columns.get("extra_info"),
        }
        parameters = inspect.signature(function).parameters
        # Only the four arguments of verl, whatever **kwargs would take.
        fields = {key: value for key, value in fields.items() if key in parameters}
    else:
        own = {key: item[key] for key in ("prompt", "completion", "answer", "tokens", "finish")}
        fields = {**columns, **own}
    return judgement(call(function, fields, kind))


def many(function, items):
    """Calls a function of TRL, whose arguments are lists."""
    conversational = [isinstance(item["prompt"], list) for item in items]
    completions = [
        [{"role": "assistant", "content": item["completion"]}] if chat else item["completion"]
        for item, chat in zip(items, conversational)
    ]
    names = dict.fromkeys(key for item in items for key in item["extra"])
    fields = {name: [item["extra"].get(name) for item in items] for name in names}
    fields.setdefault("answer", [item["answer"] for item in items])
    fields.update(prompts=[item["prompt"] for item in items], completions=completions)
    results = call(function, fields, "trl")
    if hasattr(results, "tolist"):
        results = results.tolist()
    if not isinstance(results, (list, tuple)) or len(results) != len(items):
        what = f"{len(results)} rewards" if isinstance(results, (list, tuple)) else repr(results)
        raise TypeError(f"the function returned {what} for {len(items)} completions, but must return a list of one for each")
    return [judgement(result) for result in results]


def main(path, name):
    function = load(path, name)
    kind = kind_of(function)
    check(function, path, kind)
    say({"hello": {"protocol": 1, "batch": kind == "trl", "max_batch": 1024}})

    def failed(error):
        traceback.print_exc()
        return {"reward": None, "verdict": "error", "log": describe(error, path)}

    for line in requests:
        request = json.loads(line)
        items = request.get("items", [request])
        try:
            found = many(function, items) if kind == "trl" else None
        except Exception as error:
            found = [failed(error)] * len(items)
        for place, item in enumerate(items):
            if found is not None:
                answer = found[place]
            else:
                try:
                    answer = one(function, kind, item)
                except Exception as error:
                    answer = failed(error)
            say({"id": item["id"], **answer})


main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
