"""Hands the records of a flowrl run to an experiment tracker.

Standard input has a line of JSON for the start of the run, for each record, and for the end of the run. If the last is missing, the run was
killed. Messages to flowrl go back as lines of JSON on standard output; everything else goes to standard error, which is a file.
"""

import json
import math
import os
import signal
import sys
import traceback

# Do not import modules from the working directory: it may contain, for example, a folder `wandb`.
sys.path[:] = [path for path in sys.path if path]

REPLIES = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def reply(**what):
    try:
        print(json.dumps(what), file=REPLIES, flush=True)
    except OSError:
        pass  # flowrl was killed: the tracker still gets the records received so far.


def unless_set(**values):
    """Returns the values whose environment variable is not set. The tracker reads the others itself."""
    return {name: value for name, (variable, value) in values.items() if not os.environ.get(variable)}


def flat(table, prefix=""):
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


class Wandb:
    seen = -1  # wandb itself ignores a step that it already has.

    def __init__(self, begin):
        import wandb

        options = unless_set(
            project=("WANDB_PROJECT", begin["project"]),
            name=("WANDB_NAME", begin["name"]),
            dir=("WANDB_DIR", begin["directory"]),
            id=("WANDB_RUN_ID", begin["id"]),
            resume=("WANDB_RESUME", "allow"),
        )
        self.run = wandb.init(config=begin["config"], allow_val_change=True, **options)
        url, files = self.run.url, os.path.dirname(self.run.dir)
        reply(note=url or f"offline; to upload the run after its end: wandb sync {files}")

    def log(self, step, values):
        self.run.log(values, step=step, commit=True)

    def finish(self, status):
        self.run.finish(exit_code=0 if status == "finished" else 1)


class Trackio:
    def __init__(self, begin):
        # trackio reads this variable when it is imported.
        folder = os.environ.setdefault("TRACKIO_DIR", os.path.join(begin["directory"], "trackio"))
        import trackio

        # trackio identifies a run to resume by its name.
        name = f"{begin['name']}-{begin['id'][:8]}"
        self.run = trackio.init(project=begin["project"], name=name, config=begin["config"], resume="allow")
        self.seen = getattr(self.run, "_next_step", 0) - 1
        remote = os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")
        reply(note=remote or f"to view the run: TRACKIO_DIR={folder} trackio show")

    def log(self, step, values):
        self.run.log(values, step=step)

    def finish(self, status):
        self.run.finish()


class Mlflow:
    def __init__(self, begin):
        import mlflow

        self.mlflow = mlflow
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            mlflow.set_tracking_uri("sqlite:///" + os.path.join(begin["directory"], "mlflow.db"))
        if not (os.environ.get("MLFLOW_EXPERIMENT_NAME") or os.environ.get("MLFLOW_EXPERIMENT_ID")):
            mlflow.set_experiment(begin["project"])
        run_id = os.environ.get("MLFLOW_RUN_ID") or self.find(begin["id"])
        name = os.environ.get("MLFLOW_RUN_NAME") or begin["name"]
        self.run = mlflow.start_run(run_id) if run_id else mlflow.start_run(run_name=name, tags={"flowrl.id": begin["id"]})
        self.seen = self.last_step()
        known = self.run.data.params
        parameters = {name: value for name, value in flat(begin["config"]) if name not in known}
        for chunk in range(0, len(parameters), 100):
            mlflow.log_params(dict(list(parameters.items())[chunk : chunk + 100]))
        uri = mlflow.get_tracking_uri()
        reply(note=f"to view the run: mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else uri)

    def find(self, own_id):
        found = self.mlflow.search_runs(filter_string=f"tags.`flowrl.id` = '{own_id}'", output_format="list")
        return found[0].info.run_id if found else None

    def last_step(self):
        client, run_id = self.mlflow.MlflowClient(), self.run.info.run_id
        histories = (client.get_metric_history(run_id, name) for name in self.run.data.metrics)
        return max((metric.step for history in histories for metric in history), default=-1)

    def log(self, step, values):
        self.mlflow.log_metrics(values, step=step)

    def finish(self, status):
        self.mlflow.end_run({"finished": "FINISHED", "stopped": "KILLED"}.get(status, "FAILED"))


def main():
    # Signals to the run are not meant for this process, which ends when its input does.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # A last line without a newline is incomplete because flowrl was killed.
    messages = (json.loads(line) for line in sys.stdin.buffer if line.endswith(b"\n"))
    begin = next(messages)
    tracker = {"wandb": Wandb, "trackio": Trackio, "mlflow": Mlflow}[begin["tracker"]](begin)
    status = "killed"
    for message in messages:
        status = message.get("status", status)
        # A resumed run may repeat steps, with the same results. They are not logged twice.
        if message.get("step", -1) > tracker.seen:
            values = {name: math.nan if value is None else value for name, value in message["values"].items()}
            tracker.log(message["step"], values)
    tracker.finish(status)
    reply(done=True)


try:
    main()
except BaseException as error:
    traceback.print_exc()
    reply(error=f"{type(error).__name__}: {error}".splitlines()[0])
    sys.exit(1)
