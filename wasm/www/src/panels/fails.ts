import { mountCollapse } from "./fails/collapse";
import { mountOutcome } from "./fails/outcome";
import { followSetups } from "./links";
import type { Mount } from "./panel";

/** When it fails: setups with what comes of each, and a network that collapses as one looks. */
export const mount: Mount = (body, context) => {
  for (const figure of body.querySelectorAll<HTMLElement>(".outcome")) mountOutcome(figure);
  mountCollapse(context);
  followSetups(body, context);
};
