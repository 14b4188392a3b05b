import type { LaneKind } from "flowrl_wasm";
import { type Figure, type Pen, type TextStyle, type Theme, colourAt, createFigure, heatMap, largest, legendBar, legendHeight, makeScale } from "../../charts";
import type { Update } from "../../engine/protocol";
import { LANES } from "../../lanes";
import { h } from "../../ui/dom";
import { decimals } from "../../ui/format";
import { METHODS, type Value, judged, plain } from "./methods";
import { STAGES, type Drawn, drawn, numbersOf, told } from "./words";
import { formula, text } from "../../ui/texts";

/** What a lane shows. */
export interface Scene {
  readonly stage: number;
  /** The answer that is followed. */
  readonly picked: number;
  readonly beta: number;
  readonly peaks: Uint32Array;
  /** π*, what the lane converges to, or FlowRL. */
  readonly target: Float64Array;
  /** The largest change of a probability in any lane, so that both maps have one scale. */
  readonly most: number;
}

/** The card of a lane. */
export interface LaneCard {
  readonly element: HTMLElement;
  show(kind: LaneKind, update: Update, scene: Scene): void;
  /** Lights a term of the step that is shown, by its share of the way through them, 0…1. */
  light(share: number): void;
}

const LEGEND = legendHeight({ max: 1, label: "x" });
const MOST = 340;
const heightFor = (width: number) => Math.min(width, MOST) + LEGEND + 8;

/** Makes the card of a place; `pick` is told which answer was chosen in it. */
export function laneCard(slot: number, pick: (answer: number) => void): LaneCard {
  let shown: { kind: LaneKind; update: Update; scene: Scene; list: Drawn[]; at: number } | undefined;
  let layout: { answerAt(x: number, y: number): number | undefined } | undefined;

  const title = h("h3", { id: `update-lane-${slot}` });
  const rows = STAGES.map(() => ({ formula: h("div", { class: "formula" }), numbers: h("p", { class: "number" }) }));
  const items = rows.map(({ formula, numbers }, i) => h("li", {}, h("span", { class: "step-name" }, STAGES[i]!), formula, numbers));
  // A number lights the term that it is the value of.
  const choose = ({ target }: Event) => {
    if (target instanceof HTMLButtonElement) light(target);
  };
  const list = h("ol", { onpointerover: choose, onfocusin: choose }, ...items);
  /** The number whose term is lit, by its row and its place there. */
  let lit: readonly [row: number, place: number] = [0, 0];
  const symbols = h("p", { class: "note" });
  const outcome = h("p", { class: "told" });
  const figure: Figure = createFigure({
    label: "",
    role: "application",
    height: heightFor,
    draw: (pen, theme) => {
      if (shown) layout = (shown.scene.stage % 3 === 0 ? drawMap : drawBars)(pen, theme, shown);
    },
    onPointer({ type, x, y }) {
      if (type !== "down") return;
      const answer = layout?.answerAt(x, y);
      if (shown?.list.some((d) => d.answer === answer)) pick(answer!);
    },
    onKey({ key }) {
      if (!shown) return false;
      const last = shown.list.length - 1;
      const to = { ArrowLeft: shown.at - 1, ArrowRight: shown.at + 1, Home: 0, End: last }[key];
      if (to === undefined) return false;
      pick(shown.list[Math.min(last, Math.max(0, to))]!.answer);
      return true;
    },
  });
  const element = h("article", { class: "card update-lane", "aria-labelledby": title.id }, title, list, outcome, figure.element, symbols);

  /** Lights the term of one number, and of no other. */
  function light(number: Element | undefined): void {
    rows.forEach(({ formula, numbers }, row) =>
      [...numbers.children].forEach((each, place) => {
        if (each === number) lit = [row, place];
        each.ariaPressed = String(each === number);
        formula.querySelector(`.term-${(each as HTMLButtonElement).value}`)!.ariaCurrent = each === number ? "true" : null;
      }),
    );
  }

  return {
    element,
    light(share) {
      const { children } = rows[shown?.scene.stage ?? 0]!.numbers;
      light(children[Math.floor(share * children.length)]);
    },
    show(kind, update, scene) {
      const method = METHODS[kind];
      if (shown?.kind !== kind || shown.scene.stage !== scene.stage) lit = [scene.stage, 0];
      if (shown?.kind !== kind) {
        title.textContent = LANES[kind].name;
        element.style.setProperty("--lane", `var(--lane-${kind})`);
        [["draw"], method.judgement, [method.push], ["move"]].forEach((pieces, i) => {
          rows[i]!.formula.replaceChildren(...pieces.map((piece) => formula(`update-${piece}`)));
        });
        items[1]!.firstElementChild!.textContent = method.residual ? "Residual" : "Advantage";
        symbols.textContent = text(`symbols-${kind}`);
      }
      const answers = drawn(update);
      const at = answers.findIndex(({ answer }) => answer === scene.picked);
      shown = { kind, update, scene, list: answers, at };
      const picked = answers[at];
      const focused = list.contains(document.activeElement);
      items.forEach((item, i) => {
        item.toggleAttribute("data-lit", i === scene.stage);
        if (i === scene.stage) item.setAttribute("aria-current", "step");
        else item.removeAttribute("aria-current");
        const line = picked ? numbersOf(kind, update, i, picked, scene) : i === 0 ? ["the framed answer was not drawn here"] : [];
        rows[i]!.numbers.replaceChildren(...(i <= scene.stage ? line.map(written) : []));
      });
      const number = rows[lit[0]]!.numbers.children[lit[1]];
      light(number);
      if (focused) (number as HTMLElement | undefined)?.focus();
      const said = told(kind, update, scene.stage, answers, picked);
      outcome.textContent = said;
      figure.setLabel(`${LANES[kind].name}: ${CAPTIONS[scene.stage]}. Left and right arrows choose an answer.`);
      figure.setSummary(`${said} ${picked ? plain(numbersOf(kind, update, scene.stage, picked, scene)) : ""}`);
      figure.invalidate();
    },
  };
}

