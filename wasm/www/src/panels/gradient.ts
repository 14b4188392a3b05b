import { GradientBench, Landscape, cosine } from "flowrl_wasm";
import { LANE_DASHES, createFigure, formatNumber, largest } from "../charts";
import { SIDE } from "../state";
import { byId, radios } from "../ui/dom";
import { decimals, significant, whole } from "../ui/format";
import type { Mount } from "./panel";
import { BATCHES, type Curve, type Source, measure } from "./gradient/curve";
import { type Look, drawCurves, drawGradient, mapHeight } from "./gradient/figures";
import { text } from "../ui/texts";

/** How the curves are drawn, in the order of their legend in index.html. */
const LOOKS: readonly Omit<Look, "name">[] = [
  { colour: (t) => t.ink, dash: [2, 3] },
  { colour: (t) => t.lanes.flowrl, dash: LANE_DASHES.flowrl },
  { colour: (t) => t.lanes.grpo, dash: [9, 3, 2, 3] },
  { colour: (t) => t.lanes.normalised, dash: [7, 4] },
];

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

  const zSlider = byId<HTMLInputElement>("gradient-z");
  const zMark = byId("gradient-z-mark");
  const bSlider = byId<HTMLInputElement>("gradient-batch");
  radios<Subject>("gradient-subjects", (value) => {
    subject = value;
    rebuild();
  });
  zSlider.oninput = () => setLogZ(Number(zSlider.value));
  byId("gradient-z-exact").onclick = () => bench && setLogZ(bench.logZ);
  bSlider.oninput = () => {
    batch = 2 ** Number(bSlider.value);
    sample();
    chart.invalidate();
  };
  byId("gradient-again").onclick = () => {
    seed++;
    sample();
    announce(byId("gradient-sampled-text").textContent!);
  };

  /** A map of a gradient by the logits; gives a function that draws it anew and says what it shows. */
  const map = (id: string, label: string, values: () => ArrayLike<number>) => {
    const figure = createFigure({ label: `${label}, as a map of the logits`, height: mapHeight, draw: (pen, theme) => drawGradient(pen, theme, values(), max) });
    byId(id).append(figure.element);
    return (text: string) => {
      byId(`${id}-text`).textContent = text;
      figure.setSummary(text);
      figure.invalidate();
    };
  };
  const showDivergence = map("gradient-divergence", "2 ∇ KL, exact", () => exact);
  const showExpected = map("gradient-expected", "Expected gradient of trajectory balance, exact", () => expected);
  const showSampled = map("gradient-sampled", "Gradient of one batch", () => sampled);
  const chart = createFigure({
    label: "Cosine between a batch's gradient and the exact one, over the size of the batch",
    height: 300,
    draw: (pen, theme) => drawCurves(pen, theme, curves, looks, batch),
  });
  byId("gradient-curves").append(chart.element);
  const looks: readonly Look[] = [...body.querySelectorAll(".curve-legend li")].map((item, i) => ({ name: item.textContent!, ...LOOKS[i]! }));
  const progress = byId("gradient-progress");

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
    showDivergence(`largest entry ${significant(max, 2)}`);
    const share = (bench.logZ + 10) / 20;
    zMark.style.setProperty("--at", String(Math.min(1, Math.max(0, share))));
    zMark.textContent = `exact ${decimals(bench.logZ, 2)}`;
    expect();
    sample();
    remeasure();
    const inRace = settings.get().lanes;
    for (const input of byId("gradient-subjects").querySelectorAll("input")) {
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

  /** The exact expectation, and how far it is from the divergence's gradient. */
  function expect(): void {
    if (!bench) return;
    expected = bench.expected(logZ);
    let apart = 0;
    expected.forEach((x, i) => (apart = Math.max(apart, Math.abs(x - exact[i]!))));
    byId("gradient-z-value").textContent = decimals(logZ, 1);
    showExpected(`largest difference ${formatNumber(apart, 1)}, cosine ${decimals(cosine(expected, exact), 3)}`);
  }

  /** One batch for the map. */
  function sample(): void {
    if (!bench) return;
    sampled = bench.sampled(logZ, batch, seed);
    byId("gradient-batch-value").textContent = whole(batch);
    bSlider.setAttribute("aria-valuetext", `${batch} samples`);
    judge();
  }

  /** How close this batch comes, and others like it as far as they have been drawn. */
  function judge(): void {
    const at = BATCHES.indexOf(batch);
    const { mean, spread, source } = curves[0] ?? { mean: [], spread: [], source: NaN };
    const others = source === logZ && !Number.isNaN(mean[at]) ? `; others ${decimals(mean[at]!, 2)} ± ${decimals(spread[at]!, 2)}` : "";
    showSampled(`cosine ${decimals(cosine(sampled, exact), 2)}${others}`);
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
