import temml from "temml";
import type { Plugin } from "vite";
import { formulae } from "../src/math.ts";

/**
 * Styles that Temml writes into attributes, which the page's policy forbids, and for each its class in
 * styles/math.css.
 */
const classes: Record<string, string> = {
  "display:block math;": "",
  "math-depth:0;": "math-full-size",
  "padding-left:0em;padding-right:0em;": "math-tight",
  "padding-left:1em;padding-right:0em;": "math-spaced",
};

/** MathML of the formula of this name in src/math.ts; an error says what is wrong with it. */
export function mathml(name: string, block: boolean): string {
  const tex = Object.hasOwn(formulae, name) ? formulae[name] : undefined;
  if (tex === undefined)
    throw new Error(`src/math.ts has no formula \`${name}\`; it has ${Object.keys(formulae).join(", ")}`);
  // `trust` allows \class and \id, which mark the terms that the page lights up.
  const options = { displayMode: block, trust: true, throwOnError: true };
  let markup: string;
  try {
    markup = temml.renderToString(tex, options);
  } catch (error) {
    throw new Error(
      `formula \`${name}\` in src/math.ts: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  // A browser takes the italic Greek letters of a face for mathematics, and shows boxes where there is none: styles/math.css
  // slants the upright ones.
  const letters = markup.replace(/<mi(?=[^>]*>[α-ω]<)/g, '<mi mathvariant="normal"');
  return letters.replace(/<([a-z]+)([^>]*?) style="([^"]*)"([^>]*)>/g, (_, tag, before, style, after) => {
    const other = classes[style];
    if (other === undefined)
      throw new Error(`formula \`${name}\`: build/mathematics.ts has no class for the style \`${style}\``);
    return withClass(`<${tag}${before}${after}>`, other);
  });
}

function withClass(element: string, name: string): string {
  if (name === "") return element;
  return element.includes(' class="')
    ? element.replace(' class="', ` class="${name} `)
    : element.replace(/>$/, ` class="${name}">`);
}

/**
 * Fills in each `<!-- math:NAME -->` of a page; `<!-- math:NAME block -->` gives it its own line, and `<!-- math:all -->`
 * is every formula, for scripts to copy.
 */
export function fill(html: string): string {
  return html.replace(/<!--\s*math:(\S+?)(\s+block)?\s*-->/g, (_, name, block) =>
    name === "all"
      ? Object.keys(formulae)
          .map((each) => `<div data-text="${each}">${mathml(each, true)}</div>`)
          .join("")
      : mathml(name, block !== undefined),
  );
}

/** Formulae become MathML when the page is built, and no code of them is shipped. */
export function mathematics(): Plugin {
  return { name: "mathematics", transformIndexHtml: fill };
}
