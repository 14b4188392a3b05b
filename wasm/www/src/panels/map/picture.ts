import { type GridMap, type Pen, type Theme, gridMap, whole } from "../../charts";
import { decimals } from "../../ui/format";
import { BETAS, CELLS, RATES } from "./protocol";

/** What the colours of the map stand for. */
export type Colour = "kl" | "peaks";

/** How the runs of one method ended, by cell; NaN where one has not been made. */
export interface Outcomes {
  readonly kl: Float64Array;
  readonly found: Float64Array;
  readonly peaks: Float64Array;
}

/** No run yet. */
export const noOutcomes = (): Outcomes => ({
  kl: new Float64Array(CELLS).fill(NaN),
  found: new Float64Array(CELLS).fill(NaN),
  peaks: new Float64Array(CELLS).fill(NaN),
});

/** The KL that has the lightest colour, and the one that has the darkest. */
const [LEAST, MOST] = [0.001, 5];

/** Where a KL lies between the lightest and the darkest colour, 0…1, by its logarithm. */
export function klShade(kl: number): number {
  const t = Math.log(kl / LEAST) / Math.log(MOST / LEAST);
  return Number.isNaN(kl) ? NaN : Math.min(1, Math.max(0, t));
}

/** A KL in as few letters as a cell has room for. */
export function shortKl(kl: number): string {
  if (kl === Infinity) return "×";
  if (kl >= 0.995) return decimals(kl, kl < 9.95 ? 1 : 0);
  return kl < 0.005 ? "0" : decimals(kl, 2).replace(/^0/, "");
}

function dataOf(outcomes: Outcomes, colour: Colour, cursor: number, selected: number, theme: Theme): GridMap {
  const peaks = Math.max(1, ...outcomes.peaks.filter((n) => n > 0));
  const own =
    colour === "kl"
      ? { values: outcomes.kl.map(klShade), max: 1, map: theme.probability }
      : { values: outcomes.found, max: peaks, map: theme.reward };
  return {
    ...own,
    columns: { label: "β", values: BETAS },
    rows: { label: "learning rate", values: RATES },
    cursor,
    selected,
    text: (i) => (colour === "kl" ? shortKl(outcomes.kl[i] ?? NaN) : decimals(outcomes.found[i] ?? NaN, 0)),
  };
}

/** How high a map of this width is. */
export const mapHeight = (width: number): number => 58 + RATES.length * Math.min(34, Math.max(24, width / 13));

/** Draws the map of one method and gives the function that finds the cell at a point. */
export function drawMap(
  pen: Pen,
  theme: Theme,
  outcomes: Outcomes,
  colour: Colour,
  cursor: number,
  selected: number,
): (x: number, y: number) => number {
  return gridMap(pen, whole(pen), dataOf(outcomes, colour, cursor, selected, theme), theme).cellAt;
}

/** Draws what the colours mean: a bar from the least to the most. */
export function drawLegend(pen: Pen, theme: Theme, colour: Colour, peaks: number): void {
  const table = colour === "kl" ? theme.probability : theme.reward;
  const bar = { x: 0.5, y: 0.5, width: pen.width - 1, height: 10 };
  pen.cells(bar, table.length / 4, table);
  pen.rect(bar, { stroke: theme.line });
  const ends = colour === "kl" ? [`KL ≤ ${LEAST}: on the target`, "", `KL ≥ ${MOST}: far away`] : ["none", "", `all ${peaks}`];
  (["start", "middle", "end"] as const).forEach((anchor, i) => {
    pen.text((i * pen.width) / 2, 16, ends[i] ?? "", { fill: theme.muted, size: 11, anchor, baseline: "top" });
  });
}
