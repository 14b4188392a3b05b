// The chapters in one file: a visitor who scrolls on reads several, and together they are smaller than apart.
import { mount as fails } from "./fails";
import { mount as glossary } from "./glossary";
import { mount as gradient } from "./gradient";
import { mount as map } from "./map";
import type { Mount } from "./panel";
import { mount as runs } from "./runs";
import { mount as tree } from "./tree";
import { mount as update } from "./update";

/** The chapters by the `data-panel` of their sections. */
export const chapters: Readonly<Record<string, Mount>> = { update, gradient, tree, map, fails, runs, glossary };
