import type { PanelContext } from "../panels/panel";
import { MOST_BETA } from "../state";
import type { Store } from "../store";
import { byId } from "../ui/dom";
import { decimals, percent, significant, whole } from "../ui/format";
import type { Aim } from "./aim";

/** Places of the slider in index.html, and the smallest β above 0. */
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
export function mountBeta({ settings }: PanelContext, aim: Store<Aim>): void {
  const slider = byId<HTMLInputElement>("beta");
  slider.oninput = () => settings.patch({ beta: betaAt(Number(slider.value)) });
  aim.subscribe(({ beta, effective, logZ, expectedReward, shares, terrain }) => {
    const place = String(placeOf(beta));
    if (slider.value !== place) slider.value = place;
    const written = significant(beta, 3);
    const answers = `${effective < 10 ? decimals(effective, 1) : whole(effective)} of ${terrain.rewards.length}`;
    const few = shares.length > 0 && shares.length <= 6;
    slider.setAttribute("aria-valuetext", `β ${written}: the target spreads over ${answers} answers`);
    byId("beta-value").textContent = written;
    byId("beta-answers").textContent = answers;
    byId("beta-shares").textContent = few ? [...shares].map((p) => percent(p)).join(" · ") : `${shares.length} peaks`;
    byId("beta-reward").textContent = decimals(expectedReward, 3);
    byId("beta-log-z").textContent = decimals(logZ, 3);
  }, true);
}
