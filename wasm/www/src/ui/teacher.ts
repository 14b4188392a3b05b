import type { PanelContext } from "../panels/panel";
import { PARTS, type Part, encode } from "../state";
import { button, field, h } from "./dom";
import { text } from "./texts";

const NAMES: Readonly<Record<Part, string>> = {
  lanes: "Policies side by side",
  advanced: "Methods and settings",
  draw: "Drawing",
  metrics: "Metrics",
  update: "Inside one update",
  gradient: "Gradient bench",
  tree: "Token tree",
  map: "β map",
  fails: "When it fails",
  runs: "Your own run",
  tour: "Tour",
  glossary: "Glossary",
};

/** Opens a dialog that makes a link to the page as it is now, without the parts that are not chosen. */
export function openTeacher({ settings, announce }: PanelContext): void {
  const boxes = PARTS.map(
    (part) =>
      [
        part,
        h("input", {
          type: "checkbox",
          checked: !settings.get().hidden.includes(part),
          onchange: () => show(),
        }),
      ] as const,
  );
  const hidden = () => boxes.filter(([, box]) => !box.checked).map(([part]) => part);
  const address = h("input", { type: "text", readonly: true, onfocus: () => address.select() });
  const visit = h("a", { class: "button", target: "_blank", rel: "noopener" }, "Open in a new tab");
  const show = () => {
    const link = new URL(`#${encode({ ...settings.get(), hidden: hidden() })}`, location.href).href;
    address.value = link;
    visit.href = link;
    copied.textContent = "";
  };
  const copied = h("p", { class: "note", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(address.value);
      copied.textContent = "Copied.";
    } catch {
      address.select();
      copied.textContent = text("teacher-by-hand");
    }
  };
  const dialog = h(
    "dialog",
    { class: "teacher", "aria-labelledby": "teacher-title", onclose: () => dialog.remove() },
    h("h2", { id: "teacher-title" }, "For teaching"),
    h(
      "p",
      { class: "note" },
      text("teacher-about"),
    ),
    h(
      "fieldset",
      {},
      h("legend", {}, "Show"),
      ...boxes.map(([part, box]) => h("label", {}, box, NAMES[part])),
    ),
    field("Link", address),
    h(
      "div",
      { class: "controls" },
      button("Copy the link", () => void copy(), { class: "button primary" }),
      visit,
      button("Apply here", () => {
        settings.patch({ hidden: hidden() });
        announce(`${hidden().length} parts hidden.`);
        dialog.close();
      }),
      button("Close", () => dialog.close()),
    ),
    copied,
  );
  document.body.append(dialog);
  show();
  dialog.showModal();
}
