import { mountCollapse } from "./fails/collapse";
import { mountOutcome } from "./fails/outcome";
import { followSetups } from "./links";
import type { Mount } from "./panel";

/** When it fails: setups with what comes of each, and a network that collapses as one looks. */
export const mount: Mount = (body, context) => {
  const figures = [...body.querySelectorAll<HTMLElement>(".outcome")];
  const ends = figures.map((figure) => mountOutcome(figure, context.wasm));
  const live = body.querySelector<HTMLElement>("#collapse .live");
  if (live) ends.push(mountCollapse(live, context));
  ends.push(followSetups(body, context));
  return () => ends.forEach((end) => end());
};
