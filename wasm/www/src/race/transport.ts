import type { PanelContext } from "../panels/panel";
import type { Speed } from "../state";
import { byId } from "../ui/dom";
import { whole } from "../ui/format";

/** Play, step, speed, and a way back in time. */
export function mountTransport({ engine, settings, announce }: PanelContext, restart: () => void): void {
  const play = byId<HTMLButtonElement>("play");
  const step = byId("step");
  const scrub = byId<HTMLInputElement>("scrub");
  const speed = byId<HTMLSelectElement>("speed");
  play.onclick = () => (engine.status.get().playing ? engine.pause() : engine.play());
  step.onclick = () => engine.step();
  byId("restart").onclick = () => {
    restart();
    announce("Restarted at step 0.");
  };
  speed.onchange = () => settings.patch({ speed: Number(speed.value) as Speed });
  scrub.oninput = () => {
    const { snapshots } = engine.status.get();
    const at = snapshots[Number(scrub.value)];
    const latest = Number(scrub.value) === snapshots.length - 1;
    if (at !== undefined) engine.show(latest ? null : at);
  };
  byId("past-now").onclick = () => engine.show(null);
  byId("past-fork").onclick = async () => {
    const { shown } = engine.status.get();
    if (shown === null) return;
    announce(`Went back to step ${await engine.fork(shown)}; what came after it is gone.`);
    engine.play();
  };
  engine.status.subscribe(({ playing, step: at, shown, snapshots, rate, ready }) => {
    play.textContent = playing ? "Pause" : "Play";
    play.disabled = !ready;
    byId("step-count").textContent = whole(shown ?? at);
    byId("rate").textContent = playing && rate > 0 ? `${whole(rate)}/s` : "";
    scrub.max = String(Math.max(0, snapshots.length - 1));
    const place = shown === null ? snapshots.length - 1 : snapshots.findLastIndex((s) => s <= shown);
    scrub.value = String(Math.max(0, place));
    scrub.setAttribute("aria-valuetext", shown === null ? `now, step ${at}` : `step ${shown} of ${at}`);
    byId("past").hidden = shown === null;
  }, true);
  settings.subscribe((now) => (speed.value = String(now.speed)), true);

  addEventListener("keydown", (event) => {
    const { target } = event;
    const typing = target instanceof Element && target.closest("input, select, textarea, [role=application], dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "k") play.click();
    else if (event.key === ".") step.click();
    else return;
    event.preventDefault();
  });
}
