import type { PanelContext } from "../panels/panel";
import type { Store } from "../store";
import { byId } from "../ui/dom";
import { mountAdvanced } from "./advanced";
import { type Aim, createAim } from "./aim";
import { mountBeta } from "./beta";
import { mountLanes } from "./lanes";
import { mountMetrics } from "./metrics";
import { mountTarget } from "./target";
import { mountTransport } from "./transport";

/** The race: β, the target, the lanes, the transport, the metrics. Gives the target, exactly. */
export function mountStage(context: PanelContext, restart: () => void): Store<Aim> {
  const aim = createAim(context);
  byId("stage").hidden = false;
  mountBeta(context, aim);
  mountTarget(context, aim);
  mountLanes(context, aim);
  mountTransport(context, restart);
  mountMetrics(context, aim);
  mountAdvanced(context);
  const trouble = byId("trouble");
  context.engine.status.subscribe(({ error }) => {
    trouble.hidden = error === "";
    if (trouble.textContent !== error) trouble.textContent = error;
  });
  return aim;
}
