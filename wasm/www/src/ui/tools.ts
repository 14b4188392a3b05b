import { mountExport } from "../export";
import type { PanelContext } from "../panels/panel";
import { mountTour } from "../panels/tour";
import type { Aim } from "../race/aim";
import type { Store } from "../store";
import { byId } from "./dom";
import { mountTeacher } from "./teacher";
import { theme, toggleTheme } from "./theme";

/** The buttons of the masthead, with what they open. */
export function mountTools(context: PanelContext, aim: Store<Aim>): void {
  byId("tools-tour").onclick = mountTour(context);
  byId("tools-share").onclick = mountExport(context, aim);
  byId("tools-teach").onclick = mountTeacher(context);
  const light = byId("tools-theme");
  light.onclick = toggleTheme;
  theme.subscribe((name) => {
    light.textContent = name === "dark" ? "☀" : "☾";
    light.setAttribute("aria-label", name === "dark" ? "Light colours" : "Dark colours");
  }, true);
  byId("tools").hidden = false;
}
