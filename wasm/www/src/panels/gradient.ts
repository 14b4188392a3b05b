import { GradientBench, Landscape, cosine } from "flowrl_wasm";
import { LANE_DASHES, createFigure, formatNumber, largest } from "../charts";
import { SIDE } from "../state";
import { button, field, fragment, h, segmented } from "../ui/dom";
import { decimals, significant, whole } from "../ui/format";
import type { Mount } from "./panel";
import { BATCHES, type Curve, type Source, measure } from "./gradient/curve";
import { type Look, drawCurves, drawGradient, mapHeight } from "./gradient/figures";
import { formula, text } from "../ui/texts";

type Subject = "reference" | "flowrl" | "grpo" | "other";
/** The gradient of trajectory balance beside that of the divergence: exact, and from a batch. */
export const mount: Mount = (body, { engine, settings, landscape, announce }) => {
  let bench: GradientBench | undefined;
  let exact: Float64Array = new Float64Array();
  let expected: Float64Array = new Float64Array();
  let sampled: Float64Array = new Float64Array();
  let curves: readonly Curve[] = [];
  let max = 1;
  let subject: Subject = "reference";
  let logZ = 0;
  let batch = 64;
  let seed = 0;
  let end = () => {};
  let rebuilding = 0;
  let remeasuring = 0;

  const subjects = segmented<Subject>(
    "The policy",
    [
      ["reference", "At the start"],
      ["flowrl", "FlowRL now"],
      ["grpo", "GRPO now"],
      ["other", "Another"],
    ],
    subject,
    (value) => {
      subject = value;
      rebuild();
    },
  );
  const zSlider = h("input", { type: "range", min: -10, max: 10, step: 0.1, value: 0, oninput: () => setLogZ(Number(zSlider.value)) });
  const zOutput = h("output");
  const zMark = h("span", { class: "exact-mark", "aria-hidden": "true" });
  const zExact = button("Exact", () => bench && setLogZ(bench.logZ));
  const bSlider = h("input", { type: "range", min: 0, max: 12, step: 1, value: 6, oninput: () => setBatch(2 ** Number(bSlider.value)) });
  const bOutput = h("output");
  const again = button("Draw another batch", () => {
    seed++;
    sample();
    announce(sampledText.textContent ?? "");
  });

  const map = (label: string, values: () => ArrayLike<number>) => createFigure({ label, height: mapHeight, draw: (pen, theme) => drawGradient(pen, theme, values(), max) });
  const maps = [
    map("2 ∇ KL, exact, as a map of the logits", () => exact),
    map("Expected gradient of trajectory balance, exact, as a map of the logits", () => expected),
    map("Gradient of one batch, as a map of the logits", () => sampled),
  ];
  const divergenceText = h("p", { class: "number" });
  const expectedText = h("p", { class: "number" });
  const sampledText = h("p", { class: "number" });
  const looks: Look[] = [
    { name: "log Z of the slider", colour: (t) => t.ink, dash: [2, 3] },
    { name: "exact log Z", colour: (t) => t.lanes.flowrl, dash: LANE_DASHES.flowrl },
    { name: "log Z = 0", colour: (t) => t.lanes.grpo, dash: [9, 3, 2, 3] },
    { name: "the batch's own (VarGrad)", colour: (t) => t.lanes.normalised, dash: [7, 4] },
  ];
  const chart = createFigure({
    label: "Cosine between a batch's gradient and the exact one, over the size of the batch",
    height: 300,
    draw: (pen, theme) => drawCurves(pen, theme, curves, looks, batch),
  });
  const legend = h(
    "ul",
    { class: "curve-legend" },
    ...looks.map(({ name }, i) => h("li", { class: `look-${i}` }, name)),
  );
  const progress = h("p", { class: "note" });

  const card = (title: string, numbers: HTMLElement, figure: HTMLElement) => h("article", { class: "card" }, h("h3", {}, title), figure, numbers);
  body.append(
    h("div", { class: "theorem" }, fragment(formula("gradient-expected") + formula("gradient-divergence"))),
    h("p", { class: "note" }, text("gradient-maps")),
    h("div", { class: "controls" }, subjects.element),
    h(
      "div",
      { class: "columns" },
      h("div", { class: "with-button" }, h("div", { class: "marked" }, field("log Z", zSlider, zOutput), zMark), zExact),
      h("div", { class: "with-button" }, field("Samples in the batch", bSlider, bOutput), again),
    ),
    h(
      "div",
      { class: "maps" },
      card("2∇KL, exact", divergenceText, maps[0]!.element),
      card("E[∇δ²], exact", expectedText, maps[1]!.element),
      card("∇δ² of one batch", sampledText, maps[2]!.element),
    ),
    h("article", { class: "card curve" }, h("h3", {}, "How far a batch can be trusted"), legend, chart.element, progress),
    h("p", { class: "note" }, text("gradient-proved")),
  );

  const weights = (): Float64Array => {
    if (subject === "other") {
      // The target on other hills: far from that of the race.
      const hills = Landscape.preset("random", SIDE, settings.get().seed + 1);
      const target = hills.target(6);
      const probabilities = target.probabilities();
      hills.free();
      target.free();
      return probabilities;
    }
    const lane = engine.frame.get()?.lanes.find(({ kind }) => kind === subject);
    return lane ? Float64Array.from(lane.probabilities) : landscape.get().reference;
  };

  function rebuild(): void {
    end();
    bench?.free();
    const { rewards, reference } = landscape.get();
    const terrain = Landscape.of(SIDE, rewards, reference);
    bench = new GradientBench(terrain, settings.get().beta, weights());
    terrain.free();
    exact = bench.divergence();
    max = largest(exact);
    divergenceText.textContent = `largest entry ${significant(max, 2)}`;
    const share = (bench.logZ + 10) / 20;
    zMark.style.setProperty("--at", String(Math.min(1, Math.max(0, share))));
    zMark.textContent = `exact ${decimals(bench.logZ, 2)}`;
    maps[0]!.setSummary(divergenceText.textContent);
    maps[0]!.invalidate();
    expect();
    sample();
    remeasure();
    const inRace = settings.get().lanes;
    for (const input of subjects.element.querySelectorAll("input")) {
      input.disabled = (input.value === "flowrl" || input.value === "grpo") && !inRace.includes(input.value);
    }
  }

  function setLogZ(value: number): void {
    logZ = value;
    zSlider.value = String(value);
    expect();
    sample();
    clearTimeout(remeasuring);
    remeasuring = window.setTimeout(remeasure, 200);
  }

  function setBatch(value: number): void {
    batch = value;
    sample();
    chart.invalidate();
  }

  /** The exact expectation, and how far it is from the divergence's gradient. */
  function expect(): void {
    if (!bench) return;
    expected = bench.expected(logZ);
    let apart = 0;
    expected.forEach((x, i) => (apart = Math.max(apart, Math.abs(x - exact[i]!))));
    zOutput.textContent = decimals(logZ, 1);
    expectedText.textContent = `largest difference ${formatNumber(apart, 1)}, cosine ${decimals(cosine(expected, exact), 3)}`;
    maps[1]!.setSummary(expectedText.textContent);
    maps[1]!.invalidate();
  }

  /** One batch for the map. */
  function sample(): void {
    if (!bench) return;
    sampled = bench.sampled(logZ, batch, seed);
    bOutput.textContent = whole(batch);
    bSlider.setAttribute("aria-valuetext", `${batch} samples`);
    maps[2]!.invalidate();
    judge();
  }

  /** How close this batch comes, and others like it as far as they have been drawn. */
  function judge(): void {
    const at = BATCHES.indexOf(batch);
    const { mean, spread, source } = curves[0] ?? { mean: [], spread: [], source: NaN };
    const others = source === logZ && !Number.isNaN(mean[at]) ? `; others ${decimals(mean[at]!, 2)} ± ${decimals(spread[at]!, 2)}` : "";
    sampledText.textContent = `cosine ${decimals(cosine(sampled, exact), 2)}${others}`;
    maps[2]!.setSummary(sampledText.textContent);
  }

  function remeasure(): void {
    end();
    curves = [];
    if (!bench) return;
    const sources: Source[] = [logZ, bench.logZ, 0, "batch"];
    end = measure(bench, sources, (grown, done) => {
      curves = grown;
      chart.invalidate();
      judge();
      if (done < 1) progress.textContent = `Drawing batches … ${Math.round(100 * done)} %`;
      else {
        progress.textContent = text("gradient-curves");
        chart.setSummary(grown.map(({ mean }, i) => `${looks[i]!.name}: ${[64, 1024].map((n) => `${decimals(mean[BATCHES.indexOf(n)]!, 2)} at ${n}`).join(", ")}`).join(". "));
      }
    });
  }

  const later = () => {
    clearTimeout(rebuilding);
    rebuilding = window.setTimeout(rebuild, 150);
  };
  landscape.subscribe(later);
  settings.subscribe((now, before) => {
    if (now.beta !== before.beta || now.lanes !== before.lanes) later();
  });
  rebuild();
};
