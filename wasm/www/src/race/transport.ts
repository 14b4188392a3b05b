import type { PanelContext } from "../panels/panel";
import type { Speed } from "../state";
import { button, h, select } from "../ui/dom";
import { whole } from "../ui/format";

/** Play, step, speed, and a way back in time. */
export function mountTransport({ engine, settings, announce }: PanelContext, restart: () => void): HTMLElement {
  const play = button("Pause", () => (engine.status.get().playing ? engine.pause() : engine.play()), {
    class: "button primary play",
    "aria-keyshortcuts": "k",
  });
  const step = button("Step", () => engine.step(), { title: "One update", "aria-keyshortcuts": "." });
  const again = button("Restart", () => {
    restart();
    announce("Restarted at step 0.");
  });
  const speeds: readonly (readonly [string, string])[] = [["10", "10/s"], ["60", "60/s"], ["300", "300/s"], ["0", "max"]];
  const speed = select(speeds, String(settings.get().speed), (value) => settings.patch({ speed: Number(value) as Speed }));
  speed.id = "speed";
  speed.setAttribute("aria-label", "Updates a second");
  const counter = h("output", { class: "number step-count" });
  const rate = h("span", { class: "note number" });

  const scrub = h("input", {
    type: "range",
    id: "scrub",
    "aria-label": "Time: back to an earlier step",
    min: 0,
    max: 0,
    step: 1,
    oninput: () => {
      const { snapshots } = engine.status.get();
      const at = snapshots[Number(scrub.value)];
      const latest = Number(scrub.value) === snapshots.length - 1;
      if (at !== undefined) engine.show(latest ? null : at);
    },
  });
  const now = button("Back to now", () => engine.show(null));
  const fork = button("Go on from here", () => {
    const { shown } = engine.status.get();
    if (shown === null) return;
    void engine.fork(shown).then((found) => {
      announce(`Went back to step ${found}; what came after it is gone.`);
      engine.play();
    });
  });
  const past = h("div", { class: "controls past" }, now, fork);
  engine.status.subscribe(({ playing, step: at, shown, snapshots, rate: lately, ready }) => {
    play.textContent = playing ? "Pause" : "Play";
    play.disabled = !ready;
    counter.textContent = whole(shown ?? at);
    rate.textContent = playing && lately > 0 ? `${whole(lately)}/s` : "";
    scrub.max = String(Math.max(0, snapshots.length - 1));
    const place = shown === null ? snapshots.length - 1 : snapshots.findLastIndex((s) => s <= shown);
    scrub.value = String(Math.max(0, place));
    scrub.setAttribute("aria-valuetext", shown === null ? `now, step ${at}` : `step ${shown} of ${at}`);
    past.hidden = shown === null;
  }, true);
  settings.subscribe(({ speed: chosen }) => (speed.value = String(chosen)));

  addEventListener("keydown", (event) => {
    const { target } = event;
    const typing = target instanceof Element && target.closest("input, select, textarea, [role=application], dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "k") play.click();
    else if (event.key === ".") step.click();
    else return;
    event.preventDefault();
  });
  return h(
    "div",
    { class: "card transport" },
    h("div", { class: "controls" }, play, step, again),
    h("p", { class: "step" }, "Step ", counter, rate),
    h("div", { class: "time" }, h("label", { for: "scrub", class: "note" }, "Time"), scrub),
    past,
    h("div", { class: "speed" }, h("label", { for: "speed", class: "note" }, "Updates"), speed),
  );
}
