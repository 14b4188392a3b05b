"""Reads a run's records through its trackers' own readers, and compares them with the run's metrics.jsonl.

Usage: check.py RUN. Steps that a resumed run repeated must have the same values, except for times in trackers that keep
the first value of a step.
"""

import glob
import json
import math
import os
import struct
import sys

RUN = os.path.abspath(sys.argv[1])


def tag(name, groups):
    """Returns the name of a metric in a tracker, which is the metric's name with the only group that has it."""
    if name.startswith("eval_"):
        return "eval/" + name[len("eval_") :]
    found = [f"{group}/{name}" for group in ("train", "exact", "time") if f"{group}/{name}" in groups]
    assert len(found) == 1, (name, found)
    return found[0]


def records():
    with open(os.path.join(RUN, "metrics.jsonl")) as lines:
        for record in map(json.loads, lines):
            step = record.pop("step")
            yield step, {name: math.nan if value is None else value for name, value in record.items()}


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def compare(what, found, change=lambda value: value, has_times=True):
    """Compares `found`, the values by (tag, step), with the records. Times may differ if not `has_times`."""
    tags = {name for name, _ in found}
    count = 0
    for step, record in records():
        for name, value in record.items():
            name = tag(name, tags)
            got = found.pop((name, step))
            assert same(got, change(value)) or (not has_times and name.startswith("time/")), (what, name, step, got, value)
            count += 1
    assert not found, f"{what} also has {sorted(found)[:5]}"
    print(f"{what}: {count} values")


def tensorboard():
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(os.path.join(RUN, "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            assert (name, event.step) not in found, (name, event.step)
            found[name, event.step] = event.value
    texts = {name: events.Tensors(name)[0].tensor_proto.string_val[0].decode() for name in events.Tags()["tensors"]}
    assert "[train]" in texts["config"] and "--tracker" in texts["command"], texts
    assert events.SummaryMetadata("time/step_s").summary_description.startswith("Time per step")
    compare("tensorboard", found, lambda value: struct.unpack("f", struct.pack("f", value))[0])


def leveldb(path):
    """Yields the records of a LevelDB log, the format of wandb's messages after a header of wandb's own."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part = data[at + 7 : at + 7 + length]
        at += 7 + length
        whole = part if kind in (1, 2) else whole + part
        if kind in (1, 4):
            yield whole


def wandb():
    from wandb.proto import wandb_internal_pb2

    found, ids, exits = {}, set(), []
    # A resumed run has a folder for each start. The server ignores a step that it already has.
    for path in sorted(glob.glob(os.path.join(RUN, "wandb", "offline-run-*", "*.wandb"))):
        for raw in leveldb(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(raw)
            if record.HasField("run"):
                ids.add(record.run.run_id)
                assert record.run.project == "flowrl"
            if record.HasField("exit"):
                exits.append(record.exit.exit_code)
            items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            for name, value in items.items():
                if not name.startswith("_"):
                    found.setdefault((name, items["_step"]), math.nan if value == "NaN" else value)
    assert len(ids) == 1, ids
    compare("wandb", found, has_times=False)
    print(f"wandb: run {ids.pop()}, exit codes {exits}")


def mlflow():
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{RUN}/mlflow.db")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("flowrl")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["train.seed"] == "0", run
    found = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            assert (name, metric.step) not in found, (name, metric.step)
            found[name, metric.step] = metric.value
    compare("mlflow", found, has_times=False)


def trackio():
    os.environ["TRACKIO_DIR"] = os.path.join(RUN, "trackio")
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = trackio.Api().runs("flowrl")
    assert run.config["train"]["seed"] == 0, run.config
    found = {}
    for log in SQLiteStorage.get_logs("flowrl", run.name, run_id=run.id):
        for name, value in log.items():
            if "/" in name:
                assert (name, log["step"]) not in found, (name, log["step"])
                found[name, log["step"]] = math.nan if value in (None, "NaN") else value
    compare("trackio", found, has_times=False)


for check in (tensorboard, wandb, mlflow, trackio):
    check()
