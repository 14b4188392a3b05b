import type { PanelContext } from "../panels/panel";
import { type Part, encode } from "../state";
import { byId } from "./dom";
import { text } from "./texts";

/** The dialog that makes a link to the page as it is, without the parts that are not chosen. Gives a function that opens it. */
export function mountTeacher({ settings, announce }: PanelContext): () => void {
  const dialog = byId<HTMLDialogElement>("teacher");
  const parts = byId("teacher-parts");
  const boxes = [...parts.querySelectorAll("input")];
  const address = byId<HTMLInputElement>("teacher-link");
  const copied = byId("teacher-copied");
  const hidden = () => boxes.filter((box) => !box.checked).map((box) => box.value as Part);
  const show = () => {
    const link = new URL(`#${encode({ ...settings.get(), hidden: hidden() })}`, location.href).href;
    byId<HTMLAnchorElement>("teacher-visit").href = address.value = link;
    copied.textContent = "";
  };
  parts.onchange = show;
  address.onfocus = () => address.select();
  byId("teacher-copy").onclick = async () => {
    try {
      await navigator.clipboard.writeText(address.value);
      copied.textContent = "Copied.";
    } catch {
      address.select();
      copied.textContent = text("teacher-by-hand");
    }
  };
  byId("teacher-apply").onclick = () => {
    settings.patch({ hidden: hidden() });
    announce(`${hidden().length} parts hidden.`);
    dialog.close();
  };
  byId("teacher-close").onclick = () => dialog.close();
  return () => {
    for (const box of boxes) box.checked = !settings.get().hidden.includes(box.value as Part);
    show();
    dialog.showModal();
  };
}
