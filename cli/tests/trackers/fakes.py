"""Fake modules for wandb, trackio and mlflow, which write each call as a line of JSON to a file in the folder $CALLS."""

import json
import os
import sys
from types import SimpleNamespace as Namespace


def call(tracker, call, /, **what):
    print(f"{tracker} says something")
    with open(path(tracker), "a") as calls:
        print(json.dumps({"call": call, **what}), file=calls)


def calls(tracker, name):
    if not os.path.exists(path(tracker)):
        return []
    with open(path(tracker)) as lines:
        found = [json.loads(line) for line in lines]
    return [line for line in found if line["call"] == name]


def path(tracker):
    return os.path.join(os.environ["CALLS"], f"{tracker}.jsonl")


class Run:
    """A run of wandb or trackio."""

    url, dir = None, "folder/files"

    def __init__(self, tracker):
        self.tracker = tracker
        self._next_step = 1 + max((line["step"] for line in calls(tracker, "log")), default=-1)

    def log(self, values, step, **options):
        call(self.tracker, "log", values=values, step=step)
        if os.environ.get("FAKE") == "raise" and step > 0:
            raise ValueError("no more of this\nsecond line")
        if os.environ.get("FAKE") == "die" and step > 0:
            os._exit(7)

    def finish(self, **options):
        call(self.tracker, "finish", **options)


def init(**options):
    tracker = sys._getframe(1).f_globals["__name__"]
    call(tracker, "init", **options)
    return Run(tracker)


def search_runs(filter_string, output_format):
    call("mlflow", "search_runs", filter_string=filter_string)
    return [Namespace(info=Namespace(run_id="r1")) for _ in calls("mlflow", "start_run")[:1]]


def start_run(run_id=None, **options):
    call("mlflow", "start_run", run_id=run_id, **options)
    values = {name: 0 for line in calls("mlflow", "log_metrics") for name in line["values"]}
    known = {name: value for line in calls("mlflow", "log_params") for name, value in line["values"].items()}
    return Namespace(info=Namespace(run_id="r1"), data=Namespace(metrics=values, params=known))


def get_metric_history(run_id, name):
    return [Namespace(step=line["step"]) for line in calls("mlflow", "log_metrics") if name in line["values"]]


def MlflowClient():
    return Namespace(get_metric_history=get_metric_history)


def set_tracking_uri(uri):
    call("mlflow", "set_tracking_uri", uri=uri)


def get_tracking_uri():
    return "sqlite:///somewhere"


def set_experiment(name):
    call("mlflow", "set_experiment", name=name)


def log_params(values):
    call("mlflow", "log_params", values=values)


def log_metrics(values, step):
    call("mlflow", "log_metrics", values=values, step=step)


def end_run(status):
    call("mlflow", "end_run", status=status)
