import { byId } from "./dom";

let pending = "";
let timer = 0;

/** Says something to screen readers, at most every two seconds; of several texts in between the last is said. */
export function announce(text: string): void {
  pending = text;
  if (timer) return;
  const say = () => {
    if (pending) byId("announcer").textContent = pending;
    timer = pending ? window.setTimeout(say, 2000) : 0;
    pending = "";
  };
  say();
}
