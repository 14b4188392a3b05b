import type { PanelContext } from "../panels/panel";
import { button } from "./dom";
import { theme, toggleTheme } from "./theme";

/** The buttons of the masthead. */
export function mountTools(root: HTMLElement, _context: PanelContext): void {
  const light = button("", toggleTheme, { class: "button icon" });
  theme.subscribe((name) => {
    light.textContent = name === "dark" ? "☀" : "☾";
    light.setAttribute("aria-label", name === "dark" ? "Light colours" : "Dark colours");
  }, true);
  root.append(light);
}
