import { LANE_DASHES, type LineLayout, createFigure, lineChart, nearest, whole as area } from "../charts";
import type { History } from "../engine/client";
import { LANES } from "../lanes";
import type { PanelContext } from "../panels/panel";
import { METRICS, type Metric } from "../state";
import type { Store } from "../store";
import { byId, fill, h, laneMark } from "../ui/dom";
import { distance, significant, whole } from "../ui/format";
import { metricAxis, metricRow } from "../ui/texts";
import type { Aim } from "./aim";
import { cursor, unseen } from "./view";

/** The dock of metrics: one chart of all lanes, with a cursor that shares its step with everything else. */
export function mountMetrics({ engine, settings }: PanelContext, aim: Store<Aim>): void {
  let layout: LineLayout | null = null;
  let ghost: History | null = null;
  let marks: { x: number; text: string }[] = [];
  const metric = () => settings.get().metric;

  const references = () => {
    const { entropy, logZ, expectedReward } = aim.get();
    const exact: Partial<Record<Metric, number>> = { entropy, log_z: logZ, expected_reward: expectedReward };
    const y = exact[metric()];
    return y === undefined ? [] : [{ y, text: "target" }];
  };
  const move = (to: number | null) => cursor.set(to);
  const figure = createFigure({
    label: "Metrics of all lanes over the steps",
    height: (width) => Math.round(Math.min(360, Math.max(220, width * 0.42))),
    draw(pen, theme) {
      const name = metric();
      const of = (history: History, faint: boolean) =>
        history.kinds.map((kind, lane) => ({
          name: LANES[kind].name,
          colour: theme.lanes[kind],
          dash: LANE_DASHES[kind],
          x: history.steps,
          y: history.of(lane, name),
          hidden: unseen.get().has(kind),
          ghost: faint,
        }));
      const at = cursor.get();
      layout = lineChart(
        pen,
        area(pen),
        {
          series: [...(ghost ? of(ghost, true) : []), ...of(engine.history.get(), false)],
          x: { label: "step" },
          y: metricAxis(name),
          marks,
          references: references(),
          ...(at !== null && { cursor: at }),
        },
        theme,
      );
    },
    onPointer({ type, x, y }) {
      if (type === "leave") move(null);
      else if (layout) move(layout.toData(x, y).x);
    },
    onKey({ key }) {
      const { steps } = engine.history.get();
      const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: 20, PageDown: -20, Home: -Infinity, End: Infinity }[key];
      if (by === undefined || steps.length === 0) return false;
      const from = cursor.get() === null ? steps.length - 1 : nearest(steps, cursor.get()!);
      move(steps[Math.min(steps.length - 1, Math.max(0, from + by))] ?? null);
      return true;
    },
  });

  byId("metric-figure").append(figure.element);
  const table = byId<HTMLTableElement>("metric-table");
  table.tHead!.rows[0]!.append(...METRICS.map((name) => h("th", { scope: "col" }, metricRow(name).text)));
  const tell = () => {
    const history = engine.history.get();
    const last = history.steps.length - 1;
    if (last < 0) return;
    const at = cursor.get();
    const i = at === null ? last : nearest(history.steps, at);
    table.caption!.textContent = `At step ${whole(history.steps[i] ?? 0)}, exact`;
    table.tBodies[0]!.replaceChildren(
      ...history.kinds.map((kind, lane) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, laneMark(kind), LANES[kind].name),
          ...METRICS.map((name) => {
            const value = history.of(lane, name)[i] ?? NaN;
            return h("td", {}, name === "modes_found" ? String(value) : distance(value));
          }),
        ),
      ),
    );
  };
  let filled = 0;
  const refresh = () => {
    figure.invalidate();
    const time = performance.now();
    if (time - filled < 250 && engine.status.get().playing) return;
    filled = time;
    tell();
  };
  engine.history.subscribe((now, before) => {
    // Fewer steps than before without a restart: time was turned back, and what was is kept as a shadow.
    const [steps, past] = [now.steps.at(-1) ?? 0, before.steps.at(-1) ?? 0];
    if (steps < past) {
      ghost = steps > 0 ? before : null;
      marks = marks.filter((mark) => mark.x <= steps);
    }
    refresh();
  });
  settings.subscribe((now, before) => {
    const { step } = engine.status.get();
    if (now.beta !== before.beta && step > 0) {
      const recent = marks.at(-1);
      if (recent && step - recent.x < 30) marks.pop();
      marks.push({ x: step, text: `β ${significant(now.beta, 3)}` });
    }
    choose(now.metric);
    refresh();
  });
  for (const store of [cursor, unseen, aim]) store.subscribe(() => {
    figure.invalidate();
    tell();
  });
  const chooser = byId<HTMLSelectElement>("metric");
  fill(chooser, METRICS.map((name) => [name, metricRow(name).text]));
  chooser.onchange = () => settings.patch({ metric: chooser.value as Metric });
  const choose = (name: Metric) => {
    byId("metric-about").textContent = metricRow(name).title;
    chooser.value = name;
  };
  choose(metric());
}
