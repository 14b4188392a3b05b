/**
 * The formulae of the page in LaTeX, by name. Terms that the page lights up are in `\class{term-…}{…}`. They are
 * read when the page is built, and no code of them is shipped.
 */
export const formulae: Record<string, string> = {
  target: String.raw`\pi(y) = \frac{\class{term-reference}{\pi_{\mathrm{ref}}(y)}\,\class{term-reward}{e^{\beta r(y)}}}{\class{term-z}{Z}}`,
};
