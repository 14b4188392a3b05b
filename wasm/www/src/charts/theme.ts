import { type ColourMap, type Rgb, contrast, divergingMap, hex, parseColour, sequentialMap } from "./colour";

/** The methods that can run in the race. */
export type LaneKind =
  "flowrl" | "vargrad" | "normalised" | "published" | "grpo" | "ppo" | "reinforce" | "reward-kl";

/** The colours of a chart. */
export interface Theme {
  readonly name: "light" | "dark";
  readonly paper: string;
  readonly card: string;
  readonly ink: string;
  readonly muted: string;
  readonly line: string;
  readonly accent: string;
  /** Dots that stand for sampled answers; they must show on every colour of the probability map. */
  readonly sample: string;
  readonly lanes: Readonly<Record<LaneKind, string>>;
  /** For probabilities: from the card to the strongest colour. */
  readonly probability: ColourMap;
  /** For rewards: another family of hues than probabilities. */
  readonly reward: ColourMap;
  /** For differences: too little, none, too much. */
  readonly difference: ColourMap;
}

/** The dash pattern of each lane, so that lines differ in more than hue. */
export const LANE_DASHES: Readonly<Record<LaneKind, readonly number[]>> = {
  flowrl: [],
  vargrad: [9, 3],
  normalised: [2, 3],
  published: [9, 3, 2, 3],
  grpo: [],
  ppo: [6, 3],
  reinforce: [2, 2],
  "reward-kl": [12, 3, 2, 3, 2, 3],
};

/** The colours that the tables run through, beginning with that of the card. */
const STOPS = {
  light: {
    probability: ["#c6d6f2", "#7d9fe0", "#4457b5", "#221557"],
    reward: ["#f6dd9b", "#dd9c37", "#a4531a", "#4f200f"],
    low: ["#9cc3e6", "#2a7ab9", "#0b3a66"],
    high: ["#f5b795", "#d55e00", "#7a2b00"],
  },
  dark: {
    probability: ["#1d2f66", "#2f62b8", "#7fb0dc", "#ffedcf"],
    reward: ["#44290f", "#8f5414", "#dd9c37", "#fff3c9"],
    low: ["#12426b", "#2b86c9", "#b5e0ff"],
    high: ["#6e2a08", "#e0691c", "#ffd3b3"],
  },
};

/** The theme that `lookup` describes: it gives the value of a CSS custom property. */
export function themeFrom(lookup: (property: string) => string): Theme {
  const rgb = (name: string): Rgb => {
    const text = lookup(`--${name}`);
    const colour = parseColour(text);
    if (!colour) throw new Error(`themeFrom: --${name} is "${text}"; wanted a colour such as #1a1d23`);
    return colour;
  };
  const read = (name: string) => hex(rgb(name));
  const [paper, card] = [rgb("paper"), rgb("card")];
  const name = contrast(paper, [0, 0, 0]) < contrast(paper, [255, 255, 255]) ? "dark" : "light";
  const { probability, reward, low, high } = STOPS[name];
  const stops = (list: readonly string[]) => list.map((colour) => parseColour(colour)!);
  const lanes = Object.keys(LANE_DASHES).map((kind) => [kind, read(`lane-${kind}`)]);
  return {
    name,
    paper: read("paper"),
    card: read("card"),
    ink: read("ink"),
    muted: read("ink-2"),
    line: read("line"),
    accent: read("accent"),
    sample: read("sample"),
    lanes: Object.fromEntries(lanes) as Record<LaneKind, string>,
    probability: sequentialMap([card, ...stops(probability)]),
    reward: sequentialMap([card, ...stops(reward)]),
    difference: divergingMap(stops(low), card, stops(high)),
  };
}

/** The theme that an element's CSS custom properties describe. */
export function readTheme(element: Element): Theme {
  const style = getComputedStyle(element);
  return themeFrom((property) => style.getPropertyValue(property));
}

/** Calls `changed` whenever the page turns light or dark: by `data-theme` on the root, or by the system. */
export function watchTheme(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "class"] });
  const queries = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) =>
    matchMedia(query),
  );
  for (const query of queries) query.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    for (const query of queries) query.removeEventListener("change", changed);
  };
}
