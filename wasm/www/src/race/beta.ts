import type { PanelContext } from "../panels/panel";
import { MOST_BETA } from "../state";
import type { Store } from "../store";
import { h } from "../ui/dom";
import { decimals, percent, significant, whole } from "../ui/format";
import type { Aim } from "./aim";

/** Places of the slider, and the smallest β above 0. */
const PLACES = 400;
const LEAST = 0.1;

/** β at a place of the slider: 0 at the left end, then in equal steps of its logarithm. */
export function betaAt(place: number): number {
  if (place <= 0) return 0;
  return Number((LEAST * (MOST_BETA / LEAST) ** (Math.min(place, PLACES) / PLACES)).toPrecision(3));
}

/** The place of β on the slider. */
export function placeOf(beta: number): number {
  if (beta < LEAST / 2) return 0;
  return Math.max(1, Math.round((PLACES * Math.log(beta / LEAST)) / Math.log(MOST_BETA / LEAST)));
}

/** The one slider that matters, and what the target becomes. */
export function mountBeta({ settings }: PanelContext, aim: Store<Aim>): HTMLElement {
  const slider = h("input", {
    type: "range",
    id: "beta",
    min: 0,
    max: PLACES,
    step: 1,
    value: placeOf(settings.get().beta),
    "aria-describedby": "beta-help",
    oninput: () => settings.patch({ beta: betaAt(Number(slider.value)) }),
  });
  const value = h("output", { for: "beta", class: "beta-value number" });
  const answers = h("dd");
  const logZ = h("dd");
  const reward = h("dd");
  const shares = h("dd");
  const item = (name: string, dd: HTMLElement) => h("div", {}, h("dt", {}, name), dd);
  aim.subscribe(({ beta, effective, logZ: exact, expectedReward, shares: parts, terrain }) => {
    if (placeOf(beta) !== Number(slider.value)) slider.value = String(placeOf(beta));
    const written = significant(beta, 3);
    value.textContent = written;
    answers.textContent = `${effective < 10 ? decimals(effective, 1) : whole(effective)} of ${terrain.rewards.length}`;
    slider.setAttribute("aria-valuetext", `β ${written}: the target spreads over ${answers.textContent} answers`);
    logZ.textContent = decimals(exact, 3);
    reward.textContent = decimals(expectedReward, 3);
    shares.textContent = parts.length > 0 && parts.length <= 6 ? [...parts].map((p) => percent(p)).join(" · ") : `${parts.length} peaks`;
  }, true);
  return h(
    "div",
    { class: "card beta" },
    h("label", { for: "beta", class: "beta-label" }, h("span", { class: "beta-symbol", "aria-hidden": true }, "β"), h("span", {}, "How much reward counts")),
    value,
    h("div", { class: "beta-track" }, slider, h("div", { class: "beta-ends", id: "beta-help" }, h("span", {}, "0: as the reference"), h("span", {}, "50: the best answer alone"))),
    h("dl", { class: "readout" }, item("Target spreads over", answers), item("Shares of the peaks", shares), item("Mean reward", reward), item("log Z", logZ)),
  );
}
