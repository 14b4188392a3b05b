import { type LineLayout, LANE_DASHES, type LaneKind, type Theme, createFigure, formatNumber, lineChart, nearest } from "../charts";
import { download } from "../download";
import { LANES, LANE_KINDS } from "../lanes";
import { button, field, h, segmented } from "../ui/dom";
import { percent, whole } from "../ui/format";
import type { Mount } from "./panel";
import { rangeOf } from "../charts/domain";
import { families, firstMetric } from "./runs/metrics";
import { type Run, readRun, skippedText } from "./runs/read";
import "../styles/runs.css";

/** A run as the chart shows it. Colours and dashes are those of a lane, so that eight differ. */
interface Shown {
  name: string;
  readonly look: LaneKind;
  readonly run: Run;
}

/** Runs at once: as many as there are looks. */
const MOST = LANE_KINDS.length;

type Scaling = "linear" | "log";

/** Your own run: metrics of the command line, drawn. */
export const mount: Mount = (body, { engine, announce }) => {
  let runs: Shown[] = [];
  let metric = "";
  let scaling: Scaling = "linear";
  let cursor: number | undefined;
  let layout: LineLayout | null = null;
  let alive = true;

  const names = () => [...new Set(runs.flatMap(({ run }) => [...run.columns.keys()]))];
  const steps = () => runs.find(({ run }) => run.columns.has(metric))?.run.steps ?? new Float64Array();
  const valueAt = ({ run }: Shown, i: number) => run.columns.get(metric)?.[i] ?? NaN;

  /** The last step at which a run has the metric. */
  const lastOf = ({ run }: Shown) => run.columns.get(metric)?.findLastIndex(Number.isFinite) ?? -1;
  const chart = (theme: Theme) => ({
    series: runs.flatMap(({ name, look, run }) => {
      const all = run.columns.get(metric);
      if (!all) return [];
      // Evaluations come every so often: the line joins them over the steps between.
      const kept = all.map((_, i) => i).filter((i) => Number.isFinite(all[i]));
      const x = kept.map((i) => run.steps[i] ?? NaN);
      const y = kept.map((i) => all[i] ?? NaN);
      return [{ name, colour: theme.lanes[look], dash: LANE_DASHES[look], x, y }];
    }),
    x: { label: "step" },
    y: { label: metric, scale: scaling },
    endLabels: runs.length > 1,
    ...(cursor !== undefined && { cursor }),
  });
  const figure = createFigure({
    label: "Metric of the loaded runs; arrow keys move a cursor along the steps",
    role: "application",
    height: (width) => Math.round(Math.min(400, Math.max(240, width * 0.45))),
    draw(pen, theme) {
      layout = lineChart(pen, { x: 0, y: 0, width: pen.width, height: pen.height }, chart(theme), theme);
    },
    onPointer({ type, x, y }) {
      if (type === "leave" || !layout) moveTo(undefined);
      else moveTo(layout.toData(x, y).x);
    },
    onKey({ key, shiftKey }) {
      const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20, Home: -Infinity, End: Infinity, Escape: 0 }[key];
      const all = steps();
      if (by === undefined || all.length === 0) return false;
      const from = cursor === undefined ? all.length - 1 : nearest(all, cursor);
      const to = Math.min(all.length - 1, Math.max(0, from + (shiftKey ? 10 : 1) * by));
      moveTo(by === 0 ? undefined : all[to]);
      if (cursor !== undefined) announce(`Step ${whole(cursor)}: ${runs.map((run) => `${run.name} ${formatNumber(valueAt(run, nearest(run.run.steps, to)))}`).join(", ")}`);
      return true;
    },
  });
  const moveTo = (step: number | undefined) => {
    cursor = step;
    figure.invalidate();
    fillTable();
  };

  const status = h("p", { class: "note", role: "status" });
  const problems = h("ul", { class: "problems", role: "alert" });
  const input = h("input", { type: "file", multiple: true, accept: ".jsonl,.json,.ndjson,.txt", onchange: () => void load(input.files) });
  const example = button("Use the race above", () => addRace());
  const zone = h(
    "div",
    {
      class: "card drop",
      ondragover: (event: DragEvent) => {
        event.preventDefault();
        zone.classList.add("over");
      },
      ondragleave: () => zone.classList.remove("over"),
      ondrop: (event: DragEvent) => {
        event.preventDefault();
        zone.classList.remove("over");
        void load(event.dataTransfer?.files);
      },
    },
    field("Choose one or several files, or drop them here", input),
    h("p", { class: "note" }, "No run at hand? ", example),
    status,
    problems,
  );

  const chooser = h("select", { onchange: () => choose(chooser.value) });
  const scale = segmented<Scaling>("Axis", [["linear", "Linear"], ["log", "Logarithmic"]], scaling, (chosen) => {
    scaling = chosen;
    figure.invalidate();
  });
  const save = (kind: "svg" | "png") => async () => {
    const blob = kind === "svg" ? new Blob([figure.toSvg()], { type: "image/svg+xml" }) : await figure.toPng();
    download(`${metric}.${kind}`, blob);
  };
  const rows = h("tbody");
  const at = h("th", { scope: "col" });
  const result = h(
    "div",
    { class: "card loaded", hidden: true },
    h(
      "div",
      { class: "controls" },
      field("Metric", chooser),
      scale.element,
      button("Save SVG", () => void save("svg")()),
      button("Save PNG", () => void save("png")()),
    ),
    figure.element,
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Loaded runs" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...["Run", "First", "Lowest", "Highest", "Last"].map((text) => h("th", { scope: "col" }, text)), at, h("td"))),
        rows,
      ),
    ),
  );
  body.append(h("div", { class: "runs" }, zone, result));

  function choose(name: string): void {
    metric = name;
    moveTo(undefined);
    figure.setLabel(`${metric} of ${runs.length === 1 ? "one run" : `${runs.length} runs`}; arrow keys move a cursor along the steps`);
    figure.setSummary(
      runs.map((run) => `${run.name} ends at ${formatNumber(valueAt(run, lastOf(run)))}, step ${whole(run.run.steps[lastOf(run)] ?? NaN)}.`).join(" "),
    );
  }

  /** The values under the cursor alone change often. */
  function fillTable(): void {
    at.textContent = cursor === undefined ? "At the cursor" : `At step ${whole(cursor)}`;
    runs.forEach((run, i) => {
      const cell = rows.children[i]?.querySelector(".at");
      if (cell) cell.textContent = cursor === undefined ? "–" : formatNumber(valueAt(run, nearest(run.run.steps, cursor)));
    });
  }

  function refresh(): void {
    result.hidden = runs.length === 0;
    const all = names();
    if (!all.includes(metric)) metric = firstMetric(all);
    chooser.replaceChildren(
      ...families(all).map(([label, list]) =>
        h("optgroup", { label }, ...list.map((name) => h("option", { value: name, selected: name === metric }, name))),
      ),
    );
    choose(metric);
    list();
    fillTable();
  }

  function list(): void {
    rows.replaceChildren(
      ...runs.map((run) => {
        const finite = [...(run.run.columns.get(metric) ?? [])].filter(Number.isFinite);
        const ends = [finite[0], rangeOf([finite]).min, rangeOf([finite]).max, finite.at(-1)];
        const name = h("input", {
          type: "text",
          value: run.name,
          "aria-label": "Name of the run",
          onchange: () => {
            run.name = name.value.trim() || run.name;
            refresh();
          },
        });
        return h(
          "tr",
          {},
          h("th", { scope: "row" }, h("span", { class: "mark", "data-lane": run.look, "aria-hidden": true }, LANES[run.look].mark), name),
          ...ends.map((value) => h("td", {}, finite.length ? formatNumber(value ?? NaN) : "–")),
          h("td", { class: "at" }),
          h("td", {}, button("Remove", () => {
            runs = runs.filter((other) => other !== run);
            announce(`${run.name} removed.`);
            refresh();
          }, { "aria-label": `Remove ${run.name}` })),
        );
      }),
    );
  }

  function add(name: string, run: Run): void {
    const look = LANE_KINDS.find((kind) => !runs.some((other) => other.look === kind));
    if (!look) throw new Error(`${name} was left out: at most ${MOST} runs are shown at once.`);
    let own = name;
    for (let i = 2; runs.some((other) => other.name === own); i++) own = `${name} (${i})`;
    runs.push({ name: own, look, run });
  }

  async function load(files: FileList | null | undefined): Promise<void> {
    if (!files?.length) return;
    problems.replaceChildren();
    const problem = (text: string) => problems.append(h("li", {}, text));
    let lines = 0;
    for (const file of files) {
      try {
        const run = await readRun(file, (share) => (status.textContent = `Reading ${file.name}: ${percent(share)}`));
        if (!alive) return;
        add(file.name.replace(/\.\w+$/, ""), run);
        lines += run.steps.length;
        if (run.skipped.length > 0) problem(skippedText(file.name, run.skipped));
      } catch (error) {
        problem(error instanceof Error ? error.message : String(error));
      }
    }
    status.textContent = lines > 0 ? `${whole(lines)} steps read.` : "";
    // The same file can be chosen again.
    input.value = "";
    refresh();
  }

  /** The policies of the race, each as a run. */
  function addRace(): void {
    const { kinds, steps: all, of } = engine.history.get();
    problems.replaceChildren();
    runs = runs.filter(({ name }) => !name.startsWith("Race: "));
    const measured = ["kl", "reverse_kl", "tv", "entropy", "expected_reward", "modes_found", "loss"];
    try {
      kinds.forEach((kind, lane) => {
        const columns = measured.map((name) => [name, Float64Array.from(of(lane, name))] as const);
        add(`Race: ${LANES[kind].name}`, { steps: Float64Array.from(all), columns: new Map(columns), skipped: [] });
      });
    } catch (error) {
      problems.append(h("li", {}, String(error)));
    }
    status.textContent = `The race up to step ${whole(all.at(-1) ?? 0)}.`;
    refresh();
  }

  return () => {
    alive = false;
    figure.destroy();
    body.replaceChildren();
  };
};