/** A part of a line; a number can be reached, to light its term. */
const written = (part: string | Value) =>
  typeof part === "string"
    ? part
    : h("button", { type: "button", class: "term", value: part[0], "aria-label": `${text(`term-${part[0]}`)}: ${part[1]}` }, part[1]);

const CAPTIONS = ["map of the policy and its batch", "how each answer is judged", "how each answer is pushed", "map of the change of the policy"];

type Shown = { kind: LaneKind; update: Update; scene: Scene; list: Drawn[]; at: number };

/** The policy with its batch, or how it changed. */
function drawMap(pen: Pen, theme: Theme, { update, scene }: Shown) {
  const size = Math.min(pen.width, MOST);
  const left = Math.round((pen.width - size) / 2);
  const moved = scene.stage === 3;
  const values = moved ? update.after.map((p, i) => p - update.before[i]!) : update.before;
  const max = moved ? scene.most : largest(values);
  const map = heatMap(
    pen,
    { x: left, y: 0, width: size, height: size },
    {
      values,
      max,
      difference: moved,
      peaks: { cells: scene.peaks, covered: [] },
      cursor: scene.picked,
      ...(!moved && { samples: { cells: update.objects } }),
    },
    theme,
  );
  const label = moved ? "change of π: less likely, more likely" : "π, the policy";
  legendBar(pen, { x: left, y: size + 8, width: size, height: LEGEND }, { max, difference: moved, label }, theme);
  return { answerAt: (x: number, y: number) => map.cellAt(x, y) };
}

/** A bar for each answer drawn, from the lowest reward to the highest. */
function drawBars(pen: Pen, theme: Theme, { kind, update, scene, list, at }: Shown) {
  const pushes = scene.stage === 2;
  const { residual } = METHODS[kind];
  const values = list.map(({ index }) => (pushes ? update.pushes[index]! : judged(kind, update, index)));
  const [likelier, lessLikely] = [colourAt(theme.difference, 0.8), colourAt(theme.difference, 0.2)];
  // A residual above zero pushes down.
  const turned = residual && !pushes;
  const [above, below] = pushes
    ? ["made likelier ↑", "made less likely ↓"]
    : turned
      ? ["too likely ↓", "not likely enough ↑"]
      : ["better than expected ↑", "worse than expected ↓"];
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const pad = 0.1 * (high - low || 1);
  const [top, bottom] = [22, pen.height - 34];
  const scale = makeScale("linear", [low - (low < 0 ? pad : 0), high + (low < 0 ? pad : 2 * pad)], [bottom, top]);
  const ticks = scale.ticks(5);
  const marks = scale.labels(ticks);
  const small: TextStyle = { fill: theme.muted, size: 11 };
  const left = Math.max(...marks.map((mark) => pen.measure(mark, small))) + 8;
  const step = Math.min(48, (pen.width - left) / list.length);
  const right = left + step * list.length;

  ticks.forEach((tick, i) => {
    const y = Math.round(scale.toPixel(tick)) + 0.5;
    pen.path([left, y, pen.width, y], { stroke: tick === 0 ? theme.muted : theme.line });
    pen.text(left - 6, y, marks[i]!, { ...small, anchor: "end", baseline: "middle" });
  });
  if (at >= 0) pen.rect({ x: left + at * step, y: top, width: step, height: bottom - top }, { fill: theme.accent, alpha: 0.14 }, 3);
  const zero = scale.toPixel(0);
  values.forEach((value, i) => {
    const end = scale.toPixel(value);
    const box = { x: left + (i + 0.12) * step, y: Math.min(zero, end), width: 0.76 * step, height: Math.max(1, Math.abs(end - zero)) };
    pen.rect(box, { fill: value > 0 === turned ? lessLikely : likelier });
  });

  const strong: TextStyle = { fill: theme.ink, size: 12, weight: 600, halo: theme.card };
  if (high > 0) pen.text(left + 4, top + 2, above, { ...strong, baseline: "top" });
  if (low < 0) pen.text(pen.width - 2, bottom - 4, below, { ...strong, anchor: "end", baseline: "bottom" });
  pen.text(0, 2, pushes ? "push" : residual ? "residual δ" : "advantage A", { ...small, baseline: "top", weight: 500 });
  const reward = (i: number) => decimals(update.rewards[list.at(i)!.index]!, 2);
  const under = { ...small, baseline: "top" } as const;
  pen.text(left, bottom + 5, reward(0), under);
  if (list.length > 2) pen.text(right, bottom + 5, reward(-1), { ...under, anchor: "end" });
  pen.text(left, bottom + 19, "reward of the answer →", under);
  return { answerAt: (x: number, y: number) => (y < bottom ? list[Math.floor((x - left) / step)]?.answer : undefined) };
}
