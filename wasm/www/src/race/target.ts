import type { PresetName } from "flowrl_wasm";
import { type GridLayout, createFigure, heatMap, legendBar } from "../charts";
import type { PanelContext } from "../panels/panel";
import { type Drawing, PRESETS, SIDE } from "../state";
import type { Store } from "../store";
import { byId, radios } from "../ui/dom";
import { decimals, percent } from "../ui/format";
import type { Aim } from "./aim";
import { type Layer, type Tool, between, isDrawing, paint, shadesOf } from "./brush";
import { mountPresets } from "./presets";
import { cell } from "./view";

type Face = "target" | Layer;

/** What a drawing was before a stroke. */
interface Past {
  readonly preset: PresetName;
  readonly drawing: Drawing | null;
}

/** The landscape: the target, the reward, the reference; the latter two can be drawn. */
export function mountTarget(context: PanelContext, aim: Store<Aim>): void {
  const { settings, landscape, announce } = context;
  let face: Face = "target";
  let drawing = false;
  let layout: GridLayout | null = null;
  let tool: Tool = "raise";
  let at = -1;
  const [undone, done]: [Past[], Past[]] = [[], []];

  const valuesOf = (aimed: Aim) => (face === "target" ? aimed.probabilities : aimed.terrain[face]);
  const label = () => ({ target: "Target: probability of every answer", rewards: "Reward of every answer", reference: "Reference policy" })[face];
  const figure = createFigure({
    label: label(),
    height: (width) => width + 36,
    captureTouch: true,
    role: "application",
    draw(pen, theme) {
      const aimed = aim.get();
      const box = { x: 0, y: 0, width: pen.width, height: pen.width };
      const peaks = { cells: [...aimed.terrain.peaks] };
      const look = face === "target" ? {} : face === "rewards" ? { map: theme.reward, gamma: 1, max: 1 } : { gamma: 1 };
      const values = valuesOf(aimed);
      const cursor = drawing && at >= 0 ? at : cell.get();
      layout = heatMap(pen, box, { values, peaks, cursor, ...look }, theme);
      const max = face === "rewards" ? 1 : values.reduce((most, v) => Math.max(most, v), 0);
      const unit = face === "rewards" ? "reward" : "probability";
      legendBar(pen, { x: 0, y: pen.width + 6, width: pen.width, height: 30 }, { max, label: unit, ...look }, theme);
    },
    onPointer({ type, x, y, pressed, event }) {
      const here = layout?.cellAt(x, y) ?? -1;
      if (!drawing) {
        cell.set(type === "leave" || event.pointerType === "touch" ? -1 : here);
        return;
      }
      if (type === "down" && here >= 0) {
        remember();
        stroke([here]);
      } else if (pressed && here >= 0 && here !== at) stroke(at >= 0 ? between(at, here) : [here]);
      at = type === "up" || type === "leave" ? -1 : here;
      figure.invalidate();
    },
    onKey,
  });

  function onKey({ key, ctrlKey, metaKey, shiftKey }: KeyboardEvent): boolean {
    if ((ctrlKey || metaKey) && key.toLowerCase() === "z") return shiftKey ? redo() : undo();
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -SIDE, ArrowDown: SIDE }[key];
    const from = drawing ? at : cell.get();
    if (by !== undefined) {
      const start = from < 0 ? (SIDE / 2) * SIDE + SIDE / 2 : from;
      const column = (start % SIDE) + (Math.abs(by) === 1 ? by : 0);
      const next = start + by;
      const to = next < 0 || next >= SIDE * SIDE || column < 0 || column >= SIDE ? start : next;
      at = to;
      cell.set(to);
      figure.invalidate();
      announce(`Row ${Math.floor(to / SIDE) + 1}, column ${(to % SIDE) + 1}: ${spoken(to)}`);
      return true;
    }
    if (!drawing) return false;
    const nudge = ({ "+": "raise", "=": "raise", "-": "lower" } as const)[key];
    if ((nudge || key === " " || key === "Enter") && at >= 0) {
      remember();
      if (nudge) stroke([at], nudge, 0, 0.1);
      else stroke([at]);
      announce(`${decimals(aim.get().terrain[layer()][at] ?? 0, 2)}`);
      return true;
    }
    if (key === "Escape") {
      setDrawing(false);
      pen.focus();
      return true;
    }
    return false;
  }

  const spoken = (i: number) => {
    const { terrain, probabilities } = aim.get();
    return `reward ${decimals(terrain.rewards[i] ?? 0, 2)}, reference ${percent(terrain.reference[i] ?? 0, 2)}, target ${percent(probabilities[i] ?? 0, 2)}`;
  };
  const layer = (): Layer => (face === "reference" ? "reference" : "rewards");
  const current = (): Past => ({ preset: settings.get().preset, drawing: settings.get().drawing });
  const shades = () => settings.get().drawing ?? shadesOf(landscape.get().rewards, landscape.get().reference);
  const remember = () => {
    done.push(current());
    if (done.length > 100) done.shift();
    undone.length = 0;
    buttons();
  };
  const travel = (from: Past[], to: Past[]) => {
    const past = from.pop();
    if (!past) return false;
    to.push(current());
    settings.patch(past);
    buttons();
    return true;
  };
  const undo = () => travel(done, undone);
  const redo = () => travel(undone, done);
  const stroke = (cells: readonly number[], touch = tool, radius = Number(size.value), strength = 0.12) => {
    const from = shades();
    const next = cells.reduce((field, i) => paint(field, i, touch, radius, strength), from[layer()]);
    const changed = { ...from, [layer()]: next };
    if (isDrawing(changed)) settings.patch({ drawing: changed });
  };

  const turn = (chosen: Face) => {
    face = chosen;
    chooseFace(face);
    if (face === "target" && drawing) setDrawing(false);
    figure.setLabel(label());
    figure.invalidate();
  };
  const chooseFace = radios<Face>("faces", turn);
  radios<Tool>("draw-tools", (chosen) => (tool = chosen));
  const pen = byId("draw");
  const size = byId<HTMLInputElement>("draw-size");
  const back = byId<HTMLButtonElement>("draw-undo");
  const forth = byId<HTMLButtonElement>("draw-redo");
  pen.onclick = () => setDrawing(!drawing);
  back.onclick = undo;
  forth.onclick = redo;
  const buttons = () => {
    back.disabled = done.length === 0;
    forth.disabled = undone.length === 0;
  };
  function setDrawing(on: boolean): void {
    drawing = on;
    pen.setAttribute("aria-pressed", String(on));
    pen.textContent = on ? "Done" : "Draw";
    byId("draw-kit").hidden = !on;
    at = -1;
    if (on && face === "target") turn("rewards");
    figure.canvas.classList.toggle("drawing", on);
    figure.canvas.style.touchAction = on ? "none" : "pan-y";
    if (on) figure.canvas.focus({ preventScroll: true });
    figure.invalidate();
  }
  figure.canvas.style.touchAction = "pan-y";
  byId("target-figure").append(figure.element);
  cell.subscribe((i) => {
    byId("target-where").textContent = i < 0 ? "Point at an answer to see its numbers." : spoken(i);
    figure.invalidate();
  }, true);
  aim.subscribe(({ effective, terrain }) => {
    figure.invalidate();
    figure.setSummary(`${terrain.peaks.length} peaks; the target spreads over about ${Math.round(effective)} answers.`);
  }, true);
  mountPresets(context, (name) => {
    remember();
    settings.patch({ preset: name, drawing: null });
    announce(`${PRESETS[name]}. The policies go on from where they are.`);
  });
}
