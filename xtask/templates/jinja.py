"""Renders chat templates with jinja2, set up as transformers sets it up, for `cargo xtask templates`.

usage: jinja.py own                 writes lm/tests/templates/expected.json
       jinja.py real OUT WHEEL...   writes the templates in these packages, with their renderings, to OUT

The conversations are the rows of lm/tests/templates/conversations.json.
"""

import datetime
import json
import pathlib
import sys
import zipfile

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER = pathlib.Path("lm/tests/templates")
DATE = datetime.datetime(2026, 11, 30)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
MARK = "CONTINUE_HERE_MARK "


class Generation(jinja2.ext.Extension):
    """{% generation %}: like transformers, calls the body as a macro and returns its output."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_print"), [], [], body).set_lineno(line)

    def _print(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = DATE.strftime
    return env


def for_template(message):
    """Drops keys that are null, and puts reasoning under all names that templates read."""
    message = {key: value for key, value in message.items() if value is not None}
    reasoning = next((message[k] for k in ("reasoning_content", "thinking", "reasoning") if k in message), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def render(source, row):
    try:
        template = environment().from_string(source)
        messages = [for_template(message) for message in row["prompt"]]
        continued = messages[-1]["role"] == "assistant"
        if continued:
            last = messages[-1]["content"]
            messages[-1]["content"] = last + MARK
        given = {**TOKENS, **row.get("chat_template_kwargs", {})}
        text = template.render(
            messages=messages, tools=row.get("tools"), documents=row.get("documents"),
            add_generation_prompt=not continued, **given,
        )
        if continued:
            if last.strip() not in text or MARK.strip() not in text:
                raise ValueError("the last message is not in the rendering")
            if text.count(MARK.strip()) > 1:  # transformers would leave all but the last in the prompt
                raise ValueError("the last message is in the rendering more than once")
            at = text.rindex(MARK.strip())
            text = text[:at] if text[at:].startswith(MARK) else text[:at].rstrip()
        return {"text": text}
    except Exception as error:  # a template can raise anything
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def renderings(templates):
    rows = json.loads((FOLDER / "conversations.json").read_text("utf-8"))
    return {name: {row: render(source, rows[row]) for row in rows} for name, source in sorted(templates.items())}


def write(path, value):
    pathlib.Path(path).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


def own():
    # Read as bytes, so that line ends stay as they are in the file.
    templates = {path.stem: path.read_bytes().decode() for path in FOLDER.glob("*.jinja")}
    write(FOLDER / "expected.json", renderings(templates))
    print(f"{len(templates)} templates")


def real(out, wheels):
    templates = {}
    for wheel in wheels:
        package = pathlib.Path(wheel).name.split("-")[0]
        with zipfile.ZipFile(wheel) as archive:
            for path in sorted(archive.namelist()):
                if path.endswith(".jinja"):
                    templates[f"{package}/{pathlib.Path(path).stem}"] = archive.read(path).decode()
    write(out, {"templates": templates, "expected": renderings(templates)})
    print(f"{len(templates)} templates from {', '.join(pathlib.Path(wheel).name for wheel in wheels)}")


if __name__ == "__main__":
    if sys.argv[1:] == ["own"]:
        own()
    elif len(sys.argv) > 3 and sys.argv[1] == "real":
        real(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)
