import type { PanelContext } from "../panels/panel";
import type { Store } from "../store";
import { h } from "../ui/dom";
import { mountAdvanced } from "./advanced";
import { type Aim, createAim } from "./aim";
import { mountBeta } from "./beta";
import { mountLanes } from "./lanes";
import { mountMetrics } from "./metrics";
import { mountTarget } from "./target";
import { mountTransport } from "./transport";

/** The race: β, the target, the lanes, the transport, the metrics. Gives the target, exactly. */
export function mountStage(root: HTMLElement, context: PanelContext, restart: () => void): Store<Aim> {
  const aim = createAim(context);
  const target = mountTarget(context, aim);
  const lanes = mountLanes(context, aim);
  const metrics = mountMetrics(context, aim);
  const trouble = h("p", { class: "card trouble", role: "alert", hidden: true });
  context.engine.status.subscribe(({ error }) => {
    trouble.hidden = error === "";
    if (trouble.textContent !== error) trouble.textContent = error;
  });
  root.append(
    mountBeta(context, aim),
    trouble,
    h("div", { class: "field-of-play" }, target.element, lanes.element),
    mountTransport(context, restart),
    metrics.element,
    mountAdvanced(context),
  );
  return aim;
}
