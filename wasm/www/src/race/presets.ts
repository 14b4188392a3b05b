import { Landscape, type PresetName } from "flowrl_wasm";
import { canvasPen, heatMap, readTheme, watchTheme } from "../charts";
import type { PanelContext } from "../panels/panel";
import { PRESETS, SIDE } from "../state";
import { byId, h } from "../ui/dom";

/** Side of a thumbnail in pixels. */
const SIZE = 48;

/** Ready-made landscapes as small pictures. */
export function mountPresets({ settings }: PanelContext, choose: (name: PresetName) => void): void {
  const names = Object.keys(PRESETS) as PresetName[];
  const canvases = new Map<PresetName, HTMLCanvasElement>();
  const buttons = names.map((name) => {
    const canvas = h("canvas", { width: 2 * SIZE, height: 2 * SIZE, "aria-hidden": "true" });
    canvases.set(name, canvas);
    return h("button", { type: "button", class: "preset", "data-preset": name, onclick: () => choose(name) }, canvas, h("span", {}, PRESETS[name]));
  });
  byId("presets").append(...buttons);
  const draw = () => {
    const theme = readTheme(document.documentElement);
    for (const [name, canvas] of canvases) {
      const context = canvas.getContext("2d");
      if (!context) continue;
      const landscape = Landscape.preset(name, SIDE, settings.get().seed);
      const pen = canvasPen(context, { width: SIZE, height: SIZE, ratio: 2 });
      heatMap(pen, { x: 0, y: 0, width: SIZE, height: SIZE }, { values: landscape.rewards(), gamma: 1, max: 1, map: theme.reward }, theme);
      landscape.free();
    }
  };
  draw();
  watchTheme(draw);
  settings.subscribe((now, before) => {
    if (now.seed !== before.seed) draw();
  });
  settings.subscribe(({ preset, drawing }) => {
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(!drawing && button.dataset["preset"] === preset));
    }
  }, true);
}
