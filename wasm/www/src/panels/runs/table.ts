import { formatNumber, nearest } from "../../charts";
import { rangeOf } from "../../charts/domain";
import { button, byId, h, laneMark } from "../../ui/dom";
import { whole } from "../../ui/format";
import type { Line, Shown } from "./lines";

/** The numbers of the runs below the chart. */
export interface RunTable {
  /** Lists the runs with their values of a metric. */
  list(lines: readonly Line[]): void;
  /** Says what each line has near a step; nothing if undefined. */
  at(step: number | undefined): void;
}

/** Makes the table; `renamed` and `removed` hear what the reader does in it. */
export function createTable(
  renamed: (run: Shown, name: string) => void,
  removed: (run: Shown) => void,
): RunTable {
  const rows = byId("runs-rows");
  let shown: readonly Line[] = [];

  const row = ({ run, y }: Line, i: number) => {
    const { min, max } = rangeOf([y]);
    const values = y.length > 0 ? [y[0], min, max, y.at(-1)] : [NaN, NaN, NaN, NaN];
    const name = h("input", {
      type: "text",
      value: run.name,
      "aria-label": `Name of run ${i + 1}`,
      onchange: () => renamed(run, name.value.trim() || run.name),
    });
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, h("div", { class: "run" }, laneMark(run.look, String(i + 1)), name)),
      ...values.map((value) => h("td", {}, formatNumber(value ?? NaN))),
      h("td", { class: "at" }),
      h(
        "td",
        {},
        button("Remove", () => removed(run), { "aria-label": `Remove ${run.name}` }),
      ),
    );
  };
  const at = (step: number | undefined) => {
    byId("runs-place").textContent = step === undefined ? "At the cursor" : `Near step ${whole(step)}`;
    shown.forEach(({ x, y }, i) => {
      const cell = rows.children[i]?.querySelector(".at");
      if (cell) cell.textContent = step === undefined ? "–" : formatNumber(y[nearest(x, step)] ?? NaN);
    });
  };
  return {
    list(lines) {
      shown = lines;
      rows.replaceChildren(...lines.map(row));
    },
    at,
  };
}
