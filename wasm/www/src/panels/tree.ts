import { Race, RaceOptions, type Target, Tree, measures } from "flowrl_wasm";
import { type Theme, whole as area, bars, createFigure } from "../charts";
import { splitFrame } from "../engine/frame";
import { byId } from "../ui/dom";
import { decimals, distance, percent, whole } from "../ui/format";
import type { Mount } from "./panel";
import { drawTree, rowHeight } from "./tree/figure";
import { depthOf, rowsOf } from "./tree/layout";

const SYMBOLS = 2;
/** Updates of a run, and of a frame: few enough to watch. */
const MOST = 1500;
const EACH = 3;
/** Answers in the chart of both targets. */
const LIKELIEST = 10;

/** The colour of a view: a row of the table in index.html, of which the last two are the policies that learn. */
const colourOf = ({ muted, lanes }: Theme, view: number) => (view === 0 ? muted : view % 2 ? lanes.flowrl : lanes.normalised);

/** Sequences of unequal length, and what dividing by the length makes of them. */
export const mount: Mount = (body, { announce }) => {
  const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const tree = new Tree(3, SYMBOLS, 3, 7);
  const modes = tree.modes();
  const rewards = tree.rewards();
  const rows = rowsOf(tree.size, SYMBOLS);
  const names = rows.map((_, node) => tree.text(node) || "∅");
  const views = [...byId<HTMLTableElement>("tree-views").tBodies[0]!.rows].map((row) => row.cells[0]!.textContent!);
  const slider = byId<HTMLInputElement>("tree-beta");
  const play = byId("tree-play");
  const cells = (table: string, row: number, texts: readonly string[]) =>
    texts.forEach((text, i) => (byId<HTMLTableElement>(table).rows[row + 1]!.cells[i + 1]!.textContent = text));

  const options = Object.assign(new RaceOptions(), { beta: 3 });
  options.addLane("flowrl", 0, 0);
  options.addLane("normalised", 0, 0);
  const begin = () => Race.onTree(tree, options);
  let race = begin();
  let until = MOST;
  let playing = !reduced;
  let seen = false;
  let frame = 0;

  let view = 1;
  let chosen = modes[modes.length - 1] ?? 0;
  /** Of each view its probabilities, expected length and expected reward. */
  const shown: { p: ArrayLike<number>; length: number; reward: number }[] = [];
  const likeliest: number[] = [];

  const figure = createFigure({
    label: "Token tree. The arrow keys move over the answers.",
    role: "application",
    height: (width) => rows.length * rowHeight(width),
    draw: (pen, theme) => {
      const probabilities = shown[view]!.p;
      const flow = tree.flow(Array.from(probabilities));
      const exact = shown[view - 2]?.p;
      drawTree(pen, theme, { symbols: SYMBOLS, rows, names, modes, flow, probabilities, exact: view > 2 ? exact : undefined, chosen, colour: colourOf(theme, view) });
    },
    onPointer: ({ type, y }) => {
      if (type !== "leave") choose(rows[Math.floor(y / rowHeight(figure.canvas.clientWidth))]);
    },
    onKey: ({ key }) => {
      const row = rows.indexOf(chosen);
      const next: Readonly<Record<string, number | undefined>> = {
        ArrowUp: rows[row - 1],
        ArrowDown: rows[row + 1],
        ArrowLeft: chosen > 0 ? Math.floor((chosen - 1) / SYMBOLS) : undefined,
        ArrowRight: chosen * SYMBOLS + 1,
        Home: rows[0],
        End: rows[rows.length - 1],
      };
      if (!(key in next)) return false;
      choose(next[key]);
      announce(`${names[chosen]}: ${shown.map(({ p }, i) => `${views[i]} ${percent(p[chosen] ?? 0)}`).join(", ")}`);
      return true;
    },
  });
  const chart = createFigure({
    label: "The likeliest answers under both targets",
    height: 230,
    draw: (pen, theme) => {
      const series = [1, 2].map((i) => ({ name: views[i]!, colour: colourOf(theme, i), hollow: i === 1, values: likeliest.map((node) => shown[i]!.p[node] ?? 0) }));
      const labels = likeliest.map((node) => `${names[node]}${modes.includes(node) ? " ★" : ""}`);
      bars(pen, area(pen), { labels, series, label: "probability", highlight: likeliest.indexOf(chosen) }, theme);
    },
  });
  byId("tree-figure").append(figure.element);
  byId("tree-bars").append(chart.element);

  function choose(node: number | undefined): void {
    if (node === undefined || node >= rows.length) return;
    chosen = node;
    byId("tree-answer").textContent = names[node]! + (modes.includes(node) ? " ★" : "");
    byId("tree-length").textContent = whole(depthOf(node, SYMBOLS) + 1);
    byId("tree-reward").textContent = decimals(rewards[node]!, 2);
    chart.invalidate();
    show();
  }

  /** Everything that the choices and the steps change. */
  function show(): void {
    splitFrame(race.frame().slice(), 2, measures(), rows.length).forEach(({ measure, probabilities }, lane) => {
      shown[3 + lane] = { p: probabilities, length: measure("expected_length"), reward: measure("expected_reward") };
      cells("tree-distances", lane, ["kl_fixed_point", "kl"].map((name) => distance(measure(name))));
    });
    shown.forEach(({ p, length, reward }, i) => cells("tree-views", i, [percent(p[chosen] ?? 0), decimals(length, 2), decimals(reward, 2)]));
    byId("tree-step").textContent = whole(race.step);
    const { p } = shown[view]!;
    const best = [...rows].sort((a, b) => p[b]! - p[a]!).slice(0, 4);
    figure.setSummary(`${views[view]}: ${best.map((node) => `${names[node]} ${percent(p[node]!)}`).join(", ")}.`);
    figure.invalidate();
  }

  /** The exact fixed points of this β. */
  function aim(): void {
    const beta = Number(slider.value);
    byId("tree-beta-value").textContent = decimals(beta, 1);
    const take = (i: number, target: Target) => {
      shown[i] = { p: target.probabilities(), length: target.expectedLength, reward: target.expectedReward };
      target.free();
    };
    take(0, tree.target(0));
    take(1, tree.target(beta));
    take(2, tree.normalisedTarget(beta));
    const [plain, divided] = [shown[1]!, shown[2]!];
    const longer = divided.length - plain.length;
    byId("tree-longer").textContent = `${decimals(Math.abs(longer), 2)} tokens ${longer < -0.005 ? "shorter" : "longer"}`;
    byId("tree-rewards").textContent = `from ${decimals(plain.reward, 2)} to ${decimals(divided.reward, 2)}`;
    const most = (node: number) => Math.max(plain.p[node]!, divided.p[node]!);
    likeliest.splice(0, LIKELIEST, ...[...rows].sort((a, b) => most(b) - most(a)).slice(0, LIKELIEST));
    chart.setSummary(likeliest.map((node) => `${names[node]} ${percent(plain.p[node]!)}, divided ${percent(divided.p[node]!)}`).join("; "));
    options.beta = beta;
    race.setBeta(beta);
    chart.invalidate();
  }

  function setPlaying(on: boolean): void {
    playing = on;
    if (on && race.step >= until) until = race.step + MOST;
    play.textContent = on ? "Pause" : "Play";
    cancelAnimationFrame(frame);
    if (on && seen) frame = requestAnimationFrame(turn);
  }

  function turn(): void {
    race.run(EACH);
    show();
    if (race.step < until) {
      frame = requestAnimationFrame(turn);
      return;
    }
    setPlaying(false);
    announce(`Tree, step ${race.step}: KL to its own fixed point ${[0, 1].map((lane) => distance(race.measure(lane, "kl_fixed_point"))).join(", divided ")}`);
  }

  body.oninput = ({ target }) => {
    if (target === slider) {
      const ended = race.step >= until;
      until = race.step + MOST;
      aim();
      if (ended && !reduced) setPlaying(true);
    } else view = Number((target as HTMLInputElement).value);
    show();
  };
  play.onclick = () => setPlaying(!playing);
  byId("tree-reset").onclick = () => {
    race.free();
    race = begin();
    until = MOST;
    show();
  };
  // Nobody watches what has been scrolled away.
  new IntersectionObserver(([entry]) => {
    seen = entry?.isIntersecting ?? false;
    setPlaying(playing);
  }).observe(body);
  aim();
  choose(chosen);
};
