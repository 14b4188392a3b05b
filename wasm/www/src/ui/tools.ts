import { openExport } from "../export";
import type { PanelContext } from "../panels/panel";
import { startTour } from "../panels/tour";
import type { Aim } from "../race/aim";
import type { Store } from "../store";
import { button } from "./dom";
import { openTeacher } from "./teacher";
import { theme, toggleTheme } from "./theme";

/** The buttons of the masthead. */
export function mountTools(root: HTMLElement, context: PanelContext, aim: Store<Aim>): void {
  const tour = button("Tour", () => startTour(context), { "data-part": "tour" });
  const share = button("Share", () => openExport(context, aim), { "aria-haspopup": "dialog" });
  const teach = button("Teach", () => openTeacher(context), { "aria-haspopup": "dialog" });
  const light = button("", toggleTheme, { class: "button icon" });
  theme.subscribe((name) => {
    light.textContent = name === "dark" ? "☀" : "☾";
    light.setAttribute("aria-label", name === "dark" ? "Light colours" : "Dark colours");
  }, true);
  root.append(tour, share, teach, light);
}
