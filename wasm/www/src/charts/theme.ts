import { type ColourMap, type Rgb, contrast, divergingMap, parseColour, sequentialMap } from "./colour";

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

type Colours = Omit<Theme, "probability" | "reward" | "difference">;

const LIGHT: Colours = {
  name: "light",
  paper: "#faf9f6",
  card: "#ffffff",
  ink: "#1a1d23",
  muted: "#5b616c",
  line: "#dedcd5",
  accent: "#2f4fb0",
  sample: "#c2410c",
  lanes: {
    flowrl: "#0072b2",
    vargrad: "#3390c9",
    normalised: "#008f68",
    published: "#8a6d3b",
    grpo: "#d55e00",
    ppo: "#b57900",
    reinforce: "#bf5f95",
    "reward-kl": "#7a6bd1",
  },
};

const DARK: Colours = {
  name: "dark",
  paper: "#0f1115",
  card: "#171a20",
  ink: "#eceae5",
  muted: "#a4a9b4",
  line: "#30353f",
  accent: "#8fb0ff",
  sample: "#ffb454",
  lanes: {
    flowrl: "#3f9fe0",
    vargrad: "#86cdf5",
    normalised: "#2fc296",
    published: "#c3a56e",
    grpo: "#f4813d",
    ppo: "#efb52f",
    reinforce: "#e096bf",
    "reward-kl": "#a699ec",
  },
};

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

function withMaps(colours: Colours): Theme {
  const stops = STOPS[colours.name];
  const start = parseColour(colours.card) ?? (colours.name === "light" ? [255, 255, 255] : [23, 26, 32]);
  const rgb = (list: readonly string[]) => list.map((c) => parseColour(c)!);
  return {
    ...colours,
    probability: sequentialMap([start, ...rgb(stops.probability)]),
    reward: sequentialMap([start, ...rgb(stops.reward)]),
    difference: divergingMap(rgb(stops.low), start, rgb(stops.high)),
  };
}

/** The built-in light theme: for exports, and where a page defines no colours. */
export const lightTheme: Theme = withMaps(LIGHT);

/** The built-in dark theme. */
export const darkTheme: Theme = withMaps(DARK);

const isDark = (paper: Rgb) => contrast(paper, [0, 0, 0]) < contrast(paper, [255, 255, 255]);

/** The theme that `lookup` describes: it gives the value of a CSS custom property, or "" for one that is
 * not set. */
export function themeFrom(lookup: (property: string) => string): Theme {
  const paper = parseColour(lookup("--paper"));
  const base = paper && isDark(paper) ? DARK : LIGHT;
  const read = (name: string, fallback: string) => lookup(`--${name}`).trim() || fallback;
  const lanes = Object.entries(base.lanes).map(([kind, colour]) => [kind, read(`lane-${kind}`, colour)]);
  return withMaps({
    name: base.name,
    paper: read("paper", base.paper),
    card: read("card", base.card),
    ink: read("ink", base.ink),
    muted: read("ink-2", base.muted),
    line: read("line", base.line),
    accent: read("accent", base.accent),
    sample: read("sample", base.sample),
    lanes: Object.fromEntries(lanes) as Record<LaneKind, string>,
  });
}

/** The theme that an element's CSS custom properties describe; what they leave out comes from the built-in
 * theme that fits `--paper`. */
export function readTheme(element: Element): Theme {
  const style = getComputedStyle(element);
  return themeFrom((property) => style.getPropertyValue(property).trim());
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
