type Child = Node | string | null | undefined | false;

/** What an element is made with: attributes, or `on…` listeners; `false`, `null` and `undefined` leave one out. */
export type Props = Record<string, string | number | boolean | null | undefined | ((event: never) => void)>;

/** Makes an HTML element with attributes, listeners and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element with this id, which index.html has. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element #${id}`);
  return element as T;
}

/** Markup of our own, such as MathML made at build time, as nodes. */
export function fragment(markup: string): DocumentFragment {
  const template = document.createElement("template");
  template.innerHTML = markup;
  return template.content;
}

let made = 0;

/** An id that no other element has. */
export const uniqueId = (prefix: string): string => `${prefix}-${++made}`;

/** A button with a text. */
export function button(text: string, onclick: () => void, props: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "button", onclick, ...props }, text);
}

/** A labelled control with a place for its value: `.field`. */
export function field(label: string, control: HTMLElement, output?: HTMLElement): HTMLElement {
  control.id ||= uniqueId("field");
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, output);
}

/** One choice of several as a row of buttons: a radio group. Gives the element and a function that sets the choice. */
export function segmented<T extends string>(
  legend: string,
  choices: readonly (readonly [T, string])[],
  chosen: T,
  onchoose: (value: T) => void,
): { element: HTMLFieldSetElement; choose(value: T): void } {
  const name = uniqueId("choice");
  const inputs = choices.map(([value]) =>
    h("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onchoose(value) }),
  );
  const element = h(
    "fieldset",
    { class: "segmented" },
    h("legend", {}, legend),
    ...choices.map(([, text], i) => h("label", {}, inputs[i], h("span", {}, text))),
  );
  const choose = (value: T) => {
    for (const input of inputs) input.checked = input.value === value;
  };
  return { element, choose };
}

/** A drop-down list. */
export function select<T extends string>(
  choices: readonly (readonly [T, string])[],
  chosen: T,
  onchoose: (value: T) => void,
): HTMLSelectElement {
  const element: HTMLSelectElement = h(
    "select",
    { onchange: () => onchoose(element.value as T) },
    ...choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
  return element;
}
