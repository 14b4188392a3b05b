import { decode } from "../state";
import type { PanelContext } from "./panel";

/** Lets links to setups inside `root` load them into the race; what a teacher has hidden stays hidden. */
export function followSetups(root: HTMLElement, { go, settings }: PanelContext): void {
  root.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest('a[href^="#v="]') : null;
    // A click with a key held opens a tab: there the link speaks for itself.
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ ...decode(link.getAttribute("href") ?? ""), hidden: settings.get().hidden });
  });
}
