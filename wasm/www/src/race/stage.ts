import type { PanelContext } from "../panels/panel";
import { button } from "../ui/dom";

/** The race: target, lanes, transport, metrics. */
export function mountStage(root: HTMLElement, { engine }: PanelContext, _restart: () => void): void {
  root.append(button("Play", () => engine.play()));
}
