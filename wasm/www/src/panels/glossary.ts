import { byId } from "../ui/dom";
import { followSetups } from "./links";
import type { Mount } from "./panel";

/** The glossary: its words stand in index.html; here they are filtered, and its links are followed. */
export const mount: Mount = (body, context) => {
  const terms = [...body.querySelectorAll<HTMLElement>(".terms > div")];
  const box = byId<HTMLInputElement>("glossary-find");
  box.oninput = () => {
    const words = box.value.toLowerCase().split(/\s+/);
    for (const term of terms) {
      const text = (term.textContent ?? "").toLowerCase();
      term.hidden = !words.every((word) => text.includes(word));
    }
    const left = terms.filter((term) => !term.hidden).length;
    byId("glossary-count").textContent = left === terms.length ? "" : `${left} of ${terms.length}`;
  };
  followSetups(body, context);
};
