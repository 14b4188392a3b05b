import { h } from "../ui/dom";
import type { Mount } from "./panel";

/** Replaced soon. */
export const mount: Mount = (body) => {
  const text = h("p", {}, "…");
  body.append(text);
  return () => text.remove();
};
