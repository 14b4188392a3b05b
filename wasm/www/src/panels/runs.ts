import { LANE_DASHES, type LineLayout, createFigure, formatNumber, lineChart, nearest, whole as area } from "../charts";
import { download } from "../download";
import { messageOf } from "../error";
import { LANES } from "../lanes";
import { METRICS } from "../state";
import { byId, h, radios } from "../ui/dom";
import { percent, whole } from "../ui/format";
import { metricTable } from "../ui/texts";
import type { Mount } from "./panel";
import { type Line, type Shown, linesOf, withRun } from "./runs/lines";
import { readRun, skippedText } from "./runs/read";
import { createTable } from "./runs/table";

type Scaling = "linear" | "log";

/** Your own run: metrics of the command line, drawn. */
export const mount: Mount = (_, { engine, announce }) => {
  let runs: readonly Shown[] = [];
  let lines: readonly Line[] = [];
  let metric = "";
  let scaling: Scaling = "linear";
  let cursor: number | undefined;
  let layout: LineLayout | null = null;

  const table = createTable(
    (run, name) => {
      run.name = name;
      choose(metric);
    },
    (run) => {
      runs = runs.filter((other) => other !== run);
      announce(`${run.name} removed.`);
      refresh();
    },
  );
  const moveTo = (step: number | undefined) => {
    cursor = step;
    figure.invalidate();
    table.at(step);
  };
  const figure = createFigure({
    label: "",
    role: "application",
    height: (width) => Math.round(Math.min(400, Math.max(240, width * 0.45))),
    draw(pen, theme) {
      const series = lines
        .filter(({ x }) => x.length > 0)
        .map(({ run: { name, look }, x, y }) => ({
          name,
          colour: theme.lanes[look],
          dash: LANE_DASHES[look],
          x,
          y,
        }));
      const data = {
        series,
        x: { label: "step" },
        y: { label: metric, scale: scaling },
        endLabels: series.length > 1,
        ...(cursor !== undefined && { cursor }),
      };
      layout = lineChart(pen, area(pen), data, theme);
    },
    onPointer: ({ type, x, y }) => moveTo(type === "leave" ? undefined : layout?.toData(x, y).x),
    onKey({ key, shiftKey }) {
      const moves = {
        ArrowLeft: -1,
        ArrowRight: 1,
        PageDown: -20,
        PageUp: 20,
        Home: -Infinity,
        End: Infinity,
        Escape: 0,
      };
      const by = moves[key as keyof typeof moves] as number | undefined;
      const steps = lines.find(({ x }) => x.length > 0)?.x ?? [];
      if (by === undefined || steps.length === 0) return false;
      const from = cursor === undefined ? steps.length : nearest(steps, cursor);
      const to = Math.min(steps.length - 1, Math.max(0, from + (shiftKey ? 10 : 1) * by));
      moveTo(by === 0 ? undefined : steps[to]);
      if (cursor !== undefined)
        announce(`Step ${whole(cursor)}: ${lines.map((line) => said(line, cursor)).join(", ")}`);
      return true;
    },
  });
  const said = ({ run, x, y }: Line, step = Infinity) =>
    `${run.name} ${formatNumber(y[nearest(x, step)] ?? NaN)}`;

  const status = byId("runs-status");
  const problems = byId("runs-problems");
  const input = byId<HTMLInputElement>("runs-files");
  input.onchange = () => void load(input.files);
  const zone = byId("runs-drop");
  zone.ondragover = zone.ondragleave = zone.ondrop = (event) => {
    event.preventDefault();
    zone.classList.toggle("over", event.type === "dragover");
    if (event.type === "drop") void load(event.dataTransfer?.files);
  };
  byId("runs-race").onclick = addRace;
  const chooser = byId<HTMLSelectElement>("runs-metric");
  chooser.onchange = () => choose(chooser.value);
  radios<Scaling>("runs-scales", (chosen) => {
    scaling = chosen;
    figure.invalidate();
  });
  byId("runs-svg").onclick = () => download(`${metric}.svg`, figure.toSvg(), "image/svg+xml");
  byId("runs-png").onclick = async () => download(`${metric}.png`, await figure.toPng());
  byId("runs-figure").append(figure.element);

  function choose(name: string): void {
    metric = name;
    lines = linesOf(runs, metric);
    const count = runs.length === 1 ? "one run" : `${runs.length} runs`;
    figure.setLabel(`${metric} of ${count}; the arrow keys move a cursor along the steps`);
    figure.setSummary(`At the end: ${lines.map((line) => said(line)).join(", ")}.`);
    table.list(lines);
    moveTo(undefined);
  }

  function refresh(): void {
    byId("runs-loaded").hidden = runs.length === 0;
    const all = new Set(runs.flatMap(({ run }) => [...run.columns.keys()]));
    const list = metricTable();
    for (const option of list.querySelectorAll("option")) if (!all.delete(option.value)) option.remove();
    for (const chapter of list.querySelectorAll("optgroup")) if (!chapter.firstElementChild) chapter.remove();
    if (all.size) list.append(h("optgroup", { label: "Other" }, ...[...all].map((name) => h("option", {}, name))));
    chooser.replaceChildren(...list.children);
    chooser.value = metric;
    if (!chooser.value) chooser.selectedIndex = 0;
    choose(chooser.value);
  }

  const problem = (error: unknown) =>
    problems.append(h("li", {}, messageOf(error)));

  async function load(files: FileList | null | undefined): Promise<void> {
    if (!files?.length) return;
    problems.replaceChildren();
    let read = 0;
    for (const file of files) {
      try {
        const run = await readRun(
          file,
          (share) => (status.textContent = `Reading ${file.name}: ${percent(share)}`),
        );
        runs = withRun(runs, file.name.replace(/\.\w+$/, ""), run);
        read += run.steps.length;
        if (run.skipped.length > 0) problem(skippedText(file.name, run.skipped));
      } catch (error) {
        problem(error);
      }
    }
    status.textContent = read > 0 ? `${whole(read)} records read.` : "";
    // The same file can be chosen again.
    input.value = "";
    refresh();
  }

  /** The policies of the race, each as a run. */
  function addRace(): void {
    const { kinds, steps, of } = engine.history.get();
    problems.replaceChildren();
    runs = runs.filter(({ name }) => !name.startsWith("Race: "));
    try {
      kinds.forEach((kind, lane) => {
        const columns = new Map([...METRICS, "loss"].map((name) => [name, Float64Array.from(of(lane, name))]));
        runs = withRun(runs, `Race: ${LANES[kind].name}`, {
          steps: Float64Array.from(steps),
          columns,
          skipped: [],
        });
      });
    } catch (error) {
      problem(error);
    }
    status.textContent = `The race up to step ${whole(steps.at(-1) ?? 0)}.`;
    refresh();
  }
};
