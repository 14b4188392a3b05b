import { version } from "flowrl_wasm";
import { createEngine } from "./engine/client";
import { loadModule } from "./engine/module";
import { messageOf } from "./error";
import type { PanelContext } from "./panels/panel";
import { chapters } from "./panels";
import { mountStage } from "./race/stage";
import { ANSWERS, type Part, SIDE, decode, encode } from "./state";
import { createStore } from "./store";
import { terrainOf } from "./terrain";
import { announce } from "./ui/announce";
import { byId, h } from "./ui/dom";
import { mountTools } from "./ui/tools";
import { startTheme } from "./ui/theme";

/** Starts the page, or says why it cannot. */
export async function startPage(): Promise<void> {
  startTheme();
  await boot().catch((error: unknown) => {
    const why = messageOf(error);
    const text = `The page cannot start its engine: ${why}. It needs a browser with WebAssembly and SIMD, of 2024 or later.`;
    byId("stage").replaceChildren(h("p", { class: "card", role: "alert" }, text));
    byId("stage").hidden = false;
  });
}

async function boot(): Promise<void> {
  await loadModule();
  byId("version").textContent = `flowrl ${version()}`;
  const settings = createStore(decode(location.hash));
  const landscape = createStore(terrainOf(settings.get()));
  const engine = createEngine();

  const restart = () => {
    const { beta, seed, samples, learningRate, logZLearningRate, lanes, speed } = settings.get();
    engine.setSpeed(speed);
    engine.start({ ...landscape.get(), side: SIDE, beta, seed, samples, learningRate, logZLearningRate, lanes });
  };
  settings.subscribe((now, before) => {
    if (now.preset !== before.preset || now.drawing !== before.drawing || (now.seed !== before.seed && !now.drawing)) {
      landscape.set(terrainOf(now));
    }
    const fresh = (["lanes", "seed", "samples", "logZLearningRate"] as const).some((key) => now[key] !== before[key]);
    if (fresh) restart();
    else {
      if (now.beta !== before.beta) engine.setBeta(now.beta);
      if (now.learningRate !== before.learningRate) engine.setLearningRate(now.learningRate);
    }
    if (now.speed !== before.speed) engine.setSpeed(now.speed);
  });
  landscape.subscribe((terrain) => engine.setLandscape(terrain.rewards, terrain.reference));

  const context: PanelContext = {
    engine,
    settings,
    landscape,
    announce,
    go(change, stay = false) {
      settings.patch(change);
      restart();
      engine.play();
      if (!stay) byId("race").scrollIntoView();
    },
  };
  const aim = mountStage(context, restart);
  mountTools(context, aim);
  keepLink(settings);
  settings.subscribe(({ hidden }) => hideParts(hidden), true);
  restart();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) engine.play();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && engine.status.get().playing) {
      engine.pause();
      resume = true;
    } else if (!document.hidden && resume) {
      resume = false;
      engine.play();
    }
  });
  let resume = false;
  mountPanels(context);
  // For tests, and for the curious at the console.
  Object.assign(window, { flowrl: { engine, settings, landscape, answers: ANSWERS } });
}

/** The link in the address bar follows the settings, and the settings follow the link. */
function keepLink(settings: PanelContext["settings"]): void {
  let timer = 0;
  settings.subscribe(() => {
    clearTimeout(timer);
    timer = window.setTimeout(() => history.replaceState(null, "", `#${encode(settings.get())}`), 250);
  });
  addEventListener("hashchange", () => {
    // Links to chapters are no settings.
    if (location.hash.includes("v=")) settings.set(decode(location.hash));
  });
}

function hideParts(hidden: readonly Part[]): void {
  for (const element of document.querySelectorAll<HTMLElement>("[data-panel], [data-part]")) {
    const part = (element.dataset["panel"] ?? element.dataset["part"]) as Part;
    element.hidden = hidden.includes(part);
  }
}

function mountPanels(context: PanelContext): void {
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        const section = target as HTMLElement;
        const body = section.querySelector<HTMLElement>(".body");
        const name = section.dataset["panel"] ?? "";
        if (!body) continue;
        // Controls are shown once they do something.
        body.hidden = false;
        chapters[name]?.(body, context);
      }
    },
    { rootMargin: "400px" },
  );
  for (const section of document.querySelectorAll("[data-panel]")) observer.observe(section);
}
