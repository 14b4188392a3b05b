import { Landscape, type LaneKind, Race, RaceOptions, measures } from "flowrl_wasm";
import { contours, createFigure, heatMap } from "../../charts";
import { splitFrame } from "../../engine/frame";
import { LANES } from "../../lanes";
import { SIDE, decode } from "../../state";
import { terrainOf } from "../../terrain";
import { h } from "../../ui/dom";
import { decimals, percent } from "../../ui/format";
import { inSlices } from "../slices";

/** Shows in `place` what a method makes of the setup that its card links to. */
export function mountOutcome(place: HTMLElement): void {
  const link = place.parentElement?.querySelector('a[href^="#v="]');
  const settings = decode(link?.getAttribute("href") ?? "");
  const kind = place.dataset["method"] as LaneKind;
  const steps = Number(place.dataset["steps"]);
  const { beta, samples, learningRate, logZLearningRate, seed } = settings;
  const terrain = terrainOf(settings);

  const options = Object.assign(new RaceOptions(), {
    beta,
    samples,
    learningRate,
    logZLearningRate,
    seed,
  });
  options.addLane(kind, 0, 0);
  const landscape = Landscape.of(SIDE, terrain.rewards, terrain.reference);
  const race = Race.onLandscape(landscape, options);
  landscape.free();
  options.free();

  const hills = contours(terrain.rewards, SIDE, [0.5]);
  let policy = new Float32Array(terrain.rewards.length);
  const caption = h("figcaption", { class: "note number" }, `${LANES[kind].name}, training …`);
  const figure = createFigure({
    label: `Policy of ${LANES[kind].name}`,
    height: (width) => width,
    draw: (pen, theme) =>
      heatMap(
        pen,
        { x: 1, y: 1, width: pen.width - 2, height: pen.height - 2 },
        { values: policy, contours: hills },
        theme,
      ),
  });
  place.append(figure.element, caption);

  const finish = () => {
    const { measure, probabilities } = splitFrame(race.frame(), 1, measures(), policy.length)[0]!;
    const tv = measure("tv");
    policy = probabilities.slice();
    const text = `${LANES[kind].name} at step ${steps}: total variation ${decimals(tv, 2)} from the target.`;
    const best = Math.max(...policy);
    caption.textContent = text;
    figure.setSummary(`${text} Its likeliest answer has ${percent(best)}.`);
    figure.invalidate();
    race.free();
  };
  inSlices(() => {
    race.run(1);
    return race.step < steps;
  }, finish);
}
