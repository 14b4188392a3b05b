import type { PanelContext } from "../panels/panel";
import type { Aim } from "../race/aim";
import type { Store } from "../store";
import { button } from "./dom";
import { theme, toggleTheme } from "./theme";

/** The buttons of the masthead. */
export function mountTools(root: HTMLElement, context: PanelContext, aim: Store<Aim>): void {
  const share = button("Share", () => void import("../export").then(({ openExport }) => openExport(context, aim)), { "aria-haspopup": "dialog" });
  const tour = button("Tour", () => void import("../panels/tour").then(({ startTour }) => startTour(context)), {
    "data-part": "tour",
  });
  const teach = button("Teach", () => void import("./teacher").then(({ openTeacher }) => openTeacher(context)), {
    "aria-haspopup": "dialog",
  });
  const light = button("", toggleTheme, { class: "button icon" });
  theme.subscribe((name) => {
    light.textContent = name === "dark" ? "☀" : "☾";
    light.setAttribute("aria-label", name === "dark" ? "Light colours" : "Dark colours");
  }, true);
  root.append(tour, share, teach, light);
}
