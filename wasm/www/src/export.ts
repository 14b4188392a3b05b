import { type Pen, type Theme, canvasPen, lineChart, readTheme, svgPen } from "./charts";
import { LANE_DASHES, heatMap } from "./charts";
import { download } from "./download";
import { LANES } from "./lanes";
import type { PanelContext } from "./panels/panel";
import type { Aim } from "./race/aim";
import { drawLane } from "./race/lane";
import { METRICS, PRESETS, SIDE, encode } from "./state";
import type { Store } from "./store";
import { button, field, h, select } from "./ui/dom";
import { distance, significant, whole } from "./ui/format";
import { text } from "./ui/texts";

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
  const put = (i: number, label: string, draw: (box: { x: number; y: number; width: number; height: number }) => void) => {
    const x = GAP + i * (size + GAP);
    pen.text(x, 74, label, { fill: theme.ink, size: 13, weight: 600 });
    draw({ x, y: 84, width: size, height: size });
  };
  put(0, "Target", (box) => {
    const peaks = { cells: [...landscape.get().peaks] };
    heatMap(pen, box, { side: SIDE, values: aim.probabilities, peaks }, theme);
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
  const scale = metric === "kl" || metric === "reverse_kl" || metric === "tv" ? { scale: "log" as const, floor: 1e-4 } : {};
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
      y: { label: METRICS[metric], ...scale },
      endLabels: true,
    },
    theme,
  );
}

/** A dialog with everything that can be taken away. */
export function openExport(context: PanelContext, aim: Store<Aim>): void {
  const { engine, settings, announce } = context;
  const name = () => `flowrl-step-${engine.status.get().step}`;
  const theme = () => readTheme(document.documentElement);
  const said = h("p", { class: "note", role: "status" });
  const say = (words: string) => {
    said.textContent = words;
    announce(words);
  };
  const failed = (error: unknown) => say(error instanceof Error ? error.message : String(error));

  const png = async () => {
    const sheet = new OffscreenCanvas(2 * WIDTH, 2 * HEIGHT);
    const page = sheet.getContext("2d");
    if (!page) throw new Error("The browser gave no canvas to draw the picture on.");
    drawPicture(context, aim.get(), canvasPen(page, { width: WIDTH, height: HEIGHT, ratio: 2 }), theme());
    download(`${name()}.png`, await sheet.convertToBlob({ type: "image/png" }));
  };
  const svg = () => {
    const pen = svgPen(WIDTH, HEIGHT, "A race in the FlowRL lab", `Settings: ${encode(settings.get())}`);
    drawPicture(context, aim.get(), pen, theme());
    download(`${name()}.svg`, new Blob([pen.svg()], { type: "image/svg+xml" }));
  };
  const csv = async () => download(`${name()}.csv`, new Blob([await engine.csv()], { type: "text/csv" }));
  const { lanes } = settings.get();
  const lane = select(lanes.map((kind, i) => [String(i), LANES[kind].name] as const), "0", () => {});
  const config = async () => {
    const i = Number(lane.value);
    const steps = Math.max(LEAST_STEPS, engine.status.get().step);
    download(`flowrl-${lanes[i]}.toml`, new Blob([await engine.config(i, steps)], { type: "application/toml" }));
    say(`Run it: flowrl-cli train --config flowrl-${lanes[i]}.toml`);
  };
  const link = async () => {
    const url = new URL(location.href);
    url.hash = encode(settings.get());
    await navigator.clipboard.writeText(url.href);
    say(text("export-copied"));
  };
  const about = (name: string) => h("span", { class: "note" }, text(`export-${name}`));
  const offer = (label: string, name: string, work: () => void | Promise<void>) =>
    h("div", { class: "offer" }, button(label, () => void Promise.resolve().then(work).catch(failed)), about(name));
  const dialog = h(
    "dialog",
    { "aria-labelledby": "export-title" },
    h("h2", { id: "export-title" }, "Take it with you"),
    offer("Copy link", "link", link),
    offer("PNG", "png", png),
    offer("SVG", "svg", svg),
    offer("CSV", "csv", csv),
    h(
      "div",
      { class: "offer" },
      h("div", { class: "controls" }, field("Lane", lane), button("Config", () => void config().catch(failed))),
      about("config"),
    ),
    said,
    h("form", { method: "dialog" }, h("button", { class: "button primary" }, "Close")),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
