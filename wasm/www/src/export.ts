import type { LaneKind } from "flowrl_wasm";
import { type Box, LANE_DASHES, type Pen, type Theme, heatMap, lineChart, pngOf, readTheme, svgPen } from "./charts";
import { download } from "./download";
import { messageOf } from "./error";
import { LANES } from "./lanes";
import type { PanelContext } from "./panels/panel";
import type { Aim } from "./race/aim";
import { drawLane } from "./race/lane";
import { PRESETS, encode } from "./state";
import type { Store } from "./store";
import { byId, fill } from "./ui/dom";
import { distance, significant, whole } from "./ui/format";
import { metricAxis, text } from "./ui/texts";

const [WIDTH, HEIGHT, GAP] = [1200, 760, 20];
/** The steps that an exported configuration trains for, at least. */
const LEAST_STEPS = 1000;

/** The race as one picture: target, lanes, the chosen metric. */
export function drawPicture({ engine, settings, landscape }: PanelContext, aim: Aim, pen: Pen, theme: Theme): void {
  pen.rect({ x: 0, y: 0, width: WIDTH, height: HEIGHT }, { fill: theme.card });
  const { beta, preset, drawing, metric, seed, view } = settings.get();
  const frame = engine.frame.get();
  const name = drawing ? "Drawn by hand" : PRESETS[preset];
  const title = `${name}, β = ${significant(beta, 3)}, seed ${seed}, step ${whole(frame?.step ?? 0)}`;
  pen.text(GAP, 34, title, { fill: theme.ink, size: 20, weight: 600 });
  pen.text(WIDTH - GAP, 34, "FlowRL lab", { fill: theme.muted, size: 14, anchor: "end" });
  const lanes = frame?.lanes ?? [];
  const size = Math.min(240, (WIDTH - GAP * (lanes.length + 2)) / (lanes.length + 1));
  const put = (i: number, label: string, draw: (box: Box) => void) => {
    const x = GAP + i * (size + GAP);
    pen.text(x, 74, label, { fill: theme.ink, size: 13, weight: 600 });
    draw({ x, y: 84, width: size, height: size });
  };
  put(0, "Target", (box) => {
    const peaks = { cells: [...landscape.get().peaks] };
    heatMap(pen, box, { values: aim.probabilities, peaks }, theme);
  });
  lanes.forEach((lane, i) => {
    put(i + 1, LANES[lane.kind].name, (box) => {
      drawLane(pen, box, lane, aim, view === "difference", theme);
      const line = `${lane.measure("modes_found")} of ${lane.measure("modes")} peaks · KL ${distance(lane.measure("kl"))}`;
      pen.text(box.x, box.y + size + 18, line, { fill: theme.muted, size: 12 });
    });
  });
  const history = engine.history.get();
  const top = 84 + size + 44;
  lineChart(
    pen,
    { x: GAP, y: top, width: WIDTH - 2 * GAP, height: HEIGHT - top - GAP },
    {
      series: history.kinds.map((kind, lane) => ({
        name: LANES[kind].name,
        colour: theme.lanes[kind],
        dash: LANE_DASHES[kind],
        x: history.steps,
        y: history.of(lane, metric),
      })),
      x: { label: "step" },
      y: metricAxis(metric),
      endLabels: true,
    },
    theme,
  );
}

/** The dialog with everything that can be taken away. Gives a function that opens it. */
export function mountExport(context: PanelContext, aim: Store<Aim>): () => void {
  const { engine, settings, announce } = context;
  const dialog = byId<HTMLDialogElement>("export");
  const lane = byId<HTMLSelectElement>("export-lane");
  const name = (kind: string) => `flowrl-step-${engine.status.get().step}.${kind}`;
  const draw = (pen: Pen) => drawPicture(context, aim.get(), pen, readTheme(document.documentElement));
  const say = (words: string) => {
    byId("export-said").textContent = words;
    announce(words);
  };
  const offers: Readonly<Record<string, () => Promise<void>>> = {
    async link() {
      const url = new URL(location.href);
      url.hash = encode(settings.get());
      await navigator.clipboard.writeText(url.href);
      say(text("export-copied"));
    },
    async png() {
      download(name("png"), await pngOf(WIDTH, HEIGHT, draw));
    },
    async svg() {
      const pen = svgPen(WIDTH, HEIGHT, "A race in the FlowRL lab", `Settings: ${encode(settings.get())}`);
      draw(pen);
      download(name("svg"), pen.svg(), "image/svg+xml");
    },
    async csv() {
      download(name("csv"), await engine.csv(), "text/csv");
    },
    async config() {
      const file = `flowrl-${lane.value}.toml`;
      const steps = Math.max(LEAST_STEPS, engine.status.get().step);
      download(file, await engine.config(lane.value as LaneKind, steps), "application/toml");
      say(`Run it: flowrl-cli train --config ${file}`);
    },
  };
  dialog.onclick = ({ target }) => {
    const offer = target instanceof HTMLButtonElement && offers[target.value];
    if (offer) offer().catch((error: unknown) => say(messageOf(error)));
  };
  return () => {
    byId("export-said").textContent = "";
    fill(lane, settings.get().lanes.map((kind) => [kind, LANES[kind].name]));
    dialog.showModal();
  };
}
