import type { LaneKind } from "../../charts";
import { LANE_KINDS } from "../../lanes";
import type { Run } from "./read";

/** A run as the chart shows it. Colour and dashes are those of a lane: eight looks that differ. */
export interface Shown {
  name: string;
  readonly look: LaneKind;
  readonly run: Run;
}

/** A metric of a run, where it has one: evaluations come every so often, and the line joins them. */
export interface Line {
  readonly run: Shown;
  readonly x: readonly number[];
  readonly y: readonly number[];
}

/** The line of a metric for every run; empty where a run does not have it. */
export function linesOf(runs: readonly Shown[], metric: string): Line[] {
  return runs.map((shown) => {
    const { steps, columns } = shown.run;
    const all = columns.get(metric) ?? new Float64Array();
    const [x, y]: [number[], number[]] = [[], []];
    all.forEach((value, i) => {
      if (!Number.isFinite(value)) return;
      x.push(steps[i] ?? NaN);
      y.push(value);
    });
    return { run: shown, x, y };
  });
}

/** The runs and one more, with a name and a look of its own. Throws an error if all looks are taken. */
export function withRun(runs: readonly Shown[], name: string, run: Run): Shown[] {
  const look = LANE_KINDS.find((kind) => !runs.some((other) => other.look === kind));
  if (!look) throw new Error(`${name} was left out: at most ${LANE_KINDS.length} runs are shown at once.`);
  let own = name;
  for (let i = 2; runs.some((other) => other.name === own); i++) own = `${name} (${i})`;
  return [...runs, { name: own, look, run }];
}
