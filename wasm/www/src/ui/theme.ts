import { createStore } from "../store";

export type ThemeName = "light" | "dark";

/** Light or dark, as chosen here or else by the system. */
export const theme = createStore<ThemeName>("light");

const KEY = "flowrl-theme";

/** What was chosen last; storage may be forbidden. */
function remembered(): ThemeName | null {
  try {
    const name = localStorage.getItem(KEY);
    return name === "light" || name === "dark" ? name : null;
  } catch {
    return null;
  }
}

/** Puts the theme on the page and keeps it there. */
export function startTheme(): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const system = (): ThemeName => (dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme.set(remembered() ?? system()));
  theme.subscribe((name) => (document.documentElement.dataset["theme"] = name));
  theme.set(remembered() ?? system());
  document.documentElement.dataset["theme"] = theme.get();
}

/** Light to dark and back; remembered. */
export function toggleTheme(): void {
  theme.set(theme.get() === "dark" ? "light" : "dark");
  try {
    localStorage.setItem(KEY, theme.get());
  } catch {
    // It holds for this visit then.
  }
}
