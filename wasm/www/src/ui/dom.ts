import type { LaneKind } from "flowrl_wasm";
import { LANES } from "../lanes";

/** What an element is made with: attributes, or `on…` listeners; `true` and `false` are of attributes without a value. */
export type Props = Record<string, string | number | boolean | ((event: never) => void)>;

/** Makes an HTML element with attributes, listeners and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** The element with this id, which index.html has. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element #${id}`);
  return element as T;
}

/** The mark of a lane, which is told from the others by a letter as well as by its colour. */
export const laneMark = (kind: LaneKind, mark = LANES[kind].mark): HTMLElement =>
  h("span", { class: "mark", "data-lane": kind, "aria-hidden": "true" }, mark);

/** A button with a text. */
export function button(text: string, onclick: () => void, props: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "button", onclick, ...props }, text);
}

/** A radio group of index.html: tells what is chosen, and gives a function that sets it. */
export function radios<T extends string>(id: string, onchoose: (value: T) => void): (value: T) => void {
  const group = byId(id);
  group.onchange = ({ target }) => onchoose((target as HTMLInputElement).value as T);
  return (value) => {
    group.querySelector<HTMLInputElement>(`[value="${value}"]`)!.checked = true;
  };
}

/** Gives a drop-down list these choices, each a value with its text. */
export function fill(list: HTMLSelectElement, choices: readonly (readonly [string, string])[]): void {
  list.replaceChildren(...choices.map(([value, text]) => h("option", { value }, text)));
}
